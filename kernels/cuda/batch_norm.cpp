// How a batch normalisation is divided among blocks, and its launch.
#include "kernels/cuda/batch_norm.h"

#include <algorithm>
#include <string>

#include "kernels/cuda/factories.h"

namespace gannet::kernels::cuda {
namespace batch_norm {
namespace {

std::uint32_t up(std::uint32_t a, std::uint32_t b) { return (a + b - 1) / b; }

class BatchNormKernel final : public Kernel {
 public:
  BatchNormKernel(const BatchNorm& spec, const Device& device) : kind_(spec.kind), stream_(device.stream) {
    const Shape& shape = spec.x.shape;
    const auto element = static_cast<std::uint32_t>(size_of(spec.x.type));
    task_.channels = static_cast<std::uint32_t>(shape[shape.rank() - 1]);
    task_.groups = static_cast<std::uint32_t>(spec.groups);
    task_.rows = static_cast<std::uint32_t>(shape.elements()) / task_.channels / task_.groups;
    task_.epsilon = spec.epsilon;
    task_.momentum = spec.momentum;
    task_.activation = spec.activation.kind;
    task_.slope = spec.activation.kind == Activation::Kind::none ? 1.0f : spec.activation.slope;
    const std::uint32_t widest = is_curved(spec.activation) ? 4 : 16 / element;
    const std::uint32_t packet = task_.channels % widest == 0 ? widest : 1;
    task_.width = std::min(task_.channels / packet, tile_bytes / element / packet);
    task_.tiles = up(task_.channels / packet, task_.width);
    kernel_ = kind_ == BatchNorm::Kind::forward ? forward_kernel(spec, packet > 1) : backward_kernel(spec, packet > 1);

    cudaFuncAttributes attributes{};
    GANNET_CUDA(cudaFuncGetAttributes(&attributes, kernel_));
    const std::size_t room = device.shared_bytes - attributes.sharedSizeBytes;
    const std::uint32_t row_bytes = task_.width * packet * element * (kind_ == BatchNorm::Kind::backward ? 2 : 1);
    GANNET_CUDA(cudaFuncSetAttribute(kernel_, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(room)));
    int resident = 0;
    GANNET_CUDA(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&resident, kernel_, threads, room));
    if (resident < 1) refuse("[batch norm] this device can not run a block of " + std::to_string(threads) + " threads");
    const std::uint32_t most = static_cast<std::uint32_t>(resident) * static_cast<std::uint32_t>(device.multiprocessors);
    // As many blocks as can be resident at once, but enough rows for each that its threads have something to do.
    const std::uint32_t least_rows = threads / task_.width;
    const std::uint32_t chunks = std::max(1u, std::min(most / (task_.tiles * task_.groups), up(task_.rows, least_rows)));
    task_.chunk_rows = up(task_.rows, chunks);
    task_.chunks = up(task_.rows, task_.chunk_rows);
    task_.items = task_.groups * task_.tiles * task_.chunks;
    blocks_ = std::min(most, task_.items);
    const std::uint32_t rows_of_block = up(task_.items, blocks_) * task_.chunk_rows;
    task_.cached_rows = std::min(rows_of_block, static_cast<std::uint32_t>(room / row_bytes));
    shared_bytes_ = static_cast<std::size_t>(task_.cached_rows) * row_bytes;
  }

  std::size_t workspace_bytes() const override { return sizeof(float) * 2 * task_.groups * task_.chunks * task_.channels; }

  void run(const Arguments& arguments) override {
    Task task = task_;
    task.partial = static_cast<float*>(arguments.workspace);
    task.x = arguments.inputs[0];
    task.gamma = static_cast<const float*>(arguments.inputs[1]);
    task.beta = static_cast<const float*>(arguments.inputs[2]);
    task.y = arguments.outputs[0];
    if (kind_ == BatchNorm::Kind::forward) {
      task.mean = static_cast<float*>(arguments.outputs[1]);
      task.variance = static_cast<float*>(arguments.outputs[2]);
      if (task.momentum > 0) {
        task.running_mean = static_cast<const float*>(arguments.inputs[3]);
        task.running_variance = static_cast<const float*>(arguments.inputs[4]);
        task.new_running_mean = static_cast<float*>(arguments.outputs[3]);
        task.new_running_variance = static_cast<float*>(arguments.outputs[4]);
      }
    } else {
      // Only read by this direction.
      task.mean = const_cast<float*>(static_cast<const float*>(arguments.inputs[3]));
      task.variance = const_cast<float*>(static_cast<const float*>(arguments.inputs[4]));
      task.dy = arguments.inputs[5];
      task.dgamma = static_cast<float*>(arguments.outputs[1]);
      task.dbeta = static_cast<float*>(arguments.outputs[2]);
    }
    void* parameters[] = {&task};
    GANNET_CUDA(cudaLaunchCooperativeKernel(kernel_, dim3(blocks_), dim3(threads), parameters, shared_bytes_, stream_));
  }

 private:
  BatchNorm::Kind kind_;
  cudaStream_t stream_;
  Task task_{};
  const void* kernel_ = nullptr;
  std::uint32_t blocks_ = 1;
  std::size_t shared_bytes_ = 0;
};

}  // namespace
}  // namespace batch_norm

std::unique_ptr<Kernel> make_batch_norm(const BatchNorm& spec, const Device& device) {
  return std::make_unique<batch_norm::BatchNormKernel>(spec, device);
}

}  // namespace gannet::kernels::cuda

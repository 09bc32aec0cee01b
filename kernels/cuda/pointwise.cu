// Pointwise chains in a single pass. A chain of the models has a kernel of its own; any other is interpreted, which costs some
// instructions for each of its steps and four elements.
#include "kernels/cuda/pointwise.h"

#include "kernels/cuda/chain.cuh"
#include "kernels/cuda/factories.h"

namespace gannet::kernels::cuda {
namespace {

constexpr int packet = 4;
constexpr int max_threads = 256;
constexpr int default_shared_bytes = 48 << 10;

__global__ void __launch_bounds__(max_threads, 4) pointwise(const __grid_constant__ Chain chain) {
  extern __shared__ Packet<float, packet> columns[];
  const std::uint32_t index = (blockIdx.x * blockDim.x + threadIdx.x) * packet;
  if (index >= chain.elements) return;
  const Column<packet> column{columns + threadIdx.x, static_cast<int>(blockDim.x)};
  const int count = min(packet, chain.elements - index);
  const Packet<float, packet> last = interpret(chain, column, index, count);
  for (int o = 0; o < chain.outputs; ++o) {
    const ChainOutput& output = chain.output[o];
    Packet<float, packet> result = last;
    if (output.slot != last_result) result = column[output.slot];
    write(output, index, count, result.at);
  }
}

class PointwiseKernel final : public Kernel {
 public:
  PointwiseKernel(const Pointwise& spec, const Device& device)
      : chain_(plan_chain(spec, packet, "pointwise")), stream_(device.stream) {
    const ChainForm form = form_of(spec);
    const PointwiseAhead ahead = pointwise_ahead(form);
    if (ahead.kernel != nullptr) {
      chain_ = plan_chain(spec, packet_of(form), "pointwise");
      kernel_ = ahead.kernel;
      threads_ = ahead.threads;
      per_block_ = static_cast<std::uint32_t>(ahead.elements);
      return;
    }
    const auto bytes = [&] { return threads_ * chain_.slots * static_cast<int>(sizeof(Packet<float, packet>)); };
    while (threads_ > 32 && bytes() > default_shared_bytes) threads_ /= 2;
    shared_bytes_ = bytes();
    per_block_ = static_cast<std::uint32_t>(threads_ * packet);
  }

  void run(const Arguments& arguments) override {
    Chain chain = chain_;
    for (int i = 0; i < chain.inputs; ++i) chain.input[i].data = arguments.inputs[i];
    for (int o = 0; o < chain.outputs; ++o) chain.output[o].data = arguments.outputs[o];
    kernel_<<<(chain.elements + per_block_ - 1) / per_block_, threads_, shared_bytes_, stream_>>>(chain);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  Chain chain_;
  void (*kernel_)(Chain) = pointwise;
  cudaStream_t stream_;
  int threads_ = max_threads;
  int shared_bytes_ = 0;
  std::uint32_t per_block_ = 0;
};

}  // namespace

std::unique_ptr<Kernel> make_pointwise(const Pointwise& spec, const Device& device) {
  return std::make_unique<PointwiseKernel>(spec, device);
}

}  // namespace gannet::kernels::cuda

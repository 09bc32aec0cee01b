// Binary cross-entropy on logits: loss, gradient and mean probability of all runs in one launch and one pass. Blocks take
// pieces of a run and leave partial sums; the last block adds them up in their order. A few hundred logits: what counts is the
// one launch.
#include <algorithm>
#include <vector>

#include "kernels/cuda/block.cuh"
#include "kernels/cuda/device_array.h"
#include "kernels/cuda/factories.h"
#include "kernels/cuda/numbers.cuh"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 256;
constexpr int piece_elements = 4 * threads;

struct Run {
  float target, weight;
};

struct Task {
  const float* logits;
  float *loss, *probability;
  void* gradient;
  const Run* runs;
  float2* partial;  // of each piece: loss, probability
  unsigned int* counter;
  std::uint32_t count, length, pieces;  // runs, logits of a run, pieces of a run
};

template <typename T>  // of the gradient
__global__ void __launch_bounds__(threads) sigmoid_bce(const __grid_constant__ Task task) {
  const std::uint32_t index = blockIdx.x / task.pieces, begin = blockIdx.x % task.pieces * piece_elements;
  const Run run = task.runs[index];
  const float scale = run.weight / static_cast<float>(task.length);
  float loss = 0, probability = 0;
#pragma unroll
  for (int i = 0; i < piece_elements; i += threads) {
    const std::uint32_t at = begin + i + threadIdx.x;
    if (at >= task.length) break;
    const float x = task.logits[index * task.length + at];
    const float e = expf(-fabsf(x)), r = 1.0f / (1.0f + e), sigmoid = x < 0 ? e * r : r;
    loss += fmaxf(x, 0.0f) - run.target * x + log1pf(e);
    probability += sigmoid;
    static_cast<T*>(task.gradient)[index * task.length + at] = narrowed<T>(scale * (sigmoid - run.target));
  }
  loss = sum_of_block(loss);
  probability = sum_of_block(probability);
  if (threadIdx.x == 0) task.partial[blockIdx.x] = {loss, probability};
  if (!last_of(task.counter, gridDim.x)) return;
  float all = 0;
  for (std::uint32_t r = 0; r < task.count; ++r) {
    float run_loss = 0, run_probability = 0;
    for (std::uint32_t piece = threadIdx.x; piece < task.pieces; piece += threads) {
      const float2 sums = __ldcg(task.partial + r * task.pieces + piece);
      run_loss += sums.x, run_probability += sums.y;
    }
    run_loss = sum_of_block(run_loss);
    run_probability = sum_of_block(run_probability);
    all += task.runs[r].weight * (run_loss / static_cast<float>(task.length));
    if (threadIdx.x == 0) task.probability[r] = run_probability / static_cast<float>(task.length);
  }
  if (threadIdx.x == 0) *task.loss = all;
}

std::vector<Run> runs_of(const SigmoidBce& spec) {
  std::vector<Run> runs;
  for (std::size_t g = 0; g < spec.targets.size(); ++g) runs.push_back({spec.targets[g], spec.weights[g]});
  return runs;
}

class SigmoidBceKernel final : public Kernel {
 public:
  SigmoidBceKernel(const SigmoidBce& spec, const Device& device)
      : runs_(runs_of(spec), device),
        counter_({0}, device),
        stream_(device.stream),
        kernel_(spec.gradient == DType::f32 ? sigmoid_bce<float> : sigmoid_bce<__nv_bfloat16>) {
    task_.runs = runs_.data();
    task_.counter = counter_.data();
    task_.count = static_cast<std::uint32_t>(spec.targets.size());
    task_.length = static_cast<std::uint32_t>(spec.logits.elements()) / task_.count;
    task_.pieces = (task_.length + piece_elements - 1) / piece_elements;
  }

  std::size_t workspace_bytes() const override { return sizeof(float2) * task_.count * task_.pieces; }

  void run(const Arguments& arguments) override {
    Task task = task_;
    task.logits = static_cast<const float*>(arguments.inputs[0]);
    task.loss = static_cast<float*>(arguments.outputs[0]);
    task.gradient = arguments.outputs[1];
    task.probability = static_cast<float*>(arguments.outputs[2]);
    task.partial = static_cast<float2*>(arguments.workspace);
    kernel_<<<task.count * task.pieces, threads, 0, stream_>>>(task);
    GANNET_CUDA(cudaGetLastError());
  }

 private:
  DeviceArray<Run> runs_;
  DeviceArray<unsigned int> counter_;
  cudaStream_t stream_;
  void (*kernel_)(Task);
  Task task_{};
};

}  // namespace

std::unique_ptr<Kernel> make_sigmoid_bce(const SigmoidBce& spec, const Device& device) {
  return std::make_unique<SigmoidBceKernel>(spec, device);
}

}  // namespace gannet::kernels::cuda

// Times of single kernels on the device.
#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "kernels/operands.h"
#include "kernels/vendor/choice.h"

namespace gannet::kernels::vendor {
namespace {

constexpr int uncounted = 2, counted = 9, runs = 10;
constexpr int filling = 0x3C;  // f32 of 0.0115 and bf16 of 0.0115: no zeros, which cost less power, and nothing that overflows

struct Free {
  void operator()(void* memory) const { cudaFree(memory); }
};
using Memory = std::unique_ptr<void, Free>;

Memory allocate(std::size_t bytes, const cuda::Device& device) {
  void* memory = nullptr;
  GANNET_CUDA(cudaMalloc(&memory, std::max<std::size_t>(bytes, 1)));
  Memory result(memory);
  GANNET_CUDA(cudaMemsetAsync(memory, filling, std::max<std::size_t>(bytes, 1), device.stream));
  return result;
}

class Event {
 public:
  Event() { GANNET_CUDA(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

// Runs of a kernel as one CUDA Graph, as a step is: what starting them costs the host is in no time.
class Graph {
 public:
  Graph(Kernel& kernel, const Arguments& arguments, cudaStream_t stream) : stream_(stream) {
    cudaGraph_t graph = nullptr;
    GANNET_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    try {
      for (int i = 0; i < runs; ++i) kernel.run(arguments);
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    GANNET_CUDA(cudaStreamEndCapture(stream, &graph));
    const cudaError_t status = cudaGraphInstantiate(&graph_, graph, 0);
    cudaGraphDestroy(graph);
    GANNET_CUDA(status);
  }
  ~Graph() { cudaGraphExecDestroy(graph_); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;
  void launch() const { GANNET_CUDA(cudaGraphLaunch(graph_, stream_)); }

 private:
  cudaStream_t stream_;
  cudaGraphExec_t graph_ = nullptr;
};

}  // namespace

double seconds_of(Kernel& kernel, const KernelSpec& spec, const cuda::Device& device) {
  const Operands operands = operands_of(spec);
  std::vector<Memory> memory;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (const TensorDesc& desc : operands.inputs) inputs.push_back(memory.emplace_back(allocate(desc.bytes(), device)).get());
  for (const TensorDesc& desc : operands.outputs) outputs.push_back(memory.emplace_back(allocate(desc.bytes(), device)).get());
  const Memory workspace = allocate(kernel.workspace_bytes(), device);
  const Graph graph(kernel, {inputs.data(), outputs.data(), workspace.get()}, device.stream);
  for (int i = 0; i < uncounted; ++i) graph.launch();
  const Event start, end;
  std::array<float, counted> milliseconds{};
  for (float& time : milliseconds) {
    GANNET_CUDA(cudaEventRecord(start, device.stream));
    graph.launch();
    GANNET_CUDA(cudaEventRecord(end, device.stream));
    GANNET_CUDA(cudaEventSynchronize(end));
    GANNET_CUDA(cudaEventElapsedTime(&time, start, end));
  }
  std::nth_element(milliseconds.begin(), milliseconds.begin() + counted / 2, milliseconds.end());
  return 1e-3 * static_cast<double>(milliseconds[counted / 2]) / runs;
}

}  // namespace gannet::kernels::vendor

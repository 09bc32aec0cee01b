#include "kernels/cuda/backend.h"

#include <cuda_runtime.h>

#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/check.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/event.h"
#include "kernels/cuda/factories.h"
#include "kernels/cuda/ranges.h"
#include "kernels/cuda/side_stream.h"
#include "kernels/operands.h"
#include "kernels/vendor/selection.h"

namespace gannet::kernels::cuda {
namespace {

struct Maker {
  const Device& device;
  std::unique_ptr<Kernel> operator()(const Convolution& spec) const { return make_convolution(spec, device); }
  std::unique_ptr<Kernel> operator()(const ConvolutionBackward& spec) const { return make_convolution_backward(spec, device); }
  std::unique_ptr<Kernel> operator()(const Matmul& spec) const { return make_matmul(spec, device); }
  std::unique_ptr<Kernel> operator()(const Pointwise& spec) const { return make_pointwise(spec, device); }
  std::unique_ptr<Kernel> operator()(const Reduction& spec) const { return make_reduction(spec, device); }
  std::unique_ptr<Kernel> operator()(const BatchNorm& spec) const { return make_batch_norm(spec, device); }
  std::unique_ptr<Kernel> operator()(const SigmoidBce& spec) const { return make_sigmoid_bce(spec, device); }
  std::unique_ptr<Kernel> operator()(const OptimizerUpdate& spec) const { return make_optimizer_update(spec, device); }
  std::unique_ptr<Kernel> operator()(const EmaUpdate& spec) const { return make_ema_update(spec, device); }
  std::unique_ptr<Kernel> operator()(const Bf16Copies& spec) const { return make_bf16_copies(spec, device); }
  std::unique_ptr<Kernel> operator()(const Random& spec) const { return make_random(spec, device); }
  std::unique_ptr<Kernel> operator()(const Copy& spec) const { return make_copy(spec, device); }
  std::unique_ptr<Kernel> operator()(const Concatenate& spec) const { return make_concatenate(spec, device); }
  std::unique_ptr<Kernel> operator()(const AllReduce&) const { return nullptr; }  // refused before
};

// Device threads count elements in 32 bits; nothing that trains comes near.
void check_operands(const KernelSpec& spec) {
  const Operands operands = operands_of(spec);
  for (const auto* side : {&operands.inputs, &operands.outputs}) {
    for (const TensorDesc& desc : *side) {
      GANNET_CHECK(desc.layout == Layout::plain, "[{}] the CUDA backend keeps tensors plain, not {}", name_of(spec),
                   to_string(desc));
      GANNET_CHECK(desc.elements() < std::int64_t{1} << 31, "[{}] {} has 2^31 elements or more", name_of(spec),
                   to_string(desc));
    }
  }
}

// Host memory that the device copies from and to by itself.
class PinnedMemory {
 public:
  explicit PinnedMemory(std::size_t bytes) {
    if (bytes == 0) return;
    GANNET_CUDA(cudaMallocHost(&data_, bytes));
    std::memset(data_, 0, bytes);
  }
  ~PinnedMemory() { cudaFreeHost(data_); }
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// Kernels and the copy of the results after them: one CUDA Graph, or one by one. The inputs are copied on a stream of their
// own, so that they come in while an earlier launch still works.
class CudaRun final : public Run {
 public:
  CudaRun(std::function<void()> kernels, Block inputs, Block results, cudaStream_t compute, cudaStream_t copies, bool graph)
      : kernels_(std::move(kernels)),
        inputs_(inputs),
        results_(results),
        compute_(compute),
        copies_(copies),
        host_inputs_(inputs.bytes),
        host_results_(results.bytes),
        graph_(graph ? capture() : nullptr) {}
  ~CudaRun() override {
    if (graph_ != nullptr) cudaGraphExecDestroy(graph_);
  }
  CudaRun(const CudaRun&) = delete;
  CudaRun& operator=(const CudaRun&) = delete;

  void* inputs() override { return host_inputs_.data(); }
  void launch() override {
    if (inputs_.bytes > 0) {
      GANNET_CUDA(cudaStreamWaitEvent(copies_, over_));
      GANNET_CUDA(cudaMemcpyAsync(inputs_.data, host_inputs_.data(), inputs_.bytes, cudaMemcpyHostToDevice, copies_));
      GANNET_CUDA(cudaEventRecord(copied_, copies_));
      GANNET_CUDA(cudaStreamWaitEvent(compute_, copied_));
    }
    if (graph_ != nullptr)
      GANNET_CUDA(cudaGraphLaunch(graph_, compute_));
    else
      start();
    GANNET_CUDA(cudaEventRecord(over_, compute_));
  }
  void wait() override { GANNET_CUDA(cudaEventSynchronize(over_)); }
  const void* results() override { return host_results_.data(); }

 private:
  void start() {
    kernels_();
    if (results_.bytes == 0) return;
    GANNET_CUDA(cudaMemcpyAsync(host_results_.data(), results_.data, results_.bytes, cudaMemcpyDeviceToHost, compute_));
  }

  cudaGraphExec_t capture() {
    GANNET_CUDA(cudaStreamBeginCapture(compute_, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      start();
    } catch (...) {
      cudaStreamEndCapture(compute_, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    GANNET_CUDA(cudaStreamEndCapture(compute_, &graph));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    GANNET_CUDA(status);
    return executable;
  }

  std::function<void()> kernels_;
  Block inputs_, results_;
  cudaStream_t compute_, copies_;
  PinnedMemory host_inputs_, host_results_;
  Event copied_, over_;
  cudaGraphExec_t graph_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options) : kernel_by_kernel_(options.kernel_by_kernel) {
    device_.index = options.device;
    device_.tf32 = options.tf32;
    GANNET_CUDA(cudaSetDevice(device_.index));
    cudaDeviceProp properties{};
    GANNET_CUDA(cudaGetDeviceProperties(&properties, device_.index));
    device_.architecture = properties.major * 10 + properties.minor;
    device_.multiprocessors = options.multiprocessors > 0 ? options.multiprocessors : properties.multiProcessorCount;
    device_.shared_bytes = properties.sharedMemPerBlockOptin;
    name_ = properties.name;
    GANNET_CUDA(cudaStreamCreateWithFlags(&device_.stream, cudaStreamNonBlocking));
    GANNET_CUDA(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking));
  }
  ~CudaBackend() override {
    selection_ = {};
    cudaStreamDestroy(copies_);
    cudaStreamDestroy(device_.stream);
  }
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  // Whose kernels create() takes; ours before.
  void select(const CudaOptions& options) {
    selection_ = vendor::Selection(options.kernels, device_, options.log);
    ends_with_slopes_ = options.kernels != CudaKernels::vendor;
    native_ = options.kernels == CudaKernels::native;
  }

  std::string name() const override {
    const std::string selection = selection_.description();
    return fmt::format("cuda ({}, sm_{}{}{})", name_, device_.architecture, selection.empty() ? "" : ", ", selection);
  }

  std::unique_ptr<Kernel> create(const KernelSpec& spec) override {
    check_preconditions(spec);
    check_operands(spec);
    return selection_.kernel(spec, [&] { return std::visit(Maker{device_}, spec); });
  }

  // NHWC and KRSC are what tensor cores take.
  Layout picture_layout(const Shape&, DType) const override { return Layout::plain; }
  Layout filter_layout(const Shape&, DType) const override { return Layout::plain; }
  bool supports(DType compute) const override { return compute == DType::f32 || compute == DType::bf16; }

  bool ends_with_slopes() const override { return ends_with_slopes_; }
  // The vendors' libraries have a kernel for each gradient: they are compared, and taken, apart.
  bool computes_together(const ConvolutionBackward& spec) const override { return native_ && is_one_launch(spec, device_); }

  void* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    const cudaError_t status = cudaMalloc(&memory, bytes == 0 ? 1 : bytes);
    if (status == cudaErrorMemoryAllocation) {
      cudaGetLastError();
      std::size_t left = 0, total = 0;
      GANNET_CUDA(cudaMemGetInfo(&left, &total));
      throw RuntimeError(fmt::format("not enough device memory: {:.1f} MiB more are needed, {:.1f} of {:.1f} MiB are free",
                                     std::ldexp(bytes, -20), std::ldexp(left, -20), std::ldexp(total, -20)));
    }
    GANNET_CUDA(status);
    return memory;
  }
  void release(void* memory) noexcept override { cudaFree(memory); }

  // The host's memory may be changed or read at once after either.
  void upload(void* device, const void* host, std::size_t bytes) override {
    GANNET_CUDA(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, device_.stream));
    synchronize();
  }
  void download(void* host, const void* device, std::size_t bytes) override {
    GANNET_CUDA(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, device_.stream));
    synchronize();
  }
  void synchronize() override { GANNET_CUDA(cudaStreamSynchronize(device_.stream)); }

  bool host_memory() const override { return false; }
  int launches_ahead() const override { return 2; }
  std::unique_ptr<Run> record(std::function<void()> kernels, Block inputs, Block results) override {
    return std::make_unique<CudaRun>(std::move(kernels), inputs, results, device_.stream, copies_, !kernel_by_kernel_);
  }

  std::unique_ptr<SideStream> side_stream() override { return make_side_stream(device_); }

  void begin_range(const std::string& name) override { ranges_.begin(name); }
  void end_range() override { ranges_.end(); }

 private:
  Device device_;
  cudaStream_t copies_ = nullptr;  // of inputs, beside the kernels
  bool kernel_by_kernel_;
  vendor::Selection selection_;
  bool ends_with_slopes_ = true, native_ = true;
  Ranges ranges_;
  std::string name_;
};

}  // namespace
}  // namespace gannet::kernels::cuda

namespace gannet::kernels {

bool cuda_computes_together(const ConvolutionBackward& spec, const CudaOptions& options) {
  cuda::Device device;
  device.tf32 = options.tf32;
  device.multiprocessors = options.multiprocessors > 0 ? options.multiprocessors : 108;
  return cuda::is_one_launch(spec, device);
}

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options) {
  std::string reason = cuda_unavailable();
  int devices = 0;
  if (reason.empty()) {
    GANNET_CUDA(cudaGetDeviceCount(&devices));
    GANNET_CHECK(options.device >= 0 && options.device < devices, "there is no CUDA device {}: this machine has {}",
                 options.device, devices);
    reason = cuda::unsupported(options.device);
  }
  if (!reason.empty()) throw RuntimeError(reason);
  auto backend = std::make_unique<cuda::CudaBackend>(options);
  backend->select(options);
  return backend;
}

}  // namespace gannet::kernels

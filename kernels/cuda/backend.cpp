#include "kernels/cuda/backend.h"

#include <cuda_runtime.h>

#include <cmath>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/factories.h"
#include "kernels/operands.h"
#include "kernels/slope_of.h"

namespace gannet::kernels::cuda {
namespace {

constexpr int oldest_architecture = 80;

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

// Why this device can not be used; empty when it can.
std::string unsupported(int device) {
  int major = 0, minor = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError();
    return fmt::format("CUDA device {} does not answer", device);
  }
  if (major * 10 + minor >= oldest_architecture) return "";
  return fmt::format("CUDA device {} has compute capability {}.{}; 8.0 (Ampere) or later is needed", device, major, minor);
}

struct Maker {
  const Device& device;
  std::unique_ptr<Kernel> operator()(const Convolution& spec) const {
    if (spec.slope_of.kind == Activation::Kind::none) return make_convolution(spec, device);
    Convolution straight = spec;
    straight.slope_of = {};
    return then_slope(make_convolution(straight, device), make_pointwise(slope_chain(spec), device));
  }
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

class Event {
 public:
  Event() { GANNET_CUDA(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  operator cudaEvent_t() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

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

// One CUDA Graph; the copy of the results is its last node. The inputs are copied on a stream of their own, so that they
// come in while an earlier launch still works.
class GraphRun final : public Run {
 public:
  GraphRun(const std::function<void()>& kernels, Block inputs, Block results, cudaStream_t compute, cudaStream_t copies)
      : inputs_(inputs),
        compute_(compute),
        copies_(copies),
        host_inputs_(inputs.bytes),
        host_results_(results.bytes),
        graph_(capture(kernels, results, compute, host_results_.data())) {}
  ~GraphRun() override { cudaGraphExecDestroy(graph_); }
  GraphRun(const GraphRun&) = delete;
  GraphRun& operator=(const GraphRun&) = delete;

  void* inputs() override { return host_inputs_.data(); }
  void launch() override {
    if (inputs_.bytes > 0) {
      GANNET_CUDA(cudaStreamWaitEvent(copies_, over_));
      GANNET_CUDA(cudaMemcpyAsync(inputs_.data, host_inputs_.data(), inputs_.bytes, cudaMemcpyHostToDevice, copies_));
      GANNET_CUDA(cudaEventRecord(copied_, copies_));
      GANNET_CUDA(cudaStreamWaitEvent(compute_, copied_));
    }
    GANNET_CUDA(cudaGraphLaunch(graph_, compute_));
    GANNET_CUDA(cudaEventRecord(over_, compute_));
  }
  void wait() override { GANNET_CUDA(cudaEventSynchronize(over_)); }
  const void* results() override { return host_results_.data(); }

 private:
  static cudaGraphExec_t capture(const std::function<void()>& kernels, Block results, cudaStream_t stream, void* to) {
    GANNET_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cudaGraph_t graph = nullptr;
    try {
      kernels();
      if (results.bytes > 0) GANNET_CUDA(cudaMemcpyAsync(to, results.data, results.bytes, cudaMemcpyDeviceToHost, stream));
    } catch (...) {
      cudaStreamEndCapture(stream, &graph);
      if (graph != nullptr) cudaGraphDestroy(graph);
      throw;
    }
    GANNET_CUDA(cudaStreamEndCapture(stream, &graph));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    GANNET_CUDA(status);
    return executable;
  }

  Block inputs_;
  cudaStream_t compute_, copies_;
  PinnedMemory host_inputs_, host_results_;
  Event copied_, over_;
  cudaGraphExec_t graph_;
};

class CudaBackend final : public Backend {
 public:
  explicit CudaBackend(const CudaOptions& options) {
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
    cudaStreamDestroy(copies_);
    cudaStreamDestroy(device_.stream);
  }
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  std::string name() const override { return fmt::format("cuda ({}, sm_{})", name_, device_.architecture); }

  std::unique_ptr<Kernel> create(const KernelSpec& spec) override {
    check_preconditions(spec);
    check_operands(spec);
    return std::visit(Maker{device_}, spec);
  }

  // NHWC and KRSC are what tensor cores take.
  Layout picture_layout(const Shape&, DType) const override { return Layout::plain; }
  Layout filter_layout(const Shape&, DType) const override { return Layout::plain; }
  bool supports(DType compute) const override { return compute == DType::f32 || compute == DType::bf16; }

  bool ends_with_slopes() const override { return true; }

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
    return std::make_unique<GraphRun>(kernels, inputs, results, device_.stream, copies_);
  }

 private:
  Device device_;
  cudaStream_t copies_ = nullptr;  // of inputs, beside the kernels
  std::string name_;
};

}  // namespace
}  // namespace gannet::kernels::cuda

namespace gannet::kernels {

std::string cuda_unavailable() {
  int driver = 0, runtime = 0, devices = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "no CUDA driver is installed";
  if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) return "the CUDA runtime library does not work";
  const cudaError_t status = cudaGetDeviceCount(&devices);
  cudaGetLastError();
  if (status == cudaErrorInsufficientDriver) {
    return fmt::format("the CUDA driver is too old: it is of CUDA {} and this program needs {}", cuda::version_text(driver),
                       cuda::version_text(runtime));
  }
  if (status == cudaErrorNoDevice || (status == cudaSuccess && devices == 0)) return "the CUDA driver finds no device";
  if (status != cudaSuccess) return fmt::format("the CUDA driver does not work: {}", cudaGetErrorString(status));
  std::string reason;
  for (int device = 0; device < devices; ++device) {
    std::string of_device = cuda::unsupported(device);
    if (of_device.empty()) return "";
    if (reason.empty()) reason = std::move(of_device);
  }
  return reason;
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
  return std::make_unique<cuda::CudaBackend>(options);
}

}  // namespace gannet::kernels

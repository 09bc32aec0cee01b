// Which driver and devices there are, and what is wrong with them.
#include <cuda_runtime.h>

#include <utility>

#include "kernels/check.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/device.h"
#include "kernels/vendor/vendor.h"

namespace gannet::kernels {

namespace cuda {
namespace {

constexpr int oldest_architecture = 80;

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

}  // namespace

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

}  // namespace cuda

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

CudaMachine cuda_machine() {
  CudaMachine machine;
  int driver = 0, runtime = 0, devices = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver != 0) machine.driver = cuda::version_text(driver);
  if (cudaRuntimeGetVersion(&runtime) == cudaSuccess) machine.runtime = cuda::version_text(runtime);
  machine.cudnn = vendor::describe_libraries();
  if (cudaGetDeviceCount(&devices) != cudaSuccess) devices = 0;
  cudaGetLastError();
  for (int device = 0; device < devices; ++device) {
    cudaDeviceProp properties{};
    if (cudaGetDeviceProperties(&properties, device) != cudaSuccess) cudaGetLastError();
    machine.devices.push_back({properties.name, properties.major, properties.minor, properties.multiProcessorCount,
                               properties.totalGlobalMem, cuda::unsupported(device)});
  }
  return machine;
}

}  // namespace gannet::kernels

#include "kernels/vendor/selection.h"

#include "kernels/check.h"
#include "kernels/cuda/roofline.h"
#include "kernels/vendor/vendor.h"

namespace gannet::kernels::vendor {

Selection::Selection(CudaKernels kernels, const cuda::Device& device, Log log) {
  if (kernels == CudaKernels::native) return;
  const bool automatic = kernels == CudaKernels::automatic;
  const Roofline roofline = cuda_roofline(device.index);
  GANNET_CHECK(!automatic || !roofline.simulated,
               "--kernels auto times kernels, and times on {} mean nothing: give native or vendor", roofline.device);
  try {
    libraries_ = std::make_unique<const Libraries>(device);
  } catch (const InputError& error) {
    throw InputError(
        fmt::format("--kernels {} needs cuDNN 9 and cuBLASLt 13: {}", automatic ? "auto" : "vendor", error.what()));
  }
  description_ = fmt::format("{}{}", automatic ? "the faster of ours and " : "", libraries_->versions());
  if (!automatic) return;
  int driver = 0, runtime = 0;
  GANNET_CUDA(cudaDriverGetVersion(&driver));
  GANNET_CUDA(cudaRuntimeGetVersion(&runtime));
  const std::string machine = fmt::format("{}, {} multiprocessors, driver {}, runtime {}, {}, gannet {}", roofline.device,
                                          roofline.multiprocessors, driver, runtime, libraries_->versions(), GANNET_VERSION);
  if (!log) log = [](const std::string&) {};
  timings_.emplace(timings_file(), machine, std::move(log));
}

std::unique_ptr<Kernel> Selection::kernel(const KernelSpec& spec, const std::function<std::unique_ptr<Kernel>()>& native) {
  if (libraries_ == nullptr) return native();
  std::unique_ptr<Kernel> of_vendor = make_kernel(spec, *libraries_);
  if (of_vendor == nullptr) return native();
  if (!timings_) return of_vendor;
  std::unique_ptr<Kernel> own = native();
  const cuda::Device& device = libraries_->device;
  const Times times = timings_->of(key_of(spec, device.tf32), [&] {
    return Times{seconds_of(*own, spec, device), seconds_of(*of_vendor, spec, device)};
  });
  return times.vendor < times.native ? std::move(of_vendor) : std::move(own);
}

}  // namespace gannet::kernels::vendor

// Whose kernel computes a spec: ours, that of the libraries, or the faster of the two.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "kernels/backend.h"
#include "kernels/cuda/backend.h"
#include "kernels/vendor/choice.h"
#include "kernels/vendor/libraries.h"

namespace gannet::kernels::vendor {

class Selection {
 public:
  // Ours alone.
  Selection() = default;
  // device must outlive it. InputError where the libraries can not work here, or times mean nothing.
  Selection(CudaKernels kernels, const cuda::Device& device, Log log);

  // native: makes our kernel for the spec.
  std::unique_ptr<Kernel> kernel(const KernelSpec& spec, const std::function<std::unique_ptr<Kernel>()>& native);
  std::string description() const { return description_; }  // empty for ours alone

 private:
  std::unique_ptr<const Libraries> libraries_;
  std::optional<Timings> timings_;
  std::string description_;
};

}  // namespace gannet::kernels::vendor

#include "kernels/vendor/vendor.h"

#include "kernels/vendor/factories.h"

namespace gannet::kernels::vendor {

std::unique_ptr<Kernel> make_kernel(const KernelSpec& spec, const Libraries& libraries) {
  if (const auto* convolution = std::get_if<Convolution>(&spec)) return make_convolution(*convolution, libraries);
  if (const auto* matmul = std::get_if<Matmul>(&spec)) return make_matmul(*matmul, libraries);
  return nullptr;
}

}  // namespace gannet::kernels::vendor

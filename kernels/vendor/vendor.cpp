#include "kernels/vendor/vendor.h"

#include <utility>

#include "kernels/one_after_the_other.h"
#include "kernels/vendor/factories.h"

namespace gannet::kernels::vendor {

std::unique_ptr<Kernel> make_kernel(const KernelSpec& spec, const Libraries& libraries) {
  if (const auto* convolution = std::get_if<Convolution>(&spec)) return make_convolution(*convolution, libraries);
  if (const auto* both = std::get_if<ConvolutionBackward>(&spec)) {
    auto data = make_convolution(both->data, libraries), weights = make_convolution(both->weights, libraries);
    if (data == nullptr || weights == nullptr) return nullptr;
    return one_after_the_other(*both, std::move(data), std::move(weights));
  }
  if (const auto* matmul = std::get_if<Matmul>(&spec)) return make_matmul(*matmul, libraries);
  return nullptr;
}

}  // namespace gannet::kernels::vendor

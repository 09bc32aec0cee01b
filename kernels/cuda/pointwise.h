// Kernels for chains of known form.
#pragma once

#include "kernels/cuda/chain_form.h"

namespace gannet::kernels::cuda {

struct PointwiseAhead {
  void (*kernel)(Chain) = nullptr;  // null: none is compiled for this form
  int threads = 0, elements = 0;    // of a block
};
PointwiseAhead pointwise_ahead(const ChainForm& form);

}  // namespace gannet::kernels::cuda

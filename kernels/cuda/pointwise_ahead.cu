// Pointwise chains that the models have, a kernel each: every operand crosses the memory bus once, the widest in 16 bytes a
// thread and access. Limited by memory: between a load and a store there are the chain's own operations and little else.
#include "kernels/cuda/chain_ahead.cuh"
#include "kernels/cuda/pointwise.h"

namespace gannet::kernels::cuda {
namespace {

constexpr int threads = 256;

template <int form, int N, int... o>
__device__ __forceinline__ void pass(const Chain& chain, std::uint32_t index, std::integer_sequence<int, o...>) {
  const ChainValues<form, N> values(chain, index);
  (store(static_cast<TypeOf<forms_ahead[form].output[o].type>*>(chain.output[o].data) + index,
         values.value[forms_ahead[form].output[o].result]),
   ...);
}

template <int form>
__global__ void __launch_bounds__(threads) pointwise_of_form(const __grid_constant__ Chain chain) {
  constexpr int n = packet_of(forms_ahead[form]);
  constexpr auto outputs = std::make_integer_sequence<int, forms_ahead[form].outputs>{};
  std::uint32_t index = (blockIdx.x * threads + threadIdx.x) * n;
  if (index + n <= chain.elements) {
    pass<form, n>(chain, index, outputs);
  } else {
#pragma unroll 1
    for (; index < chain.elements; ++index) pass<form, 1>(chain, index, outputs);
  }
}

template <int... form>
PointwiseAhead found(const ChainForm& wanted, std::integer_sequence<int, form...>) {
  PointwiseAhead ahead;
  ((forms_ahead[form] == wanted ? void(ahead = {pointwise_of_form<form>, threads, threads * packet_of(forms_ahead[form])})
                                : void()),
   ...);
  return ahead;
}

}  // namespace

PointwiseAhead pointwise_ahead(const ChainForm& form) { return found(form, std::make_integer_sequence<int, stored_ahead>{}); }

}  // namespace gannet::kernels::cuda

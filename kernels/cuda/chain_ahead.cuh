// A chain whose form is known when the kernel is compiled: its values stay in registers and an operation is its own few
// instructions.
#pragma once

#include <cstdint>
#include <utility>

#include "kernels/cuda/chain.cuh"
#include "kernels/cuda/chain_form.h"

namespace gannet::kernels::cuda {

// Of chains that are stored, and from number stored_ahead on of chains that are summed.
inline constexpr ChainForm forms_ahead[] = {
#define GANNET_CHAIN(text) parse_form(text),
#define GANNET_SUM(text)
#include "kernels/cuda/chains_ahead.inc"
#undef GANNET_CHAIN
#undef GANNET_SUM
#define GANNET_CHAIN(text)
#define GANNET_SUM(text) parse_form(text),
#include "kernels/cuda/chains_ahead.inc"
#undef GANNET_CHAIN
#undef GANNET_SUM
};
inline constexpr int stored_ahead = 0
#define GANNET_CHAIN(text) +1
#define GANNET_SUM(text)
#include "kernels/cuda/chains_ahead.inc"
#undef GANNET_CHAIN
#undef GANNET_SUM
    ;
inline constexpr int summed_ahead = sizeof(forms_ahead) / sizeof(ChainForm) - stored_ahead;

template <DType type>
using TypeOf = std::conditional_t<
    type == DType::f32, float,
    std::conditional_t<type == DType::bf16, __nv_bfloat16, std::conditional_t<type == DType::i32, std::int32_t, std::uint8_t>>>;

// As place_in, for so many axes.
template <int axes>
__device__ __forceinline__ std::uint32_t place_over(const ChainInput& input, std::uint32_t index) {
  std::uint32_t place = 0;
#pragma unroll
  for (int axis = axes - 1; axis > 0; --axis) {
    const std::uint32_t outer = input.extent[axis].divide(index);
    place += index * input.step[axis];
    index = outer;
  }
  return place + index * input.step[0];
}

template <int form, int i, int N>
__device__ __forceinline__ void read_input(const ChainInput& input, std::uint32_t index, float (&values)[N]) {
  constexpr ChainForm::Input known = forms_ahead[form].input[i];
  const auto* data = static_cast<const TypeOf<known.type>*>(input.data);
  if constexpr (known.reading == Reading::flat) {
    load(data + index, values);
  } else if constexpr (known.reading == Reading::row) {
    load(data + place_over<known.axes>(input, index), values);
  } else if constexpr (known.reading == Reading::one) {
    const float value = widened(data[place_over<known.axes>(input, index)]);
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] = value;
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) values[k] = widened(data[place_over<known.axes>(input, index + k)]);
  }
}

// The registers of a chain for N neighbouring elements.
template <int form, int N>
struct ChainValues {
  static constexpr int inputs = forms_ahead[form].inputs, steps = forms_ahead[form].steps;
  float value[inputs + steps][N];

  __device__ __forceinline__ ChainValues(const Chain& chain, std::uint32_t index) {
    read(chain, index, std::make_integer_sequence<int, inputs>{});
    compute(chain, std::make_integer_sequence<int, steps>{});
  }

 private:
  template <int... i>
  __device__ __forceinline__ void read(const Chain& chain, std::uint32_t index, std::integer_sequence<int, i...>) {
    (read_input<form, i>(chain.input[i], index, value[i]), ...);
  }
  template <int... s>
  __device__ __forceinline__ void compute(const Chain& chain, std::integer_sequence<int, s...>) {
    (compute_step<s>(chain.step[s]), ...);
  }
  template <int s>
  __device__ __forceinline__ void compute_step(const ChainStep& step) {
    constexpr ChainForm::Step known = forms_ahead[form].step[s];
    constexpr int operands = known.op == PointwiseOp::constant ? 0 : 2;  // of one operand, b is register 0 and not looked at
#pragma unroll
    for (int k = 0; k < N; ++k) {
      value[inputs + s][k] =
          evaluate(known.op, operands ? value[known.a][k] : 0.0f, operands ? value[known.b][k] : 0.0f, step.alpha, step.beta);
    }
  }
};

}  // namespace gannet::kernels::cuda

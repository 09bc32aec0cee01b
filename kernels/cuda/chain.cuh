// Evaluates a chain for a packet of neighbouring elements, step by step. Values lie in shared memory, a column for each thread
// (registers can not be indexed); a thread reads its own column only, in packets, so that there are neither conflicts nor
// barriers.
#pragma once

#include "kernels/cuda/chain.h"
#include "kernels/cuda/numbers.cuh"

namespace gannet::kernels::cuda {

// Where in `input` element `index` of the chain lies.
__device__ inline std::uint32_t place_in(const ChainInput& input, std::uint32_t index) {
  if (input.reading == Reading::flat) return index;
  std::uint32_t place = 0;
  for (int axis = input.axes - 1; axis > 0; --axis) {
    const std::uint32_t outer = input.extent[axis].divide(index);
    place += index * input.step[axis];
    index = outer;
  }
  return place + index * input.step[0];
}

__device__ inline float element_of(const ChainInput& input, std::uint32_t index) {
  const std::uint32_t place = place_in(input, index);
  float value = 0;
  with_type(input.type, [&](auto of_type) { value = widened(static_cast<const decltype(of_type)*>(input.data)[place]); });
  return value;
}

// A packet as it lies in memory, so that many reads can be under way before the first is looked at.
template <int N>
struct RawPacket {
  std::uint32_t word[N];
};

template <int N>
__device__ inline void read_raw(const ChainInput& input, std::uint32_t index, RawPacket<N>& raw) {
  const std::uint32_t place = place_in(input, index);
  const bool one = input.reading == Reading::one;
  if (input.type == DType::f32 || input.type == DType::i32) {
    const auto* data = static_cast<const std::uint32_t*>(input.data) + place;
    if (one) {
      raw.word[0] = *data;
    } else {
      const auto packet = *reinterpret_cast<const Packet<std::uint32_t, N>*>(data);
#pragma unroll
      for (int i = 0; i < N; ++i) raw.word[i] = packet.at[i];
    }
  } else if (input.type == DType::bf16) {
    const auto* data = static_cast<const std::uint16_t*>(input.data) + place;
    if (one || N == 1) {
      raw.word[0] = *data;
    } else {
      const auto packet = *reinterpret_cast<const Packet<std::uint32_t, (N + 1) / 2>*>(data);
#pragma unroll
      for (int i = 0; i < N / 2; ++i) raw.word[i] = packet.at[i];
    }
  } else {
    const auto* data = static_cast<const std::uint8_t*>(input.data) + place;
    if (one || N == 1) {
      raw.word[0] = *data;
    } else {
      raw.word[0] = *reinterpret_cast<const std::uint32_t*>(data);
    }
  }
}

template <int N>
__device__ inline void widen(const ChainInput& input, const RawPacket<N>& raw, float (&values)[N]) {
  const bool one = input.reading == Reading::one;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const std::uint32_t first = raw.word[0];
    if (input.type == DType::f32 || input.type == DType::i32) {
      const std::uint32_t other = raw.word[i], word = one ? first : other;
      values[i] = input.type == DType::f32 ? __uint_as_float(word) : static_cast<float>(static_cast<std::int32_t>(word));
    } else if (input.type == DType::bf16) {
      const std::uint32_t pair = raw.word[i / 2], other = i % 2 == 0 ? pair << 16 : pair & 0xFFFF0000u;
      values[i] = __uint_as_float(one ? first << 16 : other);
    } else {
      values[i] = static_cast<float>(one ? first & 0xFFu : first >> 8 * i & 0xFFu);
    }
  }
}

template <int N>
__device__ inline void write(const ChainOutput& output, std::uint32_t index, int count, const float (&values)[N]) {
  with_type(output.type, [&](auto of_type) {
    using T = decltype(of_type);
    T* data = static_cast<T*>(output.data) + index;
    if (count == N) {
      store(data, values);
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        if (i < count) data[i] = narrowed<T>(values[i]);
      }
    }
  });
}

// One operation; `op` may be known at compile time.
__device__ __forceinline__ float evaluate(PointwiseOp op, float a, float b, float alpha, float beta) {
  switch (op) {
    case PointwiseOp::constant:
      return alpha;
    case PointwiseOp::affine:
      return fmaf(alpha, a, beta);
    case PointwiseOp::add:
      return a + b;
    case PointwiseOp::subtract:
      return a - b;
    case PointwiseOp::multiply:
      return a * b;
    case PointwiseOp::divide:
      return a / b;
    case PointwiseOp::maximum:  // a NaN stays one
      return a != a ? a : b != b ? b : fmaxf(a, b);
    case PointwiseOp::minimum:
      return a != a ? a : b != b ? b : fminf(a, b);
    case PointwiseOp::greater:
      return a > b ? 1.0f : 0.0f;
    case PointwiseOp::exp:
      return expf(a);
    case PointwiseOp::log:
      return logf(a);
    case PointwiseOp::sqrt:
      return sqrtf(a);
    case PointwiseOp::tanh:
      return tanhf(a);
    case PointwiseOp::sigmoid:
      return sigmoid(a);
    case PointwiseOp::abs:
      return fabsf(a);
    case PointwiseOp::sign:
      return a > 0 ? 1.0f : a < 0 ? -1.0f : a;
    case PointwiseOp::reciprocal:
      return 1.0f / a;
    case PointwiseOp::softplus:
      return softplus(a);
    case PointwiseOp::leaky_relu:
      return a > 0 ? a : alpha * a;
    case PointwiseOp::leaky_step:
      return a > 0 ? 1.0f : alpha;
  }
  return 0;
}

// The columns of a block: packet `slot` of a thread lies at columns[slot * threads].
template <int N>
struct Column {
  Packet<float, N>* own;
  int threads;
  __device__ Packet<float, N>& operator[](int slot) const { return own[slot * threads]; }
};

// Leaves the chain's values in the column and returns the last result.
template <int N>
__device__ inline Packet<float, N> interpret(const Chain& chain, const Column<N>& column, std::uint32_t index, int count) {
  constexpr int together = 4;  // inputs under way at once
  for (int first = 0; first < chain.inputs; first += together) {
    RawPacket<N> raw[together];
#pragma unroll
    for (int i = 0; i < together; ++i) {
      if (first + i >= chain.inputs) continue;
      const ChainInput& input = chain.input[first + i];
      if (count == N && input.reading != Reading::gather) read_raw(input, index, raw[i]);
    }
#pragma unroll
    for (int i = 0; i < together; ++i) {
      if (first + i >= chain.inputs) continue;
      const ChainInput& input = chain.input[first + i];
      Packet<float, N>& values = column[first + i];
      if (count == N && input.reading != Reading::gather) {
        Packet<float, N> packet;
        widen(input, raw[i], packet.at);
        values = packet;
      } else {
#pragma unroll 1
        for (int k = 0; k < N; ++k) values.at[k] = k < count ? element_of(input, index + k) : 0.0f;
      }
    }
  }
  Packet<float, N> last{};
  for (int s = 0; s < chain.steps; ++s) {
    const ChainStep& step = chain.step[s];
    Packet<float, N> a = last, b = last;
    if (step.a != last_result) a = column[step.a];
    if (step.b != last_result) b = column[step.b];
    const auto all = [&](auto op) {
#pragma unroll
      for (int i = 0; i < N; ++i) last.at[i] = evaluate(decltype(op)::value, a.at[i], b.at[i], step.alpha, step.beta);
    };
    switch (step.op) {
#define GANNET_CASE(name)                                          \
  case PointwiseOp::name:                                          \
    all(std::integral_constant<PointwiseOp, PointwiseOp::name>{}); \
    break;
      GANNET_CASE(constant)
      GANNET_CASE(affine)
      GANNET_CASE(add)
      GANNET_CASE(subtract)
      GANNET_CASE(multiply)
      GANNET_CASE(divide)
      GANNET_CASE(maximum)
      GANNET_CASE(minimum)
      GANNET_CASE(greater)
      GANNET_CASE(exp)
      GANNET_CASE(log)
      GANNET_CASE(sqrt)
      GANNET_CASE(tanh)
      GANNET_CASE(sigmoid)
      GANNET_CASE(abs)
      GANNET_CASE(sign)
      GANNET_CASE(reciprocal)
      GANNET_CASE(softplus)
      GANNET_CASE(leaky_relu)
      GANNET_CASE(leaky_step)
#undef GANNET_CASE
    }
    if (step.keep != no_slot) column[step.keep] = last;
  }
  return last;
}

}  // namespace gannet::kernels::cuda

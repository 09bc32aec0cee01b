// Numbers in registers: fp32 lanes read from and written to memory of any element type, and the functions of the operators.
#pragma once

#include <cuda_bf16.h>

#include <cstdint>
#include <type_traits>

#include "kernels/activation.h"
#include "kernels/tensor.h"

namespace gannet::kernels::cuda {

// N neighbouring elements, moved by one instruction where they have 16 bytes or fewer.
template <typename T, int N>
struct alignas(sizeof(T) * N <= 16 ? sizeof(T) * N : 16) Packet {
  T at[N];
};

__device__ inline float widened(float x) { return x; }
__device__ inline float widened(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float widened(std::int32_t x) { return static_cast<float>(x); }
__device__ inline float widened(std::uint8_t x) { return static_cast<float>(x); }

// Integers are rounded to nearest even and saturated; NaN becomes 0.
template <typename T>
__device__ inline T narrowed(float x) {
  if constexpr (std::is_same_v<T, float>) {
    return x;
  } else if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    return __float2bfloat16_rn(x);
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return __float2int_rn(x);
  } else {
    return static_cast<std::uint8_t>(min(max(__float2int_rn(x), 0), 255));
  }
}

// A packet to numbers and back. Two bf16 are taken as the word in which they lie.
template <typename T, int N>
__device__ __forceinline__ void widen(const Packet<T, N>& packet, float (&values)[N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = widened(packet.at[i]);
}
template <int N>
__device__ __forceinline__ void widen(const Packet<std::uint32_t, N>& pairs, float (&values)[2 * N]) {
#pragma unroll
  for (int i = 0; i < N; ++i) {
    values[2 * i] = __uint_as_float(pairs.at[i] << 16);
    values[2 * i + 1] = __uint_as_float(pairs.at[i] & 0xFFFF0000u);
  }
}

// What a packet is read as: words of two where that goes.
template <typename T, int N>
using ReadAs =
    std::conditional_t<std::is_same_v<T, __nv_bfloat16> && N % 2 == 0, Packet<std::uint32_t, (N + 1) / 2>, Packet<T, N>>;

template <typename T, int N>
__device__ inline void load(const T* from, float (&values)[N]) {
  const auto packet = *reinterpret_cast<const ReadAs<T, N>*>(from);
  widen(packet, values);
}
template <typename T, int N>
__device__ inline void store(T* to, const float (&values)[N]) {
  ReadAs<T, N> packet;
  if constexpr (std::is_same_v<T, __nv_bfloat16> && N % 2 == 0) {
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(values[2 * i], values[2 * i + 1]);
      packet.at[i] = reinterpret_cast<const std::uint32_t&>(pair);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) packet.at[i] = narrowed<T>(values[i]);
  }
  *reinterpret_cast<ReadAs<T, N>*>(to) = packet;
}

// Calls function(T{}) with the element type that `type` stands for.
template <typename Function>
__device__ __forceinline__ void with_type(DType type, Function function) {
  if (type == DType::f32) {
    function(float{});
  } else if (type == DType::bf16) {
    function(__nv_bfloat16{});
  } else if (type == DType::i32) {
    function(std::int32_t{});
  } else {
    function(std::uint8_t{});
  }
}

// e^-|x| overflows for no x; both functions are right in relative terms wherever they go to 0.
__device__ inline float sigmoid(float x) {
  const float e = expf(-fabsf(x)), r = 1.0f / (1.0f + e);
  return x < 0 ? e * r : r;
}
__device__ inline float softplus(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }

__device__ inline float activate(Activation::Kind kind, float slope, float x) {
  switch (kind) {
    case Activation::Kind::leaky_relu:
      return x > 0 ? x : slope * x;
    case Activation::Kind::tanh:
      return tanhf(x);
    case Activation::Kind::sigmoid:
      return sigmoid(x);
    default:
      return x;
  }
}

// d activate(x) / dx
__device__ inline float activation_slope(Activation::Kind kind, float slope, float x) {
  switch (kind) {
    case Activation::Kind::leaky_relu:
      return x > 0 ? 1.0f : slope;
    case Activation::Kind::tanh: {
      const float t = tanhf(x);
      return fmaf(-t, t, 1.0f);
    }
    case Activation::Kind::sigmoid: {
      const float s = sigmoid(x);
      return s * (1.0f - s);
    }
    default:
      return 1.0f;
  }
}

}  // namespace gannet::kernels::cuda

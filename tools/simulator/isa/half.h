// f16 and bf16 by way of f32: widening is exact; narrowing rounds once. A result with more than 24 bits is first rounded to odd
// (Boldo and Melquiond, "When double rounding is odd", 2005): cut off, with the last bit set where something was lost. Rounding
// that to 22 bits or fewer, in any direction, gives what rounding the exact value gives.
#pragma once
#include "isa/vectors.h"

namespace sim {

/// `x` + `error`, an exact sum of which x is the rounded value, rounded to odd instead.
[[gnu::always_inline]] inline F32x8 to_odd(F32x8 x, F32x8 error) {
  const I32x8 bits = as<I32x8>(x);
  const I32x8 toward = ((bits ^ as<I32x8>(error)) >> 31) | 1;  // away from zero where the error has the sign of x
  const I32x8 lost = as<I32x8>(F32x8(_mm256_cmp_ps(error, F32x8{}, _CMP_NEQ_OQ))) & ((bits & 1) == 0);
  return as<F32x8>(bits + (lost & toward));
}
[[gnu::always_inline]] inline F64x4 to_odd(F64x4 x, F64x4 error) {
  const I64x4 bits = as<I64x4>(x);
  const I64x4 toward = ((bits ^ as<I64x4>(error)) < 0) | 1;
  const I64x4 lost = as<I64x4>(F64x4(_mm256_cmp_pd(error, F64x4{}, _CMP_NEQ_OQ))) & ((bits & 1) == 0);
  return as<F64x4>(bits + (lost & toward));
}

/// x + y rounded to odd; the error of the sum after Knuth.
template <class V>
[[gnu::always_inline]] inline V add_to_odd(V x, V y) {
  const V sum = x + y;
  const V other = sum - x;
  return to_odd(sum, (x - (sum - other)) + (y - other));
}

[[gnu::always_inline]] inline F64x4 widened(F32x4 x) { return _mm256_cvtps_pd(x); }
[[gnu::always_inline]] inline F32x4 low_half(F32x8 x) { return _mm256_castps256_ps128(x); }
[[gnu::always_inline]] inline F32x4 high_half(F32x8 x) { return _mm256_extractf128_ps(x, 1); }
[[gnu::always_inline]] inline F32x8 joined(F32x4 low, F32x4 high) { return _mm256_set_m128(high, low); }

/// Eight doubles to f32, rounded to odd.
[[gnu::always_inline]] inline F32x8 narrowed_to_odd(F64x4 low, F64x4 high) {
  auto narrow = [](F64x4 x) __attribute__((always_inline)) {
    const F32x4 nearest = _mm256_cvtpd_ps(x);
    const F64x4 back = widened(nearest);
    const F64x4 error = x - back;  // infinite where f32 overflows: the step back to the largest finite number is right too
    using I32x4 = std::int32_t __attribute__((vector_size(16)));
    const I64x4 away = as<I64x4>(F64x4(_mm256_cmp_pd(error, F64x4{}, _CMP_NEQ_OQ)));
    const I64x4 sign = (as<I64x4>(error) ^ as<I64x4>(x)) < 0;
    const I64x4 step = away & (sign | 1);
    const I32x4 steps = __builtin_convertvector(step, I32x4);
    const I32x4 bits = (I32x4)nearest;
    return (F32x4)(bits + (steps & ((bits & 1) == 0)));
  };
  return joined(narrow(low), narrow(high));
}

/// NaN where x is: 0x7fff, for a format whose infinity is `infinity`.
template <class V>
[[gnu::always_inline]] inline V canonical_half(V bits, std::uint16_t infinity) {
  return (bits & 0x7fff) > infinity ? V{} + std::uint16_t{0x7fff} : bits;
}

struct Half {
  static constexpr std::uint16_t kInfinity = 0x7c00, kLargest = 0x7bff;
  static constexpr float kLargestValue = 65504.0F;

  [[gnu::always_inline]] static F32x8 widen(U16x8 bits) { return _mm256_cvtph_ps((__m128i)bits); }
  /// Any NaN gives a NaN, not the canonical one.
  template <Rounding R>
  [[gnu::always_inline]] static U16x8 narrow(F32x8 x) {
    return (U16x8)_mm256_cvtps_ph(x, static_cast<int>(R) | _MM_FROUND_NO_EXC);
  }
};

struct Bfloat {
  static constexpr std::uint16_t kInfinity = 0x7f80, kLargest = 0x7f7f;
  static constexpr float kLargestValue = 0x1.fep127F;

  [[gnu::always_inline]] static F32x8 widen(U16x8 bits) {
    return as<F32x8>(U32x8(_mm256_slli_epi32(_mm256_cvtepu16_epi32((__m128i)bits), 16)));
  }
  template <Rounding R>
  [[gnu::always_inline]] static U16x8 narrow(F32x8 x) {
    const U32x8 bits = as<U32x8>(x);
    U32x8 rounded = bits;
    if constexpr (R == Rounding::nearest) rounded = bits + 0x7fff + ((bits >> 16) & 1);
    if constexpr (R == Rounding::up) rounded = bits + (as<U32x8>(as<I32x8>(bits) >= 0) & 0xffff);
    if constexpr (R == Rounding::down) rounded = bits + (as<U32x8>(as<I32x8>(bits) < 0) & 0xffff);
    rounded = x == x ? rounded : U32x8{} + kNan32;
    return lower_halves(rounded >> 16);
  }
};

template <class Format>
[[gnu::always_inline]] inline U16x8 narrow(F32x8 x, Rounding rounding) {
  switch (rounding) {
    case Rounding::down:
      return Format::template narrow<Rounding::down>(x);
    case Rounding::up:
      return Format::template narrow<Rounding::up>(x);
    case Rounding::zero:
      return Format::template narrow<Rounding::zero>(x);
    case Rounding::nearest:
      break;
  }
  return Format::template narrow<Rounding::nearest>(x);
}

[[gnu::always_inline]] inline U16x8 low_half(U16x16 x) { return (U16x8)_mm256_castsi256_si128((__m256i)x); }
[[gnu::always_inline]] inline U16x8 high_half(U16x16 x) { return (U16x8)_mm256_extracti128_si256((__m256i)x, 1); }
[[gnu::always_inline]] inline U16x16 joined(U16x8 low, U16x8 high) {
  return (U16x16)_mm256_set_m128i((__m128i)high, (__m128i)low);
}

/// Negative numbers and -0 to +0; NaN stays.
[[gnu::always_inline]] inline F32x8 rectified(F32x8 x) { return x <= 0 ? F32x8{} : x; }

/// d[l …] = f(element) for packed halves or single ones: sixteen elements at a time, of sixteen lanes or of eight with two
/// each.
template <bool Packed, class F>
[[gnu::always_inline]] inline void for_halves(Warp& w, const Instruction& in, F f) {
  if constexpr (Packed) {
    for_vectors<U32x8>(
        w.mask, w.at<std::uint32_t>(in.d), [=](int lane) __attribute__((always_inline)) { return as<U32x8>(f(2 * lane)); });
  } else {
    for_vectors<U16x16>(
        w.mask, w.at<std::uint16_t>(in.d), [=](int lane) __attribute__((always_inline)) { return f(lane); });
  }
}

}  // namespace sim

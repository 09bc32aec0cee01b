// Floating-point vectors for handlers: eight or sixteen lanes at a time, blended where lanes are inactive. Vectors are 32 bytes
// in every build, since the lanes of a warp are few and the wider ones cost more to set up than they save.
#pragma once
#include <immintrin.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "isa/instruction.h"
#include "machine/warp.h"

namespace sim {

using F32x8 = float __attribute__((vector_size(32)));
using I32x8 = std::int32_t __attribute__((vector_size(32)));
using U32x8 = std::uint32_t __attribute__((vector_size(32)));
using F64x4 = double __attribute__((vector_size(32)));
using I64x4 = long long __attribute__((vector_size(32)));
using U64x4 = unsigned long long __attribute__((vector_size(32)));
using U16x16 = std::uint16_t __attribute__((vector_size(32)));
using U16x8 = std::uint16_t __attribute__((vector_size(16)));
using F32x4 = float __attribute__((vector_size(16)));

template <class V>
using Element = std::remove_cvref_t<decltype(V{}[0])>;
template <class V>
inline constexpr int kElements = sizeof(V) / sizeof(Element<V>);

template <class V>
[[gnu::always_inline]] inline V load(const void* from) {
  V result;
  std::memcpy(&result, from, sizeof result);
  return result;
}

template <class V>
[[gnu::always_inline]] inline void store(void* to, V value) {
  std::memcpy(to, &value, sizeof value);
}

/// The same bits as another vector.
template <class To, class From>
[[gnu::always_inline]] inline To as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  return (To)from;  // NOLINT(google-readability-casting): for vectors this cast, and no other, keeps the bits
}

namespace vector_detail {
template <std::size_t bytes>
struct UnsignedInteger;
template <>
struct UnsignedInteger<2> {
  using type = std::uint16_t;
};
template <>
struct UnsignedInteger<4> {
  using type = std::uint32_t;
};
template <>
struct UnsignedInteger<8> {
  using type = unsigned long long;
};
/// The vector of unsigned integers with as many lanes of as many bits.
template <class V>
struct Unsigned {
  using type [[gnu::vector_size(sizeof(V))]] = typename UnsignedInteger<sizeof(Element<V>)>::type;
};

template <class U>
constexpr auto bits_of_lanes() {
  std::array<Element<U>, kElements<U>> bits{};
  for (int n = 0; n < kElements<U>; ++n) bits[n] = static_cast<Element<U>>(Element<U>{1} << n);
  return bits;
}
template <class U>
alignas(32) inline constexpr auto kBitsOfLanes = bits_of_lanes<U>();
}  // namespace vector_detail

/// `to` with the active ones of its lanes replaced; bit 0 of `mask` is for the first.
template <class V>
[[gnu::always_inline]] inline void store_active(Mask mask, void* to, V value) {
  using U = typename vector_detail::Unsigned<V>::type;
  const U bits = load<U>(vector_detail::kBitsOfLanes<U>.data());
  const U part = (U{} + static_cast<Element<U>>(mask)) & bits;
  store<U>(to, part == bits ? as<U>(value) : load<U>(to));
}

/// d[l …] = f(l) for the active lanes, a vector at a time. `f` may read those lanes of d.
template <class V, class F>
[[gnu::always_inline]] inline void for_vectors(Mask mask, Element<V>* d, F f) {
  if (mask == kAllLanes) [[likely]] {
#pragma GCC unroll 4
    for (int lane = 0; lane < kLanes; lane += kElements<V>) store<V>(d + lane, f(lane));
  } else {
    for (int lane = 0; lane < kLanes; lane += kElements<V>) store_active<V>(mask >> lane, d + lane, f(lane));
  }
}

/// How a result is rounded; the values are those of MXCSR and of the rounding immediates.
enum class Rounding : std::uint8_t { nearest = 0, down = 1, up = 2, zero = 3 };

// Instruction::flags of floating-point handlers.
inline constexpr std::uint8_t kRoundingBits = 3;  // a Rounding
inline constexpr std::uint8_t kFlush = 4;         // .ftz
inline constexpr std::uint8_t kSaturate = 8;      // .sat
inline constexpr std::uint8_t kRelu = 16;
inline constexpr std::uint8_t kSaturateFinite = 32;
inline constexpr std::uint8_t kToInteger = 64;   // cvt.rni.f32.f32 and so on
inline constexpr std::uint8_t kXorsignAbs = 64;  // of min and max
inline constexpr std::uint8_t kAbs = 128;        // of min and max of three

/// Runs a handler with the rounding and the flushing that the instruction's flags ask for. Handlers count on MXCSR's default
/// else: to nearest, subnormals kept, no traps. The hardware's flushing is what PTX's .ftz means: a result counts as subnormal
/// when it is so after rounding to 24 bits without a bound on the exponent.
template <Handler H>
void controlled(Warp& w, const Instruction& in) {
  constexpr std::uint32_t kDefault = 0x1f80, kFlushBoth = 0x8040;
  const std::uint32_t wanted =
      kDefault | (std::uint32_t{in.flags} & kRoundingBits) << 13 | ((in.flags & kFlush) != 0 ? kFlushBoth : 0);
  asm volatile("vldmxcsr %0" ::"m"(wanted) : "memory");
  H(w, in);
  asm volatile("vldmxcsr %0" ::"m"(kDefault) : "memory");
}

/// A handler and the same under `controlled`.
struct HandlerPair {
  Handler plain = nullptr, controlled = nullptr;
  Handler choose(std::uint8_t flags) const { return (flags & (kRoundingBits | kFlush)) == 0 ? plain : controlled; }
};
template <Handler H>
inline constexpr HandlerPair kPair{H, controlled<H>};

inline constexpr std::uint32_t kNan32 = 0x7fffffff;  // what f32 instructions give for any NaN

[[gnu::always_inline]] inline F32x8 canonical(F32x8 r) { return r == r ? r : as<F32x8>(U32x8{} + kNan32); }

/// Clamped to [0, 1]; NaN and -0 give +0.
template <class V>
[[gnu::always_inline]] inline V saturated(V r) {
  r = r > 0 ? r : V{};
  return r < 1 ? r : V{} + 1;
}

[[gnu::always_inline]] inline F32x8 magnitude(F32x8 x) { return as<F32x8>(as<U32x8>(x) & 0x7fffffff); }

/// Elements below 2^16, in 16 bits.
[[gnu::always_inline]] inline U16x8 lower_halves(U32x8 x) {
  const __m256i packed = _mm256_packus_epi32((__m256i)x, (__m256i)x);
  return (U16x8)_mm256_castsi256_si128(_mm256_permute4x64_epi64(packed, 0xd8));
}

/// Subnormals to zero of the same sign.
[[gnu::always_inline]] inline F32x8 flushed(F32x8 x) {
  const U32x8 bits = as<U32x8>(x);
  return as<F32x8>((bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits);
}

/// Rounded to an integer; NaN stays.
[[gnu::always_inline]] inline F32x8 to_integral(F32x8 x, Rounding rounding) {
  switch (rounding) {
    case Rounding::down:
      return _mm256_round_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    case Rounding::up:
      return _mm256_round_ps(x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    case Rounding::zero:
      return _mm256_round_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    case Rounding::nearest:
      break;
  }
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
[[gnu::always_inline]] inline F64x4 to_integral(F64x4 x, Rounding rounding) {
  switch (rounding) {
    case Rounding::down:
      return _mm256_round_pd(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    case Rounding::up:
      return _mm256_round_pd(x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    case Rounding::zero:
      return _mm256_round_pd(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    case Rounding::nearest:
      break;
  }
  return _mm256_round_pd(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/// The smaller or larger number; -0 is less than +0, and NaN only where both are. vminps gives the second operand where one is
/// NaN and where both are zeros.
template <bool Max>
[[gnu::always_inline]] inline F32x8 extreme(F32x8 x, F32x8 y) {
  const F32x8 r = Max ? _mm256_max_ps(x, y) : _mm256_min_ps(x, y);
  const U32x8 equal = Max ? as<U32x8>(x) & as<U32x8>(y) : as<U32x8>(x) | as<U32x8>(y);
  const F32x8 ordered = x == y ? as<F32x8>(equal) : r;
  return y == y ? ordered : x;
}

}  // namespace sim

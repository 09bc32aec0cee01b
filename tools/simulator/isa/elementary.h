// Elementary functions of f32 arguments in double precision, four at a time, with relative errors near 2^-50: rounded to f32
// that is the correctly rounded result but for one argument in about 2^26. Series rather than minimax polynomials: the
// arguments are reduced far enough.
#pragma once
#include <bit>
#include <cmath>
#include <cstddef>

#include "isa/vectors.h"

namespace sim {

namespace elementary_detail {
inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;
inline constexpr double kRoundingShift = 0x1.8p52;  // added to a small double, it leaves the nearest integer in the low bits

[[gnu::always_inline]] inline F64x4 fused(F64x4 a, F64x4 b, F64x4 c) { return _mm256_fmadd_pd(a, b, c); }
[[gnu::always_inline]] inline F64x4 all(double x) { return F64x4{x, x, x, x}; }

// coefficients[0] + x coefficients[1] + … after Estrin: halves that do not wait for each other. `powers[k]` is x^(2^k).
template <std::size_t First, std::size_t Count, std::size_t N>
[[gnu::always_inline]] inline F64x4 partial(const F64x4* powers, const double (&coefficients)[N]) {
  if constexpr (Count == 1) {
    return all(coefficients[First]);
  } else {
    constexpr std::size_t kHalf = std::bit_ceil(Count) / 2;
    const F64x4 upper = partial<First + kHalf, Count - kHalf>(powers, coefficients);
    return fused(upper, powers[std::countr_zero(kHalf)], partial<First, kHalf>(powers, coefficients));
  }
}
template <std::size_t N>
[[gnu::always_inline]] inline F64x4 polynomial(F64x4 x, const double (&coefficients)[N]) {
  static_assert(N > 8 && N <= 16);
  const F64x4 square = x * x, fourth = square * square;
  const F64x4 powers[] = {x, square, fourth, fourth * fourth};
  return partial<0, N>(powers, coefficients);
}

// (e^x - 1) / x for |x| <= ln 2 / 2: 1 / (k + 1)!
inline constexpr double kExpm1[] = {
    1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,        1.0 / 5040,
    1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800, 1.0 / 87178291200};
// atanh(s) / s in s^2
inline constexpr double kAtanh[] = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9,  1.0 / 11, 1.0 / 13,
                                    1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21, 1.0 / 23, 1.0 / 25};
// sin(x) / x and cos(x) in x^2
inline constexpr double kSine[] = {1.0,
                                   -1.0 / 6,
                                   1.0 / 120,
                                   -1.0 / 5040,
                                   1.0 / 362880,
                                   -1.0 / 39916800,
                                   1.0 / 6227020800,
                                   -1.0 / 1307674368000,
                                   1.0 / 355687428096000,
                                   -1.0 / 121645100408832000};
inline constexpr double kCosine[] = {1.0,
                                     -1.0 / 2,
                                     1.0 / 24,
                                     -1.0 / 720,
                                     1.0 / 40320,
                                     -1.0 / 3628800,
                                     1.0 / 479001600,
                                     -1.0 / 87178291200,
                                     1.0 / 20922789888000,
                                     -1.0 / 6402373705728000};

// 2^n - 1 and (2^(x - n) - 1), with n the integer nearest to x; |x| < 1000.
struct Exponential {
  F64x4 scale, fraction_minus_one;
};
[[gnu::always_inline]] inline Exponential exponential(F64x4 x) {
  const F64x4 shifted = x + kRoundingShift;
  const F64x4 r = (x - (shifted - kRoundingShift)) * kLn2;
  const F64x4 scale = as<F64x4>((as<U64x4>(shifted) << 52) + 0x3ff0000000000000);
  return {scale, r * polynomial(r, kExpm1)};
}

template <bool Cosine>
[[gnu::noinline]] F64x4 large_sine(F64x4 x) {
  F64x4 r{};
  for (int n = 0; n < 4; ++n) r[n] = Cosine ? std::cos(x[n]) : std::sin(x[n]);
  return r;
}
}  // namespace elementary_detail

/// 2^x; |x| is taken as 1000 at most.
[[gnu::always_inline]] inline F64x4 exp2_of(F64x4 x) {
  using namespace elementary_detail;
  x = x > 1000 ? all(1000) : x;
  x = x < -1000 ? all(-1000) : x;
  const Exponential e = exponential(x);
  return fused(e.scale, e.fraction_minus_one, e.scale);
}

/// tanh(x), through e^2x - 1.
[[gnu::always_inline]] inline F64x4 tanh_of(F64x4 x) {
  using namespace elementary_detail;
  constexpr double kTwiceLog2E = 0x1.71547652b82fep+1;
  const U64x4 sign = as<U64x4>(x) & 0x8000000000000000;
  F64x4 size = as<F64x4>(as<U64x4>(x) ^ sign);
  size = size > 30 ? all(30) : size;
  const Exponential e = exponential(size * kTwiceLog2E);
  const F64x4 expm1 = fused(e.scale, e.fraction_minus_one, e.scale - 1);
  return as<F64x4>(as<U64x4>(expm1 / (expm1 + 2)) | sign);
}

/// log2(x) for positive, finite, normal x.
[[gnu::always_inline]] inline F64x4 log2_of(F64x4 x) {
  using namespace elementary_detail;
  constexpr unsigned long long kRootHalf = 0x3fe6a09e667f3bcd, kOne = 0x3ff0000000000000;
  const U64x4 bits = as<U64x4>(x);
  const U64x4 biased = (bits + (kOne - kRootHalf)) >> 52;  // the exponent that leaves a fraction in [sqrt(1/2), sqrt(2))
  const F64x4 exponent = as<F64x4>(biased | 0x4330000000000000) - (0x1p52 + 1023);
  const F64x4 m = as<F64x4>(bits - (biased << 52) + kOne);
  const F64x4 s = (m - 1) / (m + 1);
  constexpr double kTwiceLog2E = 0x1.71547652b82fep+1;
  return fused(s * polynomial(s * s, kAtanh), all(kTwiceLog2E), exponent);
}

/// sin(x), or cos(x), for finite x that are f32.
template <bool Cosine>
[[gnu::always_inline]] inline F64x4 sine_of(F64x4 x) {
  using namespace elementary_detail;
  constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1, kHalfPiHigh = 0x1.921fb54442d18p+0, kHalfPiLow = 0x1.1a62633145c07p-54;
  const F64x4 size = as<F64x4>(as<U64x4>(x) & 0x7fffffffffffffff);
  if (_mm256_movemask_pd(_mm256_cmp_pd(size, all(0x1p20), _CMP_GT_OQ)) != 0) [[unlikely]] {
    return elementary_detail::large_sine<Cosine>(x);
  }
  // x is a multiple of 2^-24 where n is not 0, and pi/2's high part one of 2^-52: the first step is exact.
  const F64x4 shifted = fused(x, all(kTwoOverPi), all(kRoundingShift));
  const F64x4 n = shifted - kRoundingShift;
  const F64x4 r = fused(-n, all(kHalfPiLow), fused(-n, all(kHalfPiHigh), x));
  const U64x4 quadrant = as<U64x4>(shifted) + (Cosine ? 1 : 0);
  const F64x4 square = r * r;
  const F64x4 sine = r * polynomial(square, kSine), cosine = polynomial(square, kCosine);
  const F64x4 result = (quadrant & 1) == 0 ? sine : cosine;
  return as<F64x4>(as<U64x4>(result) ^ ((quadrant & 2) << 62));
}

}  // namespace sim

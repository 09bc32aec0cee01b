// Elementary functions of the vectors of simd.h, to a few units in the last place over the whole range of fp32: overflow to
// infinity, gradual underflow, NaN in NaN out. Polynomials are those of Cephes' single-precision library (Moshier 1992).
#pragma once

#include "kernels/activation.h"
#include "kernels/cpu/simd.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {

inline Float negative(Float x) { return number_of_bits(bits_of(x) ^ Word(0x80000000u)); }
inline Float with_sign_of(Float x, Float sign) { return number_of_bits(bits_of(x) | (bits_of(sign) & Word(0x80000000u))); }

// ln 2 = high + low, high in so few bits that its product with a whole number below 2^14 is exact.
inline constexpr float ln2_high = 0.693359375f;
inline constexpr float ln2_low = -2.12194440e-4f;

// e^x = 2^n e^r, |r| <= ln 2 / 2.
inline Float exp(Float x) {
  // Beyond these the result is infinity or rounds to 0. A NaN is the second operand and stays.
  const Float inside = maximum(Float(-105.0f), minimum(Float(89.0f), x));
  const Float n = nearest(inside * Float(1.44269504f));
  const Float r = fma(n, Float(-ln2_low), fma(n, Float(-ln2_high), inside));
  Float p = fma(Float(1.9875691500e-4f), r, Float(1.3981999507e-3f));
  p = fma(p, r, Float(8.3334519073e-3f));
  p = fma(p, r, Float(4.1665795894e-2f));
  p = fma(p, r, Float(1.6666665459e-1f));
  p = fma(p, r, Float(5.0000001201e-1f));
  return scale(fma(p, r * r, r) + Float(1.0f), n);
}

// ln x = n ln 2 + ln m, sqrt 1/2 <= m < sqrt 2.
inline Float log(Float x) {
  const Mask denormal = x < Float(0x1p-126f);
  const Float scaled = select(denormal, x * Float(0x1p24f), x);
  const Word sqrt_half(0x3F3504F3u);                                   // its bits
  const Word offset = bits_of(scaled) - sqrt_half + Word(128u << 23);  // kept positive for the shift
  const Float n = to_number(offset >> 23) - select(denormal, Float(128.0f + 24.0f), Float(128.0f));
  const Float t = number_of_bits((offset & Word(0x007FFFFFu)) + sqrt_half) - Float(1.0f);
  const Float z = t * t;
  Float p = fma(Float(7.0376836292e-2f), t, Float(-1.1514610310e-1f));
  p = fma(p, t, Float(1.1676998740e-1f));
  p = fma(p, t, Float(-1.2420140846e-1f));
  p = fma(p, t, Float(1.4249322787e-1f));
  p = fma(p, t, Float(-1.6668057665e-1f));
  p = fma(p, t, Float(2.0000714765e-1f));
  p = fma(p, t, Float(-2.4999993993e-1f));
  p = fma(p, t, Float(3.3333331174e-1f));
  Float y = fma(n, Float(ln2_low), p * t * z);
  y = fma(z, Float(-0.5f), y);
  const Float finite = fma(n, Float(ln2_high), t + y);
  const Float infinity = number_of_bits(Word(0x7F800000u));
  // Infinity and NaN pass; 0 gives minus infinity; below 0 is NaN.
  const Float large = select(x < infinity, finite, x);
  const Float not_a_number = number_of_bits(Word(0x7FC00000u));
  const Float positive = select(x < Float(0.0f), not_a_number, large);
  return select(absolute(x) > Float(0.0f), positive, select(is_nan(x), x, negative(infinity)));
}

// ln(1 + u) for 0 <= u <= 1, exact in relative terms near 0: 2 atanh(u / (2 + u)), whose argument is at most 1/3.
inline Float log1p_of_fraction(Float u) {
  const Float s = u / (u + Float(2.0f));
  const Float z = s * s;
  Float p = fma(Float(2.0f / 13), z, Float(2.0f / 11));
  p = fma(p, z, Float(2.0f / 9));
  p = fma(p, z, Float(2.0f / 7));
  p = fma(p, z, Float(2.0f / 5));
  p = fma(p, z, Float(2.0f / 3));
  return fma(p * z, s, s + s);
}

// sigmoid(x) and ln(1 + e^x) from e = exp(-|x|), which no argument makes overflow.
inline Float exp_of_minus_size(Float x) { return exp(negative(absolute(x))); }
inline Float sigmoid_given(Float x, Float e) {
  const Float r = Float(1.0f) / (Float(1.0f) + e);
  return select(x < Float(0.0f), e * r, r);
}
inline Float sigmoid(Float x) { return sigmoid_given(x, exp_of_minus_size(x)); }
inline Float softplus(Float x) { return maximum(Float(0.0f), x) + log1p_of_fraction(exp_of_minus_size(x)); }

inline Float tanh(Float x) {
  const Float size = absolute(x);
  const Float z = x * x;
  Float p = fma(Float(-5.70498872745e-3f), z, Float(2.06390887954e-2f));
  p = fma(p, z, Float(-5.37397155531e-2f));
  p = fma(p, z, Float(1.33314422036e-1f));
  p = fma(p, z, Float(-3.33332819422e-1f));
  const Float small = fma(p * z, x, x);
  const Float large = Float(1.0f) - Float(2.0f) / (exp(size + size) + Float(1.0f));
  return select(size < Float(0.625f), small, with_sign_of(large, x));
}

inline Float leaky_relu(Float x, Float slope) { return select(x > Float(0.0f), x, slope * x); }

template <Activation::Kind kind>
inline Float activate(Float x, Float slope) {
  if constexpr (kind == Activation::Kind::leaky_relu) return leaky_relu(x, slope);
  if constexpr (kind == Activation::Kind::tanh) return tanh(x);
  if constexpr (kind == Activation::Kind::sigmoid) return sigmoid(x);
  return x;
}

// The activation's derivative at its argument.
template <Activation::Kind kind>
inline Float activation_slope(Float x, Float slope) {
  if constexpr (kind == Activation::Kind::leaky_relu) return select(x > Float(0.0f), Float(1.0f), slope);
  if constexpr (kind == Activation::Kind::tanh) {
    const Float t = tanh(x);
    return fma(negative(t), t, Float(1.0f));
  }
  if constexpr (kind == Activation::Kind::sigmoid) {
    const Float s = sigmoid(x);
    return s * (Float(1.0f) - s);
  }
  return Float(1.0f);
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET

// One result at a time: the definition of the truncated dot product in plain integers, and the sequences that ptxas makes of
// the forms that an architecture lacks.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "error.h"
#include "isa/matrix.h"
#include "isa/matrix_vector.h"

namespace sim::matrix {
namespace {

constexpr std::uint32_t kSingleNan = 0x7fffffff, kHalfNan = 0x7fff;

struct Number {
  std::int64_t significand = 0;  // with the format's mantissa bits as fraction
  int exponent = 0;
  bool negative = false, infinite = false, nan = false;
};

Number unpack(std::uint32_t bits, const Format& format) {
  bits >>= format.shift;
  const std::uint32_t top = (1u << format.exponent_bits) - 1, fraction = bits & ((1u << format.mantissa_bits) - 1);
  const std::uint32_t field = bits >> format.mantissa_bits & top;
  Number x;
  x.negative = (bits >> (format.exponent_bits + format.mantissa_bits) & 1u) != 0;
  if (field == top && format.infinity) {
    x.infinite = fraction == 0;
    x.nan = fraction != 0;
  } else if (field == top && fraction == (1u << format.mantissa_bits) - 1) {
    x.nan = true;
  }
  x.significand = static_cast<std::int64_t>(fraction) | (field != 0 ? std::int64_t{1} << format.mantissa_bits : 0);
  x.exponent = static_cast<int>(std::max(field, 1u)) - format.bias();
  return x;
}

// magnitude * 2^exponent, an exact number, in the result's type.
std::uint32_t round(bool negative, std::uint64_t magnitude, int exponent, FloatModel::Rounding rounding) {
  if (magnitude == 0) return 0;
  const bool half = rounding == FloatModel::Rounding::half_to_nearest;
  const int mantissa_bits = half ? 10 : rounding == FloatModel::Rounding::fraction13_toward_zero ? 13 : 23;
  const int lowest = half ? -14 : -126, highest = half ? 15 : 127;
  const int leading = static_cast<int>(std::bit_width(magnitude)) - 1 + exponent;
  const int unit = std::max(leading, lowest) - mantissa_bits;  // the exponent of the last place
  const int shift = unit - exponent;
  std::uint64_t kept = shift <= 0 ? magnitude << -shift : shift > 63 ? 0 : magnitude >> shift;
  if (half && shift > 0) {
    const std::uint64_t rest = shift > 63 ? magnitude : magnitude & ((std::uint64_t{1} << shift) - 1);
    const std::uint64_t tie = shift > 63 ? ~std::uint64_t{0} : std::uint64_t{1} << (shift - 1);
    if (rest > tie || (rest == tie && (kept & 1) != 0)) ++kept;
  }
  if (kept == 0) return 0;  // there is no -0
  const int top = static_cast<int>(std::bit_width(kept)) - 1;
  std::uint32_t bits;
  if (top + unit > highest) {
    bits = half ? 0x7c00 : 0x7f800000;
  } else {
    const int full = half ? 10 : 23;
    const std::uint64_t aligned = kept << (full - mantissa_bits);
    // The exponent field of a number whose hidden bit is in `aligned` is one too small, which the bit itself makes good.
    bits = static_cast<std::uint32_t>((static_cast<std::uint64_t>(unit + mantissa_bits - lowest) << full) + aligned);
  }
  return bits | (negative ? (half ? 0x8000u : 0x80000000u) : 0u);
}

float as_float(std::uint32_t bits) { return std::bit_cast<float>(bits); }

std::uint32_t single_bits(float value) { return std::isnan(value) ? kSingleNan : std::bit_cast<std::uint32_t>(value); }

// Each e4m3 as f16.
constexpr std::array<std::uint16_t, 256> halves_of_e4m3() {
  std::array<std::uint16_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    const std::uint32_t sign = (byte & 0x80) << 8, field = byte >> 3 & 15, fraction = byte & 7;
    std::uint32_t half = (field + 8) << 10 | fraction << 7;
    if ((byte & 0x7f) == 0x7f) {
      half = kHalfNan;
    } else if (field == 0) {  // fraction * 2^-9, which f16 holds normalised
      const std::uint32_t top = static_cast<std::uint32_t>(std::bit_width(fraction)) - 1;
      half = fraction == 0 ? 0 : (top + 6) << 10 | (fraction << (10 - top) & 0x3ff);
    }
    table[byte] = static_cast<std::uint16_t>(sign | half);
  }
  return table;
}
constexpr std::array<std::uint16_t, 256> kHalves = halves_of_e4m3();

}  // namespace

float half_to_float(std::uint32_t bits) { return _cvtsh_ss(static_cast<unsigned short>(bits)); }

std::uint32_t float_to_half(float value) { return std::isnan(value) ? kHalfNan : _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }

std::uint32_t dot_product(const Form& form, const std::uint32_t* a, const std::uint32_t* b, std::uint32_t c) {
  const FloatModel& model = form.model;
  const Format &a_format = format_of(form.a), &b_format = format_of(form.b);
  const bool half_result = form.d == Element::f16;
  for (int first = 0; first < form.k; first += model.group) {
    const Format& c_format = (first == 0 ? form.c : form.d) == Element::f16 ? kHalf : kSingle;
    struct Term {
      std::int64_t significand;  // `fraction` bits of fraction
      int fraction, exponent;
    };
    Term terms[33];
    int count = 0;
    bool nan = false, positive_infinity = false, negative_infinity = false;
    auto infinity = [&](bool negative) { (negative ? negative_infinity : positive_infinity) = true; };
    const Number accumulator = unpack(c, c_format);
    nan |= accumulator.nan;
    if (accumulator.infinite) infinity(accumulator.negative);
    terms[count++] = {accumulator.negative ? -accumulator.significand : accumulator.significand, c_format.mantissa_bits,
                      accumulator.exponent};
    for (int k = first; k < first + model.group; ++k) {
      const Number x = unpack(a[k], a_format), y = unpack(b[k], b_format);
      const bool negative = x.negative != y.negative;
      const bool x_zero = x.significand == 0, y_zero = y.significand == 0;
      nan |= x.nan || y.nan || (x.infinite && y_zero) || (y.infinite && x_zero);
      if (x.infinite || y.infinite) infinity(negative);
      const std::int64_t product = x.significand * y.significand;
      terms[count++] = {negative ? -product : product, a_format.mantissa_bits + b_format.mantissa_bits,
                        x.exponent + y.exponent};
    }
    if (nan || (positive_infinity && negative_infinity)) {
      c = half_result ? kHalfNan : kSingleNan;
      continue;
    }
    if (positive_infinity || negative_infinity) {
      c = half_result ? (positive_infinity ? 0x7c00u : 0xfc00u) : (positive_infinity ? 0x7f800000u : 0xff800000u);
      continue;
    }
    int largest = std::numeric_limits<int>::min();
    for (int n = 0; n < count; ++n) {
      if (terms[n].significand == 0) terms[n].exponent = model.zero_exponent;
      largest = std::max(largest, terms[n].exponent);
    }
    std::int64_t sum = 0;
    for (int n = 0; n < count; ++n) {
      // Division by a power of two cuts toward zero, as the hardware does.
      const int up = model.fraction - terms[n].fraction, down = largest - terms[n].exponent;
      const std::int64_t wide = up >= 0 ? terms[n].significand << up : terms[n].significand / (std::int64_t{1} << -up);
      sum += down > 62 ? 0 : wide / (std::int64_t{1} << down);
    }
    c = round(sum < 0, static_cast<std::uint64_t>(std::abs(sum)), largest - model.fraction, model.rounding);
  }
  return c;
}

std::uint32_t dot_product_m8n8k4(const Form& form, const std::uint32_t* a, const std::uint32_t* b, std::uint32_t c) {
  float x[4], y[4];
  for (int k = 0; k < 4; ++k) {
    x[k] = half_to_float(a[k]);
    y[k] = half_to_float(b[k]);
  }
  const float accumulator = form.c == Element::f16 ? half_to_float(c) : as_float(c);
  if (form.c == Element::f32) {
    const float sum = std::fma(x[3], y[3], std::fma(x[2], y[2], std::fma(x[1], y[1], std::fma(x[0], y[0], 0.0f))));
    return single_bits(accumulator + sum);
  }
  const float low = std::fma(x[1], y[1], x[0] * y[0]), high = std::fma(x[3], y[3], x[2] * y[2]);
  const float sum = (accumulator + low) + high;
  return form.d == Element::f16 ? float_to_half(sum) : single_bits(sum);
}

void multiply_float8_as_half(const Form& form, Tile& tile) {
  // The low two bytes of each word make the first multiply, the high two the second, from zero; then C is added.
  Form part = form;
  part.a = part.b = Element::f16;
  part.c = form.d;
  part.k = form.k / 2;
  const auto widen = [&](std::uint32_t word, int half, Element element) {
    word >>= 16 * half;
    if (element == Element::e5m2) return (word & 0xff) << 8 | (word & 0xff00) << 16;  // f16 without its low bits
    return static_cast<std::uint32_t>(kHalves[word & 0xff] | kHalves[word >> 8 & 0xff] << 16);
  };
  Tile product;
  std::fill_n(&product.c[0][0], Tile::kRows * Tile::kColumns, 0u);
  const int words = form.k / 4;
  for (int half = 0; half < 2; ++half) {
    for (int w = 0; w < words; ++w) {
      for (int r = 0; r < Tile::kRows; ++r) product.a[w][r] = widen(tile.a[w][r], half, form.a);
      for (int n = 0; n < Tile::kColumns; ++n) product.b[w][n] = widen(tile.b[w][n], half, form.b);
    }
    multiply_float(part, product);
  }
  for (int n = 0; n < Tile::kColumns; ++n) {
    for (int r = 0; r < Tile::kRows; ++r) {
      std::uint32_t& c = tile.c[n][r];
      c = form.d == Element::f16 ? float_to_half(half_to_float(c) + half_to_float(product.c[n][r]))
                                 : single_bits(as_float(c) + as_float(product.c[n][r]));
    }
  }
}

}  // namespace sim::matrix

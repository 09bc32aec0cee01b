// Truncated fused dot products (see FloatModel), a vector of rows at a time: exact products of the significands are shifted
// right by their distance to the largest exponent, which cuts them toward zero, and added as integers.
#include <algorithm>
#include <array>
#include <cstring>

#include "isa/matrix.h"
#include "isa/matrix_vector.h"

namespace sim::matrix {
namespace {

constexpr int kGroups = 4;           // at most
constexpr int kNoExponent = -10000;  // of a zero: below every other sum of two exponents

// The significands (with half of the fraction bits that a product gets), exponents and signs of a matrix, element e of each
// word in plane e, laid out like the words.
template <int per_word, int count>
struct Operand {
  alignas(64) std::int32_t significand[per_word][Tile::kWords * count];
  alignas(64) std::int32_t exponent[per_word][Tile::kWords * count];
  alignas(64) std::int32_t sign[per_word][Tile::kWords * count];  // 0 or -1
  // By row or column, for each group of k: the sign bits (first half of the group in bits 0 on, second half in bits 16 on), and
  // the least that the largest exponent can be: that of a zero, if there is one.
  static constexpr int kLine = std::max(count, kWidth);
  alignas(64) std::int32_t signs[kGroups][kLine];
  alignas(64) std::int32_t floor[kGroups][kLine];
  alignas(64) std::int32_t special[kLine];  // -1: an infinity or a NaN
};

// The bit of Operand::signs for each element of a group. With AVX-512 a vector holds two words of the eight columns: its upper
// lanes belong to the next word.
template <int per_word, int group, int count>
struct SignBits {
  alignas(64) std::int32_t bits[group][kWidth] = {};
  constexpr SignBits() {
    for (int i = 0; i < group; ++i) {
      for (int lane = 0; lane < kWidth; ++lane) {
        const int index = (i + lane / count * per_word) % group;
        bits[i][lane] = 1 << (index < group / 2 ? index : 16 + index - group / 2);
      }
    }
  }
};

template <int per_word, int group, int count>
void unpack(const std::uint32_t* words, const Form& form, const Format& format, int fraction_bits,
            Operand<per_word, count>& out) {
  constexpr int kBits = 32 / per_word, kStep = std::max(1, kWidth / count);
  static constexpr SignBits<per_word, group, count> kSignBits;
  static_assert(group / per_word % kStep == 0);
  const Vector mantissa = fill((1 << format.mantissa_bits) - 1), field_mask = fill((1 << format.exponent_bits) - 1);
  const Vector hidden = fill(1 << format.mantissa_bits), bias = fill(format.bias()),
               scale = fill(fraction_bits - format.mantissa_bits);
  const Vector none = fill(kNoExponent), one = fill(1), zero_exponent = fill(form.model.zero_exponent);
  for (int r = 0; r < count; r += kWidth) {
    Vector specials = zero();
    for (int g = 0; g < form.k / group; ++g) {
      Vector signs = zero(), floor = none;
      for (int w = 0; w < group / per_word; w += kStep) {
        const int at = (g * (group / per_word) + w) * count + r;
        const Vector word = load(words + at);
        for (int e = 0; e < per_word; ++e) {
          const Vector bits = shift_right(word, fill(e * kBits + format.shift));
          const Vector field = bit_and(shift_right(bits, fill(format.mantissa_bits)), field_mask);
          const Vector fraction = bit_and(bits, mantissa);
          const Vector significand = bit_or(fraction, and_not(equal(field, zero()), hidden));
          const Vector is_zero = equal(significand, zero());
          const Vector sign = shift_right_signed<31>(shift_left<32 - kBits>(shift_right(word, fill(e * kBits))));
          store(out.significand[e] + at, shift_left(significand, scale));
          store(out.exponent[e] + at, select(is_zero, none, sub(max(field, one), bias)));
          store(out.sign[e] + at, sign);
          const Vector special = equal(field, field_mask);
          specials = bit_or(specials, format.infinity ? special : bit_and(special, equal(fraction, mantissa)));
          signs = bit_or(signs, bit_and(sign, load(kSignBits.bits[w * per_word + e])));
          floor = select(is_zero, zero_exponent, floor);
        }
      }
      store(out.signs[g] + r, signs);
      store(out.floor[g] + r, floor);
    }
    store(out.special + r, specials);
  }
  if constexpr (kStep == 2) {  // the lanes of odd words join those of even ones
    for (int n = 0; n < count; ++n) out.special[n] |= out.special[n + count];
    for (int g = 0; g < form.k / group; ++g) {
      for (int n = 0; n < count; ++n) {
        out.signs[g][n] |= out.signs[g][n + count];
        out.floor[g][n] = std::max(out.floor[g][n], out.floor[g][n + count]);
      }
    }
  }
}

// Accumulators as magnitude and exponent.
struct Accumulator {
  Vector significand, exponent, sign, special;
};

Accumulator unpack_accumulator(Vector bits, const Format& format, int zero_exponent) {
  const Vector field = bit_and(shift_right(bits, fill(format.mantissa_bits)), fill((1 << format.exponent_bits) - 1));
  const Vector fraction = bit_and(bits, fill((1 << format.mantissa_bits) - 1));
  const Vector significand = bit_or(fraction, and_not(equal(field, zero()), fill(1 << format.mantissa_bits)));
  const Vector exponent = sub(max(field, fill(1)), fill(format.bias()));
  return {significand, select(equal(significand, zero()), fill(zero_exponent), exponent),
          sub(zero(), bit_and(shift_right(bits, fill(format.exponent_bits + format.mantissa_bits)), fill(1))),
          equal(field, fill((1 << format.exponent_bits) - 1))};
}

// magnitude * 2^(exponent - fraction) in fp32 toward zero, denormals included; infinity from 2^128 on.
Vector pack_single(Vector magnitude, Vector exponent, Vector sign, const FloatModel& model) {
  const Vector value = to_float_toward_zero(magnitude);
  const Vector shift = sub(exponent, fill(model.fraction));
  const Vector field = add(shift_right<23>(value), shift);
  Vector bits = add(value, shift_left<23>(shift));
  const Vector is_zero = equal(magnitude, zero());
  const Vector below = greater(fill(1), field), above = greater(field, fill(254));
  if (mask_of(and_not(is_zero, bit_or(below, above))) != 0) {
    const Vector significand = bit_or(bit_and(value, fill(0x7fffff)), fill(0x800000));
    bits = select(below, shift_right(significand, sub(fill(1), field)), bits);
    bits = select(above, fill(0x7f800000), bits);
  }
  if (model.rounding == FloatModel::Rounding::fraction13_toward_zero) bits = bit_and(bits, fill(~0x3ff));
  bits = and_not(is_zero, bits);
  return bit_or(bits, and_not(equal(bits, zero()), shift_left<31>(sign)));  // there is no -0
}

Vector pack_half(Vector magnitude, Vector exponent, Vector sign, const FloatModel& model) {
  // Beyond 24 bits the lowest are folded into one that only tells whether they were zero: enough to round to 11 bits.
  const Vector low = bit_and(magnitude, fill(0xff)), is_long = and_not(equal(shift_right<24>(magnitude), zero()), fill(-1));
  const Vector folded = bit_or(and_not(fill(0xff), magnitude), and_not(equal(low, zero()), fill(0x100)));
  const Vector value = to_float(select(is_long, folded, magnitude));
  const Vector scaled = multiply_float(value, shift_left<23>(add(exponent, fill(127 - model.fraction))));
  const Vector half = float_to_half(scaled);
  return bit_or(half, and_not(equal(half, zero()), bit_and(sign, fill(0x8000))));
}

template <int per_word, int group>
void multiply(const Form& form, Tile& tile) {
  const FloatModel& model = form.model;
  const Format &a_format = format_of(form.a), &b_format = format_of(form.b);
  // The significands together get the fraction bits of the model, so that a product is the term before alignment.
  const int extra = model.fraction - a_format.mantissa_bits - b_format.mantissa_bits;
  Operand<per_word, Tile::kRows> a;
  Operand<per_word, Tile::kColumns> b;
  unpack<per_word, group>(&tile.a[0][0], form, a_format, a_format.mantissa_bits + extra / 2, a);
  unpack<per_word, group>(&tile.b[0][0], form, b_format, b_format.mantissa_bits + extra - extra / 2, b);
  const int groups = form.k / group;

  std::uint32_t column_special = 0;
  for (int n = 0; n < Tile::kColumns; ++n) column_special |= b.special[n] != 0 ? 1u << n : 0u;
  for (int row = 0; row < Tile::kRows; row += kWidth) {
    const Vector row_special = load(a.special + row);
    for (int n = 0; n < Tile::kColumns; ++n) {
      const Vector original = load(&tile.c[n][row]);
      Vector c = original, special = row_special;
      for (int g = 0; g < groups; ++g) {
        const bool half = g == 0 ? form.c == Element::f16 : form.d == Element::f16;
        const Format& c_format = half ? kHalf : kSingle;
        const Accumulator start = unpack_accumulator(c, c_format, model.zero_exponent);
        special = bit_or(special, start.special);

        const int first = g * group / per_word;  // word
        Vector largest = max(max(start.exponent, load(a.floor[g] + row)), fill(b.floor[g][n]));
        Vector exponents[group];
#pragma GCC unroll 32
        for (int i = 0; i < group; ++i) {
          const int word = first + i / per_word, e = i % per_word;
          exponents[i] = add(load(a.exponent[e] + word * Tile::kRows + row), fill(b.exponent[e][word * Tile::kColumns + n]));
          largest = max(largest, exponents[i]);
        }
        // Negative terms are added as their complements; the number of them is added at the end. The sum of a group can need 33
        // bits, each half of it fits in 32.
        Vector sums[2];
        {
          const int scale = model.fraction - c_format.mantissa_bits;
          const Vector distance = sub(largest, start.exponent);
          const Vector term = scale >= 0 ? shift_right(shift_left(start.significand, fill(scale)), distance)
                                         : shift_right(start.significand, add(distance, fill(-scale)));
          sums[0] = sub(bit_xor(term, start.sign), start.sign);
          sums[1] = zero();
        }
#pragma GCC unroll 32
        for (int i = 0; i < group; ++i) {
          const int word = first + i / per_word, e = i % per_word;
          const Vector product = multiply_add_halves(load(a.significand[e] + word * Tile::kRows + row),
                                                     fill(b.significand[e][word * Tile::kColumns + n]));
          const Vector term = shift_right(product, sub(largest, exponents[i]));
          Vector& sum = sums[i < group / 2 ? 0 : 1];
          sum = add(sum, xor3(term, load(a.sign[e] + word * Tile::kRows + row), fill(b.sign[e][word * Tile::kColumns + n])));
        }
        const Vector negative = bit_xor(load(a.signs[g] + row), fill(b.signs[g][n]));
        const Vector counts = multiply_add_bytes(count_bits(negative), fill(0x01010101));
        sums[0] = add(sums[0], bit_and(counts, fill(0xffff)));
        sums[1] = add(sums[1], shift_right<16>(counts));
        const Vector sum = add(sums[0], sums[1]);
        // Where the halves agree the sum has their sign, whatever its 32 bits say.
        const Vector sign = shift_right_signed<31>(majority(sums[0], sums[1], sum));
        const Vector magnitude = sub(bit_xor(sum, sign), sign);
        c = model.rounding == FloatModel::Rounding::half_to_nearest ? pack_half(magnitude, largest, sign, model)
                                                                    : pack_single(magnitude, largest, sign, model);
      }
      store(&tile.c[n][row], c);
      std::uint32_t again = mask_of(special);
      if ((column_special >> n & 1u) != 0) again = (1u << kWidth) - 1;
      if (again == 0) continue;
      alignas(64) std::uint32_t accumulators[kWidth];
      store(accumulators, original);
      for (int r = 0; r < kWidth; ++r) {
        if ((again >> r & 1u) == 0) continue;
        std::uint32_t a_row[32], b_column[32];
        constexpr int kBits = 32 / per_word;
        for (int k = 0; k < form.k; ++k) {
          const auto cut = [&](std::uint32_t word) {
            return kBits == 32 ? word
                               : word >> (k % per_word * kBits) & static_cast<std::uint32_t>((std::uint64_t{1} << kBits) - 1);
          };
          a_row[k] = cut(tile.a[k / per_word][row + r]);
          b_column[k] = cut(tile.b[k / per_word][n]);
        }
        tile.c[n][row + r] = dot_product(form, a_row, b_column, accumulators[r]);
      }
    }
  }
}

}  // namespace

void multiply_float(const Form& form, Tile& tile) {
  if (multiply_moderate(form, tile)) return;
  const int words = per_word(form.a), group = form.model.group;
  if (words == 2 && group == 8) return multiply<2, 8>(form, tile);
  if (words == 2 && group == 16) return multiply<2, 16>(form, tile);
  if (words == 1 && group == 8) return multiply<1, 8>(form, tile);
  if (words == 1 && group == 4) return multiply<1, 4>(form, tile);
  if (words == 4 && group == 16) return multiply<4, 16>(form, tile);
  if (words == 4 && group == 32) return multiply<4, 32>(form, tile);
  return multiply<2, 4>(form, tile);
}

}  // namespace sim::matrix

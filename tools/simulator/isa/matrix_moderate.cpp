// The truncated dot product for the numbers that programs mostly have: no infinity, NaN or denormal, and results between 2^-100
// and 2^125. Products are exact in fp32 then, a multiplication by a power of two aligns them, and conversion to integers cuts
// them.
#include "isa/matrix.h"
#include "isa/matrix_vector.h"

namespace sim::matrix {
namespace {

constexpr int kNone = -10000;                  // exponent of a zero: less than any other sum of two
constexpr int kUnfit = 30000;                  // exponent of a number that is not for this file: makes the largest too large
constexpr int kLowest = -100, kHighest = 125;  // of the largest exponent of a dot product

template <int per_word, int count>
struct Operand {
  static constexpr int kLine = count > kWidth ? count : kWidth;
  alignas(64) std::int32_t value[per_word][Tile::kWords * count];  // bits of floats
  alignas(64) std::int32_t exponent[per_word][Tile::kWords * count];
  // Results of f16 only: by row or column, for each group, the least that the largest exponent can be.
  alignas(64) std::int32_t floor[4][kLine];
};

template <Element element>
Vector to_single(Vector word, int e) {
  if constexpr (element == Element::f16) return half_to_float(e == 0 ? word : shift_right<16>(word));
  if constexpr (element == Element::bf16) return e == 0 ? shift_left<16>(word) : bit_and(word, fill(~0xffff));
  return bit_and(word, fill(~0x1fff));  // tf32
}

template <Element element, int group, int count, bool half_result>
void unpack(const std::uint32_t* words, const Form& form, Operand<per_word(element), count>& out) {
  constexpr int kPerWord = per_word(element), kStep = count >= kWidth ? 1 : kWidth / count;
  const Vector zero_exponent = fill(form.model.zero_exponent), none = fill(kNone), magnitude = fill(0x7fffffff);
  for (int r = 0; r < count; r += kWidth) {
    for (int g = 0; g < form.k / group; ++g) {
      Vector floor = none;
      for (int w = 0; w < group / kPerWord; w += kStep) {
        const int at = (g * (group / kPerWord) + w) * count + r;
        const Vector word = load(words + at);
        for (int e = 0; e < kPerWord; ++e) {
          const Vector value = to_single<element>(word, e);
          const Vector field = shift_right<23>(bit_and(value, magnitude));
          Vector exponent = sub(field, fill(127));
          // Halves are never denormal as fp32, but keep the exponent that they have as such.
          if constexpr (element == Element::f16) {
            exponent = max(exponent, fill(-14));
          } else {
            exponent = select(equal(field, zero()), fill(kUnfit), exponent);
          }
          exponent = select(equal(field, fill(255)), fill(kUnfit), exponent);
          const Vector is_zero = equal(bit_and(value, magnitude), zero());
          exponent = select(is_zero, none, exponent);
          if constexpr (half_result) floor = select(is_zero, zero_exponent, floor);
          store(out.value[e] + at, value);
          store(out.exponent[e] + at, exponent);
        }
      }
      if constexpr (half_result) store(out.floor[g] + r, floor);
    }
  }
  if constexpr (half_result && kStep == 2) {  // the lanes of odd words join those of even ones
    for (int g = 0; g < form.k / group; ++g) {
      for (int n = 0; n < count; ++n)
        out.floor[g][n] = out.floor[g][n] > out.floor[g][n + count] ? out.floor[g][n] : out.floor[g][n + count];
    }
  }
}

template <Element element, int group, bool half_result>
bool multiply(const Form& form, Tile& tile) {
  constexpr int kPerWord = per_word(element);
  const int fraction = form.model.fraction, groups = form.k / group;
  Operand<kPerWord, Tile::kRows> a;
  Operand<kPerWord, Tile::kColumns> b;
  unpack<element, group, Tile::kRows, half_result>(&tile.a[0][0], form, a);
  unpack<element, group, Tile::kColumns, half_result>(&tile.b[0][0], form, b);

  alignas(64) std::uint32_t results[Tile::kColumns][Tile::kRows];
  const Vector none = fill(kNone), magnitude = fill(0x7fffffff), zero_exponent = fill(form.model.zero_exponent);
  Vector unfit = zero();
  for (int row = 0; row < Tile::kRows; row += kWidth) {
    for (int n = 0; n < Tile::kColumns; ++n) {
      Vector c = load(&tile.c[n][row]);
      for (int g = 0; g < groups; ++g) {
        const Vector start = half_result ? half_to_float(c) : c;
        const Vector is_zero = equal(bit_and(start, magnitude), zero());
        Vector largest = sub(shift_right<23>(bit_and(start, magnitude)),
                             fill(127));  // a denormal c counts as one less: it is far too small here
        if constexpr (half_result) largest = max(largest, fill(-14));
        largest = select(is_zero, half_result ? zero_exponent : none, largest);
        if constexpr (half_result) {
          unfit = bit_or(unfit, greater(largest, fill(kHighest)));
          largest = max(largest, max(load(a.floor[g] + row), fill(b.floor[g][n])));
        }
        const int first = g * group / kPerWord;  // word
#pragma GCC unroll 16
        for (int i = 0; i < group; ++i) {
          const int word = first + i / kPerWord, e = i % kPerWord;
          largest =
              max(largest, add(load(a.exponent[e] + word * Tile::kRows + row), fill(b.exponent[e][word * Tile::kColumns + n])));
        }
        unfit = bit_or(unfit, bit_or(greater(largest, fill(kHighest)),
                                     and_not(greater(fill(kNone / 2), largest), greater(fill(kLowest), largest))));
        largest = max(largest, fill(kLowest));  // of zeros alone: for a scale that is a number
        const Vector scale = shift_left<23>(sub(fill(127 + fraction), largest));
        Vector low = truncate_float(multiply_float(start, scale)), high = zero();
#pragma GCC unroll 16
        for (int i = 0; i < group; ++i) {
          const int word = first + i / kPerWord, e = i % kPerWord;
          const Vector product =
              multiply_float(load(a.value[e] + word * Tile::kRows + row), fill(b.value[e][word * Tile::kColumns + n]));
          const Vector term = truncate_float(multiply_float(product, scale));
          if (group <= 8 || i < group / 2) {
            low = add(low, term);
          } else {
            high = add(high, term);
          }
        }
        const Vector sum = group <= 8 ? low : add(low, high);
        if constexpr (group > 8) unfit = bit_or(unfit, bit_and(bit_xor(sum, low), bit_xor(sum, high)));  // more than 31 bits
        const Vector unscale = shift_left<23>(add(largest, fill(127 - fraction)));
        if constexpr (half_result) {
          // Bits beyond 24 are folded into one that tells whether they were zero: enough to round to 11 bits.
          const Vector size = absolute(sum), rest = bit_and(size, fill(0xff));
          const Vector folded = bit_or(and_not(fill(0xff), size), and_not(equal(rest, zero()), fill(0x100)));
          const Vector exact = select(greater(fill(1 << 24), size), size, folded);
          const Vector half = float_to_half(multiply_float(to_float(exact), unscale));
          c = bit_or(half, and_not(equal(half, zero()), bit_and(shift_right<16>(sum), fill(0x8000))));
        } else {
          c = multiply_float(signed_to_float_toward_zero(sum), unscale);
          c = select(equal(sum, zero()), zero(), c);
        }
      }
      store(&results[n][row], c);
    }
    if (mask_of(unfit) != 0) return false;
  }
  for (int n = 0; n < Tile::kColumns; ++n) {
    for (int row = 0; row < Tile::kRows; row += kWidth) store(&tile.c[n][row], load(&results[n][row]));
  }
  return true;
}

}  // namespace

bool multiply_moderate(const Form& form, Tile& tile) {
  const int group = form.model.group;
  if (form.c != form.d || form.model.fraction < 24) return false;
  if (form.a == Element::bf16) {
    if (group == 8) return multiply<Element::bf16, 8, false>(form, tile);
    return group == 16 && multiply<Element::bf16, 16, false>(form, tile);
  }
  if (form.a == Element::tf32) {
    if (group == 4) return multiply<Element::tf32, 4, false>(form, tile);
    return group == 8 && multiply<Element::tf32, 8, false>(form, tile);
  }
  if (form.a != Element::f16) return false;
  if (form.d == Element::f16) {
    if (group == 8) return multiply<Element::f16, 8, true>(form, tile);
    return group == 16 && multiply<Element::f16, 16, true>(form, tile);
  }
  if (group == 8) return multiply<Element::f16, 8, false>(form, tile);
  return group == 16 && multiply<Element::f16, 16, false>(form, tile);
}

}  // namespace sim::matrix

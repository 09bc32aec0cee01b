// Integer and single-bit multiply-accumulate. Elements of a word meet the same elements of the other operand's word, so their
// order is free.
#include "isa/matrix.h"
#include "isa/matrix_vector.h"

namespace sim::matrix {
namespace {

bool is_signed(Element element) { return element == Element::s8 || element == Element::s4; }

// The elements `plane` and `plane` + half a word of each word as two signed 16-bit numbers.
template <int bits>
Vector halves(Vector word, int plane, bool with_sign) {
  const Vector shifted = shift_right(word, fill(plane * bits));
  if (!with_sign) return bit_and(shifted, fill(bits == 8 ? 0x00ff00ff : 0x000f000f));
  return shift_right_halves<16 - bits>(shift_left_halves<16 - bits>(shifted));
}

template <int bits>
void multiply_words(const Form& form, Tile& tile) {
  constexpr int kPlanes = 16 / bits;
  const int words = form.k * bits / 32;
  const bool a_signed = is_signed(form.a), b_signed = is_signed(form.b);
  alignas(64) std::int32_t b[kPlanes][Tile::kWords * Tile::kColumns];
  for (int at = 0; at < words * Tile::kColumns; at += kWidth) {
    for (int p = 0; p < kPlanes; ++p) store(b[p] + at, halves<bits>(load(&tile.b[0][0] + at), p, b_signed));
  }
  for (int row = 0; row < Tile::kRows; row += kWidth) {
    Vector sums[Tile::kColumns];
    for (Vector& sum : sums) sum = zero();
    for (int w = 0; w < words; ++w) {
      for (int p = 0; p < kPlanes; ++p) {
        const Vector a = halves<bits>(load(&tile.a[w][row]), p, a_signed);
        for (int n = 0; n < Tile::kColumns; ++n)
          sums[n] = add(sums[n], multiply_add_halves(a, fill(b[p][w * Tile::kColumns + n])));
      }
    }
    for (int n = 0; n < Tile::kColumns; ++n) {
      const Vector c = load(&tile.c[n][row]);
      Vector d = add(c, sums[n]);
      if (form.saturate) {
        // The products' sum is far from overflow; adding c overflows when d differs in sign from both.
        const Vector overflow = shift_right_signed<31>(bit_and(bit_xor(d, c), bit_xor(d, sums[n])));
        const Vector limit = bit_xor(shift_right_signed<31>(c), fill(0x7fffffff));
        d = select(overflow, limit, d);
      }
      store(&tile.c[n][row], d);
    }
  }
}

}  // namespace

void multiply_integer(const Form& form, Tile& tile) {
  if (per_word(form.a) == 4) return multiply_words<8>(form, tile);
  multiply_words<4>(form, tile);
}

void multiply_bits(const Form& form, Tile& tile) {
  const int words = form.k / 32;
  for (int row = 0; row < Tile::kRows; row += kWidth) {
    for (int n = 0; n < Tile::kColumns; ++n) {
      Vector sum = load(&tile.c[n][row]);
      for (int w = 0; w < words; ++w) {
        const Vector a = load(&tile.a[w][row]), b = fill(static_cast<std::int32_t>(tile.b[w][n]));
        const Vector pairs =
            multiply_add_bytes(count_bits(form.exclusive_or ? bit_xor(a, b) : bit_and(a, b)), fill(0x01010101));
        sum = add(sum, multiply_add_halves(pairs, fill(0x00010001)));
      }
      store(&tile.c[n][row], sum);
    }
  }
}

}  // namespace sim::matrix

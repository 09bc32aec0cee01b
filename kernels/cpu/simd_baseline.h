// The vectors of simd.h in the compiler's own vectors of four: SSE2 on x86-64, whatever there is elsewhere.
#pragma once

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {

using Float4 [[gnu::vector_size(16)]] = float;
using Int4 [[gnu::vector_size(16)]] = std::int32_t;
using Word4 [[gnu::vector_size(16)]] = std::uint32_t;

struct Float {
  static constexpr int width = 4;
  Float4 v;
  Float() = default;
  explicit Float(Float4 value) : v(value) {}
  explicit Float(float value) : v{value, value, value, value} {}
};

struct Word {
  Word4 v;
  Word() = default;
  explicit Word(Word4 value) : v(value) {}
  explicit Word(std::uint32_t value) : v{value, value, value, value} {}
};

struct Mask {
  Int4 v;
};

inline Mask first(int n) { return {Int4{0, 1, 2, 3} < Int4{n, n, n, n}}; }

inline Float operator+(Float a, Float b) { return Float(a.v + b.v); }
inline Float operator-(Float a, Float b) { return Float(a.v - b.v); }
inline Float operator*(Float a, Float b) { return Float(a.v * b.v); }
inline Float operator/(Float a, Float b) { return Float(a.v / b.v); }
inline Mask operator<(Float a, Float b) { return {a.v < b.v}; }
inline Mask operator>(Float a, Float b) { return {a.v > b.v}; }
inline Mask is_nan(Float a) { return {a.v != a.v}; }  // NOLINT(misc-redundant-expression)
inline Float select(Mask mask, Float a, Float b) {
  return Float(reinterpret_cast<Float4>((mask.v & reinterpret_cast<Int4>(a.v)) | (~mask.v & reinterpret_cast<Int4>(b.v))));
}
inline Float fma(Float a, Float b, Float c) { return a * b + c; }
inline Float minimum(Float a, Float b) { return select(a < b, a, b); }
inline Float maximum(Float a, Float b) { return select(a > b, a, b); }

inline Word operator+(Word a, Word b) { return Word(a.v + b.v); }
inline Word operator-(Word a, Word b) { return Word(a.v - b.v); }
inline Word operator&(Word a, Word b) { return Word(a.v & b.v); }
inline Word operator|(Word a, Word b) { return Word(a.v | b.v); }
inline Word operator^(Word a, Word b) { return Word(a.v ^ b.v); }
inline Word operator~(Word a) { return Word(~a.v); }
inline Word operator<<(Word a, int n) { return Word(a.v << static_cast<std::uint32_t>(n)); }
inline Word operator>>(Word a, int n) { return Word(a.v >> static_cast<std::uint32_t>(n)); }
inline Float to_number(Word a) { return Float(__builtin_convertvector(reinterpret_cast<Int4>(a.v), Float4)); }
inline Word bits_of(Float a) { return Word(reinterpret_cast<Word4>(a.v)); }
inline Float number_of_bits(Word a) { return Float(reinterpret_cast<Float4>(a.v)); }

inline Float absolute(Float a) { return number_of_bits(bits_of(a) & Word(0x7FFFFFFFu)); }

inline Float square_root(Float a) {
#if defined(__SSE2__)
  return Float(_mm_sqrt_ps(a.v));
#else
  for (int i = 0; i < Float::width; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
  return a;
#endif
}

// Adding 2^23 with x's sign leaves no room for a fraction; from 2^23 on there is none to begin with.
inline Float nearest(Float a) {
  const Float magic = number_of_bits((bits_of(a) & Word(0x80000000u)) | bits_of(Float(0x1p23f)));
  return select(absolute(a) < Float(0x1p23f), (a + magic) - magic, a);
}

// In two factors, so that neither they nor their first product overflow or lose bits.
inline Float scale(Float x, Float n) {
  const Int4 whole = __builtin_convertvector(select(is_nan(n), Float(0.0f), n).v, Int4);
  const Int4 half = whole >> 1;
  const Int4 bias = {127, 127, 127, 127};
  return x * Float(reinterpret_cast<Float4>((half + bias) << 23)) *
         Float(reinterpret_cast<Float4>((whole - half + bias) << 23));
}

inline void multiply_wide(Word a, std::uint32_t b, Word& high, Word& low) {
  for (int i = 0; i < Float::width; ++i) {
    const std::uint64_t product = std::uint64_t{a.v[i]} * b;
    high.v[i] = static_cast<std::uint32_t>(product >> 32);
    low.v[i] = static_cast<std::uint32_t>(product);
  }
}

inline Word load(const std::uint32_t* p) {
  Word x;
  std::memcpy(&x.v, p, sizeof x.v);
  return x;
}
inline Float load(const float* p) {
  Float x;
  std::memcpy(&x.v, p, sizeof x.v);
  return x;
}
inline Float load(const std::int32_t* p) {
  Int4 x;
  std::memcpy(&x, p, sizeof x);
  return Float(__builtin_convertvector(x, Float4));
}
inline Float load(const std::uint8_t* p) {
  return Float(Float4{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(p[3])});
}
inline Float load(const Bf16* p) { return number_of_bits(Word(Word4{p[0].bits, p[1].bits, p[2].bits, p[3].bits}) << 16); }

inline void store(float* p, Float x) { std::memcpy(p, &x.v, sizeof x.v); }
inline void store(Bf16* p, Float x) {
  const Word bits = bits_of(x);
  const Word rounded = bits + ((bits >> 16) & Word(1u)) + Word(0x7FFFu);
  const Word quiet = bits | Word(0x00400000u);
  const Word chosen = bits_of(select(is_nan(x), number_of_bits(quiet), number_of_bits(rounded))) >> 16;
  for (int i = 0; i < Float::width; ++i) p[i].bits = static_cast<std::uint16_t>(chosen.v[i]);
}
inline void store(std::int32_t* p, Float x) {
  const Float whole = nearest(select(is_nan(x), Float(0.0f), x));
  const Mask too_large = whole > Float(2147483520.0f);
  // Clamped to what an int32 holds: the conversion of anything else is undefined.
  const Float inside = select(too_large, Float(0.0f), maximum(whole, Float(-2147483648.0f)));
  const Int4 result = __builtin_convertvector(inside.v, Int4) | (too_large.v & 0x7FFFFFFF);
  std::memcpy(p, &result, sizeof result);
}
inline void store(std::uint8_t* p, Float x) {
  const Float clamped = nearest(minimum(maximum(x, Float(0.0f)), Float(255.0f)));
  for (int i = 0; i < Float::width; ++i) p[i] = static_cast<std::uint8_t>(clamped.v[i]);
}

inline void add_lanes(double* sums, Float x) {
  for (int i = 0; i < Float::width; ++i) sums[i] += static_cast<double>(x.v[i]);
}
inline double sum_lanes(Float x) {
  return (static_cast<double>(x.v[0]) + static_cast<double>(x.v[1])) +
         (static_cast<double>(x.v[2]) + static_cast<double>(x.v[3]));
}

inline void store_interleaved(float* p, Float a, Float b, Float c, Float d) {
  for (int i = 0; i < Float::width; ++i) store(p + 4 * i, Float(Float4{a.v[i], b.v[i], c.v[i], d.v[i]}));
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET

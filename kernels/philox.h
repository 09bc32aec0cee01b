// Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3") and the arithmetic that turns its words
// into numbers: templates over a type of 32-bit words and one of fp32 numbers, so that a scalar, a vector of any width and a
// GPU thread give the same bits. Every product and sum is rounded on its own: a backend whose compiler would fuse them into
// an fma passes a type whose operators do not. The number type needs + - *, the word type + - & | ^ ~ << >>, and both
//   multiply_wide(Word a, uint32_t b, Word& high, Word& low), to_number(Word) [exact below 2^24 + 1],
//   square_root(Number) [rounded to nearest], bits_of(Number), number_of_bits(Word)
// found by argument-dependent lookup, or below for scalars.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define GANNET_HOST_DEVICE __host__ __device__
#else
#define GANNET_HOST_DEVICE
#endif

namespace gannet::kernels::philox {

inline void multiply_wide(std::uint32_t a, std::uint32_t b, std::uint32_t& high, std::uint32_t& low) {
  const std::uint64_t product = std::uint64_t{a} * b;
  high = static_cast<std::uint32_t>(product >> 32);
  low = static_cast<std::uint32_t>(product);
}
inline float to_number(std::uint32_t word) { return static_cast<float>(word); }
inline float square_root(float x) { return std::sqrt(x); }
inline std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
inline float number_of_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }

template <class Word>
struct Block {
  Word word[4];
};

// Ten rounds of the bijection of `counter` that `key_low`, `key_high` choose.
template <class Word>
GANNET_HOST_DEVICE inline Block<Word> generate(Block<Word> counter, std::uint32_t key_low, std::uint32_t key_high) {
  Word a = counter.word[0], b = counter.word[1], c = counter.word[2], d = counter.word[3];
  for (int round = 0; round < 10; ++round) {
    Word high_a, low_a, high_c, low_c;
    multiply_wide(a, 0xD2511F53u, high_a, low_a);
    multiply_wide(c, 0xCD9E8D57u, high_c, low_c);
    a = high_c ^ b ^ Word(key_low);
    b = low_c;
    c = high_a ^ d ^ Word(key_high);
    d = low_a;
    key_low += 0x9E3779B9u;
    key_high += 0xBB67AE85u;
  }
  return {{a, b, c, d}};
}

// A multiple of 2^-24 in [0,1).
template <class Number, class Word>
GANNET_HOST_DEVICE inline Number uniform(Word word) {
  return to_number(word >> 8) * Number(0x1p-24f);
}

// ln(k 2^-24) for 1 <= k <= 2^24, to about 1 ulp. k = 2^e m with m in [sqrt 1/2, sqrt 2), ln m as Cephes' logf.
template <class Number, class Word>
GANNET_HOST_DEVICE inline Number log_of_fraction(Word k) {
  const Word sqrt_half(0x3F3504F3u);  // its bits
  const Word offset = bits_of(to_number(k)) - sqrt_half;
  // From the bits of 1/2 <= sqrt 1/2 < 1 the exponent counts one too far: 2^24 gives 24 and m = 1.
  const Number e = to_number(offset >> 23) - Number(24.0f);
  const Number t = number_of_bits((offset & Word(0x007FFFFFu)) + sqrt_half) - Number(1.0f);
  const Number z = t * t;
  Number p = Number(7.0376836292e-2f) * t + Number(-1.1514610310e-1f);
  p = p * t + Number(1.1676998740e-1f);
  p = p * t + Number(-1.2420140846e-1f);
  p = p * t + Number(1.4249322787e-1f);
  p = p * t + Number(-1.6668057665e-1f);
  p = p * t + Number(2.0000714765e-1f);
  p = p * t + Number(-2.4999993993e-1f);
  p = p * t + Number(3.3333331174e-1f);
  Number y = p * t * z;
  y = y + e * Number(-2.12194440e-4f);  // ln 2 in two parts, of which the first is exact in few bits
  y = y - z * Number(0.5f);
  return (t + y) + e * Number(0.693359375f);
}

// cos and sin of 2 pi k 2^-24 for 0 <= k < 2^24, to about 1 ulp of 1. The turn is cut into quadrants exactly, the rest is
// at most pi/4 and goes through Cephes' sinf and cosf.
template <class Number, class Word>
GANNET_HOST_DEVICE inline void cos_sin_of_turn(Word k, Number& cosine, Number& sine) {
  const Word quadrant = (k + Word(1u << 21)) >> 22;  // 0 … 4, nearest
  const Number rest = to_number(k) - to_number(quadrant) * Number(0x1p22f);
  const Number x = rest * Number(0x1p-22f) * Number(1.57079632679f);
  const Number z = x * x;
  Number s = Number(-1.9515295891e-4f) * z + Number(8.3321608736e-3f);
  s = s * z + Number(-1.6666654611e-1f);
  s = s * z * x + x;
  Number c = Number(2.443315711809948e-5f) * z + Number(-1.388731625493765e-3f);
  c = c * z + Number(4.166664568298827e-2f);
  c = c * z * z - z * Number(0.5f) + Number(1.0f);
  // cos: c, -s, -c, s; sin: s, c, -s, -c. Odd quadrants swap, then signs flip.
  const Word swap = Word(0u) - (quadrant & Word(1u));
  const Word c_bits = bits_of(c), s_bits = bits_of(s);
  const Word cosine_bits = (c_bits & ~swap) | (s_bits & swap);
  const Word sine_bits = (s_bits & ~swap) | (c_bits & swap);
  cosine = number_of_bits(cosine_bits ^ (((quadrant + Word(1u)) & Word(2u)) << 30));
  sine = number_of_bits(sine_bits ^ ((quadrant & Word(2u)) << 30));
}

// Two standard normal numbers from two words (Box & Muller 1958).
template <class Number, class Word>
GANNET_HOST_DEVICE inline void normal_pair(Word a, Word b, Number& first, Number& second) {
  const Number radius = square_root(log_of_fraction<Number>((a >> 8) + Word(1u)) * Number(-2.0f));
  Number cosine(0.0f), sine(0.0f);
  cos_sin_of_turn(b >> 8, cosine, sine);
  first = radius * cosine;
  second = radius * sine;
}

}  // namespace gannet::kernels::philox

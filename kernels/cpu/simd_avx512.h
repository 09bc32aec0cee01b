// The vectors of simd.h in AVX-512 (F, BW, DQ, VL).
#pragma once

#include <immintrin.h>

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {

struct Float {
  static constexpr int width = 16;
  __m512 v;
  Float() = default;
  explicit Float(__m512 value) : v(value) {}
  explicit Float(float value) : v(_mm512_set1_ps(value)) {}
};

struct Word {
  __m512i v;
  Word() = default;
  explicit Word(__m512i value) : v(value) {}
  explicit Word(std::uint32_t value) : v(_mm512_set1_epi32(static_cast<int>(value))) {}
};

using Mask = __mmask16;

inline Mask first(int n) { return static_cast<Mask>((1u << n) - 1u); }

inline Float operator+(Float a, Float b) { return Float(_mm512_add_ps(a.v, b.v)); }
inline Float operator-(Float a, Float b) { return Float(_mm512_sub_ps(a.v, b.v)); }
inline Float operator*(Float a, Float b) { return Float(_mm512_mul_ps(a.v, b.v)); }
inline Float operator/(Float a, Float b) { return Float(_mm512_div_ps(a.v, b.v)); }
inline Mask operator<(Float a, Float b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
inline Mask operator>(Float a, Float b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_GT_OQ); }
inline Mask is_nan(Float a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q); }
inline Float select(Mask mask, Float a, Float b) { return Float(_mm512_mask_blend_ps(mask, b.v, a.v)); }
inline Float fma(Float a, Float b, Float c) { return Float(_mm512_fmadd_ps(a.v, b.v, c.v)); }
inline Float minimum(Float a, Float b) { return Float(_mm512_min_ps(a.v, b.v)); }
inline Float maximum(Float a, Float b) { return Float(_mm512_max_ps(a.v, b.v)); }
inline Float absolute(Float a) { return Float(_mm512_abs_ps(a.v)); }
inline Float square_root(Float a) { return Float(_mm512_sqrt_ps(a.v)); }
inline Float nearest(Float a) { return Float(_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
inline Float scale(Float x, Float n) { return Float(_mm512_scalef_ps(x.v, n.v)); }

inline Word operator+(Word a, Word b) { return Word(_mm512_add_epi32(a.v, b.v)); }
inline Word operator-(Word a, Word b) { return Word(_mm512_sub_epi32(a.v, b.v)); }
inline Word operator&(Word a, Word b) { return Word(_mm512_and_si512(a.v, b.v)); }
inline Word operator|(Word a, Word b) { return Word(_mm512_or_si512(a.v, b.v)); }
inline Word operator^(Word a, Word b) { return Word(_mm512_xor_si512(a.v, b.v)); }
inline Word operator~(Word a) { return a ^ Word(0xFFFFFFFFu); }
inline Word operator<<(Word a, int n) { return Word(_mm512_sll_epi32(a.v, _mm_cvtsi32_si128(n))); }
inline Word operator>>(Word a, int n) { return Word(_mm512_srl_epi32(a.v, _mm_cvtsi32_si128(n))); }
inline Float to_number(Word a) { return Float(_mm512_cvtepi32_ps(a.v)); }
inline Word bits_of(Float a) { return Word(_mm512_castps_si512(a.v)); }
inline Float number_of_bits(Word a) { return Float(_mm512_castsi512_ps(a.v)); }

inline void multiply_wide(Word a, std::uint32_t b, Word& high, Word& low) {
  const __m512i factor = _mm512_set1_epi64(b);
  const __m512i even = _mm512_mul_epu32(a.v, factor);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), factor);
  low.v = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  high.v = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
}

inline __m512 from_bf16(__m256i bits) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16)); }

inline __m256i to_bf16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
  const __m512i chosen = _mm512_mask_blend_epi32(is_nan(Float(x)), rounded, quiet);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(chosen, 16));
}

inline __m512i to_int32(Float x) {
  const __m512i whole = _mm512_maskz_cvtps_epi32(static_cast<Mask>(~is_nan(x)), x.v);
  return _mm512_mask_blend_epi32(x > Float(2147483520.0f), whole, _mm512_set1_epi32(0x7FFFFFFF));
}

inline __m128i to_uint8(Float x) {
  const Float clamped = minimum(maximum(x, Float(0.0f)), Float(255.0f));
  return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(clamped.v));
}

inline Word load(const std::uint32_t* p) { return Word(_mm512_loadu_si512(p)); }
inline Float load(const float* p) { return Float(_mm512_loadu_ps(p)); }
inline Float load(const Bf16* p) { return Float(from_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))); }
inline Float load(const std::int32_t* p) { return Float(_mm512_cvtepi32_ps(_mm512_loadu_si512(p))); }
inline Float load(const std::uint8_t* p) {
  return Float(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))));
}
inline Float load_partial(const float* p, int n) { return Float(_mm512_maskz_loadu_ps(first(n), p)); }
inline Float load_partial(const Bf16* p, int n) { return Float(from_bf16(_mm256_maskz_loadu_epi16(first(n), p))); }
inline Float load_partial(const std::int32_t* p, int n) {
  return Float(_mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(first(n), p)));
}
inline Float load_partial(const std::uint8_t* p, int n) {
  return Float(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first(n), p))));
}

inline void store(float* p, Float x) { _mm512_storeu_ps(p, x.v); }
inline void store(Bf16* p, Float x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), to_bf16(x.v)); }
inline void store(std::int32_t* p, Float x) { _mm512_storeu_si512(p, to_int32(x)); }
inline void store(std::uint8_t* p, Float x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_uint8(x)); }
inline void store_partial(float* p, Float x, int n) { _mm512_mask_storeu_ps(p, first(n), x.v); }
inline void store_partial(Bf16* p, Float x, int n) { _mm256_mask_storeu_epi16(p, first(n), to_bf16(x.v)); }
inline void store_partial(std::int32_t* p, Float x, int n) { _mm512_mask_storeu_epi32(p, first(n), to_int32(x)); }
inline void store_partial(std::uint8_t* p, Float x, int n) { _mm_mask_storeu_epi8(p, first(n), to_uint8(x)); }

inline void add_lanes(double* sums, Float x) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x.v));
  const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1));
  _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_loadu_pd(sums), low));
  _mm512_storeu_pd(sums + 8, _mm512_add_pd(_mm512_loadu_pd(sums + 8), high));
}

inline double sum_lanes(Float x) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x.v));
  const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.v, 1));
  return _mm512_reduce_add_pd(_mm512_add_pd(low, high));
}

inline void store_interleaved(float* p, Float a, Float b, Float c, Float d) {
  const __m512 ab_low = _mm512_unpacklo_ps(a.v, b.v), ab_high = _mm512_unpackhi_ps(a.v, b.v);
  const __m512 cd_low = _mm512_unpacklo_ps(c.v, d.v), cd_high = _mm512_unpackhi_ps(c.v, d.v);
  _mm512_storeu_ps(p, _mm512_shuffle_ps(ab_low, cd_low, 0x44));
  _mm512_storeu_ps(p + 16, _mm512_shuffle_ps(ab_low, cd_low, 0xEE));
  _mm512_storeu_ps(p + 32, _mm512_shuffle_ps(ab_high, cd_high, 0x44));
  _mm512_storeu_ps(p + 48, _mm512_shuffle_ps(ab_high, cd_high, 0xEE));
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET

// The vectors of simd.h in AVX2 and FMA.
#pragma once

#include <immintrin.h>

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {

struct Float {
  static constexpr int width = 8;
  __m256 v;
  Float() = default;
  explicit Float(__m256 value) : v(value) {}
  explicit Float(float value) : v(_mm256_set1_ps(value)) {}
};

struct Word {
  __m256i v;
  Word() = default;
  explicit Word(__m256i value) : v(value) {}
  explicit Word(std::uint32_t value) : v(_mm256_set1_epi32(static_cast<int>(value))) {}
};

struct Mask {
  __m256 v;
};

inline Mask first(int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane))};
}

inline Float operator+(Float a, Float b) { return Float(_mm256_add_ps(a.v, b.v)); }
inline Float operator-(Float a, Float b) { return Float(_mm256_sub_ps(a.v, b.v)); }
inline Float operator*(Float a, Float b) { return Float(_mm256_mul_ps(a.v, b.v)); }
inline Float operator/(Float a, Float b) { return Float(_mm256_div_ps(a.v, b.v)); }
inline Mask operator<(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask operator>(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_GT_OQ)}; }
inline Mask is_nan(Float a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
inline Float select(Mask mask, Float a, Float b) { return Float(_mm256_blendv_ps(b.v, a.v, mask.v)); }
inline Float fma(Float a, Float b, Float c) { return Float(_mm256_fmadd_ps(a.v, b.v, c.v)); }
inline Float minimum(Float a, Float b) { return Float(_mm256_min_ps(a.v, b.v)); }
inline Float maximum(Float a, Float b) { return Float(_mm256_max_ps(a.v, b.v)); }
inline Float absolute(Float a) { return Float(_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)); }
inline Float square_root(Float a) { return Float(_mm256_sqrt_ps(a.v)); }
inline Float nearest(Float a) { return Float(_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }

inline Word operator+(Word a, Word b) { return Word(_mm256_add_epi32(a.v, b.v)); }
inline Word operator-(Word a, Word b) { return Word(_mm256_sub_epi32(a.v, b.v)); }
inline Word operator&(Word a, Word b) { return Word(_mm256_and_si256(a.v, b.v)); }
inline Word operator|(Word a, Word b) { return Word(_mm256_or_si256(a.v, b.v)); }
inline Word operator^(Word a, Word b) { return Word(_mm256_xor_si256(a.v, b.v)); }
inline Word operator~(Word a) { return a ^ Word(0xFFFFFFFFu); }
inline Word operator<<(Word a, int n) { return Word(_mm256_sll_epi32(a.v, _mm_cvtsi32_si128(n))); }
inline Word operator>>(Word a, int n) { return Word(_mm256_srl_epi32(a.v, _mm_cvtsi32_si128(n))); }
inline Float to_number(Word a) { return Float(_mm256_cvtepi32_ps(a.v)); }
inline Word bits_of(Float a) { return Word(_mm256_castps_si256(a.v)); }
inline Float number_of_bits(Word a) { return Float(_mm256_castsi256_ps(a.v)); }

inline void multiply_wide(Word a, std::uint32_t b, Word& high, Word& low) {
  const __m256i factor = _mm256_set1_epi64x(b);
  const __m256i even = _mm256_mul_epu32(a.v, factor);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v, 32), factor);
  low.v = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  high.v = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
}

// In two factors, so that neither they nor their first product overflow or lose bits.
inline Float scale(Float x, Float n) {
  const __m256i whole = _mm256_cvtps_epi32(n.v);
  const __m256i half = _mm256_srai_epi32(whole, 1);
  const __m256i bias = _mm256_set1_epi32(127);
  const Float once(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
  const Float twice(_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(whole, half), bias), 23)));
  return x * once * twice;
}

inline __m256 from_bf16(__m128i bits) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16)); }

inline __m128i to_bf16(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF)));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x00400000));
  const __m256i chosen = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(is_nan(Float(x)).v)), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(chosen), _mm256_extracti128_si256(chosen, 1));
}

inline __m256i to_int32(Float x) {
  const __m256i too_large = _mm256_castps_si256((x > Float(2147483520.0f)).v);
  const __m256i whole = _mm256_andnot_si256(_mm256_castps_si256(is_nan(x).v), _mm256_cvtps_epi32(x.v));
  return _mm256_blendv_epi8(whole, _mm256_set1_epi32(0x7FFFFFFF), too_large);
}

inline __m128i to_uint8(Float x) {
  const Float clamped = minimum(maximum(x, Float(0.0f)), Float(255.0f));
  const __m256i whole = _mm256_cvtps_epi32(clamped.v);
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  return _mm_packus_epi16(words, words);
}

inline Word load(const std::uint32_t* p) { return Word(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))); }
inline Float load(const float* p) { return Float(_mm256_loadu_ps(p)); }
inline Float load(const Bf16* p) { return Float(from_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))); }
inline Float load(const std::int32_t* p) {
  return Float(_mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
}
inline Float load(const std::uint8_t* p) {
  return Float(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))));
}

inline void store(float* p, Float x) { _mm256_storeu_ps(p, x.v); }
inline void store(Bf16* p, Float x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), to_bf16(x.v)); }
inline void store(std::int32_t* p, Float x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), to_int32(x)); }
inline void store(std::uint8_t* p, Float x) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), to_uint8(x)); }

inline void add_lanes(double* sums, Float x) {
  const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(x.v));
  const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1));
  _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), low));
  _mm256_storeu_pd(sums + 4, _mm256_add_pd(_mm256_loadu_pd(sums + 4), high));
}

inline double sum_lanes(Float x) {
  const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(x.v));
  const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(x.v, 1));
  const __m256d both = _mm256_add_pd(low, high);
  const __m128d pair = _mm_add_pd(_mm256_castpd256_pd128(both), _mm256_extractf128_pd(both, 1));
  return _mm_cvtsd_f64(_mm_add_sd(pair, _mm_unpackhi_pd(pair, pair)));
}

inline void store_interleaved(float* p, Float a, Float b, Float c, Float d) {
  const __m256 ab_low = _mm256_unpacklo_ps(a.v, b.v), ab_high = _mm256_unpackhi_ps(a.v, b.v);
  const __m256 cd_low = _mm256_unpacklo_ps(c.v, d.v), cd_high = _mm256_unpackhi_ps(c.v, d.v);
  _mm256_storeu_ps(p, _mm256_shuffle_ps(ab_low, cd_low, 0x44));
  _mm256_storeu_ps(p + 8, _mm256_shuffle_ps(ab_low, cd_low, 0xEE));
  _mm256_storeu_ps(p + 16, _mm256_shuffle_ps(ab_high, cd_high, 0x44));
  _mm256_storeu_ps(p + 24, _mm256_shuffle_ps(ab_high, cd_high, 0xEE));
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET

// 32-bit lanes of the widest vectors that the core is compiled for: AVX-512 in the x86-64-v4 build, AVX2 in the x86-64-v3
// build.
#pragma once
// GCC 12's AVX-512 header warns of its own deliberately undefined values (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <cstdint>

namespace sim::matrix {

#ifdef __AVX512BW__

using Vector = __m512i;
inline constexpr int kWidth = 16;

inline Vector load(const void* from) { return _mm512_load_si512(from); }
inline void store(void* to, Vector v) { _mm512_store_si512(to, v); }
inline Vector fill(std::int32_t value) { return _mm512_set1_epi32(value); }
inline Vector zero() { return _mm512_setzero_si512(); }
inline Vector add(Vector a, Vector b) { return _mm512_add_epi32(a, b); }
inline Vector sub(Vector a, Vector b) { return _mm512_sub_epi32(a, b); }
inline Vector max(Vector a, Vector b) { return _mm512_max_epi32(a, b); }
inline Vector bit_and(Vector a, Vector b) { return _mm512_and_si512(a, b); }
inline Vector bit_or(Vector a, Vector b) { return _mm512_or_si512(a, b); }
inline Vector bit_xor(Vector a, Vector b) { return _mm512_xor_si512(a, b); }
inline Vector and_not(Vector a, Vector b) { return _mm512_andnot_si512(a, b); }  // ~a & b
inline Vector xor3(Vector a, Vector b, Vector c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }
inline Vector majority(Vector a, Vector b, Vector c) { return _mm512_ternarylogic_epi32(a, b, c, 0xe8); }
inline Vector shift_right(Vector a, Vector counts) { return _mm512_srlv_epi32(a, counts); }  // 0 from 32 on
inline Vector shift_left(Vector a, Vector counts) { return _mm512_sllv_epi32(a, counts); }
template <int n>
Vector shift_right(Vector a) {
  return _mm512_srli_epi32(a, n);
}
template <int n>
Vector shift_left(Vector a) {
  return _mm512_slli_epi32(a, n);
}
template <int n>
Vector shift_right_signed(Vector a) {
  return _mm512_srai_epi32(a, n);
}
template <int n>
Vector shift_right_halves(Vector a) {
  return _mm512_srai_epi16(a, n);
}
template <int n>
Vector shift_left_halves(Vector a) {
  return _mm512_slli_epi16(a, n);
}
inline Vector multiply_add_halves(Vector a, Vector b) {
  return _mm512_madd_epi16(a, b);
}  // two products of signed halves a lane
inline Vector multiply_add_bytes(Vector a, Vector b) { return _mm512_maddubs_epi16(a, b); }
inline Vector shuffle_bytes(Vector table, Vector at) { return _mm512_shuffle_epi8(table, at); }
inline Vector add_bytes(Vector a, Vector b) { return _mm512_add_epi8(a, b); }
inline Vector equal(Vector a, Vector b) { return _mm512_movm_epi32(_mm512_cmpeq_epi32_mask(a, b)); }
inline Vector greater(Vector a, Vector b) { return _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(a, b)); }
inline Vector select(Vector condition, Vector yes, Vector no) { return _mm512_ternarylogic_epi32(condition, yes, no, 0xca); }
inline std::uint32_t mask_of(Vector a) { return _mm512_movepi32_mask(a); }  // the sign bits
inline Vector quarter_fill(std::int32_t a, std::int32_t b, std::int32_t c, std::int32_t d) {
  return _mm512_set4_epi32(d, c, b, a);
}
/// The bits of the float nearest to an unsigned integer that has at most 24 significant bits.
inline Vector to_float(Vector a) { return _mm512_castps_si512(_mm512_cvtepu32_ps(a)); }
inline Vector to_float_toward_zero(Vector a) {
  return _mm512_castps_si512(_mm512_cvt_roundepu32_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
}
inline Vector multiply_float(Vector a, Vector b) {
  return _mm512_castps_si512(_mm512_mul_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b)));
}
inline Vector truncate_float(Vector a) { return _mm512_cvttps_epi32(_mm512_castsi512_ps(a)); }
inline Vector signed_to_float_toward_zero(Vector a) {
  return _mm512_castps_si512(_mm512_cvt_roundepi32_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC));
}
inline Vector absolute(Vector a) { return _mm512_abs_epi32(a); }
/// Of the halves in the low 16 bits of each lane.
inline Vector half_to_float(Vector a) { return _mm512_castps_si512(_mm512_cvtph_ps(_mm512_cvtepi32_epi16(a))); }
inline Vector float_to_half(Vector a) {
  return _mm512_cvtepu16_epi32(_mm512_cvtps_ph(_mm512_castsi512_ps(a), _MM_FROUND_TO_NEAREST_INT));
}

#else

using Vector = __m256i;
inline constexpr int kWidth = 8;

inline Vector load(const void* from) { return _mm256_load_si256(static_cast<const __m256i*>(from)); }
inline void store(void* to, Vector v) { _mm256_store_si256(static_cast<__m256i*>(to), v); }
inline Vector fill(std::int32_t value) { return _mm256_set1_epi32(value); }
inline Vector zero() { return _mm256_setzero_si256(); }
inline Vector add(Vector a, Vector b) { return _mm256_add_epi32(a, b); }
inline Vector sub(Vector a, Vector b) { return _mm256_sub_epi32(a, b); }
inline Vector max(Vector a, Vector b) { return _mm256_max_epi32(a, b); }
inline Vector bit_and(Vector a, Vector b) { return _mm256_and_si256(a, b); }
inline Vector bit_or(Vector a, Vector b) { return _mm256_or_si256(a, b); }
inline Vector bit_xor(Vector a, Vector b) { return _mm256_xor_si256(a, b); }
inline Vector and_not(Vector a, Vector b) { return _mm256_andnot_si256(a, b); }  // ~a & b
inline Vector xor3(Vector a, Vector b, Vector c) { return bit_xor(bit_xor(a, b), c); }
inline Vector majority(Vector a, Vector b, Vector c) { return bit_or(bit_and(a, b), bit_and(bit_or(a, b), c)); }
inline Vector shift_right(Vector a, Vector counts) { return _mm256_srlv_epi32(a, counts); }  // 0 from 32 on
inline Vector shift_left(Vector a, Vector counts) { return _mm256_sllv_epi32(a, counts); }
template <int n>
Vector shift_right(Vector a) {
  return _mm256_srli_epi32(a, n);
}
template <int n>
Vector shift_left(Vector a) {
  return _mm256_slli_epi32(a, n);
}
template <int n>
Vector shift_right_signed(Vector a) {
  return _mm256_srai_epi32(a, n);
}
template <int n>
Vector shift_right_halves(Vector a) {
  return _mm256_srai_epi16(a, n);
}
template <int n>
Vector shift_left_halves(Vector a) {
  return _mm256_slli_epi16(a, n);
}
inline Vector multiply_add_halves(Vector a, Vector b) {
  return _mm256_madd_epi16(a, b);
}  // two products of signed halves a lane
inline Vector multiply_add_bytes(Vector a, Vector b) { return _mm256_maddubs_epi16(a, b); }
inline Vector shuffle_bytes(Vector table, Vector at) { return _mm256_shuffle_epi8(table, at); }
inline Vector add_bytes(Vector a, Vector b) { return _mm256_add_epi8(a, b); }
inline Vector equal(Vector a, Vector b) { return _mm256_cmpeq_epi32(a, b); }
inline Vector greater(Vector a, Vector b) { return _mm256_cmpgt_epi32(a, b); }
inline Vector select(Vector condition, Vector yes, Vector no) { return _mm256_blendv_epi8(no, yes, condition); }
inline std::uint32_t mask_of(Vector a) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(a)));
}  // the sign bits
inline Vector quarter_fill(std::int32_t a, std::int32_t b, std::int32_t c, std::int32_t d) {
  return _mm256_setr_epi32(a, b, c, d, a, b, c, d);
}
inline Vector to_float(Vector a) {
  // Halves of 16 bits convert exactly, and their sum is exact when it has 24 significant bits.
  const __m256 high = _mm256_cvtepi32_ps(_mm256_srli_epi32(a, 16));
  const __m256 low = _mm256_cvtepi32_ps(_mm256_and_si256(a, _mm256_set1_epi32(0xffff)));
  return _mm256_castps_si256(_mm256_add_ps(_mm256_mul_ps(high, _mm256_set1_ps(65536.0f)), low));
}
inline Vector to_float_toward_zero(Vector a) {
  // With the first bit below the 24 leading ones cleared, rounding to nearest goes down.
  return to_float(_mm256_andnot_si256(_mm256_srli_epi32(a, 24), a));
}
inline Vector multiply_float(Vector a, Vector b) {
  return _mm256_castps_si256(_mm256_mul_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b)));
}
inline Vector truncate_float(Vector a) { return _mm256_cvttps_epi32(_mm256_castsi256_ps(a)); }
inline Vector signed_to_float_toward_zero(Vector a) {
  const __m256i magnitude = _mm256_abs_epi32(a);
  const __m256i down = _mm256_andnot_si256(_mm256_srli_epi32(magnitude, 24), magnitude);  // see to_float_toward_zero
  return _mm256_or_si256(_mm256_castps_si256(_mm256_cvtepi32_ps(down)), _mm256_and_si256(a, _mm256_set1_epi32(INT32_MIN)));
}
inline Vector absolute(Vector a) { return _mm256_abs_epi32(a); }
/// Of the halves in the low 16 bits of each lane.
inline Vector half_to_float(Vector a) {
  const __m256i packed = _mm256_permute4x64_epi64(
      _mm256_packus_epi32(_mm256_and_si256(a, _mm256_set1_epi32(0xffff)), _mm256_setzero_si256()), 0x08);
  return _mm256_castps_si256(_mm256_cvtph_ps(_mm256_castsi256_si128(packed)));
}
inline Vector float_to_half(Vector a) {
  return _mm256_cvtepu16_epi32(_mm256_cvtps_ph(_mm256_castsi256_ps(a), _MM_FROUND_TO_NEAREST_INT));
}

#endif

/// Bits that are set in each byte.
inline Vector count_bits(Vector a) {
  const Vector table = quarter_fill(0x02010100, 0x03020201, 0x03020201, 0x04030302), nibble = fill(0x0f0f0f0f);
  return add_bytes(shuffle_bytes(table, bit_and(a, nibble)), shuffle_bytes(table, bit_and(shift_right<4>(a), nibble)));
}

}  // namespace sim::matrix

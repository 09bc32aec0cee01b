// Shifts and byte permutation: shl shr shf prmt.
#include <cstring>

#include "isa/form.h"
#include "isa/integer.h"

namespace sim {
namespace {

using ptx::Type;

template <class T>
constexpr std::uint32_t kBitsOf = sizeof(T) * 8;

// Amounts are unsigned and clamped to the width.
struct ShiftLeft {
  template <class T>
  static T f(T a, std::uint32_t n) {
    return n >= kBitsOf<T> ? T{0} : static_cast<T>(a << (n & (kBitsOf<T> - 1)));
  }
};

struct ShiftRight {
  template <class T>
  static T f(T a, std::uint32_t n) {
    if constexpr (std::is_unsigned_v<T>) {
      return n >= kBitsOf<T> ? T{0} : static_cast<T>(a >> (n & (kBitsOf<T> - 1)));
    } else if constexpr (sizeof(T) == 8) {
      // AVX2 has no arithmetic shift of 64 bits: negative numbers are shifted as their complements.
      const std::uint64_t sign = a < 0 ? ~std::uint64_t{0} : 0;
      return static_cast<T>(ShiftRight::f(static_cast<std::uint64_t>(a) ^ sign, n) ^ sign);
    } else {
      return static_cast<T>(a >> (n < kBitsOf<T> ? n : kBitsOf<T> - 1));
    }
  }
};

// The top word of b:a shifted left.
template <bool Clamp>
std::uint32_t funnel_left(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  if (Clamp && c >= 32) return a;
  const std::uint32_t n = c & 31;
  return b << n | (a >> 1) >> (31 - n);
}
// The low word of b:a shifted right.
template <bool Clamp>
std::uint32_t funnel_right(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  if (Clamp && c >= 32) return b;
  const std::uint32_t n = c & 31;
  return (b << 1) << (31 - n) | a >> n;
}

// Eight lanes of prmt: byte k of a result is the byte of b:a that nibble k of the selector numbers, or its sign repeated where
// the nibble's top bit is set.
__m256i permute_bytes(__m256i a, __m256i b, __m256i selector) {
  // One nibble to each byte.
  const __m256i nibbles =
      _mm256_or_si256(_mm256_or_si256(_mm256_and_si256(selector, _mm256_set1_epi32(0xf)),
                                      _mm256_and_si256(_mm256_slli_epi32(selector, 4), _mm256_set1_epi32(0xf00))),
                      _mm256_or_si256(_mm256_and_si256(_mm256_slli_epi32(selector, 8), _mm256_set1_epi32(0xf0000)),
                                      _mm256_and_si256(_mm256_slli_epi32(selector, 12), _mm256_set1_epi32(0xf000000))));
  // Where a lane's four bytes begin in its 16; shuffles give 0 for an index with the top bit set.
  const __m256i base =
      _mm256_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12);
  const __m256i index = _mm256_or_si256(_mm256_and_si256(nibbles, _mm256_set1_epi8(3)), base);
  const __m256i from_b = _mm256_cmpeq_epi8(_mm256_and_si256(nibbles, _mm256_set1_epi8(4)), _mm256_set1_epi8(4));
  const __m256i bytes = _mm256_blendv_epi8(_mm256_shuffle_epi8(a, index), _mm256_shuffle_epi8(b, index), from_b);
  const __m256i signs = _mm256_cmpgt_epi8(_mm256_setzero_si256(), bytes);
  const __m256i wants_sign = _mm256_cmpeq_epi8(_mm256_and_si256(nibbles, _mm256_set1_epi8(8)), _mm256_set1_epi8(8));
  return _mm256_blendv_epi8(bytes, signs, wants_sign);
}

void permute_lanes(Warp& w, const Instruction& in, const std::uint32_t* selectors) {
  alignas(64) std::uint32_t result[kLanes];
  auto load = [](const std::uint32_t* lanes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes)); };
  const std::uint32_t* a = w.at<std::uint32_t>(in.a);
  const std::uint32_t* b = w.at<std::uint32_t>(in.b);
  std::uint32_t* d = w.at<std::uint32_t>(in.d);
  std::uint32_t* to = w.mask == kAllLanes ? d : result;
  for (int lane = 0; lane < kLanes; lane += 8) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + lane),
                        permute_bytes(load(a + lane), load(b + lane), load(selectors + lane)));
  }
  if (to == result) store_lanes(w.mask, d, result);
}

void permute(Warp& w, const Instruction& in) { permute_lanes(w, in, w.at<std::uint32_t>(in.c)); }

// The selectors that the two low bits of c stand for in the named modes.
struct PermuteMode {
  std::string_view name;
  std::uint16_t selectors[4];
};
constexpr PermuteMode kPermuteModes[] = {{"f4e", {0x3210, 0x4321, 0x5432, 0x6543}}, {"b4e", {0x5670, 0x6701, 0x7012, 0x0123}},
                                         {"rc8", {0x0000, 0x1111, 0x2222, 0x3333}}, {"ecl", {0x3210, 0x3211, 0x3222, 0x3333}},
                                         {"ecr", {0x0000, 0x1110, 0x2210, 0x3210}}, {"rc16", {0x1010, 0x3232, 0x1010, 0x3232}}};

void permute_by_mode(Warp& w, const Instruction& in) {
  const PermuteMode& mode = kPermuteModes[in.more];
  const std::uint32_t* c = w.at<std::uint32_t>(in.c);
  alignas(64) std::uint32_t selectors[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) selectors[lane] = mode.selectors[c[lane] & 3];
  permute_lanes(w, in, selectors);
}

bool decode_left(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete() || !is_bits(type)) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, bits_handler<ShiftLeft>(type), width, {width, Width::b32});
}

bool decode_right(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete() || !(is_bits(type) || is_integer(type))) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, is_bits(type) ? bits_handler<ShiftRight>(type) : integer_handler<ShiftRight>(type),
                         width, {width, Width::b32});
}

bool decode_funnel(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool left = form.take("l"), right = form.take("r"), clamp = form.take("clamp"), wrap = form.take("wrap");
  if (form.type() != Type::b32 || !form.complete() || left == right || clamp == wrap) return false;
  const Handler run = left ? (clamp ? lanewise<&funnel_left<true>> : lanewise<&funnel_left<false>>)
                           : (clamp ? lanewise<&funnel_right<true>> : lanewise<&funnel_right<false>>);
  return decode_operands(in, decoder, out, run, Width::b32, {Width::b32, Width::b32, Width::b32});
}

bool decode_permute(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  Handler run = permute;
  for (std::size_t n = 0; n < std::size(kPermuteModes); ++n) {
    if (!form.take(kPermuteModes[n].name)) continue;
    run = permute_by_mode;
    out.more = static_cast<std::uint8_t>(n);
    break;
  }
  if (form.type() != Type::b32 || !form.complete()) return false;
  return decode_operands(in, decoder, out, run, Width::b32, {Width::b32, Width::b32, Width::b32});
}

}  // namespace

std::vector<OpcodeEntry> shift_opcodes() {
  return {{"shl", decode_left}, {"shr", decode_right}, {"shf", decode_funnel}, {"prmt", decode_permute}};
}

}  // namespace sim

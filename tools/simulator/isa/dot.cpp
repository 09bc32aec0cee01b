// Dot products of packed integers: dp4a dp2a.
#include "isa/form.h"
#include "isa/integer.h"

namespace sim {
namespace {

using ptx::Type;

// Even bytes of eight lanes as 16-bit numbers; the odd ones are the even ones of the lanes shifted down by 8.
template <bool Signed>
__m256i even_bytes(__m256i lanes) {
  return Signed ? _mm256_srai_epi16(_mm256_slli_epi16(lanes, 8), 8) : _mm256_and_si256(lanes, _mm256_set1_epi16(0xff));
}
template <bool Signed>
__m256i odd_bytes(__m256i lanes) {
  return Signed ? _mm256_srai_epi16(lanes, 8) : _mm256_srli_epi16(lanes, 8);
}

template <bool SignedA, bool SignedB>
void dot_4(Warp& w, const Instruction& in) {
  auto load = [](const std::uint32_t* lanes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes)); };
  const std::uint32_t* a = w.at<std::uint32_t>(in.a);
  const std::uint32_t* b = w.at<std::uint32_t>(in.b);
  const std::uint32_t* c = w.at<std::uint32_t>(in.c);
  std::uint32_t* d = w.at<std::uint32_t>(in.d);
  alignas(64) std::uint32_t result[kLanes];
  std::uint32_t* to = w.mask == kAllLanes ? d : result;
  for (int lane = 0; lane < kLanes; lane += 8) {
    const __m256i x = load(a + lane), y = load(b + lane);
    const __m256i even = _mm256_madd_epi16(even_bytes<SignedA>(x), even_bytes<SignedB>(y));
    const __m256i odd = _mm256_madd_epi16(odd_bytes<SignedA>(x), odd_bytes<SignedB>(y));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + lane), _mm256_add_epi32(load(c + lane), _mm256_add_epi32(even, odd)));
  }
  if (to == result) store_lanes(w.mask, d, result);
}

template <bool Signed>
std::uint32_t half_word(std::uint32_t a, int n) {
  return Signed ? static_cast<std::uint32_t>(static_cast<std::int32_t>(a << (16 - 16 * n)) >> 16) : a >> (16 * n) & 0xffff;
}
template <bool Signed>
std::uint32_t byte(std::uint32_t a, int n) {
  return Signed ? static_cast<std::uint32_t>(static_cast<std::int32_t>(a << (24 - 8 * n)) >> 24) : a >> (8 * n) & 0xff;
}

template <bool SignedA, bool SignedB, bool High>
std::uint32_t dot_2(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  constexpr int first = High ? 2 : 0;
  return c + half_word<SignedA>(a, 0) * byte<SignedB>(b, first) + half_word<SignedA>(a, 1) * byte<SignedB>(b, first + 1);
}

// .atype.btype; false when they are not .u32 or .s32.
bool take_types(Form& form, bool& signed_a, bool& signed_b) {
  const Type a = form.type(), b = form.type();
  signed_a = a == Type::s32;
  signed_b = b == Type::s32;
  return (signed_a || a == Type::u32) && (signed_b || b == Type::u32) && form.complete();
}

bool decode_dot_4(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  bool a = false, b = false;
  if (!take_types(form, a, b)) return false;
  const Handler run = a ? (b ? dot_4<true, true> : dot_4<true, false>) : (b ? dot_4<false, true> : dot_4<false, false>);
  return decode_operands(in, decoder, out, run, Width::b32, {Width::b32, Width::b32, Width::b32});
}

template <bool High>
Handler dot_2_handler(bool a, bool b) {
  if (a) return b ? lanewise<&dot_2<true, true, High>> : lanewise<&dot_2<true, false, High>>;
  return b ? lanewise<&dot_2<false, true, High>> : lanewise<&dot_2<false, false, High>>;
}

bool decode_dot_2(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool low = form.take("lo"), high = form.take("hi");
  bool a = false, b = false;
  if (low == high || !take_types(form, a, b)) return false;
  return decode_operands(in, decoder, out, high ? dot_2_handler<true>(a, b) : dot_2_handler<false>(a, b), Width::b32,
                         {Width::b32, Width::b32, Width::b32});
}

}  // namespace

std::vector<OpcodeEntry> dot_opcodes() { return {{"dp4a", decode_dot_4}, {"dp2a", decode_dot_2}}; }

}  // namespace sim

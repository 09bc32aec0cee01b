// Instructions in which the lanes of a warp exchange values. They run when all lanes of the member mask that live have come:
// Warp::mask.
#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include "error.h"
#include "isa/form.h"
#include "isa/lanes.h"
#include "machine/checks.h"
#include "machine/options.h"

namespace sim {
namespace {

// A lane that does not take part has no value: the manual leaves it undefined. In the adversarial schedule it is this.
constexpr std::uint32_t kUndefined = 0xdeadbeef;

constexpr std::uint8_t kNegated = 1;

bool from(int architecture, const ptx::Instruction& in, Decoder& decoder) {
  if (options().architecture < architecture) {
    decoder.fail(in, fmt::format("needs sm_{}, the device is sm_{}", architecture, options().architecture));
  }
  return true;
}

void warn_of_missing_lane(const Warp& w, const Instruction& in, int lane, int source) {
  if (!options().synccheck || w.block == nullptr) return;
  Finding finding;
  finding.fault = Fault::missing_lanes;
  finding.warning = true;  // the value may be one that the program does not use
  finding.message = fmt::format("lane {} reads lane {}, which does not take part: the value is undefined", lane, source);
  finding.place = checks::place(w, in, lane);
  Report::instance().add(std::move(finding));
}

// to[l] = from[source[l]]
void permute(const std::uint32_t* from, const std::int32_t* source, std::uint32_t* to) {
#ifdef __AVX512F__
  const __m512i low = _mm512_load_si512(from), high = _mm512_load_si512(from + 16);
  for (int lane = 0; lane < kLanes; lane += 16) {
    _mm512_store_si512(to + lane, _mm512_permutex2var_epi32(low, _mm512_load_si512(source + lane), high));
  }
#else
  for (int lane = 0; lane < kLanes; lane += 8) {
    const __m256i at = _mm256_load_si256(reinterpret_cast<const __m256i*>(source + lane));
    _mm256_store_si256(reinterpret_cast<__m256i*>(to + lane),
                       _mm256_i32gather_epi32(reinterpret_cast<const int*>(from), at, 4));
  }
#endif
}

enum class Shuffle { up, down, bfly, idx };

template <Shuffle mode>
void shuffle(Warp& w, const Instruction& in) {
  const auto* a = w.at<std::uint32_t>(in.a);
  const auto* b = w.at<std::uint32_t>(in.b);
  const auto* c = w.at<std::uint32_t>(in.c);
  alignas(64) std::uint32_t result[kLanes];
  alignas(64) std::int32_t source[kLanes];
  alignas(64) std::uint32_t inside[kLanes];
#pragma GCC ivdep
  for (int lane = 0; lane < kLanes; ++lane) {
    const int offset = static_cast<int>(b[lane] & 31), clamp = static_cast<int>(c[lane] & 31),
              segment = static_cast<int>(c[lane] >> 8 & 31);
    const int last = (lane & segment) | (clamp & ~segment);
    const int j = mode == Shuffle::up     ? lane - offset
                  : mode == Shuffle::down ? lane + offset
                  : mode == Shuffle::bfly ? lane ^ offset
                                          : (lane & segment) | (offset & ~segment);
    const bool is_inside = mode == Shuffle::up ? j >= last : j <= last;
    inside[lane] = is_inside ? ~0u : 0u;
    source[lane] = is_inside ? j : lane;
  }
  permute(a, source, result);
  if (w.mask != kAllLanes) {
    for (Mask rest = w.mask; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest), j = source[lane];
      if ((w.mask >> j & 1u) != 0) continue;
      result[lane] = options().schedule == Schedule::adversarial ? kUndefined : 0;
      warn_of_missing_lane(w, in, lane, j);
    }
  }
  store_lanes(w.mask, w.at<std::uint32_t>(in.d), result);
  if (in.e != kNowhere) store_predicate(w.mask, w.at<Mask>(in.e), mask_of(inside));
}

enum class Vote { all, any, uni, ballot };

template <Vote mode>
void vote(Warp& w, const Instruction& in) {
  const Mask yes = (*w.at<Mask>(in.a) ^ ((in.flags & kNegated) != 0 ? kAllLanes : 0)) & w.mask;
  if constexpr (mode == Vote::ballot) {
    for_lanes(w.mask, w.at<std::uint32_t>(in.d), [=](int) { return yes; });
  } else {
    const bool result = mode == Vote::all ? yes == w.mask : mode == Vote::any ? yes != 0 : yes == w.mask || yes == 0;
    store_predicate(w.mask, w.at<Mask>(in.d), result ? kAllLanes : 0);
  }
}

template <class T>
void match_any(Warp& w, const Instruction& in) {
  const T* a = w.at<T>(in.a);
  alignas(64) std::uint32_t result[kLanes] = {};
  for (Mask rest = w.mask; rest != 0;) {
    const T value = a[std::countr_zero(rest)];
    const Mask equal = lanes_where<T>([=](int lane) { return a[lane] == value; }) & w.mask;
    for (Mask lanes = equal; lanes != 0; lanes &= lanes - 1) result[std::countr_zero(lanes)] = equal;
    rest &= ~equal;
  }
  store_lanes(w.mask, w.at<std::uint32_t>(in.d), result);
}

template <class T>
void match_all(Warp& w, const Instruction& in) {
  const T* a = w.at<T>(in.a);
  const T value = a[std::countr_zero(w.mask | 0x80000000u)];
  const Mask equal = lanes_where<T>([=](int lane) { return a[lane] == value; }) & w.mask;
  const bool all = equal == w.mask;
  for_lanes(w.mask, w.at<std::uint32_t>(in.d), [=, mask = w.mask](int) { return all ? mask : 0u; });
  if (in.e != kNowhere) store_predicate(w.mask, w.at<Mask>(in.e), all ? kAllLanes : 0);
}

template <class T, auto combine>
void reduce(Warp& w, const Instruction& in) {
  const auto* a = w.at<T>(in.a);
  T result{};
  bool first = true;
  for (Mask rest = w.mask; rest != 0; rest &= rest - 1) {
    const T value = a[std::countr_zero(rest)];
    result = first ? value : combine(result, value);
    first = false;
  }
  for_lanes(w.mask, w.at<std::uint32_t>(in.d), [=](int) { return static_cast<std::uint32_t>(result); });
}

constexpr auto kAdd = [](auto x, auto y) { return static_cast<decltype(x)>(x + y); };
constexpr auto kMin = [](auto x, auto y) { return x < y ? x : y; };
constexpr auto kMax = [](auto x, auto y) { return x > y ? x : y; };
constexpr auto kAnd = [](auto x, auto y) { return x & y; };
constexpr auto kOr = [](auto x, auto y) { return x | y; };
constexpr auto kXor = [](auto x, auto y) { return x ^ y; };

// redux of f32: +0 is greater than -0; a NaN loses, or wins with .NaN.
constexpr std::uint8_t kAbsolute = 1, kPropagates = 2;

template <bool maximum>
void reduce_float(Warp& w, const Instruction& in) {
  const auto* a = w.at<std::uint32_t>(in.a);
  bool any = false, nan = false;
  std::int32_t best = 0;
  for (Mask rest = w.mask; rest != 0; rest &= rest - 1) {
    std::uint32_t bits = a[std::countr_zero(rest)];
    if ((in.flags & kAbsolute) != 0) bits &= 0x7fffffff;
    if (std::isnan(std::bit_cast<float>(bits))) {
      nan = true;
      continue;
    }
    // Negative numbers are ordered against their bits.
    const std::int32_t order = static_cast<std::int32_t>(bits ^ ((bits >> 31) != 0 ? 0x7fffffffu : 0u));
    best = !any ? order : maximum ? std::max(best, order) : std::min(best, order);
    any = true;
  }
  std::uint32_t result = static_cast<std::uint32_t>(best);
  result ^= (result >> 31) != 0 ? 0x7fffffffu : 0u;
  if (!any || (nan && (in.flags & kPropagates) != 0)) result = 0x7fffffff;
  for_lanes(w.mask, w.at<std::uint32_t>(in.d), [=](int) { return result; });
}

void activemask(Warp& w, const Instruction& in) {
  for_lanes(w.mask, w.at<std::uint32_t>(in.d), [mask = w.mask](int) { return mask; });
}

void elect(Warp& w, const Instruction& in) {
  if (w.mask == 0) return;
  const auto leader = static_cast<std::uint32_t>(std::countr_zero(w.mask));
  for_lanes(w.mask, w.at<std::uint32_t>(in.d), [=](int) { return leader; });
  store_predicate(w.mask, w.at<Mask>(in.e), Mask{1} << leader);
}

void meet(const ptx::Instruction& in, Decoder& decoder, Instruction& out, const ptx::Operand& member_mask) {
  out.mask = read_source(in, decoder, member_mask, Width::b32);
  out.kind = Kind::warp_sync;
}

// d or d|p.
void write_result(const ptx::Instruction& in, Decoder& decoder, Instruction& out, bool needs_predicate = false) {
  const ptx::Operand& operand = in.operands[0];
  if (operand.kind != ptx::Operand::Kind::pair) {
    if (needs_predicate) decoder.fail(in, "needs a pair d|p");
    out.d = write_destination(in, decoder, operand, Width::b32);
    return;
  }
  out.d = write_destination(in, decoder, operand.elements[0], Width::b32);
  out.e = write_destination(in, decoder, operand.elements[1], Width::pred);
}

void need_operands(const ptx::Instruction& in, Decoder& decoder, std::size_t count) {
  if (in.operands.size() != count) decoder.fail(in, fmt::format("needs {} operands", count));
}

bool decode_shuffle(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  if (!form.take("sync")) decoder.fail(in, "without .sync it is not there from sm_70 on");
  if (!form.take("b32")) return false;
  if (form.take("up")) {
    out.run = shuffle<Shuffle::up>;
  } else if (form.take("down")) {
    out.run = shuffle<Shuffle::down>;
  } else if (form.take("bfly")) {
    out.run = shuffle<Shuffle::bfly>;
  } else if (form.take("idx")) {
    out.run = shuffle<Shuffle::idx>;
  }
  if (!form.complete() || out.run == nullptr) return false;
  need_operands(in, decoder, 5);
  out.a = read_source(in, decoder, in.operands[1], Width::b32);
  out.b = read_source(in, decoder, in.operands[2], Width::b32);
  out.c = read_source(in, decoder, in.operands[3], Width::b32);
  meet(in, decoder, out, in.operands[4]);
  write_result(in, decoder, out);
  return true;
}

bool decode_vote(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  if (!form.take("sync")) decoder.fail(in, "without .sync it is not there from sm_70 on");
  Width width = Width::pred;
  if (form.take("all")) {
    out.run = vote<Vote::all>;
  } else if (form.take("any")) {
    out.run = vote<Vote::any>;
  } else if (form.take("uni")) {
    out.run = vote<Vote::uni>;
  } else if (form.take("ballot")) {
    out.run = vote<Vote::ballot>;
    width = Width::b32;
  }
  if (!form.take(width == Width::b32 ? "b32" : "pred") || !form.complete() || out.run == nullptr) return false;
  need_operands(in, decoder, 3);
  Mask flip = 0;
  out.a = read_predicate(in, decoder, in.operands[1], flip);
  out.flags = flip != 0 ? kNegated : 0;
  meet(in, decoder, out, in.operands[2]);
  out.d = write_destination(in, decoder, in.operands[0], width);
  return true;
}

bool decode_match(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  if (!form.take("sync")) return false;
  const bool all = form.take("all");
  if (!all && !form.take("any")) return false;
  const bool wide = form.take("b64");
  if ((!wide && !form.take("b32")) || !form.complete()) return false;
  need_operands(in, decoder, 3);
  out.run = all ? (wide ? match_all<std::uint64_t> : match_all<std::uint32_t>)
                : (wide ? match_any<std::uint64_t> : match_any<std::uint32_t>);
  out.a = read_source(in, decoder, in.operands[1], wide ? Width::b64 : Width::b32);
  meet(in, decoder, out, in.operands[2]);
  if (!all && in.operands[0].kind == ptx::Operand::Kind::pair) decoder.fail(in, "only match.all has a predicate");
  write_result(in, decoder, out);
  return true;
}

template <auto combine>
Handler reduction(ptx::Type type) {
  return type == ptx::Type::u32   ? reduce<std::uint32_t, combine>
         : type == ptx::Type::s32 ? reduce<std::int32_t, combine>
                                  : nullptr;
}

bool decode_reduce(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  if (!form.take("sync")) return false;
  const bool add = form.take("add"), min = !add && form.take("min"), max = !add && !min && form.take("max");
  if (add || min || max) {
    const bool absolute = form.take("abs"), propagates = form.take("NaN");
    const ptx::Type type = form.type();
    if (type == ptx::Type::f32 && !add) {
      from(100, in, decoder);
      out.run = min ? reduce_float<false> : reduce_float<true>;
      out.flags = static_cast<std::uint8_t>((absolute ? kAbsolute : 0) | (propagates ? kPropagates : 0));
    } else if (!absolute && !propagates) {
      // The sum of signed numbers wraps as that of unsigned ones.
      out.run = add   ? (type == ptx::Type::s32 ? reduction<kAdd>(ptx::Type::u32) : reduction<kAdd>(type))
                : min ? reduction<kMin>(type)
                      : reduction<kMax>(type);
    }
  } else {
    const bool conjunction = form.take("and"), disjunction = !conjunction && form.take("or");
    if (!conjunction && !disjunction && !form.take("xor")) return false;
    if (!form.take("b32")) return false;
    out.run = conjunction   ? reduce<std::uint32_t, kAnd>
              : disjunction ? reduce<std::uint32_t, kOr>
                            : reduce<std::uint32_t, kXor>;
  }
  if (!form.complete() || out.run == nullptr) return false;
  from(80, in, decoder);
  need_operands(in, decoder, 3);
  out.a = read_source(in, decoder, in.operands[1], Width::b32);
  meet(in, decoder, out, in.operands[2]);
  out.d = write_destination(in, decoder, in.operands[0], Width::b32);
  return true;
}

bool decode_activemask(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  if (!form.take("b32") || !form.complete()) return false;
  return decode_operands(in, decoder, out, activemask, Width::b32, {});
}

bool decode_elect(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  if (!form.take("sync") || !form.complete()) return false;
  from(90, in, decoder);
  need_operands(in, decoder, 2);
  out.run = elect;
  meet(in, decoder, out, in.operands[1]);
  write_result(in, decoder, out, true);
  return true;
}

}  // namespace

std::vector<OpcodeEntry> warp_opcodes() {
  return {{"shfl", decode_shuffle},          {"vote", decode_vote},  {"match", decode_match}, {"redux", decode_reduce},
          {"activemask", decode_activemask}, {"elect", decode_elect}};
}

}  // namespace sim

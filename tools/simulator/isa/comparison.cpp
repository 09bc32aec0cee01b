// Comparisons: setp and set.
#include <bit>
#include <optional>

#include "isa/comparison.h"
#include "isa/form.h"

namespace sim {
namespace {

using ptx::Type;

// Ordered comparisons are false when an operand is NaN, the …u ones true. Unsigned lo, ls, hi, hs are lt, le, gt, ge of
// unsigned types.
enum class Comparison : std::uint8_t { eq, ne, lt, le, gt, ge, equ, neu, ltu, leu, gtu, geu, num, nan };

template <Comparison C, class T>
constexpr bool holds(T a, T b) {
  switch (C) {
    case Comparison::eq:
      return a == b;
    case Comparison::ne:
      return a < b || a > b;
    case Comparison::lt:
      return a < b;
    case Comparison::le:
      return a <= b;
    case Comparison::gt:
      return a > b;
    case Comparison::ge:
      return a >= b;
    case Comparison::equ:
      return !(a < b || a > b);
    case Comparison::neu:
      return !(a == b);
    case Comparison::ltu:
      return !(a >= b);
    case Comparison::leu:
      return !(a > b);
    case Comparison::gtu:
      return !(a <= b);
    case Comparison::geu:
      return !(a < b);
    case Comparison::num:
      return a == a && b == b;
    case Comparison::nan:
      return !(a == a && b == b);
  }
}

// How lanes of a source type compare: `Lane` is their storage.
template <class T>
struct Integer {
  using Lane = Bits<T>;
  template <Comparison C>
  static bool compare(Lane a, Lane b) {
    if constexpr (C == Comparison::ne) return a != b;
    return holds<C>(static_cast<T>(a), static_cast<T>(b));
  }
};

template <bool Flush>
struct Single {
  using Lane = std::uint32_t;
  template <Comparison C>
  static bool compare(Lane a, Lane b) {
    return holds<C>(single<Flush>(a), single<Flush>(b));
  }
};

struct Double {
  using Lane = std::uint64_t;
  template <Comparison C>
  static bool compare(Lane a, Lane b) {
    return holds<C>(std::bit_cast<double>(a), std::bit_cast<double>(b));
  }
};

enum class HalfFormat : std::uint8_t { half, half_flushed, bfloat };

// 16-bit floats as integers in the same order.
template <HalfFormat Format>
struct Half {
  using Lane = std::uint16_t;
  static constexpr Lane kInfinity = Format == HalfFormat::bfloat ? 0x7f80 : 0x7c00;

  static Lane magnitude(Lane a) { return a & 0x7fff; }
  static std::int16_t key(Lane a) {
    const Lane kept = Format == HalfFormat::half_flushed && magnitude(a) < 0x0400 ? Lane{0} : magnitude(a);
    return static_cast<std::int16_t>(static_cast<std::int16_t>(a) < 0 ? static_cast<Lane>(-kept) : kept);
  }
  template <Comparison C>
  static bool compare(Lane a, Lane b) {
    const bool unordered = (magnitude(a) > kInfinity) | (magnitude(b) > kInfinity);
    if constexpr (C == Comparison::num) return !unordered;
    if constexpr (C == Comparison::nan) return unordered;
    const bool result = holds<C>(key(a), key(b));
    if constexpr (C >= Comparison::equ) return unordered | result;
    return !unordered & result;
  }
};

template <class Source, Comparison C>
[[gnu::always_inline]] inline Mask compare_lanes(const Warp& w, const Instruction& in) {
  using Lane = typename Source::Lane;
  const Lane* a = w.at<Lane>(in.a);
  const Lane* b = w.at<Lane>(in.b);
  return lanes_where<Lane>([=](int lane) { return Source::template compare<C>(a[lane], b[lane]); });
}

// The results of a comparison: one, or of packed operands those of the low and of the high halves.
struct Results {
  Mask low, high;
};
using Compare = Results (*)(const Warp&, const Instruction&);

template <class Source, Comparison C>
Results compare_one(const Warp& w, const Instruction& in) {
  const Mask result = compare_lanes<Source, C>(w, in);
  return {result, result};
}
template <HalfFormat Format, Comparison C>
Results compare_packed(const Warp& w, const Instruction& in) {
  using Source = Half<Format>;
  const std::uint16_t* a = w.at<std::uint16_t>(in.a);
  const std::uint16_t* b = w.at<std::uint16_t>(in.b);
  alignas(64) std::uint32_t flags[kLanes];
  auto* const halves = reinterpret_cast<std::uint16_t*>(flags);
#pragma GCC ivdep
  for (int n = 0; n < 2 * kLanes; ++n) halves[n] = Source::template compare<C>(a[n], b[n]) ? 0xffff : 0;
  Results results{};
  for (int lane = 0; lane < kLanes; lane += 8) {
    const __m256i both = _mm256_load_si256(reinterpret_cast<const __m256i*>(flags + lane));
    results.high |= static_cast<Mask>(_mm256_movemask_ps(_mm256_castsi256_ps(both))) << lane;
    results.low |= static_cast<Mask>(_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_slli_epi32(both, 16)))) << lane;
  }
  return results;
}

// The commonest: setp of one comparison into one predicate.
template <class Source, Comparison C>
void set_predicate(Warp& w, const Instruction& in) {
  store_predicate(w.mask, w.at<Mask>(in.d), compare_lanes<Source, C>(w, in));
}

// Instruction::flags of the general handlers.
enum : std::uint8_t { kPlain = 0, kAnd = 1, kOr = 2, kXor = 3, kOperation = 3, kNegated = 4, kPacked = 8 };

Mask combine(std::uint8_t flags, Mask t, Mask c) {
  switch (flags & kOperation) {
    case kAnd:
      return t & c;
    case kOr:
      return t | c;
    case kXor:
      return t ^ c;
    default:
      return t;
  }
}

Mask predicate_operand(const Warp& w, const Instruction& in) {
  if ((in.flags & kOperation) == kPlain) return 0;
  return *w.at<Mask>(in.c) ^ ((in.flags & kNegated) != 0 ? kAllLanes : 0);
}

Compare compare_of(const Instruction& in) { return reinterpret_cast<Compare>(static_cast<std::intptr_t>(in.immediate)); }

// p|q: of the comparison and of its complement, or of the two halves.
void set_predicates(Warp& w, const Instruction& in) {
  const Results t = compare_of(in)(w, in);
  const Mask c = predicate_operand(w, in);
  store_predicate(w.mask, w.at<Mask>(in.d), combine(in.flags, t.low, c));
  if (in.e != kNowhere)
    store_predicate(w.mask, w.at<Mask>(in.e), combine(in.flags, (in.flags & kPacked) != 0 ? t.high : ~t.low, c));
}

// What `set` writes where the result is true, by the destination's type; packed ones in each half.
enum class True : std::uint8_t { ones_32, ones_16, ones_packed, single, half, bfloat, half_packed, bfloat_packed };
constexpr std::uint32_t kTrue[] = {0xffffffff, 0xffff, 0xffff, 0x3f800000, 0x3c00, 0x3f80, 0x3c00, 0x3f80};

template <class T>
void set_lanes(Warp& w, const Instruction& in) {
  const Mask t = combine(in.flags, compare_of(in)(w, in).low, predicate_operand(w, in));
  const T value = static_cast<T>(kTrue[in.more]);
  alignas(64) T result[kLanes];
  select_lanes<T>(
      t, result, [=](int) { return value; }, [](int) { return T{0}; });
  store_lanes(w.mask, w.at<T>(in.d), result);
}
void set_packed(Warp& w, const Instruction& in) {
  const Results t = compare_of(in)(w, in);
  const Mask c = predicate_operand(w, in);
  const std::uint32_t value = kTrue[in.more];
  alignas(64) std::uint32_t low[kLanes];
  alignas(64) std::uint32_t both[kLanes];
  select_lanes<std::uint32_t>(
      combine(in.flags, t.low, c), low, [=](int) { return value; }, [](int) { return 0u; });
  select_lanes<std::uint32_t>(
      combine(in.flags, t.high, c), both, [&](int lane) { return low[lane] | value << 16; },
      [&](int lane) { return low[lane]; });
  store_lanes<std::uint32_t>(w.mask, w.at<std::uint32_t>(in.d), both);
}

// A comparison of a source type, alone and for the general handlers.
struct Comparator {
  Handler set_predicate = nullptr;
  Compare compare = nullptr;
};

template <class Source, Comparison C>
Comparator one() {
  return {set_predicate<Source, C>, compare_one<Source, C>};
}
template <class Source>
Comparator ordered(Comparison c) {
  switch (c) {
    case Comparison::eq:
      return one<Source, Comparison::eq>();
    case Comparison::ne:
      return one<Source, Comparison::ne>();
    case Comparison::lt:
      return one<Source, Comparison::lt>();
    case Comparison::le:
      return one<Source, Comparison::le>();
    case Comparison::gt:
      return one<Source, Comparison::gt>();
    case Comparison::ge:
      return one<Source, Comparison::ge>();
    default:
      return {};
  }
}
template <class Source>
Comparator floating(Comparison c) {
  switch (c) {
    case Comparison::equ:
      return one<Source, Comparison::equ>();
    case Comparison::neu:
      return one<Source, Comparison::neu>();
    case Comparison::ltu:
      return one<Source, Comparison::ltu>();
    case Comparison::leu:
      return one<Source, Comparison::leu>();
    case Comparison::gtu:
      return one<Source, Comparison::gtu>();
    case Comparison::geu:
      return one<Source, Comparison::geu>();
    case Comparison::num:
      return one<Source, Comparison::num>();
    case Comparison::nan:
      return one<Source, Comparison::nan>();
    default:
      return ordered<Source>(c);
  }
}
template <HalfFormat Format>
Comparator packed(Comparison c) {
  static constexpr Compare kCompare[] = {
      compare_packed<Format, Comparison::eq>,  compare_packed<Format, Comparison::ne>,  compare_packed<Format, Comparison::lt>,
      compare_packed<Format, Comparison::le>,  compare_packed<Format, Comparison::gt>,  compare_packed<Format, Comparison::ge>,
      compare_packed<Format, Comparison::equ>, compare_packed<Format, Comparison::neu>, compare_packed<Format, Comparison::ltu>,
      compare_packed<Format, Comparison::leu>, compare_packed<Format, Comparison::gtu>, compare_packed<Format, Comparison::geu>,
      compare_packed<Format, Comparison::num>, compare_packed<Format, Comparison::nan>};
  return {nullptr, kCompare[static_cast<int>(c)]};
}

bool is_packed(Type type) { return type == Type::f16x2 || type == Type::bf16x2; }

// Null where the type has no such comparison.
Comparator comparator(Type type, Comparison c, bool flush) {
  if (flush && type != Type::f32 && type != Type::f16 && type != Type::f16x2) return {};
  switch (type) {
    case Type::b16:
      return c <= Comparison::ne ? ordered<Integer<std::uint16_t>>(c) : Comparator{};
    case Type::b32:
      return c <= Comparison::ne ? ordered<Integer<std::uint32_t>>(c) : Comparator{};
    case Type::b64:
      return c <= Comparison::ne ? ordered<Integer<std::uint64_t>>(c) : Comparator{};
    case Type::u16:
      return ordered<Integer<std::uint16_t>>(c);
    case Type::u32:
      return ordered<Integer<std::uint32_t>>(c);
    case Type::u64:
      return ordered<Integer<std::uint64_t>>(c);
    case Type::s16:
      return ordered<Integer<std::int16_t>>(c);
    case Type::s32:
      return ordered<Integer<std::int32_t>>(c);
    case Type::s64:
      return ordered<Integer<std::int64_t>>(c);
    case Type::f32:
      return flush ? floating<Single<true>>(c) : floating<Single<false>>(c);
    case Type::f64:
      return floating<Double>(c);
    case Type::f16:
      return flush ? floating<Half<HalfFormat::half_flushed>>(c) : floating<Half<HalfFormat::half>>(c);
    case Type::bf16:
      return floating<Half<HalfFormat::bfloat>>(c);
    case Type::f16x2:
      return flush ? packed<HalfFormat::half_flushed>(c) : packed<HalfFormat::half>(c);
    case Type::bf16x2:
      return packed<HalfFormat::bfloat>(c);
    default:
      return {};
  }
}

struct Named {
  std::string_view name;
  Comparison comparison;
  bool of_unsigned;
};
constexpr Named kComparisons[] = {
    {"eq", Comparison::eq, false},   {"ne", Comparison::ne, false},   {"lt", Comparison::lt, false},
    {"le", Comparison::le, false},   {"gt", Comparison::gt, false},   {"ge", Comparison::ge, false},
    {"lo", Comparison::lt, true},    {"ls", Comparison::le, true},    {"hi", Comparison::gt, true},
    {"hs", Comparison::ge, true},    {"equ", Comparison::equ, false}, {"neu", Comparison::neu, false},
    {"ltu", Comparison::ltu, false}, {"leu", Comparison::leu, false}, {"gtu", Comparison::gtu, false},
    {"geu", Comparison::geu, false}, {"num", Comparison::num, false}, {"nan", Comparison::nan, false}};

const Named* take_comparison(Form& form) {
  for (const Named& named : kComparisons) {
    if (form.take(named.name)) return &named;
  }
  return nullptr;
}

std::uint8_t take_operation(Form& form) {
  return form.take("and") ? kAnd : form.take("or") ? kOr : form.take("xor") ? kXor : kPlain;
}

bool is_unsigned(Type type) { return type == Type::u16 || type == Type::u32 || type == Type::u64; }

// a, b, and with an operation the predicate c.
void read_operands(const ptx::Instruction& in, Decoder& decoder, Instruction& out, Type type) {
  const bool combines = (out.flags & kOperation) != kPlain;
  if (in.operands.size() != (combines ? 4u : 3u)) decoder.fail(in, "the number of operands is wrong");
  out.a = read_source(in, decoder, in.operands[1], width_of(type), type);
  out.b = read_source(in, decoder, in.operands[2], width_of(type), type);
  if (!combines) return;
  Mask flip = 0;
  out.c = read_predicate(in, decoder, in.operands[3], flip);
  if (flip != 0) out.flags |= kNegated;
}

void use(Instruction& out, Compare compare) {
  out.immediate = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(compare));
}

bool decode_setp(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Named* named = take_comparison(form);
  const std::uint8_t operation = take_operation(form);
  const bool flush = form.take("ftz");
  const Type type = form.type();
  if (named == nullptr || !form.complete() || (named->of_unsigned && !is_unsigned(type))) return false;
  const Comparator comparator = sim::comparator(type, named->comparison, flush);
  if (comparator.compare == nullptr) return false;
  out.flags = static_cast<std::uint8_t>(operation | (is_packed(type) ? kPacked : 0));
  read_operands(in, decoder, out, type);
  const ptx::Operand& d = in.operands[0];
  const bool pair = d.kind == ptx::Operand::Kind::pair;
  if (pair && d.elements.size() != 2) decoder.fail(in, "expected p|q");
  if (pair && (type == Type::f16 || type == Type::bf16)) decoder.fail(in, "this type has one predicate only");
  out.d = write_destination(in, decoder, pair ? d.elements[0] : d, Width::pred);
  if (pair) out.e = write_destination(in, decoder, d.elements[1], Width::pred);
  if (!pair && operation == kPlain && comparator.set_predicate != nullptr) {
    out.run = comparator.set_predicate;
    return true;
  }
  use(out, comparator.compare);
  out.run = set_predicates;
  return true;
}

// What `set` writes for these types, if there is such a form.
std::optional<True> true_value(Type d, Type source) {
  const bool half_source = source == Type::f16 || source == Type::bf16;
  switch (d) {
    case Type::u16:
    case Type::s16:
      return half_source ? std::optional(True::ones_16) : std::nullopt;
    case Type::u32:
    case Type::s32:
      return is_packed(source) ? True::ones_packed : True::ones_32;
    case Type::f32:
      return half_source || is_packed(source) ? std::nullopt : std::optional(True::single);
    case Type::f16:
      return is_packed(source) || source == Type::bf16 ? std::nullopt : std::optional(True::half);
    case Type::bf16:
      return is_packed(source) || source == Type::f16 ? std::nullopt : std::optional(True::bfloat);
    case Type::f16x2:
      return source == Type::f16x2 ? std::optional(True::half_packed) : std::nullopt;
    case Type::bf16x2:
      return source == Type::bf16x2 ? std::optional(True::bfloat_packed) : std::nullopt;
    default:
      return std::nullopt;
  }
}

bool decode_set(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Named* named = take_comparison(form);
  const std::uint8_t operation = take_operation(form);
  const bool flush = form.take("ftz");
  const Type type = form.type(), source = form.type();
  if (named == nullptr || !form.complete() || (named->of_unsigned && !is_unsigned(source))) return false;
  const Compare compare = comparator(source, named->comparison, flush).compare;
  const std::optional<True> value = true_value(type, source);
  if (compare == nullptr || !value.has_value()) return false;
  out.flags = operation;
  read_operands(in, decoder, out, source);
  const Width width = width_of(type);
  out.d = write_destination(in, decoder, in.operands[0], width);
  out.more = static_cast<std::uint8_t>(*value);
  use(out, compare);
  out.run = is_packed(source) ? set_packed : width == Width::b16 ? set_lanes<std::uint16_t> : set_lanes<std::uint32_t>;
  return true;
}

}  // namespace

std::vector<OpcodeEntry> comparison_opcodes() {
  std::vector<OpcodeEntry> entries = selection_opcodes();
  entries.push_back({"setp", decode_setp});
  entries.push_back({"set", decode_set});
  return entries;
}

}  // namespace sim

// Bitwise logic: and or xor not cnot, of predicates too, and lop3.
#include <array>
#include <utility>

#include "isa/form.h"
#include "isa/integer.h"

namespace sim {
namespace {

using ptx::Type;

struct And {
  template <class T>
  static T f(T a, T b) {
    return a & b;
  }
};
struct Or {
  template <class T>
  static T f(T a, T b) {
    return a | b;
  }
};
struct Xor {
  template <class T>
  static T f(T a, T b) {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  static T f(T a) {
    return static_cast<T>(~a);
  }
};
struct LogicalNot {
  template <class T>
  static T f(T a) {
    return a == 0 ? 1 : 0;
  }
};

// Negated operands are flipped by the words of `immediate`.
template <class Op>
void predicate_logic(Warp& w, const Instruction& in) {
  const Mask a = *w.at<Mask>(in.a) ^ static_cast<Mask>(in.immediate),
             b = *w.at<Mask>(in.b) ^ static_cast<Mask>(in.immediate >> 32);
  store_predicate(w.mask, w.at<Mask>(in.d), Op::f(a, b));
}
void predicate_not(Warp& w, const Instruction& in) {
  store_predicate(w.mask, w.at<Mask>(in.d), ~(*w.at<Mask>(in.a) ^ static_cast<Mask>(in.immediate)));
}

template <class Op>
bool decode_binary(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete()) return false;
  if (type == Type::pred) {
    if (in.operands.size() != 3) decoder.fail(in, "the number of operands is wrong");
    Mask flip_a = 0, flip_b = 0;
    out.a = read_predicate(in, decoder, in.operands[1], flip_a);
    out.b = read_predicate(in, decoder, in.operands[2], flip_b);
    out.d = write_destination(in, decoder, in.operands[0], Width::pred);
    out.immediate = static_cast<std::int64_t>(std::uint64_t{flip_b} << 32 | flip_a);
    out.run = predicate_logic<Op>;
    return true;
  }
  if (!is_bits(type)) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, bits_handler<Op>(type), width, {width, width});
}

bool decode_not(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete()) return false;
  if (type == Type::pred) {
    if (in.operands.size() != 2) decoder.fail(in, "the number of operands is wrong");
    Mask flip = 0;
    out.a = read_predicate(in, decoder, in.operands[1], flip);
    out.d = write_destination(in, decoder, in.operands[0], Width::pred);
    out.immediate = flip;
    out.run = predicate_not;
    return true;
  }
  if (!is_bits(type)) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, bits_handler<Not>(type), width, {width});
}

bool decode_logical_not(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete() || !is_bits(type)) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, bits_handler<LogicalNot>(type), width, {width});
}

// A function of three bits; bit 4a + 2b + c of the table is its value.
template <unsigned Table>
constexpr std::uint32_t of_two(std::uint32_t b, std::uint32_t c) {
  constexpr std::uint32_t bit[] = {(Table & 1) != 0 ? ~0u : 0, (Table & 2) != 0 ? ~0u : 0, (Table & 4) != 0 ? ~0u : 0,
                                   (Table & 8) != 0 ? ~0u : 0};
  const std::uint32_t without_b = bit[0] ^ (c & (bit[0] ^ bit[1])), with_b = bit[2] ^ (c & (bit[2] ^ bit[3]));
  return without_b ^ (b & (without_b ^ with_b));
}
template <unsigned Table>
std::uint32_t of_three(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const std::uint32_t without_a = of_two<Table & 0xf>(b, c), with_a = of_two<(Table >> 4)>(b, c);
  return without_a ^ (a & (without_a ^ with_a));
}

template <std::size_t... Table>
constexpr std::array<Handler, sizeof...(Table)> three_input_handlers(std::index_sequence<Table...>) {
  return {lanewise<&of_three<Table>>...};
}
constexpr std::array<Handler, 256> kThreeInput = three_input_handlers(std::make_index_sequence<256>());

// lop3 with .and or .or: p = (d != 0) op q. All lanes are computed aside first: d may be a source, or nowhere.
template <bool Or>
void three_input_predicate(Warp& w, const Instruction& in) {
  const std::uint32_t* a = w.at<std::uint32_t>(in.a);
  const std::uint32_t* b = w.at<std::uint32_t>(in.b);
  const std::uint32_t* c = w.at<std::uint32_t>(in.c);
  alignas(64) std::uint32_t result[kLanes];
  std::uint32_t bit[8];
  for (int n = 0; n < 8; ++n) bit[n] = (in.more >> n & 1) != 0 ? ~0u : 0;
#pragma GCC ivdep
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::uint32_t x = a[lane], y = b[lane], z = c[lane];
    const std::uint32_t n00 = bit[0] ^ (z & (bit[0] ^ bit[1])), n01 = bit[2] ^ (z & (bit[2] ^ bit[3]));
    const std::uint32_t n10 = bit[4] ^ (z & (bit[4] ^ bit[5])), n11 = bit[6] ^ (z & (bit[6] ^ bit[7]));
    const std::uint32_t n0 = n00 ^ (y & (n00 ^ n01)), n1 = n10 ^ (y & (n10 ^ n11));
    result[lane] = n0 ^ (x & (n0 ^ n1));
  }
  const Mask nonzero = lanes_where<std::uint32_t>([&](int lane) { return result[lane] != 0; });
  const Mask q = *w.at<Mask>(in.e) ^ static_cast<Mask>(in.immediate);
  store_lanes<std::uint32_t>(w.mask, w.at<std::uint32_t>(in.d), result);
  store_predicate(w.mask, w.at<Mask>(in.list[0]), Or ? nonzero | q : nonzero & q);
}

bool decode_three_input(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool or_ = form.take("or"), and_ = form.take("and");
  if (form.type() != Type::b32 || !form.complete() || (or_ && and_)) return false;
  const bool predicate = or_ || and_;
  if (in.operands.size() != (predicate ? 6u : 5u)) decoder.fail(in, "the number of operands is wrong");
  if (in.operands[4].kind != ptx::Operand::Kind::integer) decoder.fail(in, "the look-up table is not an immediate");
  const auto table = static_cast<std::uint8_t>(in.operands[4].value);
  out.a = read_source(in, decoder, in.operands[1], Width::b32);
  out.b = read_source(in, decoder, in.operands[2], Width::b32);
  out.c = read_source(in, decoder, in.operands[3], Width::b32);
  if (!predicate) {
    out.d = write_destination(in, decoder, in.operands[0], Width::b32);
    out.run = kThreeInput[table];
    return true;
  }
  const ptx::Operand& pair = in.operands[0];
  if (pair.kind != ptx::Operand::Kind::pair || pair.elements.size() != 2) decoder.fail(in, "expected d|p");
  Mask flip = 0;
  out.e = read_predicate(in, decoder, in.operands[5], flip);
  out.d = write_destination(in, decoder, pair.elements[0], Width::b32);
  out.list = decoder.list({write_destination(in, decoder, pair.elements[1], Width::pred)});
  out.immediate = flip;
  out.more = table;
  out.run = or_ ? three_input_predicate<true> : three_input_predicate<false>;
  return true;
}

}  // namespace

std::vector<OpcodeEntry> logic_opcodes() {
  return {{"and", decode_binary<And>}, {"or", decode_binary<Or>},    {"xor", decode_binary<Xor>},
          {"not", decode_not},         {"cnot", decode_logical_not}, {"lop3", decode_three_input}};
}

}  // namespace sim

// What the decode functions of the register-to-register families share: reading modifiers, checking operands, choosing a
// handler by type.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "isa/decoder.h"
#include "isa/lanes.h"

namespace sim {

/// The modifiers of an instruction, each of which must be taken once for the form to be known.
class Form {
 public:
  explicit Form(const ptx::Instruction& in) : in_(in) {}

  bool take(std::string_view modifier) {
    for (std::size_t n = 0; n < in_.modifiers.size(); ++n) {
      if (in_.modifiers[n] == modifier && (taken_ >> n & 1) == 0) {
        taken_ |= std::uint64_t{1} << n;
        return true;
      }
    }
    return false;
  }
  /// The next type that is not taken yet; Type::none when there is none.
  ptx::Type type() {
    for (std::size_t n = 0; n < in_.modifiers.size(); ++n) {
      if ((taken_ >> n & 1) != 0) continue;
      const ptx::Type type = ptx::type_named(in_.modifiers[n]);
      if (type == ptx::Type::none) continue;
      taken_ |= std::uint64_t{1} << n;
      return type;
    }
    return ptx::Type::none;
  }
  bool complete() const { return in_.modifiers.size() < 64 && taken_ == (std::uint64_t{1} << in_.modifiers.size()) - 1; }

 private:
  const ptx::Instruction& in_;
  std::uint64_t taken_ = 0;
};

/// A source that is not a predicate: a register must have exactly `width`.
inline Location read_source(const ptx::Instruction& in, Decoder& decoder, const ptx::Operand& operand, Width width,
                            ptx::Type type = ptx::Type::none) {
  const Width own = decoder.width(operand);
  if (own != Width::none && own != width) decoder.fail(in, "a register's size is not the operand's");
  if (operand.negated) decoder.fail(in, "only a predicate can be negated");
  return decoder.read(operand, width, type);
}

/// A predicate source; `flip` is what its lanes have to be xored with.
inline Location read_predicate(const ptx::Instruction& in, Decoder& decoder, const ptx::Operand& operand, Mask& flip) {
  const Width own = decoder.width(operand);
  if (own != Width::pred && operand.kind != ptx::Operand::Kind::integer) decoder.fail(in, "expected a predicate");
  flip = operand.negated ? kAllLanes : 0;
  return decoder.read(operand, Width::pred);
}

inline Location write_destination(const ptx::Instruction& in, Decoder& decoder, const ptx::Operand& operand, Width width) {
  const Width own = decoder.width(operand);
  if (operand.negated || (own != width && operand.kind != ptx::Operand::Kind::sink))
    decoder.fail(in, "the destination is not a register of the type's size");
  return decoder.write(operand, width);
}

/// d, and up to four sources a, b, c, e. Always true, for decode functions to end with.
inline bool decode_operands(const ptx::Instruction& in, Decoder& decoder, Instruction& out, Handler run, Width d,
                            std::initializer_list<Width> sources) {
  if (in.operands.size() != 1 + sources.size()) decoder.fail(in, "the number of operands is wrong");
  Location* const places[] = {&out.a, &out.b, &out.c, &out.e};
  std::size_t n = 0;
  for (const Width width : sources) {
    *places[n] = read_source(in, decoder, in.operands[n + 1], width);
    ++n;
  }
  out.d = write_destination(in, decoder, in.operands[0], d);
  out.run = run;
  return true;
}

/// lanewise<Op::f<T>> for the integer type T of 32 or 64 bits that `type` names; null for other types.
template <class Op>
Handler wide_integer_handler(ptx::Type type) {
  switch (type) {
    case ptx::Type::u32:
      return lanewise<&Op::template f<std::uint32_t>>;
    case ptx::Type::s32:
      return lanewise<&Op::template f<std::int32_t>>;
    case ptx::Type::u64:
      return lanewise<&Op::template f<std::uint64_t>>;
    case ptx::Type::s64:
      return lanewise<&Op::template f<std::int64_t>>;
    default:
      return nullptr;
  }
}
/// Of 16 bits too.
template <class Op>
Handler integer_handler(ptx::Type type) {
  switch (type) {
    case ptx::Type::u16:
      return lanewise<&Op::template f<std::uint16_t>>;
    case ptx::Type::s16:
      return lanewise<&Op::template f<std::int16_t>>;
    default:
      return wide_integer_handler<Op>(type);
  }
}
/// The same where signed and unsigned types give the same bits, for .b types too.
template <class Op>
Handler bits_handler(ptx::Type type) {
  switch (width_of(type)) {
    case Width::b16:
      return lanewise<&Op::template f<std::uint16_t>>;
    case Width::b32:
      return lanewise<&Op::template f<std::uint32_t>>;
    case Width::b64:
      return lanewise<&Op::template f<std::uint64_t>>;
    default:
      return nullptr;
  }
}

inline bool is_integer(ptx::Type type) {
  return type == ptx::Type::u16 || type == ptx::Type::s16 || type == ptx::Type::u32 || type == ptx::Type::s32 ||
         type == ptx::Type::u64 || type == ptx::Type::s64;
}
inline bool is_signed(ptx::Type type) { return type == ptx::Type::s16 || type == ptx::Type::s32 || type == ptx::Type::s64; }
inline bool is_bits(ptx::Type type) { return type == ptx::Type::b16 || type == ptx::Type::b32 || type == ptx::Type::b64; }

}  // namespace sim

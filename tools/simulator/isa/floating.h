// What the files of the floating-point families share: an instruction's modifiers, read once.
#pragma once
#include <cstdint>

#include "isa/decoder.h"
#include "isa/vectors.h"
#include "machine/options.h"

namespace sim {

/// The modifiers of a floating-point instruction: `flags` holds rounding, .ftz, .sat, .relu and .satfinite as handlers want
/// them.
struct FloatingForm {
  ptx::Type type = ptx::Type::none;  // the last modifier
  std::uint8_t flags = 0;
  bool rounded = false;  // a rounding was written
  bool approx = false, full = false, nan = false, xorsign = false, abs = false;

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};

/// False for a modifier that no floating-point instruction has.
bool floating_form(const ptx::Instruction& in, FloatingForm& form);

/// Reads and writes the operands d, a, b, c of the type's own width; a register of another is an error.
void floating_operands(const ptx::Instruction& in, Decoder& decoder, Instruction& out, ptx::Type type);

/// The decode functions of half.cpp: every instruction of f16, f16x2, bf16 and bf16x2 but the approximate ones.
bool decode_half(const ptx::Instruction& in, const FloatingForm& form, Decoder& decoder, Instruction& out);

/// Of approximate.cpp: every instruction with .approx or .full.
bool decode_approximate(const ptx::Instruction& in, const FloatingForm& form, Decoder& decoder, Instruction& out,
                        Approximation approximation, std::uint64_t seed);

}  // namespace sim

// What the files of the conversion family share.
#pragma once
#include "isa/floating.h"

namespace sim {

/// A cvt instruction. Handlers work on registers of the types' own widths (8-bit integers in 16); wider ones, which PTX allows,
/// go through a wrapper.
struct ConversionForm {
  ptx::Type to = ptx::Type::none, from = ptx::Type::none;
  std::uint8_t flags = 0;  // see vectors.h; kToInteger: .rni .rzi .rmi .rpi
  bool rounded = false;    // .rn .rz .rm .rp
  bool away = false;       // .rna
  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
};

bool is_integer(ptx::Type type);
bool is_signed(ptx::Type type);

// Handlers for one pair of types, or null where PTX has no such conversion.
Handler integer_to_floating(const ConversionForm& form);
Handler floating_to_integer(const ConversionForm& form);
Handler floating_to_floating(const ConversionForm& form);

/// Conversions to and from packed types, to tf32, and cvt.pack, operands included.
bool decode_packed(const ptx::Instruction& in, const ConversionForm& form, Decoder& decoder, Instruction& out);
bool decode_pack(const ptx::Instruction& in, Decoder& decoder, Instruction& out);

}  // namespace sim

// What the decode functions of memory instructions share.
#pragma once
#include <optional>
#include <string_view>

#include "isa/access.h"
#include "isa/decoder.h"
#include "machine/options.h"

namespace sim::access {

/// A memory operand's address.
struct Address {
  ptx::Space space = ptx::Space::none;  // none: generic
  Location base = kNowhere;
  bool wide = true;
  std::int64_t offset = 0;
  std::optional<Decoder::FrameVariable> frame;  // a .param variable in the frame, at `offset`
};

/// `space` as the instruction gives it; none for generic. Throws (Decoder::fail) for a symbol of another space.
Address decode_address(const ptx::Instruction& in, const ptx::Operand& operand, ptx::Space space, Decoder& decoder);

/// "global", "shared", "shared::cta", …; none when it is no space.
ptx::Space space_named(std::string_view modifier);

/// Modifiers that only say how caches are used.
bool is_cache_hint(std::string_view modifier);

inline bool is_checked() { return options().memcheck || options().initcheck || options().racecheck; }

/// Opcodes of the files of this family.
bool decode_load(const ptx::Instruction& in, Decoder& decoder, Instruction& out);
bool decode_store(const ptx::Instruction& in, Decoder& decoder, Instruction& out);
bool decode_atomic(const ptx::Instruction& in, Decoder& decoder, Instruction& out);
bool decode_copy(const ptx::Instruction& in, Decoder& decoder, Instruction& out);
bool decode_mbarrier(const ptx::Instruction& in, Decoder& decoder, Instruction& out);
bool decode_fence(const ptx::Instruction& in, Decoder& decoder, Instruction& out);
bool decode_load_matrix(const ptx::Instruction& in, Decoder& decoder, Instruction& out);
bool decode_store_matrix(const ptx::Instruction& in, Decoder& decoder, Instruction& out);
bool decode_move_matrix(const ptx::Instruction& in, Decoder& decoder, Instruction& out);

/// The handlers of plain loads and stores, in files of their own because there are many.
enum class HandlerSpace : std::uint8_t { global, shared, local };
Handler load_handler(HandlerSpace space, unsigned memory, unsigned reg, unsigned count, bool checked);
Handler store_handler(HandlerSpace space, unsigned memory, unsigned reg, unsigned count, bool checked);

}  // namespace sim::access

#pragma once
#include <cstdint>

namespace sim {

struct Warp;

inline constexpr int kLanes = 32;
using Mask = std::uint32_t;
inline constexpr Mask kAllLanes = 0xffffffffu;

/// Where an operand's 32 lanes lie: an offset in bytes from the frame's registers, or (bit 0 set) from the function's
/// constants. b32 takes 128 bytes, b64 256, b16 64 (lanes side by side, lane l at [l]); a predicate is one 32-bit mask, bit l
/// for lane l.
using Location = std::uint32_t;
inline constexpr Location kNowhere = 0xfffffffcu;

enum class Kind : std::uint8_t {
  plain,      // run() does it all
  label,      // a place where control flow meets: the executor looks whether splits merge
  warp_sync,  // run() once all lanes of the member mask (Location `mask`, or all living lanes when kNowhere) are here
  branch,
  branch_indexed,
  call,
  call_indirect,
  return_,
  exit,
  trap,
  barrier,
  yield,
};

/// Instruction::flags of a warp_sync: lanes at other instructions with this flag and the same member mask meet it too
/// (bar.warp.sync).
inline constexpr std::uint8_t kMeetsAnywhere = 0x80;

struct Instruction;
using Handler = void (*)(Warp&, const Instruction&);

/// A predecoded instruction: one cache line.
struct Instruction {
  Handler run = nullptr;
  std::int64_t immediate = 0;      // offset of an address, target of a branch, …
  const Location* list = nullptr;  // more operands: vectors, matrix fragments
  Location d = kNowhere, a = kNowhere, b = kNowhere, c = kNowhere, e = kNowhere;
  Location guard = kNowhere;  // predicate
  Location mask = kNowhere;   // member mask of a warp_sync
  std::uint32_t index = 0;    // of its counters in the module
  Kind kind = Kind::plain;
  bool guard_negated = false;
  std::uint8_t flags = 0, more = 0;  // the handler's own
};
static_assert(sizeof(Instruction) <= 64);

}  // namespace sim

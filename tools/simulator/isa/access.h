// From the addresses in registers to the bytes of global, shared and local memory: what all memory instructions share.
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>

#include "isa/instruction.h"
#include "machine/global_races.h"
#include "machine/launch.h"
#include "machine/memory.h"
#include "machine/warp.h"

namespace sim::access {

// Instruction::flags of memory instructions; 0x80 is kMeetsAnywhere.
inline constexpr std::uint8_t kWide = 1;      // the address is 64 bits wide
inline constexpr std::uint8_t kSigned = 2;    // a narrow load extends the sign
inline constexpr std::uint8_t kStrong = 4;    // volatile, relaxed, acquire, release
inline constexpr std::uint8_t kFences = 8;    // .release or .acq_rel: as if a fence came before
inline constexpr std::uint8_t kGeneric = 16;  // the address may be of any space
inline constexpr std::uint8_t kResult = 32;   // of an atomic: somebody reads the old value
inline constexpr std::uint8_t kUnlocks = 64;  // of an atomic in shared memory: exch or cas, with which locks are made
// Instruction::more of strong accesses; plain ones have the widths of registers below it.
inline constexpr std::uint8_t kOfBlock = 64;  // .cta: strong among the threads of the block only

using Addresses = std::uint64_t[kLanes];
using Offsets = std::uint32_t[kLanes];

inline void read_addresses(const Warp& warp, const Instruction& in, std::uint64_t* address) {
  const auto offset = static_cast<std::uint64_t>(in.immediate);
  if ((in.flags & kWide) != 0) {
    const auto* base = warp.at<std::uint64_t>(in.a);
    for (int lane = 0; lane < kLanes; ++lane) address[lane] = base[lane] + offset;
  } else {
    const auto* base = warp.at<std::uint32_t>(in.a);
    for (int lane = 0; lane < kLanes; ++lane) address[lane] = static_cast<std::uint32_t>(base[lane] + offset);
  }
}

inline constexpr std::uint32_t kOutside = 0xffffffe0;

/// Offsets in shared or local memory; one that does not fit in 32 bits becomes a large one, which is outside.
inline void read_offsets(const Warp& warp, const Instruction& in, std::uint32_t* offset) {
  if ((in.flags & kWide) != 0) {
    const auto* base = warp.at<std::uint64_t>(in.a);
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t sum = base[lane] + static_cast<std::uint64_t>(in.immediate);
      offset[lane] = sum > 0xffffffff ? kOutside : static_cast<std::uint32_t>(sum);
    }
  } else {
    const auto* base = warp.at<std::uint32_t>(in.a);
    for (int lane = 0; lane < kLanes; ++lane) offset[lane] = base[lane] + static_cast<std::uint32_t>(in.immediate);
  }
}

/// All lanes side by side, lane 0 aligned.
template <unsigned bytes, class T>
bool is_contiguous(const T* address) {
  T differs = address[0] & (bytes - 1);
  for (int lane = 0; lane < kLanes; ++lane) differs |= address[lane] ^ (address[0] + static_cast<T>(lane) * bytes);
  return differs == 0;
}

/// All lanes at the same place; inactive ones count too.
template <class T>
bool is_one_place(const T* address) {
  T differs = 0;
  for (int lane = 0; lane < kLanes; ++lane) differs |= address[lane] ^ address[0];
  return differs == 0;
}

inline bool is_usable(const Warp& warp, const Allocation& a, bool write) {
  const Launch& launch = *warp.block->launch;
  if (__atomic_load_n(&a.freed, __ATOMIC_RELAXED) || (write && a.kind == MemoryKind::constant)) return false;
  return a.device == launch.device || a.host_reads || (launch.peers >> a.device & 1) != 0;
}

/// The living allocation that holds the whole range, or null. Nearly always it is the one of the instruction's last access.
inline const Allocation* allocation_of(const Warp& warp, const Instruction& in, Address first, std::uint64_t bytes,
                                       bool write) {
  const Allocation*& recent = warp.worker->recent[in.index % std::size(warp.worker->recent)];
  const Allocation* a = recent;
  if (a == nullptr || first < a->base || first >= a->end) {
    a = Memory::instance().find(first);
    if (a == nullptr) return nullptr;
    recent = a;
  }
  return bytes <= a->end - first && is_usable(warp, *a, write) ? a : nullptr;
}

inline bool is_counted(const Warp& warp) { return !warp.worker->counters.empty(); }

/// What an instruction does with its bytes.
struct Use {
  unsigned bytes;      // a lane
  unsigned alignment;  // a power of two
  AccessKind kind;
  const std::byte* data = nullptr;  // what a write will store, lane after lane; null when it is not known
};

/// Makes sure that each active lane may do what it wants to, or reports why not and throws LaunchAbort; does the checks (when
/// `checked`) and counts. Lane l's bytes are at address[l] + the result: addresses become pointers when lanes are in different
/// allocations or spaces. Inactive lanes get the address of an active one.
template <bool checked>
std::ptrdiff_t resolve_global(Warp& warp, const Instruction& in, std::uint64_t* address, const Use& use);
/// Lane l's bytes are at Block::shared + offset[l].
template <bool checked>
void resolve_shared(Warp& warp, const Instruction& in, std::uint32_t* offset, const Use& use);
/// Lane l's bytes are at Warp::local + l * Warp::local_stride + offset[l].
template <bool checked>
void resolve_local(Warp& warp, const Instruction& in, std::uint32_t* offset, const Use& use);

/// The checks of an access that is in bounds: initialised bytes, races.
void check_global(Warp& warp, const Instruction& in, const Allocation& a, const std::uint64_t* address, Mask mask,
                  const Use& use);
void check_shared(Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use);
/// memcheck: between two variables of shared memory there is nothing.
void check_shared_layout(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use);
void check_local(Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use);

// Counters (isa/counting.cpp).
void count_global(const Warp& warp, const Instruction& in, const std::uint64_t* address, Mask mask, unsigned bytes,
                  AccessKind kind);
/// Bank conflicts; and with the bytes that are moved.
void count_wavefronts(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes);
void count_shared(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes);
void count_local(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes);
/// Lanes beyond the first at each address.
void count_conflicts(const Warp& warp, const Instruction& in, const std::uint64_t* address, Mask mask);

// Why an access is none (isa/faults.cpp). They report and throw.
[[noreturn]] void global_fault(const Warp& warp, const Instruction& in, const std::uint64_t* address, Mask mask,
                               const Use& use);
[[noreturn]] void shared_fault(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use,
                               const std::string& why);
[[noreturn]] void local_fault(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use,
                              std::uint32_t limit);

/// "read of 4 bytes"
std::string text_of(const Use& use);

}  // namespace sim::access

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "error.h"
#include "isa/access.h"
#include "machine/checks.h"
#include "machine/options.h"
#include "machine/races.h"
#include "machine/shared_bits.h"

// initcheck and racecheck of accesses that are in bounds.
namespace sim::access {
namespace {

bool reads(AccessKind kind) {
  return kind == AccessKind::read || kind == AccessKind::strong_read || kind == AccessKind::atomic;
}

// The bits of at most 32 bytes, which lie in 64 bits from their first byte on. Other threads may set bits beside them.
struct Bits {
  std::uint8_t* at;
  std::uint64_t wanted;

  Bits(std::uint8_t* bits, std::uint64_t first, unsigned count)
      : at(bits + first / 8), wanted(((std::uint64_t{1} << count) - 1) << first % 8) {}

  bool all_set() const {
    std::uint64_t have;
    std::memcpy(&have, at, sizeof have);
    return (have & wanted) == wanted;
  }
  void set() const {
    if (all_set()) return;
    for (std::uint64_t rest = wanted, n = 0; rest != 0; rest >>= 8, ++n) {
      __atomic_fetch_or(at + n, static_cast<std::uint8_t>(rest), __ATOMIC_RELAXED);
    }
  }
};

bool is_side_by_side(const std::uint64_t* address, unsigned bytes) {
  std::uint64_t differs = 0;
  for (int lane = 0; lane < kLanes; ++lane) differs |= address[lane] ^ (address[0] + static_cast<std::uint64_t>(lane) * bytes);
  return differs == 0;
}

template <class T>
bool is_one_place(const T* address, Mask mask) {
  const T first = address[std::countr_zero(mask)];
  T differs = 0;
  for (int lane = 0; lane < kLanes; ++lane) differs |= (mask >> lane & 1) != 0 ? address[lane] ^ first : 0;
  return differs == 0;
}

Mask uninitialized(const Allocation& a, const std::uint64_t* address, Mask mask, unsigned bytes) {
  Mask missing = 0;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    if (!Bits(a.initialized, address[lane] - a.base, bytes).all_set()) missing |= 1u << lane;
  }
  return missing;
}

// `some` of the lanes stand for all: they are at the same place.
void check_initialized(const Warp& warp, const Instruction& in, const Allocation& a, const std::uint64_t* address, Mask mask,
                       Mask some, const Use& use) {
  Memory& memory = Memory::instance();
  const bool contiguous = some == kAllLanes && is_side_by_side(address, use.bytes);
  const bool whole = contiguous && memory.first_uninitialized(a, address[0], std::size_t{use.bytes} * kLanes) == 0;
  if (whole) return;
  if (reads(use.kind) && uninitialized(a, address, some, use.bytes) != 0) {
    const Mask missing = uninitialized(a, address, mask, use.bytes);
    const int lane = std::countr_zero(missing);
    const Address where = memory.first_uninitialized(a, address[lane], use.bytes);
    checks::report(warp, in, lane, Fault::uninitialized_global,
                   fmt::format("{} at {:#x}: nothing was ever written to {:#x}, byte {} of {}{}allocation of {} bytes",
                               text_of(use), address[lane], where, where - a.base, a.name.empty() ? "an " : a.name,
                               a.name.empty() ? "" : ", an ", a.end - a.base),
                   static_cast<std::uint64_t>(std::popcount(missing)));
  }
  if (!is_write(use.kind)) return;
  if (contiguous) {
    memory.mark_initialized(a, address[0], std::size_t{use.bytes} * kLanes);
    return;
  }
  for (Mask rest = some; rest != 0; rest &= rest - 1) {
    Bits(a.initialized, address[std::countr_zero(rest)] - a.base, use.bytes).set();
  }
}

// Atomics and volatile, relaxed, acquire and release accesses order blocks, behind fences.
void order_blocks(const Warp& warp, const Instruction& in, const std::uint64_t* address, Mask mask, AccessKind kind) {
  BlockOrder& order = warp.block->races->order;
  const bool acquires = (kind == AccessKind::strong_read || (kind == AccessKind::atomic && (in.flags & kResult) != 0)) &&
                        order.launch->has_releases();
  const bool releases = is_write(kind);
  if (releases && (in.flags & kFences) != 0) order.fence();
  if (!acquires && !(releases && order.version != 0)) return;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const Address place = address[std::countr_zero(rest)];
    if (acquires) order.launch->acquire(order, place);
    if (releases) order.launch->release(order, place);
  }
}

void order_warps(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, AccessKind kind) {
  SharedRaces& races = *warp.block->races;
  const bool behind_fence = (in.flags & (kFences | kUnlocks)) == 0;
  const bool acquires = kind == AccessKind::strong_read || (kind == AccessKind::atomic && (in.flags & kResult) != 0);
  const bool releases = is_write(kind) && (!behind_fence || races.has_fenced(warp.index));
  if (!releases && !(acquires && races.has_released())) return;
  Mask rest = mask;
  while (rest != 0) {
    const std::uint32_t place = offset[std::countr_zero(rest)];
    Mask same = 0;
    for (int lane = 0; lane < kLanes; ++lane) same |= static_cast<Mask>(offset[lane] == place) << lane;
    same &= rest;
    if (acquires) races.acquire(warp.index, same, place);
    if (releases) races.release(warp.index, place, behind_fence);
    rest &= ~same;
  }
}

// Are all bytes, at most 16, of the active lanes set in the bitmap? The offsets are aligned, so that they are in one word of
// it.
bool are_initialized(const std::uint8_t* bits, const std::uint32_t* offset, Mask mask, unsigned bytes) {
  const std::uint32_t first = offset[std::countr_zero(mask)];
  alignas(64) std::uint32_t place[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) place[lane] = (mask & 1u << lane) != 0 ? offset[lane] : first;
  __m256i missing = _mm256_setzero_si256();
  for (int lane = 0; lane < kLanes; lane += 8) {
    const __m256i at = _mm256_load_si256(reinterpret_cast<const __m256i*>(place + lane));
    const __m256i word = _mm256_i32gather_epi32(reinterpret_cast<const int*>(bits), _mm256_srli_epi32(at, 5), 4);
    missing = _mm256_or_si256(missing, _mm256_srlv_epi32(~word, _mm256_and_si256(at, _mm256_set1_epi32(31))));
  }
  return _mm256_testz_si256(missing, _mm256_set1_epi32(static_cast<int>((1u << bytes) - 1))) != 0;
}

// `some` of the lanes stand for all: they are at the same place.
template <class Place>
void check_bits(const Warp& warp, const Instruction& in, std::uint8_t* bits, Mask mask, Mask some, const Use& use, Fault fault,
                const char* space, Place place) {
  auto uninitialized_of = [&](Mask lanes) {
    Mask missing = 0;
    for (Mask rest = lanes; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      if (!test_bits(bits, place(lane), use.bytes)) missing |= 1u << lane;
    }
    return missing;
  };
  if (reads(use.kind) && uninitialized_of(some) != 0) {
    const Mask missing = uninitialized_of(mask);
    const int lane = std::countr_zero(missing);
    const std::uint64_t first = place(lane);
    std::uint64_t at = first;
    while (test_bits(bits, at, 1)) ++at;
    checks::report(warp, in, lane, fault,
                   fmt::format("{} in {} memory, of which byte {} was never written", text_of(use), space, at - first),
                   static_cast<std::uint64_t>(std::popcount(missing)));
  }
  if (is_write(use.kind)) {
    for (Mask rest = some; rest != 0; rest &= rest - 1) set_bits(bits, place(std::countr_zero(rest)), use.bytes);
  }
}

}  // namespace

// Between two variables there is nothing, though the memory is the block's.
void check_shared_layout(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use) {
  if (!options().memcheck) return;
  const SharedLayout* layout = checks::shared_layout(*warp.block);
  if (layout == nullptr || layout->variables.size() < 2) return;
  const auto& variables = layout->variables;
  const SharedLayout::Variable* variable = nullptr;
  // Nearly always all lanes are in one variable.
  std::uint32_t low = offset[std::countr_zero(mask)], high = low;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::uint32_t place = (mask >> lane & 1) != 0 ? offset[lane] : low;
    low = std::min(low, place);
    high = std::max(high, place);
  }
  for (const SharedLayout::Variable& v : variables) {
    if (low < v.begin) break;
    if (high + use.bytes <= v.end || &v == &variables.back()) return;  // the last: see below
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const std::uint32_t place = offset[lane];
    if (variable != nullptr && place >= variable->begin && place + use.bytes <= variable->end) continue;
    auto above = std::upper_bound(variables.begin(), variables.end(), place,
                                  [](std::uint32_t at, const auto& v) { return at < v.begin; });
    if (above == variables.begin()) continue;  // before the first: what the layout does not tell of
    variable = &*std::prev(above);
    // The last may be dynamic memory, whose end is the block's.
    if (above == variables.end() || place + use.bytes <= variable->end) continue;
    shared_fault(
        warp, in, offset, 1u << lane, use,
        fmt::format("{} at {:#x} in shared memory, {} bytes after the end of {}, which has {} bytes", text_of(use), place,
                    place >= variable->end ? place - variable->end : 0, variable->name, variable->end - variable->begin));
  }
}

void check_global(Warp& warp, const Instruction& in, const Allocation& a, const std::uint64_t* address, Mask mask,
                  const Use& use) {
  // Lanes that read the same place, or do atomics on it, are as one.
  const bool as_one = use.kind != AccessKind::write && use.kind != AccessKind::strong_write && is_one_place(address, mask);
  if (a.initialized != nullptr) check_initialized(warp, in, a, address, mask, as_one ? mask & -mask : mask, use);
  if (warp.block->races == nullptr) return;
  if (as_one) mask &= -mask;
  AccessKind kind = use.kind;
  if (is_strong(kind) && (in.more & kOfBlock) != 0) {
    // To other blocks it is as any access.
    kind = is_write(kind) ? AccessKind::write : AccessKind::read;
  } else if (is_strong(kind)) {
    order_blocks(warp, in, address, mask, kind);
  }
  check_global_race(warp, in, a, address, mask, use.bytes, kind, use.data);
}

void check_shared(Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use) {
  Block& block = *warp.block;
  check_shared_layout(warp, in, offset, mask, use);
  if (block.shared_initialized != nullptr) {
    bool done = false;
    const std::uint64_t count = std::uint64_t{use.bytes} * kLanes;
    if (mask == kAllLanes && use.bytes % 4 == 0 && offset[0] % 8 == 0) {
      std::uint32_t differs = 0;
      for (int lane = 0; lane < kLanes; ++lane)
        differs |= offset[lane] ^ (offset[0] + static_cast<std::uint32_t>(lane) * use.bytes);
      std::uint8_t* bits = block.shared_initialized + offset[0] / 8;
      if (differs == 0 && reads(use.kind)) {
        std::uint8_t all = 0xff;
        for (std::uint64_t n = 0; n < count / 8; ++n) all &= bits[n];
        done = all == 0xff;
      } else if (differs == 0) {
        std::memset(bits, 0xff, count / 8);
        done = true;
      }
    }
    if (!done && reads(use.kind) && use.bytes <= 16 && use.alignment >= use.bytes) {
      done = are_initialized(block.shared_initialized, offset, mask, use.bytes);
    }
    if (!done) {
      const Mask some = is_write(use.kind) || !is_one_place(offset, mask) ? mask : mask & -mask;
      check_bits(warp, in, block.shared_initialized, mask, some, use, Fault::uninitialized_shared, "shared",
                 [&](int lane) { return std::uint64_t{offset[lane]}; });
    }
  }
  if (block.races == nullptr) return;
  if (is_strong(use.kind)) order_warps(warp, in, offset, mask, use.kind);
  block.races->access(warp, in, offset, mask, use.bytes, use.kind, use.data);
}

void check_local(Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use) {
  if (warp.local_initialized == nullptr) return;
  check_bits(warp, in, warp.local_initialized, mask, mask, use, Fault::uninitialized_local, "local",
             [&](int lane) { return static_cast<std::uint64_t>(lane) * warp.local_stride + offset[lane]; });
}

}  // namespace sim::access

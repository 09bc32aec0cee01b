#include "isa/access.h"

#include <algorithm>

#include "error.h"
#include "isa/code.h"
#include "machine/checks.h"
#include "machine/options.h"

namespace sim::access {
namespace {

// Inactive lanes get the address of an active one; the extremes and all bits of them.
template <class T>
struct Extent {
  T low, high, bits;
};

template <class T>
Extent<T> extent_of(T* address, Mask mask) {
  if (mask != kAllLanes) {
    const T first = address[std::countr_zero(mask)];
    for (int lane = 0; lane < kLanes; ++lane) address[lane] = (mask >> lane & 1) != 0 ? address[lane] : first;
  }
  // Compared as signed numbers: 64-bit unsigned comparison is no vector instruction. An address with its top bit set is the
  // lowest, and in no allocation.
  using Signed = std::make_signed_t<T>;
  Signed low = static_cast<Signed>(address[0]), high = low;
  T bits = address[0];
  for (int lane = 0; lane < kLanes; ++lane) {
    const auto value = static_cast<Signed>(address[lane]);
    low = value < low ? value : low;
    high = value > high ? value : high;
    bits |= address[lane];
  }
  return {static_cast<T>(low), static_cast<T>(high), bits};
}

bool in_window(Address address, Address window) { return address >= window && address - window < kWindowSpan; }

// Lanes in several allocations or spaces, or a lane that is nowhere.
template <bool checked>
void resolve_each(Warp& warp, const Instruction& in, std::uint64_t* address, const Use& use) {
  const Mask all = warp.mask;
  Addresses pointers{};
  const bool generic = (in.flags & kGeneric) != 0;
  Mask rest = all;
  if (generic) {
    Mask shared = 0, local = 0, parameters = 0;
    Offsets offset{};
    for (Mask lanes = all; lanes != 0; lanes &= lanes - 1) {
      const int lane = std::countr_zero(lanes);
      if (in_window(address[lane], kSharedWindow)) shared |= 1u << lane;
      if (in_window(address[lane], kLocalWindow)) local |= 1u << lane;
      if (in_window(address[lane], kParameterWindow)) parameters |= 1u << lane;
      offset[lane] = static_cast<std::uint32_t>(address[lane]);
    }
    rest &= ~(shared | local | parameters);
    if (shared != 0) {
      warp.mask = shared;
      Offsets places;
      std::copy(offset, offset + kLanes, places);
      resolve_shared<checked>(warp, in, places, use);
      for (Mask lanes = shared; lanes != 0; lanes &= lanes - 1) {
        const int lane = std::countr_zero(lanes);
        pointers[lane] = reinterpret_cast<std::uint64_t>(warp.block->shared + offset[lane]);
      }
    }
    if (local != 0) {
      warp.mask = local;
      Offsets places;
      std::copy(offset, offset + kLanes, places);
      resolve_local<checked>(warp, in, places, use);
      for (Mask lanes = local; lanes != 0; lanes &= lanes - 1) {
        const int lane = std::countr_zero(lanes);
        pointers[lane] =
            reinterpret_cast<std::uint64_t>(warp.local + static_cast<std::size_t>(lane) * warp.local_stride + offset[lane]);
      }
    }
    warp.mask = all;
    const auto& bytes = warp.block->launch->parameters;
    for (Mask lanes = parameters; lanes != 0; lanes &= lanes - 1) {
      const int lane = std::countr_zero(lanes);
      const bool inside = use.bytes <= bytes.size() && offset[lane] <= bytes.size() - use.bytes;
      if (!inside || offset[lane] % use.alignment != 0 || is_write(use.kind)) global_fault(warp, in, address, parameters, use);
      pointers[lane] = reinterpret_cast<std::uint64_t>(bytes.data() + offset[lane]);
    }
  }
  const bool write = is_write(use.kind);
  if (is_counted(warp) && rest != 0) count_global(warp, in, address, rest, use.bytes, use.kind);
  while (rest != 0) {
    const Address first = address[std::countr_zero(rest)];
    const Allocation* a = allocation_of(warp, in, first, use.bytes, write);
    Mask here = 0;
    for (Mask lanes = rest; a != nullptr && lanes != 0; lanes &= lanes - 1) {
      const int lane = std::countr_zero(lanes);
      if (address[lane] < a->base || address[lane] >= a->end) continue;
      if (a->end - address[lane] < use.bytes || address[lane] % use.alignment != 0) {
        a = nullptr;
        break;
      }
      here |= 1u << lane;
    }
    if (a == nullptr) global_fault(warp, in, address, all, use);
    if constexpr (checked) check_global(warp, in, *a, address, here, use);
    for (Mask lanes = here; lanes != 0; lanes &= lanes - 1) {
      const int lane = std::countr_zero(lanes);
      pointers[lane] = reinterpret_cast<std::uint64_t>(a->working(address[lane]));
    }
    rest &= ~here;
  }
  const std::uint64_t first = pointers[std::countr_zero(all)];
  for (int lane = 0; lane < kLanes; ++lane) address[lane] = (all >> lane & 1) != 0 ? pointers[lane] : first;
}

}  // namespace

template <bool checked>
std::ptrdiff_t resolve_global(Warp& warp, const Instruction& in, std::uint64_t* address, const Use& use) {
  const auto extent = extent_of(address, warp.mask);
  if ((extent.bits & (use.alignment - 1)) == 0) {
    const Allocation* a = allocation_of(warp, in, extent.low, extent.high - extent.low + use.bytes, is_write(use.kind));
    if (a != nullptr) {
      if constexpr (checked) check_global(warp, in, *a, address, warp.mask, use);
      if (is_counted(warp)) count_global(warp, in, address, warp.mask, use.bytes, use.kind);
      return a->delta;
    }
  }
  resolve_each<checked>(warp, in, address, use);
  return 0;
}

template <bool checked>
void resolve_shared(Warp& warp, const Instruction& in, std::uint32_t* offset, const Use& use) {
  const Block& block = *warp.block;
  if (warp.mask != kAllLanes) {
    const std::uint32_t first = offset[std::countr_zero(warp.mask)];
    for (int lane = 0; lane < kLanes; ++lane) offset[lane] = (warp.mask >> lane & 1) != 0 ? offset[lane] : first;
  }
  std::uint32_t high = 0, bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    high = std::max(high, offset[lane]);
    bits |= offset[lane];
  }
  if (std::uint64_t{high} + use.bytes > block.shared_bytes || (bits & (use.alignment - 1)) != 0) {
    shared_fault(warp, in, offset, warp.mask, use, {});
  }
  if constexpr (checked) check_shared(warp, in, offset, warp.mask, use);
  if (is_counted(warp)) count_shared(warp, in, offset, warp.mask, use.bytes);
}

template <bool checked>
void resolve_local(Warp& warp, const Instruction& in, std::uint32_t* offset, const Use& use) {
  if (warp.mask != kAllLanes) {
    const std::uint32_t first = offset[std::countr_zero(warp.mask)];
    for (int lane = 0; lane < kLanes; ++lane) offset[lane] = (warp.mask >> lane & 1) != 0 ? offset[lane] : first;
  }
  std::uint32_t high = 0, bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    high = std::max(high, offset[lane]);
    bits |= offset[lane];
  }
  std::uint32_t limit = warp.local == nullptr ? 0 : warp.local_stride;
  if constexpr (checked) {
    // Beyond the innermost function's variables the stack is not in use.
    if (options().memcheck && warp.frame != nullptr && warp.frame->code != nullptr) {
      limit = std::min(limit, warp.frame->local_base + warp.frame->code->local_bytes);
    }
  }
  if (std::uint64_t{high} + use.bytes > limit || (bits & (use.alignment - 1)) != 0)
    local_fault(warp, in, offset, warp.mask, use, limit);
  if constexpr (checked) check_local(warp, in, offset, warp.mask, use);
  if (is_counted(warp)) count_local(warp, in, offset, warp.mask, use.bytes);
}

template std::ptrdiff_t resolve_global<false>(Warp&, const Instruction&, std::uint64_t*, const Use&);
template std::ptrdiff_t resolve_global<true>(Warp&, const Instruction&, std::uint64_t*, const Use&);
template void resolve_shared<false>(Warp&, const Instruction&, std::uint32_t*, const Use&);
template void resolve_shared<true>(Warp&, const Instruction&, std::uint32_t*, const Use&);
template void resolve_local<false>(Warp&, const Instruction&, std::uint32_t*, const Use&);
template void resolve_local<true>(Warp&, const Instruction&, std::uint32_t*, const Use&);

}  // namespace sim::access

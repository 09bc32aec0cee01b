#include "error.h"
#include "isa/memory_decoding.h"
#include "isa/memory_lanes.h"

// The handlers of ld.
namespace sim::access {
namespace {

static_assert(kSigned == 2, "memory_lanes.h looks at this flag");

AccessKind kind_of(const Instruction& in) { return (in.flags & kStrong) != 0 ? AccessKind::strong_read : AccessKind::read; }

template <unsigned memory, unsigned reg, unsigned count, bool checked>
struct Load {
  static constexpr unsigned kBytes = memory * count;

  static void global(Warp& warp, const Instruction& in) {
    alignas(64) Addresses address;
    read_addresses(warp, in, address);
    if (warp.mask == kAllLanes && is_contiguous<kBytes>(address)) {
      if (const Allocation* a = allocation_of(warp, in, address[0], std::uint64_t{kBytes} * kLanes, false); a != nullptr)
          [[likely]] {
        if constexpr (checked) check_global(warp, in, *a, address, kAllLanes, {kBytes, kBytes, kind_of(in)});
        if (is_counted(warp)) [[unlikely]]
          count_global(warp, in, address, kAllLanes, kBytes, AccessKind::read);
        from(warp, in, a->working(address[0]));
        return;
      }
    }
    const std::ptrdiff_t delta = resolve_global<checked>(warp, in, address, {kBytes, kBytes, kind_of(in)});
    if (is_one_place(address)) {
      broadcast(warp, in, reinterpret_cast<const std::byte*>(address[0] + static_cast<std::uint64_t>(delta)));
      return;
    }
    load_lanes<memory, reg, count>(warp, in, [&](int lane) {
      return reinterpret_cast<const std::byte*>(address[lane] + static_cast<std::uint64_t>(delta));
    });
  }

  static void shared(Warp& warp, const Instruction& in) {
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    resolve_shared<checked>(warp, in, offset, {kBytes, kBytes, kind_of(in)});
    const std::byte* const base = warp.block->shared;
    if (warp.mask == kAllLanes && is_contiguous<kBytes>(offset)) {
      from(warp, in, base + offset[0]);
    } else if (is_one_place(offset)) {
      broadcast(warp, in, base + offset[0]);
    } else {
      load_lanes<memory, reg, count>(warp, in, [&](int lane) { return base + offset[lane]; });
    }
  }

  static void local(Warp& warp, const Instruction& in) {
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    resolve_local<checked>(warp, in, offset, {kBytes, kBytes, kind_of(in)});
    load_lanes<memory, reg, count>(
        warp, in, [&](int lane) { return warp.local + static_cast<std::size_t>(lane) * warp.local_stride + offset[lane]; });
  }

  // The same for all lanes.
  static void broadcast(const Warp& warp, const Instruction& in, const std::byte* source) {
    if (warp.mask == kAllLanes && memory == reg) {
      Unsigned<memory> values[count];
      std::memcpy(values, source, sizeof values);
      for (unsigned n = 0; n < count; ++n) {
        auto* d = warp.at<Unsigned<memory>>(Form<memory, reg, count>::location(in, n));
        for (int lane = 0; lane < kLanes; ++lane) d[lane] = values[n];
      }
    } else {
      load_lanes<memory, reg, count>(warp, in, [&](int) { return source; });
    }
  }

  // All lanes, side by side.
  static void from(const Warp& warp, const Instruction& in, const std::byte* first) {
    if constexpr (memory == reg && count == 1) {
      std::memcpy(warp.at<std::byte>(in.d), first, std::size_t{memory} * kLanes);
    } else {
      load_lanes<memory, reg, count>(warp, in, [&](int lane) { return first + static_cast<std::size_t>(lane) * kBytes; });
    }
  }
};

template <bool checked>
struct LoadAny {
  static void global(Warp& warp, const Instruction& in) {
    const unsigned bytes = AnyForm::of(in).bytes();
    alignas(64) Addresses address;
    read_addresses(warp, in, address);
    const std::ptrdiff_t delta = resolve_global<checked>(warp, in, address, {bytes, bytes, kind_of(in)});
    load_any(warp, in,
             [&](int lane) { return reinterpret_cast<const std::byte*>(address[lane] + static_cast<std::uint64_t>(delta)); });
  }
  static void shared(Warp& warp, const Instruction& in) {
    const unsigned bytes = AnyForm::of(in).bytes();
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    resolve_shared<checked>(warp, in, offset, {bytes, bytes, kind_of(in)});
    load_any(warp, in, [&](int lane) { return warp.block->shared + offset[lane]; });
  }
  static void local(Warp& warp, const Instruction& in) {
    const unsigned bytes = AnyForm::of(in).bytes();
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    resolve_local<checked>(warp, in, offset, {bytes, bytes, kind_of(in)});
    load_any(warp, in,
             [&](int lane) { return warp.local + static_cast<std::size_t>(lane) * warp.local_stride + offset[lane]; });
  }
};

template <class L>
Handler in_space(HandlerSpace space) {
  switch (space) {
    case HandlerSpace::global:
      return L::global;
    case HandlerSpace::shared:
      return L::shared;
    case HandlerSpace::local:
      return L::local;
  }
  return nullptr;
}

template <bool checked>
Handler choose(HandlerSpace space, unsigned memory, unsigned reg, unsigned count) {
  if (memory == reg && count == 1) {
    if (memory == 2) return in_space<Load<2, 2, 1, checked>>(space);
    if (memory == 4) return in_space<Load<4, 4, 1, checked>>(space);
    if (memory == 8) return in_space<Load<8, 8, 1, checked>>(space);
  }
  if (memory == reg && count == 2) {
    if (memory == 4) return in_space<Load<4, 4, 2, checked>>(space);
    if (memory == 8) return in_space<Load<8, 8, 2, checked>>(space);
  }
  if (memory == reg && count == 4) {
    if (memory == 2) return in_space<Load<2, 2, 4, checked>>(space);
    if (memory == 4) return in_space<Load<4, 4, 4, checked>>(space);
  }
  if (memory == 1 && reg == 2 && count == 1) return in_space<Load<1, 2, 1, checked>>(space);
  return in_space<LoadAny<checked>>(space);
}

}  // namespace

Handler load_handler(HandlerSpace space, unsigned memory, unsigned reg, unsigned count, bool checked) {
  return checked ? choose<true>(space, memory, reg, count) : choose<false>(space, memory, reg, count);
}

}  // namespace sim::access

#include "error.h"
#include "isa/memory_decoding.h"
#include "isa/memory_lanes.h"

// The handlers of st.
namespace sim::access {
namespace {

AccessKind kind_of(const Instruction& in) { return (in.flags & kStrong) != 0 ? AccessKind::strong_write : AccessKind::write; }

template <unsigned memory, unsigned reg, unsigned count, bool checked>
struct Store {
  static constexpr unsigned kBytes = memory * count;

  // What the lanes will store, for the race check.
  struct Data {
    alignas(64) std::byte bytes[checked ? std::size_t{kBytes} * kLanes : 1];
    Data(const Warp& warp, const Instruction& in) {
      if constexpr (checked) {
        store_lanes<memory, reg, count>(warp, in, [&](int lane) { return bytes + static_cast<std::size_t>(lane) * kBytes; });
      }
    }
    Use use(const Instruction& in) const { return {kBytes, kBytes, kind_of(in), checked ? bytes : nullptr}; }
  };

  static void global(Warp& warp, const Instruction& in) {
    alignas(64) Addresses address;
    read_addresses(warp, in, address);
    const Data data(warp, in);
    if (warp.mask == kAllLanes && is_contiguous<kBytes>(address)) {
      if (const Allocation* a = allocation_of(warp, in, address[0], std::uint64_t{kBytes} * kLanes, true); a != nullptr)
          [[likely]] {
        if constexpr (checked) check_global(warp, in, *a, address, kAllLanes, data.use(in));
        if (is_counted(warp)) [[unlikely]]
          count_global(warp, in, address, kAllLanes, kBytes, AccessKind::write);
        to(warp, in, a->working(address[0]));
        return;
      }
    }
    const std::ptrdiff_t delta = resolve_global<checked>(warp, in, address, data.use(in));
    store_lanes<memory, reg, count>(
        warp, in, [&](int lane) { return reinterpret_cast<std::byte*>(address[lane] + static_cast<std::uint64_t>(delta)); });
  }

  static void shared(Warp& warp, const Instruction& in) {
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    const Data data(warp, in);
    resolve_shared<checked>(warp, in, offset, data.use(in));
    std::byte* const base = warp.block->shared;
    if (warp.mask == kAllLanes && is_contiguous<kBytes>(offset)) {
      to(warp, in, base + offset[0]);
    } else {
      store_lanes<memory, reg, count>(warp, in, [&](int lane) { return base + offset[lane]; });
    }
  }

  static void local(Warp& warp, const Instruction& in) {
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    resolve_local<checked>(warp, in, offset, {kBytes, kBytes, kind_of(in)});
    store_lanes<memory, reg, count>(
        warp, in, [&](int lane) { return warp.local + static_cast<std::size_t>(lane) * warp.local_stride + offset[lane]; });
  }

  static void to(const Warp& warp, const Instruction& in, std::byte* first) {
    if constexpr (memory == reg && count == 1) {
      std::memcpy(first, warp.at<std::byte>(in.d), std::size_t{memory} * kLanes);
    } else {
      store_lanes<memory, reg, count>(warp, in, [&](int lane) { return first + static_cast<std::size_t>(lane) * kBytes; });
    }
  }
};

template <bool checked>
struct StoreAny {
  struct Data {
    alignas(64) std::byte bytes[std::size_t{32} * kLanes];
    unsigned size;
    Data(const Warp& warp, const Instruction& in) : size(AnyForm::of(in).bytes()) {
      if constexpr (checked) {
        store_any(warp, in, [&](int lane) { return bytes + static_cast<std::size_t>(lane) * size; });
      }
    }
    Use use(const Instruction& in) const { return {size, size, kind_of(in), checked ? bytes : nullptr}; }
  };

  static void global(Warp& warp, const Instruction& in) {
    alignas(64) Addresses address;
    read_addresses(warp, in, address);
    const Data data(warp, in);
    const std::ptrdiff_t delta = resolve_global<checked>(warp, in, address, data.use(in));
    store_any(warp, in,
              [&](int lane) { return reinterpret_cast<std::byte*>(address[lane] + static_cast<std::uint64_t>(delta)); });
  }
  static void shared(Warp& warp, const Instruction& in) {
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    const Data data(warp, in);
    resolve_shared<checked>(warp, in, offset, data.use(in));
    store_any(warp, in, [&](int lane) { return warp.block->shared + offset[lane]; });
  }
  static void local(Warp& warp, const Instruction& in) {
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    const Data data(warp, in);
    resolve_local<checked>(warp, in, offset, data.use(in));
    store_any(warp, in,
              [&](int lane) { return warp.local + static_cast<std::size_t>(lane) * warp.local_stride + offset[lane]; });
  }
};

template <class S>
Handler in_space(HandlerSpace space) {
  switch (space) {
    case HandlerSpace::global:
      return S::global;
    case HandlerSpace::shared:
      return S::shared;
    case HandlerSpace::local:
      return S::local;
  }
  return nullptr;
}

template <bool checked>
Handler choose(HandlerSpace space, unsigned memory, unsigned reg, unsigned count) {
  if (memory == reg && count == 1) {
    if (memory == 2) return in_space<Store<2, 2, 1, checked>>(space);
    if (memory == 4) return in_space<Store<4, 4, 1, checked>>(space);
    if (memory == 8) return in_space<Store<8, 8, 1, checked>>(space);
  }
  if (memory == reg && count == 2) {
    if (memory == 4) return in_space<Store<4, 4, 2, checked>>(space);
    if (memory == 8) return in_space<Store<8, 8, 2, checked>>(space);
  }
  if (memory == reg && count == 4) {
    if (memory == 2) return in_space<Store<2, 2, 4, checked>>(space);
    if (memory == 4) return in_space<Store<4, 4, 4, checked>>(space);
  }
  if (memory == 1 && reg == 2 && count == 1) return in_space<Store<1, 2, 1, checked>>(space);
  return in_space<StoreAny<checked>>(space);
}

}  // namespace

Handler store_handler(HandlerSpace space, unsigned memory, unsigned reg, unsigned count, bool checked) {
  return checked ? choose<true>(space, memory, reg, count) : choose<false>(space, memory, reg, count);
}

}  // namespace sim::access

#include "isa/specials.h"

#include <chrono>
#include <unordered_map>

#include "machine/device.h"
#include "machine/launch.h"
#include "machine/options.h"
#include "machine/warp.h"

namespace sim {
namespace {

const std::unordered_map<std::string_view, std::pair<Special, Width>>& names() {
  using enum Special;
  static const auto* const table = new std::unordered_map<std::string_view, std::pair<Special, Width>>{
      {"tid.x", {tid_x, Width::b32}},
      {"tid.y", {tid_y, Width::b32}},
      {"tid.z", {tid_z, Width::b32}},
      {"ntid.x", {ntid_x, Width::b32}},
      {"ntid.y", {ntid_y, Width::b32}},
      {"ntid.z", {ntid_z, Width::b32}},
      {"ctaid.x", {ctaid_x, Width::b32}},
      {"ctaid.y", {ctaid_y, Width::b32}},
      {"ctaid.z", {ctaid_z, Width::b32}},
      {"nctaid.x", {nctaid_x, Width::b32}},
      {"nctaid.y", {nctaid_y, Width::b32}},
      {"nctaid.z", {nctaid_z, Width::b32}},
      {"laneid", {laneid, Width::b32}},
      {"warpid", {warpid, Width::b32}},
      {"nwarpid", {nwarpid, Width::b32}},
      {"smid", {smid, Width::b32}},
      {"nsmid", {nsmid, Width::b32}},
      {"gridid", {gridid, Width::b64}},
      {"envreg1", {envreg1, Width::b32}},
      {"envreg2", {envreg2, Width::b32}},
      {"lanemask_eq", {lanemask_eq, Width::b32}},
      {"lanemask_le", {lanemask_le, Width::b32}},
      {"lanemask_lt", {lanemask_lt, Width::b32}},
      {"lanemask_ge", {lanemask_ge, Width::b32}},
      {"lanemask_gt", {lanemask_gt, Width::b32}},
      {"dynamic_smem_size", {dynamic_smem_size, Width::b32}},
      {"total_smem_size", {total_smem_size, Width::b32}},
      {"clock", {Special::clock, Width::b32}},
      {"clock_hi", {clock_hi, Width::b32}},
      {"clock64", {clock64, Width::b64}},
      {"globaltimer", {globaltimer, Width::b64}},
      {"globaltimer_lo", {globaltimer_lo, Width::b32}},
      {"globaltimer_hi", {globaltimer_hi, Width::b32}},
      // A block is a cluster of one, and the grid a grid of such clusters.
      {"clusterid.x", {ctaid_x, Width::b32}},
      {"clusterid.y", {ctaid_y, Width::b32}},
      {"clusterid.z", {ctaid_z, Width::b32}},
      {"nclusterid.x", {nctaid_x, Width::b32}},
      {"nclusterid.y", {nctaid_y, Width::b32}},
      {"nclusterid.z", {nctaid_z, Width::b32}},
      {"cluster_ctaid.x", {zero, Width::b32}},
      {"cluster_ctaid.y", {zero, Width::b32}},
      {"cluster_ctaid.z", {zero, Width::b32}},
      {"cluster_nctaid.x", {one, Width::b32}},
      {"cluster_nctaid.y", {one, Width::b32}},
      {"cluster_nctaid.z", {one, Width::b32}},
      {"cluster_ctarank", {zero, Width::b32}},
      {"cluster_nctarank", {one, Width::b32}},
      {"is_explicit_cluster", {zero, Width::pred}},
      {"WARP_SZ", {warp_size, Width::b32}},
  };
  return *table;
}

std::uint64_t nanoseconds() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

template <class T>
void broadcast(Warp& warp, Location d, T value) {
  T* out = warp.at<T>(d);
  for (int lane = 0; lane < kLanes; ++lane) out[lane] = value;
}

template <class T>
void clock_handler(Warp& warp, const Instruction& in) {
  broadcast<T>(warp, in.d, static_cast<T>(warp.instructions));
}
void clock_hi_handler(Warp& warp, const Instruction& in) {
  broadcast(warp, in.d, static_cast<std::uint32_t>(warp.instructions >> 32));
}
template <class T>
void timer_handler(Warp& warp, const Instruction& in) {
  broadcast<T>(warp, in.d, static_cast<T>(nanoseconds()));
}
void timer_hi_handler(Warp& warp, const Instruction& in) {
  broadcast(warp, in.d, static_cast<std::uint32_t>(nanoseconds() >> 32));
}

struct ThreadIndex {
  std::uint32_t x, y, z;
};

ThreadIndex thread_index(const Warp& warp, const Launch& launch, int lane) {
  const std::uint32_t thread = warp.thread_of(lane);
  return {thread % launch.block[0], thread / launch.block[0] % launch.block[1], thread / launch.block[0] / launch.block[1]};
}

std::uint64_t value_of(Special special, const Warp& warp, const Block& block, const Launch& launch, int lane) {
  using enum Special;
  const auto multiprocessors = static_cast<std::uint32_t>(device_model(options().architecture).multiprocessors);
  switch (special) {
    case tid_x:
      return thread_index(warp, launch, lane).x;
    case tid_y:
      return thread_index(warp, launch, lane).y;
    case tid_z:
      return thread_index(warp, launch, lane).z;
    case ntid_x:
      return launch.block[0];
    case ntid_y:
      return launch.block[1];
    case ntid_z:
      return launch.block[2];
    case ctaid_x:
      return block.id[0];
    case ctaid_y:
      return block.id[1];
    case ctaid_z:
      return block.id[2];
    case nctaid_x:
      return launch.grid[0];
    case nctaid_y:
      return launch.grid[1];
    case nctaid_z:
      return launch.grid[2];
    case laneid:
      return static_cast<std::uint64_t>(lane);
    case warpid:
      return warp.index;
    case nwarpid:
      return static_cast<std::uint64_t>(device_model(options().architecture).max_threads_per_multiprocessor / kLanes);
    case smid:
      return block.linear % multiprocessors;
    case nsmid:
      return multiprocessors;
    case envreg1:
      return launch.grid_workspace >> 32;
    case envreg2:
      return launch.grid_workspace & 0xffffffff;
    case gridid:
      return launch.operation;
    case lanemask_eq:
      return 1u << lane;
    case lanemask_lt:
      return (1u << lane) - 1;
    case lanemask_le:
      return (2u << lane) - 1;
    case lanemask_ge:
      return ~((1u << lane) - 1);
    case lanemask_gt:
      return ~((2u << lane) - 1);
    case dynamic_smem_size:
      return launch.dynamic_shared_bytes;
    case total_smem_size:
      return launch.dynamic_shared_bytes + launch.kernel->static_shared_bytes;
    case local_base:
      return warp.frame->local_base;
    case warp_size:
      return kLanes;
    case one:
      return 1;
    default:
      return 0;
  }
}

bool differs_by_lane(Special special) {
  switch (special) {
    case Special::tid_x:
    case Special::tid_y:
    case Special::tid_z:
    case Special::laneid:
    case Special::lanemask_eq:
    case Special::lanemask_lt:
    case Special::lanemask_le:
    case Special::lanemask_ge:
    case Special::lanemask_gt:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::pair<Special, Width> special_named(std::string_view name) {
  const auto found = names().find(name);
  return found == names().end() ? std::pair{Special::zero, Width::none} : found->second;
}

bool changes(Special special) { return special >= Special::clock; }

Handler refresh_special(Special special, Width width) {
  const bool wide = width == Width::b64;
  switch (special) {
    case Special::clock:
    case Special::clock64:
      return wide ? clock_handler<std::uint64_t> : clock_handler<std::uint32_t>;
    case Special::clock_hi:
      return clock_hi_handler;
    case Special::globaltimer:
    case Special::globaltimer_lo:
      return wide ? timer_handler<std::uint64_t> : timer_handler<std::uint32_t>;
    default:
      return timer_hi_handler;
  }
}

void fill_special(const SpecialSlot& slot, const Warp& warp, const Block& block, const Launch& launch, std::byte* registers) {
  std::byte* place = registers + slot.location;
  if (slot.width == Width::pred) {
    *reinterpret_cast<Mask*>(place) = value_of(slot.special, warp, block, launch, 0) != 0 ? kAllLanes : 0;
    return;
  }
  auto fill = [&](auto value) {
    for (int lane = 0; lane < kLanes; ++lane) {
      if (slot.width == Width::b64) reinterpret_cast<std::uint64_t*>(place)[lane] = value(lane);
      if (slot.width == Width::b32) reinterpret_cast<std::uint32_t*>(place)[lane] = static_cast<std::uint32_t>(value(lane));
      if (slot.width == Width::b16) reinterpret_cast<std::uint16_t*>(place)[lane] = static_cast<std::uint16_t>(value(lane));
    }
  };
  if (differs_by_lane(slot.special)) {
    fill([&](int lane) { return slot.addend + value_of(slot.special, warp, block, launch, lane); });
  } else {
    fill([same = slot.addend + value_of(slot.special, warp, block, launch, 0)](int) { return same; });
  }
}

}  // namespace sim

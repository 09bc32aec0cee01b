#include "machine/copies.h"

#include <bit>
#include <cstring>

#include "machine/races.h"
#include "machine/shared_bits.h"

namespace sim {
namespace {

void perform(Block& block, std::uint32_t warp, const PendingCopies::Copy& copy, Mask lanes) {
  for (Mask rest = lanes; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    std::byte* to = block.shared + copy.to[lane];
    std::memcpy(to, copy.from[lane], copy.from_bytes[lane]);
    std::memset(to + copy.from_bytes[lane], 0, copy.bytes - copy.from_bytes[lane]);
    if (block.shared_initialized != nullptr) set_bits(block.shared_initialized, copy.to[lane], copy.bytes);
  }
  if (block.races != nullptr) block.races->complete_copy(warp, copy.to.data(), lanes, copy.bytes);
}

}  // namespace

void PendingCopies::start() {
  for (OfWarp& warp : warps_) {
    warp.copies.clear();
    warp.committed.fill(0);
    warp.arrivals.clear();
  }
}

void PendingCopies::issue(const Warp& warp, Copy copy) {
  OfWarp& of = warps_[warp.index];
  copy.serial = ++serial_;
  // Lanes that have parted may be in different groups.
  while (copy.mask != 0) {
    const std::uint32_t group = of.committed[std::countr_zero(copy.mask)];
    Mask same = 0;
    for (int lane = 0; lane < kLanes; ++lane) same |= static_cast<Mask>(of.committed[lane] == group) << lane;
    same &= copy.mask;
    Copy& added = of.copies.emplace_back(copy);
    added.group = group;
    added.mask = same;
    copy.mask &= ~same;
  }
}

void PendingCopies::commit(const Warp& warp) {
  OfWarp& of = warps_[warp.index];
  for (int lane = 0; lane < kLanes; ++lane) of.committed[lane] += warp.mask >> lane & 1;
}

template <class Due>
void PendingCopies::complete(Block& block, std::uint32_t warp, Due due) {
  std::vector<Copy>& copies = warps_[warp].copies;
  bool any_done = false;
  for (Copy& copy : copies) {
    const Mask lanes = copy.mask & due(copy);
    if (lanes == 0) continue;
    perform(block, warp, copy, lanes);
    copy.mask &= ~lanes;
    any_done |= copy.mask == 0;
  }
  if (any_done) std::erase_if(copies, [](const Copy& copy) { return copy.mask == 0; });
}

void PendingCopies::wait_group(const Warp& warp, std::uint32_t groups) {
  const OfWarp& of = warps_[warp.index];
  complete(*warp.block, warp.index, [&](const Copy& copy) {
    Mask due = 0;
    for (int lane = 0; lane < kLanes; ++lane)
      due |= static_cast<Mask>(std::uint64_t{copy.group} + groups < of.committed[lane]) << lane;
    return due & warp.mask;
  });
}

void PendingCopies::wait_all(const Warp& warp) {
  complete(*warp.block, warp.index, [&](const Copy&) { return warp.mask; });
}

void PendingCopies::arrive_when_done(const Warp& warp, const std::uint32_t* offset) {
  for (Mask rest = warp.mask; rest != 0;) {
    const std::uint32_t place = offset[std::countr_zero(rest)];
    Mask same = 0;
    for (int lane = 0; lane < kLanes; ++lane) same |= static_cast<Mask>(offset[lane] == place) << lane;
    same &= rest;
    warps_[warp.index].arrivals.push_back({place, same, serial_ + 1});
    rest &= ~same;
  }
}

std::uint32_t PendingCopies::complete_arrivals(Block& block, std::uint32_t offset) {
  std::uint32_t count = 0;
  for (std::uint32_t warp = 0; warp < warps_.size(); ++warp) {
    std::vector<Arrival>& arrivals = warps_[warp].arrivals;
    for (const Arrival& arrival : arrivals) {
      if (arrival.offset != offset) continue;
      complete(block, warp, [&](const Copy& copy) { return copy.serial < arrival.serial ? arrival.mask : 0; });
      // The copies are done by the time anybody sees the phase complete.
      if (block.races != nullptr) block.races->release(warp, offset, false);
      count += static_cast<std::uint32_t>(std::popcount(arrival.mask));
    }
    std::erase_if(arrivals, [&](const Arrival& arrival) { return arrival.offset == offset; });
  }
  return count;
}

}  // namespace sim

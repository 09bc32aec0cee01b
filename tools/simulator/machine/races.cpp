#include "machine/races.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "error.h"
#include "machine/checks.h"

namespace sim {
namespace {

constexpr std::uint32_t kWrap = 0x7fffffff;

void join(std::vector<std::uint32_t>& into, const std::vector<std::uint32_t>& other) {
  if (into.size() < other.size()) into.resize(other.size(), 0);
  for (std::size_t n = 0; n < other.size(); ++n) into[n] = std::max(into[n], other[n]);
}

}  // namespace

SharedRaces::SharedRaces(std::uint32_t shared_bytes, std::uint32_t warps)
    : bytes_(shared_bytes),
      warps_(warps),
      clocks_(std::size_t{warps} * warps),
      floor_(warps),
      synced_(warps),
      last_access_(warps),
      accessed_(warps),
      lanes_(warps),
      fenced_(warps) {
  resize(2);
}

SharedRaces::~SharedRaces() {
  if (storage_ != nullptr) munmap(storage_, storage_bytes_);
}

// Cells of 2^shift bytes from now on, with what is known of the wider ones.
void SharedRaces::resize(unsigned shift) {
  const std::uint32_t old_cells = cells_;
  const std::uint32_t* const old = write_time_;
  void* const old_storage = storage_;
  const std::size_t old_bytes = storage_bytes_;
  cells_ = (bytes_ >> shift) + 64;  // loops may look past the end
  const std::size_t arrays = 5 + std::size_t{2} * warps_;
  storage_bytes_ = arrays * cells_ * sizeof(std::uint32_t);
  void* memory = mmap(nullptr, storage_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw Error("there is no memory for the race check of {} bytes of shared memory", bytes_);
  storage_ = memory;
  std::uint32_t* next = static_cast<std::uint32_t*>(memory);
  if (old != nullptr) {
    const unsigned split = shift_ - shift;
    for (std::size_t array = 0; array < arrays; ++array) {
      for (std::uint32_t n = 0; n < bytes_ >> shift; ++n) next[array * cells_ + n] = old[array * old_cells + (n >> split)];
    }
    pending_ <<= split;
    munmap(old_storage, old_bytes);
  }
  for (std::uint32_t** array : {&write_time_, &writer_, &read_time_, &reader_, &other_read_time_}) {
    *array = next;
    next += cells_;
  }
  warp_read_time_ = next;
  warp_readers_ = next + std::size_t{cells_} * warps_;
  shift_ = shift;
}

void SharedRaces::forget_all() {
  std::memset(storage_, 0, storage_bytes_);
  now_ = 1;
  pending_ = 0;
}

void SharedRaces::tick() { ++now_; }

void SharedRaces::start(Block& block) {
  block_ = &block;
  if (now_ > kWrap) forget_all();
  if (pending_ != 0) {
    for (std::uint32_t n = 0; n < cells_; ++n) {
      if (write_time_[n] == kPending) write_time_[n] = 0;
    }
    pending_ = 0;
  }
  tick();
  std::fill(clocks_.begin(), clocks_.end(), now_);
  std::fill(floor_.begin(), floor_.end(), now_);
  std::fill(synced_.begin(), synced_.end(), now_);
  std::fill(last_access_.begin(), last_access_.end(), 0);
  std::fill(accessed_.begin(), accessed_.end(), 0);
  for (auto& lanes : lanes_) lanes.clear();
  for (auto& clocks : fenced_) clocks.clear();
  arrived_.clear();
  released_.clear();
}

// Warps that have done nothing that w does not know of do not hold the floor down; what they do next is later than now.
void SharedRaces::update_floor(std::uint32_t w) {
  std::uint32_t floor = now_;
  for (std::uint32_t v = 0; v < warps_; ++v) {
    const std::uint32_t known = v == w ? synced_[w] : clock(w, v);
    if (last_access_[v] >= known) floor = std::min(floor, known);
  }
  floor_[w] = floor;
}

// What w knows, with all it has done itself. What it does next is not in it.
std::vector<std::uint32_t> SharedRaces::snapshot(std::uint32_t w) {
  tick();
  std::vector<std::uint32_t> clocks(clocks_.begin() + w * warps_, clocks_.begin() + (w + 1) * warps_);
  clocks[w] = now_;
  return clocks;
}

std::vector<std::uint32_t>& SharedRaces::lanes_of(std::uint32_t w) {
  if (lanes_[w].empty()) lanes_[w].assign(kLanes * kLanes, 0);
  return lanes_[w];
}

void SharedRaces::block_barrier(std::uint32_t id, std::span<const std::uint32_t> warps) {
  tick();
  std::vector<std::uint32_t> joined(warps_, 0);
  if (const auto arrived = arrived_.find(id); arrived != arrived_.end()) {
    joined = std::move(arrived->second);
    arrived_.erase(arrived);
  }
  for (std::uint32_t w : warps) {
    for (std::uint32_t v = 0; v < warps_; ++v) joined[v] = std::max(joined[v], clock(w, v));
  }
  for (std::uint32_t w : warps) joined[w] = now_;
  for (std::uint32_t w : warps) {
    std::copy(joined.begin(), joined.end(), clocks_.begin() + w * warps_);
    synced_[w] = now_;
    update_floor(w);
  }
}

void SharedRaces::barrier_arrive(std::uint32_t id, std::uint32_t warp) { join(arrived_[id], snapshot(warp)); }

void SharedRaces::warp_sync(const Warp& warp, Mask mask) {
  const std::uint32_t w = warp.index;
  tick();
  if ((warp.living & ~mask) == 0 && (accessed_[w] & ~mask) == 0) {
    synced_[w] = now_;
  } else {
    auto& lanes = lanes_of(w);
    std::array<std::uint32_t, kLanes> joined{};
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      const std::uint32_t* row = lanes.data() + std::countr_zero(rest) * kLanes;
      for (int lane = 0; lane < kLanes; ++lane) joined[lane] = std::max(joined[lane], row[lane]);
    }
    for (int lane = 0; lane < kLanes; ++lane) joined[lane] = (mask >> lane & 1) != 0 ? now_ : joined[lane];
    for (Mask rest = mask; rest != 0; rest &= rest - 1)
      std::copy(joined.begin(), joined.end(), lanes.begin() + std::countr_zero(rest) * kLanes);
  }
  update_floor(w);
}

// What a warp did last stays to be ordered; the others' floors learn of it as they synchronise.
void SharedRaces::warp_end(std::uint32_t warp) { fenced_[warp].clear(); }

void SharedRaces::fence(std::uint32_t warp) { fenced_[warp] = snapshot(warp); }

void SharedRaces::release(std::uint32_t warp, std::uint32_t offset, bool behind_fence) {
  if (behind_fence && fenced_[warp].empty()) return;
  join(released_[offset], behind_fence ? fenced_[warp] : snapshot(warp));
}

void SharedRaces::acquire(std::uint32_t warp, Mask lanes, std::uint32_t offset) {
  const auto found = released_.find(offset);
  if (found == released_.end()) return;
  const auto& released = found->second;
  for (std::uint32_t v = 0; v < warps_; ++v) {
    if (v != warp) clock(warp, v) = std::max(clock(warp, v), released[v]);
  }
  if (released[warp] > synced_[warp]) {
    auto& known = lanes_of(warp);
    for (Mask rest = lanes; rest != 0; rest &= rest - 1) {
      std::uint32_t* row = known.data() + std::countr_zero(rest) * kLanes;
      for (int lane = 0; lane < kLanes; ++lane) row[lane] = std::max(row[lane], released[warp]);
    }
  }
  update_floor(warp);
}

bool SharedRaces::ordered(std::uint32_t time, std::uint32_t thread, std::uint32_t warp, int lane) const {
  const std::uint32_t other = thread / kLanes;
  if (other != warp) return time < clocks_[warp * warps_ + other];
  const auto other_lane = static_cast<int>(thread % kLanes);
  if (other_lane == lane || time < synced_[warp]) return true;
  return !lanes_[warp].empty() && time < lanes_[warp][lane * kLanes + other_lane];
}

void SharedRaces::report(const Warp& warp, const Instruction& in, std::uint32_t cell, int lane, std::uint32_t thread,
                         std::uint32_t instruction, const char* what, bool is_copy, bool same_value) {
  Finding finding;
  const std::uint32_t offset = cell << shift_;
  finding.fault = is_copy ? Fault::cp_async_race : same_value ? Fault::shared_race_same_value : Fault::shared_race;
  finding.warning = same_value;
  finding.message = fmt::format("{} of shared memory at {:#x}{}", what, offset, checks::shared_name(*block_, offset));
  if (is_copy) finding.message += ", which a cp.async that has not been waited for writes";
  if (thread / kLanes == warp.index && !is_copy) {
    finding.message +=
        thread % kLanes == static_cast<std::uint32_t>(lane) ? "" : " by lanes of one warp, without a __syncwarp between";
  }
  finding.place = checks::place(warp, in, lane);
  finding.has_other = true;
  finding.other = checks::place(*block_, thread, instruction == kUnknown ? checks::kNoInstruction : instruction);
  Report::instance().add(std::move(finding));
}

void SharedRaces::look_at_write(const Warp& warp, const Instruction& in, std::uint32_t cell, int lane) {
  const std::uint32_t time = write_time_[cell], thread = writer_[cell] & kThread,
                      instruction = writer_[cell] >> kInstructionShift;
  const bool writes = is_write(kind_);
  const char* const what = writes ? "two writes" : "a read after a write";
  if (time == kPending) {
    report(warp, in, cell, lane, thread, instruction, writes ? "a write" : "a read", true, false);
    return;
  }
  if ((writer_[cell] & kStrong) != 0 && is_strong(kind_)) return;
  if (ordered(time, thread, warp.index, lane)) return;
  bool same_value = false;
  if (kind_ == AccessKind::write && data_ != nullptr) {
    const std::uint32_t begin = cell << shift_, size = 1u << shift_;
    const std::byte* mine = data_ + static_cast<std::size_t>(lane) * access_bytes_ + (begin - offsets_[lane]);
    const std::byte* theirs = block_->shared + begin;
    const auto other = static_cast<int>(thread % kLanes);
    // Written by this very instruction: memory does not have it yet.
    if (thread / kLanes == warp.index && time == now_ && (done_ >> other & 1) != 0 &&
        instruction == std::min(in.index, kUnknown) && offsets_[other] <= begin && begin < offsets_[other] + access_bytes_) {
      theirs = data_ + static_cast<std::size_t>(other) * access_bytes_ + (begin - offsets_[other]);
    }
    same_value = std::memcmp(mine, theirs, size) == 0;
  }
  report(warp, in, cell, lane, thread, instruction, what, false, same_value);
}

bool SharedRaces::look_at_reads(const Warp& warp, const Instruction& in, std::uint32_t cell, int lane) {
  for (std::uint32_t v = 0; v < warps_; ++v) {
    const std::uint32_t time = warp_read_time_[std::size_t{v} * cells_ + cell];
    Mask readers = warp_readers_[std::size_t{v} * cells_ + cell];
    if (v != warp.index) {
      if (time < clock(warp.index, v)) continue;
    } else {
      if (time < synced_[v]) continue;
      // The time is that of the last of several reads: any synchronisation with the others since all were synchronised counts
      // then.
      const std::uint32_t since = std::popcount(readers) > 1 ? synced_[v] : time;
      readers &= ~(1u << lane);
      if (!lanes_[v].empty()) {
        const std::uint32_t* row = lanes_[v].data() + lane * kLanes;
        for (int other = 0; other < kLanes; ++other) readers &= row[other] > since ? ~(1u << other) : ~0u;
      }
    }
    if (readers == 0) continue;
    std::uint32_t last = reader_[cell] & kThread;
    if (last == warp.index * kLanes + static_cast<std::uint32_t>(lane) && (reader_[cell] & kNextLaneToo) != 0) ++last;
    const bool is_last = last / kLanes == v && (readers >> (last % kLanes) & 1) != 0;
    const std::uint32_t thread = is_last ? last : v * kLanes + static_cast<std::uint32_t>(std::countr_zero(readers));
    report(warp, in, cell, lane, thread, is_last ? reader_[cell] >> kInstructionShift : kUnknown, "a write after a read", false,
           false);
    return true;
  }
  return false;
}

// One cell by one lane.
void SharedRaces::access_lane(const Warp& warp, const Instruction& in, std::uint32_t cell, int lane) {
  const std::uint32_t w = warp.index, floor = floor_[w], thread = w * kLanes + static_cast<std::uint32_t>(lane);
  const bool strong = is_strong(kind_);
  const std::uint32_t who = thread | std::min(in.index, kUnknown) << kInstructionShift;
  if (write_time_[cell] >= floor && ((writer_[cell] & kThread) != thread || write_time_[cell] == kPending)) [[unlikely]] {
    look_at_write(warp, in, cell, lane);
  }
  if (is_write(kind_)) {
    if (((reader_[cell] & kThread) == thread ? other_read_time_[cell] : read_time_[cell]) >= floor) [[unlikely]] {
      look_at_reads(warp, in, cell, lane);
    }
    write_time_[cell] = is_copy_ ? kPending : now_;
    writer_[cell] = who | (strong ? kStrong : 0);
  } else if (!strong) {
    if ((reader_[cell] & kThread) != thread) other_read_time_[cell] = read_time_[cell];
    reader_[cell] = who;
    read_time_[cell] = now_;
    std::uint32_t& time = warp_read_time_[std::size_t{w} * cells_ + cell];
    Mask& readers = warp_readers_[std::size_t{w} * cells_ + cell];
    readers = (time >= synced_[w] ? readers : 0) | 1u << lane;
    time = now_;
  }
}

// Consecutive cells, 2^shift of them for each lane from `lane` on; or, when `same_place` has several lanes, all of them by each
// of these. The loops are for the vectoriser: nearly always nothing is found.
void SharedRaces::access_run(const Warp& warp, const Instruction& in, std::uint32_t cell, std::uint32_t cells, unsigned shift,
                             int lane, Mask same_place) {
  const std::uint32_t w = warp.index, now = now_, floor = floor_[w];
  const bool several = (same_place & (same_place - 1)) != 0;
  const bool strong = is_strong(kind_);
  if (several) shift = 31;
  const std::uint32_t thread = w * kLanes + static_cast<std::uint32_t>(lane);
  const std::uint32_t who = thread | std::min(in.index, kUnknown) << kInstructionShift;
  std::uint32_t* const __restrict wt = write_time_ + cell, * const __restrict wr = writer_ + cell;
  std::uint32_t* const __restrict rt = read_time_ + cell;
  std::uint32_t* const __restrict rr = reader_ + cell;
  std::uint32_t* const __restrict ot = other_read_time_ + cell;
  const std::uint32_t anyone = several ? 1 : 0;
  std::uint32_t bad = 0;
  for (std::uint32_t n = 0; n < cells; ++n) {
    const std::uint32_t other = ((wr[n] & kThread) != thread + (n >> shift)) | anyone;
    bad |= static_cast<std::uint32_t>(wt[n] >= floor) & (other | static_cast<std::uint32_t>(wt[n] == kPending));
  }
  if (bad != 0) [[unlikely]] {
    for (std::uint32_t n = 0; n < cells; ++n) {
      if (wt[n] < floor) continue;
      int by = lane + static_cast<int>(n >> shift);
      // Of lanes at the same place one that is not the writer itself.
      if (several && (wr[n] & kThread) == w * kLanes + static_cast<std::uint32_t>(by)) {
        by = std::countr_zero(same_place & (same_place - 1));
      }
      look_at_write(warp, in, cell + n, by);
    }
  }
  if (!is_write(kind_)) {
    if (strong) return;
    std::uint32_t* const __restrict wrt = warp_read_time_ + std::size_t{w} * cells_ + cell;
    std::uint32_t* const __restrict wrl = warp_readers_ + std::size_t{w} * cells_ + cell;
    const std::uint32_t synced = synced_[w];
    if (several) {
      for (std::uint32_t n = 0; n < cells; ++n) {
        wrl[n] = (wrt[n] >= synced ? wrl[n] : 0) | same_place;
        wrt[n] = ot[n] = rt[n] = now;
        rr[n] = who | kNextLaneToo;
      }
      return;
    }
    const std::uint32_t bit = 1u << lane;
    for (std::uint32_t n = 0; n < cells; ++n) {
      const std::uint32_t me = who + (n >> shift);
      ot[n] = ((rr[n] ^ me) & kThread) == 0 ? ot[n] : rt[n];
      rr[n] = me;
      rt[n] = now;
      wrl[n] = (wrt[n] >= synced ? wrl[n] : 0) | bit << (n >> shift);
      wrt[n] = now;
    }
    return;
  }
  bad = 0;
  for (std::uint32_t n = 0; n < cells; ++n) {
    const bool mine = ((rr[n] ^ (who + (n >> shift))) & kThread) == 0;
    bad |= static_cast<std::uint32_t>((mine ? ot[n] : rt[n]) >= floor) | (static_cast<std::uint32_t>(rt[n] >= floor) & anyone);
  }
  if (bad != 0) [[unlikely]] {
    for (std::uint32_t n = 0; n < cells; ++n) {
      if (rt[n] < floor) continue;
      if (look_at_reads(warp, in, cell + n, lane + static_cast<int>(n >> shift)) || !several) continue;
      look_at_reads(warp, in, cell + n, std::countr_zero(same_place & (same_place - 1)));
    }
  }
  const std::uint32_t flag = strong ? kStrong : 0, time = is_copy_ ? kPending : now;
  for (std::uint32_t n = 0; n < cells; ++n) {
    wt[n] = time;
    wr[n] = (who + (n >> shift)) | flag;
  }
}

void SharedRaces::access(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes,
                         AccessKind kind, const std::byte* data) {
  if (mask == 0) return;
  if (bytes < 1u << shift_) resize(static_cast<unsigned>(std::countr_zero(bytes)));
  kind_ = kind;
  access_bytes_ = bytes;
  data_ = data;
  offsets_ = offset;
  done_ = 0;
  last_access_[warp.index] = now_;
  accessed_[warp.index] |= mask;
  const unsigned shift = static_cast<unsigned>(std::countr_zero(bytes)) - shift_;
  // Runs of lanes that are next to each other or at the same place. Writes to the same place are looked at one by one.
  for (int lane = 0; lane < kLanes;) {
    if ((mask >> lane & 1) == 0) {
      ++lane;
      continue;
    }
    int next = lane + 1;
    while (next < kLanes && (mask >> next & 1) != 0 &&
           offset[next] == offset[lane] + static_cast<std::uint32_t>(next - lane) * bytes)
      ++next;
    Mask same_place = 0;
    if (next == lane + 1 && (!is_write(kind) || kind == AccessKind::atomic)) {
      while (next < kLanes && (mask >> next & 1) != 0 && offset[next] == offset[lane]) ++next;
      same_place = static_cast<Mask>((std::uint64_t{1} << next) - (std::uint64_t{1} << lane));
    }
    const auto lanes = static_cast<std::uint32_t>(next - lane);
    const bool several = (same_place & (same_place - 1)) != 0;
    if (lanes == 1 && shift == 0) {
      access_lane(warp, in, offset[lane] >> shift_, lane);
    } else {
      access_run(warp, in, offset[lane] >> shift_, (several ? 1 : lanes) << shift, shift, lane, same_place);
    }
    done_ |= static_cast<Mask>((std::uint64_t{1} << next) - (std::uint64_t{1} << lane));
    lane = next;
  }
}

void SharedRaces::begin_copy(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes) {
  is_copy_ = true;
  access(warp, in, offset, mask, bytes, AccessKind::write, nullptr);
  is_copy_ = false;
  pending_ += (std::uint64_t{bytes} >> shift_) * static_cast<std::uint64_t>(std::popcount(mask));
}

void SharedRaces::complete_copy(std::uint32_t warp, const std::uint32_t* offset, Mask mask, unsigned bytes) {
  last_access_[warp] = now_;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const std::uint32_t thread = warp * kLanes + static_cast<std::uint32_t>(lane);
    for (std::uint32_t cell = offset[lane] >> shift_; cell < (offset[lane] + bytes) >> shift_; ++cell) {
      if (write_time_[cell] == kPending && (writer_[cell] & kThread) == thread) write_time_[cell] = now_;
    }
  }
  const std::uint64_t cells = (std::uint64_t{bytes} >> shift_) * static_cast<std::uint64_t>(std::popcount(mask));
  pending_ -= std::min(pending_, cells);
}

}  // namespace sim

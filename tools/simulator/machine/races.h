// Races in the shared memory of a thread block.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "machine/global_races.h"
#include "machine/warp.h"

namespace sim {

/// Last accesses to each cell of a block's shared memory (4 bytes; 2 or 1 once anything narrower was accessed), and the order
/// between its threads.
///
/// Time grows by one with each synchronisation in the block. Between warps the order is a vector clock per warp, joined by
/// barriers; within a warp it is the time of the last synchronisation of all lanes, and a matrix of lanes where fewer took
/// part. An access at time t of warp v is ordered before what warp w does now when t < clock[w][v]. `floor(w)` is a time before
/// which every access is ordered before w's: nearly always that is all there is to ask.
class SharedRaces {
 public:
  SharedRaces(std::uint32_t shared_bytes, std::uint32_t warps);
  ~SharedRaces();
  SharedRaces(const SharedRaces&) = delete;
  SharedRaces& operator=(const SharedRaces&) = delete;

  BlockOrder order;  // of the block among the others: global memory

  /// A new block: all accesses so far are forgotten.
  void start(Block& block);

  /// Warps that leave barrier `id` together: what these, and those that only arrived, did before is ordered before what these
  /// do next.
  void block_barrier(std::uint32_t id, std::span<const std::uint32_t> warps);
  void barrier_arrive(std::uint32_t id, std::uint32_t warp);
  /// bar.warp.sync. Shuffles and votes order no memory accesses and are not told.
  void warp_sync(const Warp& warp, Mask mask);
  void warp_end(std::uint32_t warp);
  /// membar, fence: what strong writes and atomics release from now on.
  void fence(std::uint32_t warp);
  /// Order by way of a place in shared memory (an atomic, a volatile flag, an mbarrier).
  /// `behind_fence`: only what was done before the warp's last fence is released, else everything so far.
  void release(std::uint32_t warp, std::uint32_t offset, bool behind_fence);
  void acquire(std::uint32_t warp, Mask lanes, std::uint32_t offset);

  /// `bytes` a lane at offsets that are aligned and inside. `data`: what a write will store, lane after lane, or null.
  void access(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes, AccessKind kind,
              const std::byte* data);
  /// Whether anything has been released, or would be by a strong write behind a fence.
  bool has_released() const { return !released_.empty(); }
  bool has_fenced(std::uint32_t warp) const { return !fenced_[warp].empty(); }
  /// A cp.async is issued: until complete_copy() nobody may touch the bytes.
  void begin_copy(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes);
  void complete_copy(std::uint32_t warp, const std::uint32_t* offset, Mask mask, unsigned bytes);

 private:
  static constexpr std::uint32_t kPending = 0xffffffff;  // time of a write that is under way

  // Who: the thread, whether a write was atomic or strong, whether the next lane took part in a read, and which instruction.
  static constexpr std::uint32_t kThread = 1023, kStrong = 1024, kNextLaneToo = 1024, kInstructionShift = 11;
  static constexpr std::uint32_t kUnknown = (1u << 21) - 1;

  std::uint32_t& clock(std::uint32_t w, std::uint32_t v) { return clocks_[w * warps_ + v]; }
  void tick();
  void forget_all();
  void resize(unsigned shift);
  void update_floor(std::uint32_t w);
  std::vector<std::uint32_t> snapshot(std::uint32_t w);
  std::vector<std::uint32_t>& lanes_of(std::uint32_t w);
  bool ordered(std::uint32_t time, std::uint32_t thread, std::uint32_t warp, int lane) const;
  void access_lane(const Warp& warp, const Instruction& in, std::uint32_t cell, int lane);
  void access_run(const Warp& warp, const Instruction& in, std::uint32_t cell, std::uint32_t cells, unsigned shift, int lane,
                  Mask same_place);
  void look_at_write(const Warp& warp, const Instruction& in, std::uint32_t cell, int lane);
  bool look_at_reads(const Warp& warp, const Instruction& in, std::uint32_t cell, int lane);
  void report(const Warp& warp, const Instruction& in, std::uint32_t cell, int lane, std::uint32_t thread,
              std::uint32_t instruction, const char* what, bool is_copy, bool same_value);

  Block* block_ = nullptr;
  const std::uint32_t bytes_, warps_;
  unsigned shift_ = 2;
  std::uint32_t now_ = 1;
  void* storage_ = nullptr;
  std::size_t storage_bytes_ = 0;

  // By cell.
  std::uint32_t *write_time_ = nullptr, *writer_ = nullptr;
  std::uint32_t *read_time_ = nullptr, *reader_ = nullptr;  // of the last read
  std::uint32_t* other_read_time_ = nullptr;                // of the last read by another thread than that
  // By warp, then cell: when it last read, and which lanes have since all its lanes were synchronised.
  std::uint32_t *warp_read_time_ = nullptr, *warp_readers_ = nullptr;
  std::uint32_t cells_ = 0;

  std::vector<std::uint32_t> clocks_, floor_, synced_, last_access_;  // synced_: all lanes of the warp at that time
  std::vector<Mask> accessed_;                                        // lanes that have accessed anything
  std::vector<std::vector<std::uint32_t>> lanes_;  // by warp: 32 x 32, what lane i knows of lane j; empty when never needed
  std::map<std::uint32_t, std::vector<std::uint32_t>> arrived_;   // by barrier
  std::map<std::uint32_t, std::vector<std::uint32_t>> released_;  // by offset
  std::vector<std::vector<std::uint32_t>> fenced_;                // by warp: what a release after the last fence covers
  // Of the access under way.
  AccessKind kind_ = AccessKind::read;
  unsigned access_bytes_ = 0;
  const std::byte* data_ = nullptr;
  const std::uint32_t* offsets_ = nullptr;
  Mask done_ = 0;
  bool is_copy_ = false;
  std::uint64_t pending_ = 0;  // cells of copies under way
};

}  // namespace sim

// Races in global memory: between the blocks of one launch, and between operations that nothing orders.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "machine/launch.h"
#include "machine/memory.h"
#include "machine/warp.h"
#include "machine/word_shadow.h"

namespace sim {

struct BlockOrder;

/// What the blocks of one launch share: its segments, and the order that atomics and volatile accesses behind fences make
/// between blocks.
///
/// A block that has executed a fence releases, with each atomic or strong write, what it did before the fence; a block that
/// reads the place by an atomic or a strong read acquires what was released there, and what the releasing blocks had acquired.
/// A fence on the reading side is not asked for: the common "last block" idiom has none.
class LaunchOrder {
 public:
  explicit LaunchOrder(const Launch& launch);

  std::uint64_t first_segment = 0;  // of block 0
  std::uint64_t settled = 0;        // stamps below are of operations that are ordered before the launch
  std::uint32_t operation = 0;

  void release(BlockOrder& block, Address address);
  void acquire(BlockOrder& block, Address address);
  bool has_releases() const { return has_releases_.load(std::memory_order_relaxed); }
  /// Is what `other` did before its fence number `epoch` + 1 ordered before what `block` does now?
  bool ordered(const BlockOrder& block, std::uint64_t other, std::uint32_t epoch) const;

  /// The one of a launch, made when its first block asks.
  static std::shared_ptr<LaunchOrder> of(const Launch& launch);

 private:
  struct Release {
    std::uint64_t block;
    std::uint32_t epochs;  // those below
    std::uint32_t known;   // how much of `knowledge` had been added with it
  };
  /// Everything that was released at one address, in order. Later ones include earlier ones, as a chain of atomics does.
  struct Location {
    std::vector<Release> releases;
    std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> by_block;  // indices into releases
    std::vector<std::pair<Location*, std::uint32_t>>
        knowledge;  // what the releasing blocks had acquired: the first n releases there
  };

  friend struct BlockOrder;
  mutable std::mutex mutex_;
  std::map<Address, Location> locations_;
  std::atomic<bool> has_releases_ = false;
};

/// A block's part of it.
struct BlockOrder {
  std::shared_ptr<LaunchOrder> launch;
  std::uint64_t linear = 0;
  std::uint64_t segment = 0;
  std::uint32_t epoch = 0;  // fences so far
  bool accessed = false;    // since the last fence
  bool concurrent = false;  // other blocks run on other host threads
  std::vector<std::uint64_t> own_segments;
  std::vector<const StreamOrdered*> used;  // of what the block has accessed
  std::vector<std::pair<LaunchOrder::Location*, std::uint32_t>> acquired;
  std::uint64_t version = 0;  // of what it can release: grows with its fences and with what it acquires
  std::vector<std::pair<Address, std::uint64_t>>
      last_release;  // the version it released at an address last, to release nothing twice

  void start(const Launch& launch_, std::uint64_t linear_, bool concurrent_);
  void fence();
};

enum class AccessKind : std::uint8_t { read, write, strong_read, strong_write, atomic };
inline bool is_write(AccessKind kind) { return kind == AccessKind::write || kind >= AccessKind::strong_write; }
inline bool is_strong(AccessKind kind) { return kind >= AccessKind::strong_read; }

/// Checks and records an access of `bytes` a lane at `address`, all within `a`. `data`: what a write will store, lane after
/// lane, or null.
void check_global_race(Warp& warp, const Instruction& in, const Allocation& a, const std::uint64_t* address, Mask mask,
                       unsigned bytes, AccessKind kind, const std::byte* data);

/// A copy's or the host's access to a whole range; reports a race with a kernel or another copy.
void check_copy_race(const Order& order, std::uint32_t operation, std::string_view what, const Allocation& a, Address address,
                     std::size_t bytes, bool write);

}  // namespace sim

// Asynchronous copies from global to shared memory (cp.async) that are under way.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "machine/warp.h"

namespace sim {

/// The copies of a block's threads. Each takes effect as late as it may, when it is waited for: a program that forgets the wait
/// reads old data.
class PendingCopies {
 public:
  explicit PendingCopies(std::uint32_t warps) : warps_(warps) {}

  struct Copy {
    Mask mask = 0;
    std::uint32_t bytes = 0;  // written in shared memory, a lane
    std::uint32_t group = 0;  // how many groups its lanes had committed
    std::uint64_t serial = 0;
    std::array<std::uint32_t, kLanes> to{};  // offsets in shared memory
    std::array<const std::byte*, kLanes> from{};
    std::array<std::uint8_t, kLanes> from_bytes{};  // the rest is filled with zeros
  };

  /// A new block; what was not waited for is dropped.
  void start();

  void issue(const Warp& warp, Copy copy);
  void commit(const Warp& warp);
  /// All but the last `groups` committed ones of each active lane are done.
  void wait_group(const Warp& warp, std::uint32_t groups);
  void wait_all(const Warp& warp);

  /// cp.async.mbarrier.arrive: an arrival, for each active lane, when all its copies up to now are done.
  void arrive_when_done(const Warp& warp, const std::uint32_t* offset);
  /// Somebody looks at the mbarrier: copies whose completion arrives there are done now. Returns how many arrivals that makes.
  std::uint32_t complete_arrivals(Block& block, std::uint32_t offset);

 private:
  struct Arrival {
    std::uint32_t offset;
    Mask mask;
    std::uint64_t serial;  // copies below
  };
  struct OfWarp {
    std::vector<Copy> copies;  // in the order of issue
    std::array<std::uint32_t, kLanes> committed{};
    std::vector<Arrival> arrivals;
  };
  /// Does those of the lanes in the mask that `due` gives for a copy.
  template <class Due>
  void complete(Block& block, std::uint32_t warp, Due due);

  std::vector<OfWarp> warps_;
  std::uint64_t serial_ = 0;
};

}  // namespace sim

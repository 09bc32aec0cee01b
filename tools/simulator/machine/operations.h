// The operations of the process (kernels, copies, host accesses) as the race check knows them.
#pragma once
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "machine/launch.h"

namespace sim {

/// Operations and their segments. A segment is a part of one operation whose accesses are alike to the race check: a thread
/// block between two of its fences, or a whole copy. Numbers grow and are not used twice. Thread-safe.
class Operations {
 public:
  static Operations& instance();

  struct Record {
    std::string name;                // of the kernel or copy, as findings show it
    const Kernel* kernel = nullptr;  // null: not a kernel, or its module has been unloaded
    Dim3 grid{}, block{};
    std::uint32_t lane = 0;
    std::uint64_t at = 0;
  };
  struct Owner {
    std::uint32_t operation = 0;
    std::uint64_t block = 0;
    std::uint32_t epoch = 0;  // how many fences the block had executed
    Record record;
  };

  void add_launch(const Launch& launch);
  void add_access(std::uint32_t operation, const Order& order, std::string_view name);

  /// The first of `count` segments for the blocks of an operation from `block` on; 0 (no segment) when numbers have run out.
  std::uint64_t take_segments(std::uint32_t operation, std::uint64_t count, std::uint64_t block, std::uint32_t epoch);
  /// All segments below it are ordered before an operation of this order.
  std::uint64_t settled_below(const Order& order);
  Owner owner(std::uint64_t segment);

  static bool ordered(std::uint32_t lane, std::uint64_t at, const Order& after) {
    return lane < after.after.size() && after.after[lane] >= at;
  }

  /// A kernel's module is being unloaded: keep its name only.
  void forget(const Kernel* kernel);

 private:
  struct Range {
    std::uint64_t first, count, block;
    std::uint32_t operation, epoch;
  };
  struct Place {
    std::uint64_t at, segment;
  };
  void add(std::uint32_t operation, Record record);

  std::mutex mutex_;
  std::unordered_map<std::uint32_t, Record> records_;
  std::deque<Range> ranges_;
  std::vector<std::vector<Place>> lanes_;  // by lane: the first segment of each of its operations, ascending
  std::uint64_t next_ = 1;
  bool said_that_it_ends_ = false;
};

}  // namespace sim

#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace sim {

/// The different 32-byte sectors of global memory that a launch touches: the least traffic that it can have with DRAM.
class TouchedSectors {
 public:
  void add(std::span<const std::uint64_t> sectors);
  void add(const TouchedSectors& other) { add(other.sectors_); }
  std::uint64_t count();

 private:
  void compact();

  std::vector<std::uint64_t> sectors_;  // the first `sorted_` ascending and different
  std::size_t sorted_ = 0;
};

}  // namespace sim

// Bitmaps of initialised bytes that one host thread uses: shared and local memory.
#pragma once
#include <cstdint>

namespace sim {

/// Sets the bits of at most 32 bytes.
inline void set_bits(std::uint8_t* bits, std::uint64_t first, std::uint32_t count) {
  for (std::uint64_t at = first, end = first + count; at < end;) {
    const std::uint64_t stop = end < (at | 7) + 1 ? end : (at | 7) + 1;
    bits[at / 8] = static_cast<std::uint8_t>(bits[at / 8] | ((1u << (stop - at)) - 1) << at % 8);
    at = stop;
  }
}

inline bool test_bits(const std::uint8_t* bits, std::uint64_t first, std::uint32_t count) {
  for (std::uint64_t at = first, end = first + count; at < end;) {
    const std::uint64_t stop = end < (at | 7) + 1 ? end : (at | 7) + 1;
    const std::uint32_t wanted = ((1u << (stop - at)) - 1) << at % 8;
    if ((bits[at / 8] & wanted) != wanted) return false;
    at = stop;
  }
  return true;
}

}  // namespace sim

// Bitmaps of initialised bytes that one host thread uses: shared and local memory.
#pragma once
#include <cstdint>
#include <cstring>

namespace sim {

/// At most 32 bytes; the bitmap has 8 bytes to spare at its end.
inline void set_bits(std::uint8_t* bits, std::uint64_t first, std::uint32_t count) {
  std::uint64_t word;
  std::memcpy(&word, bits + first / 8, sizeof word);
  word |= ((std::uint64_t{1} << count) - 1) << first % 8;
  std::memcpy(bits + first / 8, &word, sizeof word);
}

inline bool test_bits(const std::uint8_t* bits, std::uint64_t first, std::uint32_t count) {
  std::uint64_t word;
  std::memcpy(&word, bits + first / 8, sizeof word);
  const std::uint64_t wanted = ((std::uint64_t{1} << count) - 1) << first % 8;
  return (word & wanted) == wanted;
}

}  // namespace sim

// Who last wrote and read each word of global memory.
#pragma once
#include <cstddef>
#include <cstdint>

namespace sim {

/// One access, in 64 bits: which segment of which operation (machine/operations.h), by which thread and instruction, to which
/// bytes of the word. Stamps of one segment differ in the low 35 bits only, and later segments have larger stamps.
struct Stamp {
  static constexpr int kSegmentShift = 35;
  static constexpr std::uint64_t kSegments = std::uint64_t{1} << 28;  // segment 0: never
  static constexpr std::uint64_t kStrong = std::uint64_t{1} << 34;    // atomic, volatile, relaxed, acquire or release
  static constexpr int kBytesShift = 30;                              // 4 bits
  static constexpr int kThreadShift = 20;                             // 10 bits
  static constexpr std::uint64_t kAllBytes = std::uint64_t{15} << kBytesShift;
  static constexpr std::uint32_t kUnknown = (1u << kThreadShift) - 1;  // instruction

  static std::uint64_t make(std::uint64_t segment, std::uint32_t thread, std::uint32_t instruction, bool strong) {
    return segment << kSegmentShift | (strong ? kStrong : 0) | std::uint64_t{thread & 1023} << kThreadShift |
           (instruction < kUnknown ? instruction : kUnknown);
  }
  static std::uint64_t segment(std::uint64_t stamp) { return stamp >> kSegmentShift; }
  static std::uint32_t thread(std::uint64_t stamp) { return stamp >> kThreadShift & 1023; }
  static std::uint32_t instruction(std::uint64_t stamp) { return stamp & kUnknown; }
  static unsigned bytes(std::uint64_t stamp) { return stamp >> kBytesShift & 15; }
};

/// The record of 4 KiB. Two readers of different blocks are enough to see a race of any other block's write with any of them,
/// as the blocks of a launch are not ordered. Of readers in more than two streams only the first and the last are known: a
/// writer that is ordered behind these and not behind another is not seen to race with it.
struct WordShadow {
  static constexpr std::size_t kWords = 1024;
  std::uint64_t page_writer, page_reader, page_other_reader;  // accesses to all of it at once, by copies and the host
  std::uint64_t unused[5];
  std::uint64_t writer[kWords], reader[kWords], other_reader[kWords];
};

/// For an allocation of so many bytes: zero, and without cost until it is touched.
WordShadow* make_word_shadow(std::size_t bytes);
/// Gives the memory back; the addresses stay and read as zero.
void release_word_shadow(WordShadow* shadow, std::size_t bytes);

}  // namespace sim

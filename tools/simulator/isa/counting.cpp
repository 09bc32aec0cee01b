#include <algorithm>

#include "isa/access.h"

// What a profiler counts of memory accesses, worked out from their addresses.
namespace sim::access {
namespace {

Counters& counters_of(const Warp& warp, const Instruction& in) { return warp.worker->counters[in.index]; }

template <class T>
std::uint64_t distinct(T* values, std::size_t count) {
  if (count == 0) return 0;
  // Addresses mostly ascend.
  if (!std::is_sorted(values, values + count)) std::sort(values, values + count);
  return static_cast<std::uint64_t>(std::unique(values, values + count) - values);
}

}  // namespace

void count_global(const Warp& warp, const Instruction& in, const std::uint64_t* address, Mask mask, unsigned bytes,
                  AccessKind kind) {
  std::array<std::uint64_t, 2 * kLanes> sectors;
  std::size_t count = 0;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const std::uint64_t first = address[std::countr_zero(rest)] / 32, last = (address[std::countr_zero(rest)] + bytes - 1) / 32;
    sectors[count++] = first;
    if (last != first) sectors[count++] = last;
  }
  Counters& counters = counters_of(warp, in);
  ++counters.requests;
  counters.bytes += static_cast<std::uint64_t>(std::popcount(mask)) * bytes;
  count = distinct(sectors.data(), count);
  counters.sectors += count;
  const std::span<const std::uint64_t> touched(sectors.data(), count);
  if (!is_write(kind) || kind == AccessKind::atomic) warp.worker->read_sectors.add(touched);
  if (is_write(kind)) warp.worker->written_sectors.add(touched);
}

// A pass serves 32 banks of 4 bytes: all lanes of up to 4 bytes, half of them with 8, a quarter with 16. Lanes at the same word
// are served together; different words of one bank are not.
void count_wavefronts(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes) {
  const int lanes_a_pass = bytes <= 4 ? 32 : bytes == 8 ? 16 : 8;
  const unsigned words_a_lane = bytes <= 4 ? 1 : bytes / 4;
  Counters& counters = counters_of(warp, in);
  for (int first = 0; first < kLanes; first += lanes_a_pass) {
    const Mask lanes = mask & static_cast<Mask>(((std::uint64_t{1} << lanes_a_pass) - 1) << first);
    if (lanes == 0) continue;
    std::array<std::uint32_t, 4 * kLanes> words;
    std::size_t count = 0;
    for (Mask rest = lanes; rest != 0; rest &= rest - 1) {
      for (unsigned n = 0; n < words_a_lane && count < words.size(); ++n)
        words[count++] = offset[std::countr_zero(rest)] / 4 + n;
    }
    count = distinct(words.data(), count);
    std::array<std::uint8_t, 32> in_bank{};
    std::uint8_t most = 0;
    for (std::size_t n = 0; n < count; ++n) most = std::max(most, ++in_bank[words[n] % 32]);
    counters.wavefronts += most;
    ++counters.ideal_wavefronts;
  }
}

void count_shared(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes) {
  counters_of(warp, in).bytes += static_cast<std::uint64_t>(std::popcount(mask)) * bytes;
  count_wavefronts(warp, in, offset, mask, bytes);
}

// Local memory is interleaved: word n of all threads of a warp is side by side.
void count_local(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, unsigned bytes) {
  std::array<std::uint64_t, 8 * kLanes> sectors;
  std::size_t count = 0;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const std::uint64_t first = offset[lane] / 4, last = (offset[lane] + bytes - 1) / 4;
    for (std::uint64_t word = first; word <= last && count < sectors.size(); ++word)
      sectors[count++] = word * 4 + static_cast<std::uint64_t>(lane) / 8;
  }
  Counters& counters = counters_of(warp, in);
  ++counters.requests;
  counters.bytes += static_cast<std::uint64_t>(std::popcount(mask)) * bytes;
  counters.sectors += distinct(sectors.data(), count);
}

void count_conflicts(const Warp& warp, const Instruction& in, const std::uint64_t* address, Mask mask) {
  std::array<std::uint64_t, kLanes> places;
  std::size_t count = 0;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) places[count++] = address[std::countr_zero(rest)];
  counters_of(warp, in).atomic_conflicts += count - distinct(places.data(), count);
}

}  // namespace sim::access

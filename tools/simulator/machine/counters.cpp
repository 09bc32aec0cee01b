#include <algorithm>

#include "machine/warp.h"

namespace sim {

Counters& Counters::operator+=(const Counters& other) {
  executed += other.executed;
  lanes += other.lanes;
  divergent += other.divergent;
  requests += other.requests;
  sectors += other.sectors;
  bytes += other.bytes;
  wavefronts += other.wavefronts;
  ideal_wavefronts += other.ideal_wavefronts;
  atomic_conflicts += other.atomic_conflicts;
  return *this;
}

void Worker::add(const Worker& other) {
  for (std::size_t n = 0; n < std::min(counters.size(), other.counters.size()); ++n) counters[n] += other.counters[n];
  read_sectors.add(other.read_sectors);
  written_sectors.add(other.written_sectors);
}

}  // namespace sim

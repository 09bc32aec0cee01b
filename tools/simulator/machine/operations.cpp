#include "machine/operations.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "machine/word_shadow.h"

namespace sim {

Operations& Operations::instance() {
  static auto* const operations = new Operations;
  return *operations;
}

void Operations::add(std::uint32_t operation, Record record) {
  const std::lock_guard lock(mutex_);
  records_.try_emplace(operation, std::move(record));
}

void Operations::add_launch(const Launch& launch) {
  const Kernel* kernel = launch.kernel;
  add(launch.operation, {kernel == nullptr ? "a kernel" : kernel->demangled, kernel, launch.grid, launch.block,
                         launch.order.lane, launch.order.at});
}

void Operations::add_access(std::uint32_t operation, const Order& order, std::string_view name) {
  add(operation, {std::string(name), nullptr, {}, {}, order.lane, order.at});
}

std::uint64_t Operations::take_segments(std::uint32_t operation, std::uint64_t count, std::uint64_t block,
                                        std::uint32_t epoch) {
  const std::lock_guard lock(mutex_);
  if (next_ + count >= Stamp::kSegments) {
    if (!said_that_it_ends_) {
      fmt::print(stderr, "gannet-sim: racecheck of global memory ends here: the process has run more than {} thread blocks\n",
                 Stamp::kSegments);
    }
    said_that_it_ends_ = true;
    return 0;
  }
  const std::uint64_t first = next_;
  next_ += count;
  // One after the other of the same operation and block numbers that go on: one range.
  ranges_.push_back({first, count, block, operation, epoch});
  const Record& record = records_[operation];
  if (record.lane >= lanes_.size()) lanes_.resize(record.lane + 1);
  auto& places = lanes_[record.lane];
  if (places.empty() || places.back().at < record.at) places.push_back({record.at, first});
  return first;
}

std::uint64_t Operations::settled_below(const Order& order) {
  const std::lock_guard lock(mutex_);
  std::uint64_t below = next_;
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    const std::uint64_t known = lane < order.after.size() ? order.after[lane] : 0;
    const auto& places = lanes_[lane];
    const auto first = std::upper_bound(places.begin(), places.end(), known,
                                        [](std::uint64_t at, const Place& place) { return at < place.at; });
    if (first != places.end()) below = std::min(below, first->segment);
  }
  return below;
}

Operations::Owner Operations::owner(std::uint64_t segment) {
  const std::lock_guard lock(mutex_);
  auto above = std::upper_bound(ranges_.begin(), ranges_.end(), segment,
                                [](std::uint64_t s, const Range& range) { return s < range.first; });
  if (above == ranges_.begin()) return {};
  const Range& range = *--above;
  if (segment - range.first >= range.count) return {};
  return {range.operation, range.block + (segment - range.first), range.epoch, records_[range.operation]};
}

void Operations::forget(const Kernel* kernel) {
  const std::lock_guard lock(mutex_);
  for (auto& [operation, record] : records_) {
    if (record.kernel == kernel) record.kernel = nullptr;
  }
}

}  // namespace sim

#include <algorithm>
#include <deque>
#include <set>

#include "machine/global_races.h"
#include "machine/operations.h"

namespace sim {
namespace {

constexpr std::size_t kLaunchesKept = 64;   // whose blocks may still come
constexpr std::size_t kMostSteps = 10'000;  // of a search; a longer chain counts as ordered

}  // namespace

LaunchOrder::LaunchOrder(const Launch& launch) : operation(launch.operation) {
  Operations& operations = Operations::instance();
  operations.add_launch(launch);
  settled = operations.settled_below(launch.order);
  first_segment = operations.take_segments(operation, std::uint64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2], 0, 0);
}

std::shared_ptr<LaunchOrder> LaunchOrder::of(const Launch& launch) {
  static std::mutex mutex;
  static auto& kept = *new std::deque<std::shared_ptr<LaunchOrder>>;
  const std::lock_guard lock(mutex);
  for (const auto& order : kept) {
    if (order->operation == launch.operation) return order;
  }
  if (kept.size() >= kLaunchesKept) {
    const auto idle = std::find_if(kept.begin(), kept.end(), [](const auto& order) { return order.use_count() == 1; });
    if (idle != kept.end()) kept.erase(idle);
  }
  return kept.emplace_back(std::make_shared<LaunchOrder>(launch));
}

void LaunchOrder::release(BlockOrder& block, Address address) {
  if (block.version == 0) return;
  const std::lock_guard lock(mutex_);
  auto last = std::find_if(block.last_release.begin(), block.last_release.end(),
                           [&](const auto& entry) { return entry.first == address; });
  if (last != block.last_release.end() && last->second == block.version) return;
  if (last == block.last_release.end()) {
    if (block.last_release.size() >= 256) block.last_release.clear();
    block.last_release.emplace_back(address, block.version);
  } else {
    last->second = block.version;
  }
  Location& location = locations_[address];
  has_releases_.store(true, std::memory_order_relaxed);
  for (const auto& [other, count] : block.acquired) {
    if (other != &location) location.knowledge.emplace_back(other, count);
  }
  location.by_block[block.linear].push_back(static_cast<std::uint32_t>(location.releases.size()));
  location.releases.push_back({block.linear, block.epoch, static_cast<std::uint32_t>(location.knowledge.size())});
}

void LaunchOrder::acquire(BlockOrder& block, Address address) {
  const std::lock_guard lock(mutex_);
  const auto found = locations_.find(address);
  if (found == locations_.end()) return;
  Location& location = found->second;
  const auto count = static_cast<std::uint32_t>(location.releases.size());
  auto entry =
      std::find_if(block.acquired.begin(), block.acquired.end(), [&](const auto& known) { return known.first == &location; });
  if (entry == block.acquired.end()) entry = block.acquired.insert(entry, {&location, 0});
  for (std::uint32_t n = entry->second; n < count; ++n) {
    if (location.releases[n].block != block.linear) {
      ++block.version;
      break;
    }
  }
  entry->second = count;
}

bool LaunchOrder::ordered(const BlockOrder& block, std::uint64_t other, std::uint32_t epoch) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<const Location*, std::uint32_t>> to_visit(block.acquired.begin(), block.acquired.end());
  std::map<const Location*, std::uint32_t> visited;
  for (std::size_t steps = 0; !to_visit.empty(); ++steps) {
    if (steps > kMostSteps) return true;
    const auto [location, count] = to_visit.back();
    to_visit.pop_back();
    std::uint32_t& before = visited[location];
    if (before >= count) continue;
    before = count;
    if (const auto releases = location->by_block.find(other); releases != location->by_block.end()) {
      for (std::uint32_t index : releases->second) {
        if (index >= count) break;
        if (location->releases[index].epochs > epoch) return true;
      }
    }
    const std::uint32_t known = location->releases[count - 1].known;
    to_visit.insert(to_visit.end(), location->knowledge.begin(), location->knowledge.begin() + known);
  }
  return false;
}

void BlockOrder::start(const Launch& launch_, std::uint64_t linear_, bool concurrent_) {
  if (!launch || launch->operation != launch_.operation) launch = LaunchOrder::of(launch_);
  linear = linear_;
  segment = launch->first_segment == 0 ? 0 : launch->first_segment + linear_;
  epoch = 0;
  version = 0;
  accessed = false;
  concurrent = concurrent_;
  own_segments.clear();
  used.clear();
  acquired.clear();
  last_release.clear();
}

void BlockOrder::fence() {
  if (!accessed || segment == 0) return;  // nothing new to release
  accessed = false;
  own_segments.push_back(segment);
  ++epoch;
  ++version;
  if (const std::uint64_t next = Operations::instance().take_segments(launch->operation, 1, linear, epoch); next != 0)
    segment = next;
}

}  // namespace sim

#include "machine/touched_sectors.h"

#include <algorithm>

namespace sim {

void TouchedSectors::add(std::span<const std::uint64_t> sectors) {
  sectors_.insert(sectors_.end(), sectors.begin(), sectors.end());
  if (sectors_.size() > 2 * sorted_ + (std::size_t{1} << 16)) compact();
}

std::uint64_t TouchedSectors::count() {
  compact();
  return sectors_.size();
}

void TouchedSectors::compact() {
  const auto middle = sectors_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  std::sort(middle, sectors_.end());
  std::inplace_merge(sectors_.begin(), middle, sectors_.end());
  sectors_.erase(std::unique(sectors_.begin(), sectors_.end()), sectors_.end());
  sorted_ = sectors_.size();
}

}  // namespace sim

// The largest of many differences, and where it is. What is not a number counts as infinite, and nothing takes its place.
#pragma once

#include <cmath>
#include <limits>
#include <string>

namespace gannet::testing {

struct Worst {
  double difference = 0;
  std::string where;
  void join(double value, const std::string& at) {
    if (!std::isfinite(value)) value = std::numeric_limits<double>::infinity();
    if (value > difference) difference = value, where = at;
  }
};

}  // namespace gannet::testing

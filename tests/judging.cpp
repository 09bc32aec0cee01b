#include "tests/judging.h"

#include <fmt/format.h>

#include <map>

namespace gannet::tests {
namespace {

std::map<std::string, int>& counts() {
  static std::map<std::string, int> counts;
  return counts;
}

}  // namespace

void count_case(const std::string& family) { ++counts()[family]; }

void CaseCount::TearDown() {
  std::string line;
  int total = 0;
  for (const auto& [family, count] : counts()) {
    line += fmt::format("{} {}, ", family, count);
    total += count;
  }
  if (total > 0) fmt::print("cases: {}{} in all\n", line, total);
}

}  // namespace gannet::tests

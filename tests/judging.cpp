#include "tests/judging.h"

#include <fmt/format.h>

#include <map>

#include "kernels/backend.h"
#include "kernels/check.h"

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
  fmt::print("cases: {}{} in all\n", line, total);
}

int run_with_cpu_backend() {
  try {
    fmt::print("{}\n", kernels::make_cpu_backend(2)->name());
  } catch (const InputError& error) {
    fmt::print("skipped: {}\n", error.what());
    return 77;
  }
  return RUN_ALL_TESTS();
}

}  // namespace gannet::tests

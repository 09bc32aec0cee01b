// Collects the cases of one family: each gets its name, a seed of its own, and is made from draws of that seed alone.
#pragma once

#include <fmt/format.h>

#include "tests/cases.h"

namespace gannet::tests {

class CaseTable {
 public:
  CaseTable(std::string family, std::uint64_t seed) : family_(std::move(family)), draw_(seed) {}

  template <typename Make>
  void add(Make make) {
    const std::uint64_t seed = draw_.word();
    Draw own(seed);
    Case test = make(own);
    test.seed = seed;
    test.name = fmt::format("{} {}", family_, cases_.size());
    cases_.push_back(std::move(test));
  }
  template <typename Make>
  void add(int count, Make make) {
    for (int i = 0; i < count; ++i) add(make);
  }

  std::vector<Case> take() { return std::move(cases_); }

 private:
  std::string family_;
  Draw draw_;
  std::vector<Case> cases_;
};

}  // namespace gannet::tests

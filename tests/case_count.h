// How many cases of each family a test has run, printed at its end.
#pragma once

#include <string>

#include <gtest/gtest.h>

namespace gannet::tests {

void count_case(const std::string& family);

// Prints "cases: convolution fprop 612, …, 4203 in all" when the tests are over.
class CaseCount : public ::testing::Environment {
 public:
  void TearDown() override;
};

}  // namespace gannet::tests

// What the programs that judge a backend share: how many cases of each family a test has run, printed at its end.
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

// Prints the backend's name and runs all tests; where the machine lacks the vector set that GANNET_CPU_ISA asks for, says so
// and returns 77, which ctest takes for skipped.
int run_with_cpu_backend();

}  // namespace gannet::tests

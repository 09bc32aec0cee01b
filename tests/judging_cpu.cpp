#include <fmt/format.h>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "tests/judging.h"

namespace gannet::tests {

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

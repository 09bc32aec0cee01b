// Judges a backend's kernels by the reference backend on the table of cases.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "tests/kernel_run.h"

namespace gannet::tests {

inline constexpr std::byte nan_garbage{0xFF}, large_garbage{0x7B};  // as f32: NaN, 1.3e36

// Runs every selected case twice, the second time in place and with other leftovers in memory: a failure of the test for each
// that differs from the reference, touches what is not its own, or gives other bits the second time.
void judge(kernels::Backend& backend, const std::vector<Case>& cases);

// <fprop(x,w), y> = <x, dgrad(y,w)> = <w, wgrad(x,y)>, exactly on small integers.
void judge_adjoints(kernels::Backend& backend, const std::vector<Case>& convolutions);

// Every spec of refusals() is refused by name.
void judge_refusals(kernels::Backend& backend);

}  // namespace gannet::tests

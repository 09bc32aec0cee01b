// Problems of the benchmark as text, one a line: NAME FAMILY KEY=VALUE… . A tensor is its type and shape, and an extent may be
// a multiple of the batch: bf16(2N,32,32,64).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"

namespace gannet::bench {

struct Problem {
  std::string name;
  kernels::KernelSpec spec;
};

// One line. InputError says what is wrong with it.
Problem parse_problem(std::string_view line, std::int64_t batch);

// All lines of a table; # begins a comment.
std::vector<Problem> read_problems(const std::string& file, std::int64_t batch);

// FAMILY KEY=VALUE… of a spec in plain layouts; first extents that `batch` divides are written as multiples of N.
std::string to_text(const kernels::KernelSpec& spec, std::int64_t batch);

}  // namespace gannet::bench

// A box copied from one tensor into another as a nest of loops: the innermost two are a plane that a SIMD source moves, the
// outer ones are shared out over the cores.
#pragma once

#include <vector>

#include "kernels/copy.h"
#include "kernels/cpu/copy.h"

namespace gannet::kernels::cpu {

class BoxCopy {
 public:
  explicit BoxCopy(const Copy& spec);
  // Writes the box; the rest of the output stays as it is.
  void run(const void* input, void* output) const;

 private:
  // Steps in elements. A dimension that no split into blocks makes regular (a box that begins inside a block of channels) has
  // tables of its offsets instead.
  struct Loop {
    std::int64_t extent, input_step, output_step;
    std::vector<std::int64_t> input_table, output_table;
    std::int64_t input_offset(std::int64_t i) const { return input_table.empty() ? i * input_step : input_table[i]; }
    std::int64_t output_offset(std::int64_t i) const { return output_table.empty() ? i * output_step : output_table[i]; }
  };

  void add_loops(const Copy& spec, int dimension);
  void merge();
  void choose_plane();

  DType from_, to_;
  std::int64_t input_start_ = 0, output_start_ = 0;
  std::vector<Loop> loops_;  // outermost first, in the output's order
  Plane plane_{};
  std::int64_t planes_ = 1;
  std::int64_t piece_ = 1, pieces_ = 1;  // rows of a plane (columns when it has one row) that one task moves
  int threads_ = 1;
  decltype(&baseline::copy_plane) copy_;
};

}  // namespace gannet::kernels::cpu

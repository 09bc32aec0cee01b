// The table of operator cases that every backend is judged by: correctness now, CUDA and throughput with the same table.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "tests/draw.h"

namespace gannet::tests {

// What an input holds. Values are rounded to the operand's type afterwards.
struct Fill {
  enum class Kind { uniform, integers, normal, apart, listed };
  Kind kind = Kind::normal;
  double a = 0, b = 1;         // low, high (included); mean, deviation; least and greatest magnitude
  std::vector<double> values;  // listed: repeated as often as needed
};
Fill uniform(double low, double high);
Fill integers(int low, int high);
Fill normal(double mean = 0, double deviation = 1);
Fill apart(double least, double greatest);  // either sign, away from zero
Fill listed(std::vector<double> values);

struct Case {
  std::string name;  // "convolution 17"
  std::uint64_t seed = 0;
  kernels::KernelSpec spec;
  std::vector<Fill> fills;  // one an input
  // Largest error of an f32 output relative to its largest magnitude, but at least `floor`; bf16 outputs are allowed 1e-2.
  // 0: the output equals the reference's, rounded to the output's type.
  double tolerance = 1e-5;
  double floor = 0;
  bool elementwise = false;                   // relative to each element instead
  std::vector<std::pair<int, int>> in_place;  // (output, input) that may be one memory; run both ways
};
std::string to_string(const Case& test);

// Every case of a family, from fixed seeds.
std::vector<Case> convolution_cases();
std::vector<Case> tile_cases();  // convolutions of many channels: whole tiles of products, and more than one
std::vector<Case> backward_cases();
std::vector<Case> backward_tile_cases();
std::vector<Case> matmul_cases();
std::vector<Case> pointwise_cases();
std::vector<Case> reduction_cases();
std::vector<Case> batch_norm_cases();
std::vector<Case> sigmoid_bce_cases();
std::vector<Case> optimizer_cases();
std::vector<Case> random_cases();
std::vector<Case> copy_cases();
std::vector<Case> concatenate_cases();

// Which cases run: the share that GANNET_TEST_SCALE (0 … 1; default 1) asks for, evenly spread, or the one that
// GANNET_TEST_CASE names.
class Selection {
 public:
  Selection();
  bool takes(const std::string& name);

 private:
  std::string only_;
  double scale_ = 1, due_ = 1;  // the first case is always among them
};

// The inputs of a case, row-major, rounded to their types.
std::vector<std::vector<double>> inputs_of(const Case& test);

// Row-major values of one operand.
std::vector<double> filled(Draw& draw, const Fill& fill, DType type, std::int64_t elements);

// `value` as a tensor of that type holds it.
double rounded(double value, DType type);

kernels::KernelSpec with_plain_layouts(kernels::KernelSpec spec);

// Draws that several families need.
Layout draw_picture_layout(Draw& draw, const Shape& nhwc);
Layout draw_filter_layout(Draw& draw, const Shape& krsc);
Shape draw_shape(Draw& draw, int rank, std::int64_t largest_elements);
kernels::Activation draw_activation(Draw& draw);

}  // namespace gannet::tests

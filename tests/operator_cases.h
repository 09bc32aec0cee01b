// The table of graph-level cases: every function of engine/graph/ops.h on small, odd shapes.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "tests/cases.h"

namespace gannet::tests {

using Values = std::vector<Value>;

struct Operand {
  Shape shape;
  Fill fill = normal();
  DType type = DType::f32;
  bool differentiable = true;
};

struct OperatorCase {
  std::string function;  // of ops.h
  std::string name;      // "conv_fprop 17"
  std::uint64_t seed = 0;
  std::vector<Operand> operands;
  // The function of x under test. `base` equals x but for numeric differentiation, which moves x alone: what a derivative
  // must not see is taken from it.
  std::function<Values(std::span<const Value> x, std::span<const Value> base)> build;
  double tolerance = 1e-5;  // between the CPU's fp32 and double, relative to the largest magnitude
};
std::string to_string(const OperatorCase& test);

// All cases, from fixed seeds.
std::vector<OperatorCase> operator_cases();
// A graph of `length` operators of many kinds that read each other's results.
OperatorCase random_graph_case(std::uint64_t seed, int length);

// The functions of a family, for operator_cases() to collect.
using MakeOperatorCase = std::function<OperatorCase(Draw&)>;
struct OperatorFamily {
  std::string function;
  int count;  // of cases
  MakeOperatorCase make;
};
std::vector<OperatorFamily> product_families();
std::vector<OperatorFamily> pointwise_families();
std::vector<OperatorFamily> shape_families();
std::vector<OperatorFamily> training_families();

}  // namespace gannet::tests

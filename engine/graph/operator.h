// An operator: shape rule, derivative, name, and the kernel that computes it. Nothing else.
#pragma once

#include <span>
#include <string>
#include <variant>
#include <vector>

#include "engine/graph/graph.h"

namespace gannet {

class Operator {
 public:
  virtual ~Operator() = default;
  virtual std::string name() const = 0;

  // Types of the outputs; InputError (without the operator's name, which the graph adds) when the operands do not fit.
  virtual std::vector<TensorType> infer(std::span<const TensorType> inputs) const = 0;

  // The derivative: given d(loss)/d(output) for every output (an empty Value where there is none), d(loss)/d(input) for every
  // input i with needs[i] (others are ignored and may be empty; empty also means zero). Written with other operators.
  // The default differentiates decompose().
  virtual std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const;

  // A fused operator in terms of basic ones: the same outputs from the same inputs.
  virtual std::vector<Value> decompose(std::span<const Value> inputs) const;

  // The kernel, given the operands as they lie in memory. std::monostate: nothing runs (inputs, views).
  using Kernel = std::variant<std::monostate, kernels::KernelSpec>;
  virtual Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc> outputs) const = 0;
};

// d(loss)/d(wrt[i]) appended to the graph. loss has one element; a wrt that loss does not depend on gives zeros.
// Computes only what wrt needs. Any order: the result can be differentiated again.
std::vector<Value> grad(Value loss, std::span<const Value> wrt);

// The same with a given gradient of the result, of any shape.
std::vector<Value> grad(std::span<const Value> results, std::span<const Value> result_gradients, std::span<const Value> wrt);

}  // namespace gannet

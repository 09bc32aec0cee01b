// Sums and means over the ranks of a job. Every rank traces the same graph, so that every rank reduces the same tensors.
#include <algorithm>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

class AllReduce : public Operator {
 public:
  AllReduce(ops::Combine combine, DType carried) : combine_(combine), carried_(carried) {}
  std::string name() const override { return "all_reduce"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    GANNET_CHECK(!inputs.empty(), "there is nothing to reduce");
    for (const TensorType& type : inputs)
      GANNET_CHECK(type.type == DType::f32 || type.type == DType::bf16, "{} is not f32 or bf16", to_string(type));
    return {inputs.begin(), inputs.end()};
  }

  // What all ranks minimise is the mean of their losses. y_r = sum_j x_j, so that the loss of every rank r depends on this
  // rank's x: its gradient is the sum of theirs, and with a mean for a sum their mean.
  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const override {
    std::vector<Value> given, results(node.inputs.size());
    for (std::size_t i = 0; i < results.size(); ++i)
      if (needs[i] && gradients[i]) given.push_back(gradients[i]);
    if (given.empty()) return results;
    const std::vector<Value> reduced = ops::all_reduce(given, combine_, carried_, node.where);
    std::size_t next = 0;
    for (std::size_t i = 0; i < results.size(); ++i)
      if (needs[i] && gradients[i]) results[i] = reduced[next++];
    return results;
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc>) const override {
    return kernels::AllReduce{combine_, {inputs.begin(), inputs.end()}, carried_};
  }

 private:
  ops::Combine combine_;
  DType carried_;
};

}  // namespace

std::vector<Value> ops::all_reduce(std::span<const Value> values, Combine combine, DType carried, Where where) {
  GANNET_CHECK(!values.empty(), "[all_reduce] there is nothing to reduce");
  return values[0].graph().apply(std::make_shared<AllReduce>(combine, carried), {values.begin(), values.end()}, where);
}

}  // namespace gannet

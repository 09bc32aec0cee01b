// The same elements under another shape; with `stops`, the gradient ends here. Nothing runs.
#pragma once

#include "engine/graph/operator.h"

namespace gannet {

class View : public Operator {
 public:
  View(Shape shape, bool stops) : shape_(shape), stops_(stops) {}
  bool stops() const { return stops_; }
  std::string name() const override { return stops_ ? "stop_gradient" : "reshape"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override;
  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const override;
  Kernel kernel(std::span<const TensorDesc>, std::span<const TensorDesc>) const override { return {}; }

 private:
  Shape shape_;
  bool stops_;
};

}  // namespace gannet

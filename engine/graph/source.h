// The leaves of a graph: inputs and variables.
#pragma once

#include <utility>

#include "engine/graph/operator.h"

namespace gannet {

class Source : public Operator {
 public:
  enum class Kind { input, variable };
  Source(Kind kind, std::string source_name, TensorType type)
      : kind_(kind), source_name_(std::move(source_name)), type_(type) {}

  Kind kind() const { return kind_; }
  const std::string& source_name() const { return source_name_; }
  std::string name() const override { return (kind_ == Kind::input ? "input " : "variable ") + source_name_; }
  std::vector<TensorType> infer(std::span<const TensorType>) const override { return {type_}; }
  std::vector<Value> vjp(Node&, std::span<const Value>, const std::vector<bool>&) const override { return {}; }
  Kernel kernel(std::span<const TensorDesc>, std::span<const TensorDesc>) const override { return {}; }

 private:
  Kind kind_;
  std::string source_name_;
  TensorType type_;
};

}  // namespace gannet

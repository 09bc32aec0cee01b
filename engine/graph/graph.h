// The graph: a training step traced once. SSA: a Value is a handle to a node's output.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/backend.h"
#include "kernels/check.h"
#include "kernels/tensor.h"

namespace gannet {

class Graph;
class Operator;
struct Node;

struct TensorType {
  DType type = DType::f32;
  Shape shape;
  bool operator==(const TensorType&) const = default;
};
std::string to_string(const TensorType& type);  // "f32(64,100)"

struct Value {
  Node* node = nullptr;
  int output = 0;

  explicit operator bool() const { return node != nullptr; }
  const TensorType& type() const;
  const Shape& shape() const { return type().shape; }
  Graph& graph() const;
  bool operator==(const Value&) const = default;
};

struct Node {
  Graph* graph = nullptr;
  int id = 0;  // trace order, which is the order of execution
  std::shared_ptr<const Operator> op;
  std::vector<Value> inputs;
  std::vector<TensorType> outputs;
  std::string scope;           // "discriminator.main.2"
  std::source_location where;  // the line of model code

  Value value(int output = 0) { return {this, output}; }
  std::string label() const;  // "discriminator.main.2 conv_fprop"
};

// How a variable starts. Draws are keyed by (seed, name), so they do not depend on order.
struct Initializer {
  enum class Kind { constant, normal, uniform };
  Kind kind = Kind::constant;
  float a = 0;  // constant's value, mean, low
  float b = 0;  // deviation, high
};

// State that outlives a step: a parameter, a moment, a running statistic, a counter. Programs share it by name.
// `name` is the checkpoint's. Rank-4 variables are filters (K,R,S,C) here and (K,C,R,S) in files.
struct Variable {
  std::string name;
  TensorType type;
  Initializer initial;
};

class Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // A tensor that the host writes before a run.
  Value input(std::string name, TensorType type);
  // The present value of a variable; after assign() in this graph, the assigned one. Variables of one name must agree.
  Value read(const Variable& variable);
  void assign(const Variable& variable, Value value);
  // A named result that the host reads after a run.
  void output(std::string name, Value value);
  void replace_output(const std::string& name, Value value);  // one that is there

  // Traces an operator: checks shapes, returns its outputs. InputError names operator, operands and line.
  std::vector<Value> apply(std::shared_ptr<const Operator> op, std::vector<Value> inputs,
                           std::source_location where = std::source_location::current());

  // Names the nodes traced while it lives; scopes nest ("discriminator" . "main.2").
  class Scope {
   public:
    Scope(Graph& graph, std::string_view name);
    ~Scope();
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    friend class Graph;
    Graph& graph_;
    std::string outer_;
  };
  // Names what is traced while it lives as if it stood in `node`'s scope: its derivative, its decomposition.
  std::unique_ptr<Scope> scope_of(const Node& node);

  const std::deque<Node>& nodes() const { return nodes_; }
  std::deque<Node>& nodes() { return nodes_; }
  struct Assignment {
    Variable variable;
    Value initial;  // the first read (of an assigned-only variable: none)
    Value final;    // what the variable holds after the run; equals initial when never assigned
  };
  const std::map<std::string, Assignment>& variables() const { return variables_; }
  const std::map<std::string, Value>& outputs() const { return outputs_; }

 private:
  std::deque<Node> nodes_;  // stable addresses
  std::map<std::string, Assignment> variables_;
  std::map<std::string, Value> outputs_;
  std::string scope_;
};

}  // namespace gannet

#include "engine/graph/graph.h"

#include <filesystem>

#include "engine/graph/operator.h"
#include "engine/graph/source.h"

namespace gannet {

std::string to_string(const TensorType& type) { return fmt::format("{}{}", name_of(type.type), to_string(type.shape)); }

const TensorType& Value::type() const { return node->outputs[static_cast<std::size_t>(output)]; }
Graph& Value::graph() const { return *node->graph; }

std::string Node::label() const { return scope.empty() ? op->name() : fmt::format("{} {}", scope, op->name()); }

Value Graph::input(std::string name, TensorType type) {
  for (const Node& node : nodes_) {
    const auto* source = dynamic_cast<const Source*>(node.op.get());
    GANNET_CHECK(!source || source->kind() != Source::Kind::input || source->source_name() != name,
                 "the graph already has an input named '{}'", name);
  }
  return apply(std::make_shared<Source>(Source::Kind::input, std::move(name), type), {})[0];
}

Value Graph::read(const Variable& variable) {
  auto [entry, inserted] = variables_.try_emplace(variable.name);
  Assignment& assignment = entry->second;
  if (inserted) assignment.variable = variable;
  GANNET_CHECK(assignment.variable.type == variable.type, "variable '{}' is both {} and {}", variable.name,
               to_string(assignment.variable.type), to_string(variable.type));
  if (!assignment.final) {
    assignment.initial = apply(std::make_shared<Source>(Source::Kind::variable, variable.name, variable.type), {})[0];
    assignment.final = assignment.initial;
  }
  return assignment.final;
}

void Graph::assign(const Variable& variable, Value value) {
  GANNET_CHECK(value.type() == variable.type, "variable '{}' is {}, not {}", variable.name, to_string(variable.type),
               to_string(value.type()));
  auto [entry, inserted] = variables_.try_emplace(variable.name);
  if (inserted) entry->second.variable = variable;
  GANNET_CHECK(entry->second.variable.type == variable.type, "variable '{}' is both {} and {}", variable.name,
               to_string(entry->second.variable.type), to_string(variable.type));
  entry->second.final = value;
}

void Graph::output(std::string name, Value value) {
  const bool inserted = outputs_.emplace(name, value).second;
  GANNET_CHECK(inserted, "the graph already has an output named '{}'", name);
}

void Graph::replace_output(const std::string& name, Value value) {
  GANNET_CHECK(outputs_.contains(name), "the graph has no output named '{}'", name);
  outputs_[name] = value;
}

std::vector<Value> Graph::apply(std::shared_ptr<const Operator> op, std::vector<Value> inputs, std::source_location where) {
  std::vector<TensorType> types;
  for (const Value& input : inputs) {
    GANNET_CHECK(input && &input.graph() == this, "[{}] an operand is empty or of another graph ({}:{})", op->name(),
                 std::filesystem::path(where.file_name()).filename().string(), where.line());
    types.push_back(input.type());
  }
  std::vector<TensorType> outputs;
  try {
    outputs = op->infer(types);
  } catch (const InputError& error) {
    std::vector<std::string> operands;
    for (const TensorType& type : types) operands.push_back(to_string(type));
    throw InputError(fmt::format("[{}] {}: operands {} ({}:{}{}{})", op->name(), error.what(), fmt::join(operands, ", "),
                                 std::filesystem::path(where.file_name()).filename().string(), where.line(),
                                 scope_.empty() ? "" : ", in ", scope_));
  }
  Node& node = nodes_.emplace_back();
  node = {this, static_cast<int>(nodes_.size()) - 1, std::move(op), std::move(inputs), std::move(outputs), scope_, where};
  std::vector<Value> values;
  for (int i = 0; i < static_cast<int>(node.outputs.size()); ++i) values.push_back(node.value(i));
  return values;
}

Graph::Scope::Scope(Graph& graph, std::string_view name) : graph_(graph), outer_(graph.scope_) {
  if (!graph_.scope_.empty()) graph_.scope_ += '.';
  graph_.scope_ += name;
}

Graph::Scope::~Scope() { graph_.scope_ = std::move(outer_); }

std::unique_ptr<Graph::Scope> Graph::scope_of(const Node& node) {
  auto scope = std::make_unique<Scope>(*this, "");
  scope_ = node.scope;
  return scope;
}

}  // namespace gannet

// From graph to plan: what outputs and variables need, in the order of tracing.
#include <map>

#include "engine/graph/operator.h"
#include "engine/graph/source.h"
#include "engine/graph/view.h"
#include "engine/run/plan.h"

namespace gannet::plan {

int Plan::root(int value) const {
  while (values[static_cast<std::size_t>(value)].view_of >= 0) value = values[static_cast<std::size_t>(value)].view_of;
  return value;
}

std::int64_t Plan::first_in_root(int value) const {
  std::int64_t first = 0;
  for (; values[static_cast<std::size_t>(value)].view_of >= 0; value = values[static_cast<std::size_t>(value)].view_of)
    first += values[static_cast<std::size_t>(value)].first;
  return first;
}

void drop_steps(Plan& plan, const std::vector<bool>& gone) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < gone.size(); ++i) {
    if (gone[i]) continue;
    if (kept != i) plan.steps[kept] = std::move(plan.steps[i]);
    ++kept;
  }
  plan.steps.resize(kept);
}

namespace {

Value made(const TensorType& type, std::string label) {
  Value value;
  value.desc = {type.type, type.shape, Layout::plain};
  value.label = std::move(label);
  return value;
}

}  // namespace

Plan lower(const Graph& graph) {
  Plan plan;
  std::vector<char> needed(graph.nodes().size(), 0);
  std::vector<const Node*> pending;
  const auto need = [&](const gannet::Value& value) {
    if (value && !needed[static_cast<std::size_t>(value.node->id)]) {
      needed[static_cast<std::size_t>(value.node->id)] = 1;
      pending.push_back(value.node);
    }
  };
  for (const auto& [name, value] : graph.outputs()) need(value);
  for (const auto& [name, assignment] : graph.variables())
    if (assignment.final != assignment.initial) need(assignment.final);
  while (!pending.empty()) {
    const Node* node = pending.back();
    pending.pop_back();
    for (const gannet::Value& input : node->inputs) need(input);
  }

  std::map<std::pair<int, int>, int> number;  // (node, output) -> value
  const auto add = [&](Value value) {
    plan.values.push_back(std::move(value));
    return static_cast<int>(plan.values.size()) - 1;
  };
  for (const Node& node : graph.nodes()) {
    ++plan.traced;
    if (!needed[static_cast<std::size_t>(node.id)]) {
      ++plan.pruned;
      continue;
    }
    if (const auto* source = dynamic_cast<const Source*>(node.op.get())) {
      const bool is_input = source->kind() == Source::Kind::input;
      Value value = made(node.outputs[0], node.label());
      value.home = is_input ? Value::Home::input : Value::Home::variable;
      value.home_name = source->source_name();
      number[{node.id, 0}] = add(std::move(value));
      if (!is_input) plan.reads.push_back(graph.variables().at(source->source_name()).variable);
      continue;
    }
    if (dynamic_cast<const View*>(node.op.get())) {
      const int from = number.at({node.inputs[0].node->id, node.inputs[0].output});
      int& to = number[{node.id, 0}];
      if (node.outputs[0].shape == plan.values[static_cast<std::size_t>(from)].desc.shape) {
        to = from;
      } else {
        Value view = made(node.outputs[0], node.label());
        view.view_of = from;
        to = add(std::move(view));
      }
      continue;
    }
    Step step;
    step.label = node.label();
    step.player = node.scope.substr(0, node.scope.find('.'));
    std::vector<TensorDesc> inputs, outputs;
    for (const gannet::Value& input : node.inputs) {
      step.inputs.push_back(number.at({input.node->id, input.output}));
      inputs.push_back({input.type().type, input.shape(), Layout::plain});
    }
    for (int i = 0; i < static_cast<int>(node.outputs.size()); ++i) {
      const TensorType& type = node.outputs[static_cast<std::size_t>(i)];
      outputs.push_back({type.type, type.shape, Layout::plain});
      step.outputs.push_back(number[{node.id, i}] = add(made(type, node.label())));
    }
    step.spec = std::get<kernels::KernelSpec>(node.op->kernel(inputs, outputs));
    plan.steps.push_back(std::move(step));
  }

  for (const auto& [name, value] : graph.outputs()) {
    const int found = number.at({value.node->id, value.output});
    plan.outputs.emplace_back(name, found);
    plan.values[static_cast<std::size_t>(found)].kept = true;
  }
  for (const auto& [name, assignment] : graph.variables())
    if (assignment.final != assignment.initial)
      plan.writes.push_back({assignment.variable, number.at({assignment.final.node->id, assignment.final.output})});
  return plan;
}

}  // namespace gannet::plan

// Reverse-mode differentiation on the graph itself.
#include <algorithm>
#include <map>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"
#include "engine/graph/view.h"

namespace gannet {
namespace {

struct Before {
  bool operator()(const Value& a, const Value& b) const {
    return a.node->id != b.node->id ? a.node->id < b.node->id : a.output < b.output;
  }
};

}  // namespace

std::vector<Value> grad(std::span<const Value> results, std::span<const Value> result_gradients, std::span<const Value> wrt) {
  GANNET_CHECK(!results.empty() && results.size() == result_gradients.size(), "grad: {} results, {} gradients", results.size(),
               result_gradients.size());
  Graph& graph = results[0].graph();
  std::map<Value, Value, Before> gradients;
  const auto accumulate = [&](Value value, Value gradient) {
    GANNET_CHECK(gradient.shape() == value.shape(), "[{}] the gradient of {} has shape {}", value.node->op->name(),
                 to_string(value.type()), to_string(gradient.shape()));
    auto [entry, inserted] = gradients.try_emplace(value, gradient);
    if (!inserted) entry->second = ops::add(entry->second, gradient, value.node->where);
  };

  // depends[id]: does the node's value change with a wrt, as far as gradients go?
  const std::size_t traced = graph.nodes().size();
  std::vector<char> depends(traced, 0);
  std::map<Value, bool, Before> is_wrt;
  for (const Value& value : wrt) is_wrt[value] = true;
  for (Node& node : graph.nodes()) {
    if (static_cast<std::size_t>(node.id) >= traced) break;
    if (const auto* view = dynamic_cast<const View*>(node.op.get()); view && view->stops()) continue;
    for (const Value& input : node.inputs)
      if (depends[static_cast<std::size_t>(input.node->id)] || is_wrt.contains(input))
        depends[static_cast<std::size_t>(node.id)] = 1;
  }

  int last = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (!result_gradients[i]) continue;
    accumulate(results[i], result_gradients[i]);
    last = std::max(last, results[i].node->id);
  }
  for (int id = last; id >= 0; --id) {
    Node& node = graph.nodes()[static_cast<std::size_t>(id)];
    if (!depends[static_cast<std::size_t>(id)]) continue;
    std::vector<Value> outputs(node.outputs.size());
    bool any = false;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      if (auto found = gradients.find(node.value(static_cast<int>(i))); found != gradients.end()) {
        outputs[i] = found->second;
        any = true;
      }
    if (!any) continue;
    std::vector<bool> needs;
    for (const Value& input : node.inputs)
      needs.push_back(depends[static_cast<std::size_t>(input.node->id)] || is_wrt.contains(input));
    const auto scope = graph.scope_of(node);
    const std::vector<Value> inputs = node.op->vjp(node, outputs, needs);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      if (needs[i] && inputs[i]) accumulate(node.inputs[i], inputs[i]);
  }

  std::vector<Value> found;
  for (const Value& value : wrt) {
    const auto entry = gradients.find(value);
    found.push_back(entry != gradients.end() ? entry->second : ops::constant(graph, 0, value.shape(), value.node->where));
  }
  return found;
}

std::vector<Value> grad(Value loss, std::span<const Value> wrt) {
  GANNET_CHECK(loss.shape().elements() == 1, "grad: the loss has shape {}, not one element", to_string(loss.shape()));
  const Value one = ops::constant(loss.graph(), 1, loss.shape(), loss.node->where);
  return grad(std::span(&loss, 1), std::span(&one, 1), wrt);
}

std::vector<Value> Operator::vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const {
  // The inputs become fresh leaves, so that the composition is differentiated and not what lies before it.
  std::vector<Value> leaves, wanted;
  for (const Value& input : node.inputs) leaves.push_back(ops::identity(input, node.where));
  const std::vector<Value> results = decompose(leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    if (needs[i]) wanted.push_back(leaves[i]);
  std::vector<Value> of_wanted = grad(results, gradients, wanted), of_inputs(leaves.size());
  for (std::size_t i = 0, next = 0; i < leaves.size(); ++i)
    if (needs[i]) of_inputs[i] = of_wanted[next++];
  return of_inputs;
}

std::vector<Value> Operator::decompose(std::span<const Value>) const {
  throw InputError(fmt::format("[{}] has no derivative", name()));
}

}  // namespace gannet

// Both gradients of one convolution in one kernel, for backends that have it: they share an operand, and the blocks of one are
// busy where those of the other leave off.
#include <algorithm>
#include <optional>

#include "engine/run/plan.h"

namespace gannet::plan {
namespace {

using kernels::Convolution;
using kernels::ConvolutionBackward;
using kernels::ConvolutionKind;

const Convolution* convolution_of(const Step& step) { return std::get_if<Convolution>(&step.spec); }

// The two steps as one, where they are the gradients of one convolution.
std::optional<Step> both(const Step& data, const Step& weights) {
  const Convolution *first = convolution_of(data), *second = convolution_of(weights);
  if (!first || !second || first->kind == ConvolutionKind::wgrad || second->kind != ConvolutionKind::wgrad) return std::nullopt;
  const std::size_t gradient = first->kind == ConvolutionKind::dgrad ? 1 : 0;  // of the inputs x, y of wgrad
  if (data.inputs[0] != weights.inputs[gradient]) return std::nullopt;
  if (first->x.shape != second->x.shape || first->w.shape != second->w.shape || first->y.shape != second->y.shape ||
      first->stride != second->stride || first->pad != second->pad)
    return std::nullopt;
  Step step{ConvolutionBackward{*first, *second}, data.inputs, data.outputs, data.label + " + " + weights.label, data.player};
  step.inputs.push_back(weights.inputs[1 - gradient]);
  step.outputs.push_back(weights.outputs[0]);
  return step;
}

// Do all operands of step `later` exist before step `earlier`?
bool ready_before(const Plan& plan, std::size_t earlier, std::size_t later) {
  for (int value : plan.steps[later].inputs)
    for (std::size_t i = earlier; i < later; ++i)
      for (int made : plan.steps[i].outputs)
        if (plan.root(made) == plan.root(value)) return false;
  return true;
}

// Is nothing that step `earlier` makes read before step `later`?
bool unread_until(const Plan& plan, std::size_t earlier, std::size_t later) {
  for (int value : plan.steps[earlier].outputs)
    for (std::size_t i = earlier + 1; i <= later; ++i)
      for (int read : plan.steps[i].inputs)
        if (plan.root(read) == plan.root(value)) return false;
  return true;
}

}  // namespace

void join_gradients(Plan& plan, const kernels::Backend& backend) {
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    for (std::size_t j = i + 1; j < plan.steps.size(); ++j) {
      std::optional<Step> joined = both(plan.steps[i], plan.steps[j]);
      if (!joined) joined = both(plan.steps[j], plan.steps[i]);
      if (!joined) continue;
      const bool early = ready_before(plan, i, j);
      if (!early && !unread_until(plan, i, j)) continue;
      if (!backend.computes_together(std::get<ConvolutionBackward>(joined->spec))) continue;
      plan.steps[early ? i : j] = std::move(*joined);
      plan.steps.erase(plan.steps.begin() + static_cast<std::ptrdiff_t>(early ? j : i));
      if (!early) --i;  // what came after it is there now
      break;
    }
  }
}

}  // namespace gannet::plan

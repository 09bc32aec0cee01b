// The bf16 copies that products read of a player's weights, made by one kernel for all that are known at the same time.
#include <algorithm>
#include <map>

#include "engine/run/plan.h"

namespace gannet::plan {
namespace {

using kernels::Bf16Copies;
using kernels::OptimizerUpdate;
using kernels::Pointwise;

bool is_copy_to_bf16(const Step& step) {
  const auto* cast = std::get_if<Pointwise>(&step.spec);
  if (!cast || !cast->instructions.empty() || cast->inputs.size() != 1 || cast->outputs.size() != 1) return false;
  const TensorDesc &from = cast->inputs[0], &to = cast->outputs[0];
  return from.type == DType::f32 && to.type == DType::bf16 && from.shape == to.shape && from.layout == to.layout;
}

}  // namespace

void gather_copies(Plan& plan) {
  std::vector<int> producer(plan.values.size(), -1);
  for (std::size_t i = 0; i < plan.steps.size(); ++i)
    for (int value : plan.steps[i].outputs) producer[index(value)] = static_cast<int>(i);
  std::map<int, std::vector<std::size_t>> gathered;  // steps, by the update that makes what they copy; -1: none
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (!is_copy_to_bf16(plan.steps[i])) continue;
    const int source = plan.steps[i].inputs[0], made = producer[index(source)];
    const bool of_variable = plan.values[index(source)].home == Value::Home::variable;
    const bool of_update = made >= 0 && std::holds_alternative<OptimizerUpdate>(plan.steps[index(made)].spec);
    if (of_variable || of_update) gathered[made].push_back(i);
  }
  std::vector<bool> gone(plan.steps.size(), false);
  for (const auto& [made, steps] : gathered) {
    if (steps.size() < 2) continue;
    Bf16Copies copies;
    Step all;
    all.label = "weights";
    for (std::size_t i : steps) {
      const Step& step = plan.steps[i];
      copies.parameters.push_back(std::get<Pointwise>(step.spec).inputs[0]);
      all.inputs.push_back(step.inputs[0]);
      all.outputs.push_back(step.outputs[0]);
      gone[i] = true;
    }
    all.spec = std::move(copies);
    plan.steps[steps.front()] = std::move(all);
    gone[steps.front()] = false;
  }
  drop_steps(plan, gone);
}

}  // namespace gannet::plan

// What a kernel does with its result as it stores it, in place of a step of its own: rounds it to bf16, beside what others
// read where it is a chain, and scales a sum. And which steps run only once, because what they are made of never changes.
#include <algorithm>

#include "engine/run/plan.h"

namespace gannet::plan {
namespace {

using kernels::Pointwise;
using kernels::PointwiseOp;

constexpr std::size_t max_outputs = 4;  // of a chain

// A chain of one operand, not broadcast, and one result.
const Pointwise* plain_chain(const Step& step) {
  const auto* chain = std::get_if<Pointwise>(&step.spec);
  const bool one = chain && chain->inputs.size() == 1 && chain->outputs.size() == 1;
  return one && chain->inputs[0].shape == chain->shape && chain->inputs[0].type == DType::f32 ? chain : nullptr;
}

class Outputs {
 public:
  explicit Outputs(Plan& plan)
      : plan_(plan), producer_(plan.values.size(), -1), readers_(plan.values.size(), 0), gone_(plan.steps.size(), false) {
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      for (int value : plan.steps[i].inputs) ++readers_[index(plan.root(value))];
      for (int value : plan.steps[i].outputs) producer_[index(value)] = static_cast<int>(i);
    }
    for (const auto& [name, value] : plan.outputs) ++readers_[index(plan.root(value))];
    for (const Write& write : plan.writes) ++readers_[index(plan.root(write.value))];
  }

  void run() {
    for (std::size_t i = 0; i < gone_.size(); ++i) gone_[i] = join(plan_.steps[i]);
    drop_steps(plan_, gone_);
  }

 private:
  Value& value(int v) { return plan_.values[index(v)]; }

  // The type in which a step stores an output, if f32 and bf16 are alike to it.
  static DType* stored_type(Step& step, std::size_t output) {
    if (auto* random = std::get_if<kernels::Random>(&step.spec)) return &random->output.type;
    if (auto* bce = std::get_if<kernels::SigmoidBce>(&step.spec)) return output == 1 ? &bce->gradient : nullptr;
    if (auto* copy = std::get_if<kernels::Copy>(&step.spec)) return &copy->output.type;
    if (auto* chain = std::get_if<Pointwise>(&step.spec)) return &chain->outputs[output].type;
    return nullptr;
  }

  bool join(const Step& step) {
    const Pointwise* chain = plain_chain(step);
    if (!chain) return false;
    const int operand = step.inputs[0], made = step.outputs[0], source = plan_.root(operand), j = producer_[index(source)];
    const bool written =
        std::any_of(plan_.writes.begin(), plan_.writes.end(), [&](const Write& write) { return write.value == made; });
    if (j < 0 || written || value(source).home != Value::Home::arena ||
        value(source).desc.elements() != value(operand).desc.elements())
      return false;
    Step& before = plan_.steps[index(j)];
    const auto output =
        static_cast<std::size_t>(std::find(before.outputs.begin(), before.outputs.end(), source) - before.outputs.begin());
    const bool others = readers_[index(source)] > 1;
    if (chain->instructions.empty() && chain->outputs[0].type == DType::bf16) {
      DType* type = stored_type(before, output);
      if (!type) return false;
      if (others) return store_beside(before, output, operand, made);
      *type = DType::bf16;
      before.label += " + cast";
    } else if (chain->instructions.size() == 1 && chain->outputs[0].type == DType::f32) {
      const auto& instruction = chain->instructions[0];
      auto* sum = std::get_if<kernels::Reduction>(&before.spec);
      if (!sum || others || instruction.op != PointwiseOp::affine || instruction.beta != 0) return false;
      sum->scale *= instruction.alpha;
    } else {
      return false;
    }
    if (operand == source) {
      before.outputs[output] = made;
      producer_[index(made)] = j;
    } else {
      value(source).desc.type = value(made).desc.type;
      become_view(made, source);
    }
    return true;
  }

  // A chain whose f32 result others read, too, stores it twice.
  bool store_beside(Step& before, std::size_t output, int operand, int made) {
    auto* chain = std::get_if<Pointwise>(&before.spec);
    if (!chain || chain->outputs.size() >= max_outputs) return false;
    const int source = plan_.root(operand);
    --readers_[index(source)];
    chain->outputs.push_back(chain->outputs[output]);
    chain->outputs.back().type = DType::bf16;
    chain->results.push_back(chain->results[output]);
    before.label += " + cast";
    int stored = made;
    if (operand != source) {
      Value rounded = value(source);
      rounded.desc.type = DType::bf16;
      plan_.values.push_back(std::move(rounded));
      producer_.push_back(-1);
      readers_.push_back(0);
      stored = static_cast<int>(plan_.values.size()) - 1;
      become_view(made, stored);
    }
    before.outputs.push_back(stored);
    producer_[index(stored)] = static_cast<int>(&before - plan_.steps.data());
    return true;
  }

  void become_view(int made, int source) {
    value(made).view_of = source;
    producer_[index(made)] = -1;
    readers_[index(source)] = readers_[index(made)];
  }

  Plan& plan_;
  std::vector<int> producer_, readers_;  // of values that are no views
  std::vector<bool> gone_;
};

}  // namespace

void store_as_read(Plan& plan) { Outputs(plan).run(); }

void find_constants(Plan& plan) {
  std::vector<bool> kept(plan.values.size(), false);
  for (std::size_t v = 0; v < plan.values.size(); ++v)
    if (plan.values[v].kept) kept[index(plan.root(static_cast<int>(v)))] = true;
  const auto is_constant = [&](int v) { return plan.values[index(plan.root(v))].home == Value::Home::constant; };
  const auto may_be = [&](int v) {
    const Value& value = plan.values[index(v)];
    return value.view_of < 0 && value.home == Value::Home::arena && !kept[index(v)];
  };
  for (Step& step : plan.steps) {
    step.once = std::all_of(step.inputs.begin(), step.inputs.end(), is_constant) &&
                std::all_of(step.outputs.begin(), step.outputs.end(), may_be);
    if (!step.once) continue;
    for (int v : step.outputs) plan.values[index(v)].home = Value::Home::constant;
  }
}

}  // namespace gannet::plan

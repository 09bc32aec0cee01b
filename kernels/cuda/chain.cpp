#include "kernels/cuda/chain.h"

#include <algorithm>
#include <vector>

#include "kernels/check.h"

namespace gannet::kernels::cuda {
namespace {

ChainInput plan_input(const TensorDesc& desc, const Shape& shape, int packet) {
  ChainInput input;
  input.type = desc.type;
  if (desc.shape == shape) return input;
  struct Axis {
    std::int64_t extent, step;
  };
  std::vector<Axis> axes;  // innermost first
  std::int64_t stride = 1;
  for (int d = shape.rank() - 1; d >= 0; --d) {
    const std::int64_t step = desc.shape[d] == 1 ? 0 : stride;
    stride *= desc.shape[d];
    if (shape[d] == 1) continue;
    if (!axes.empty() && step == axes.back().step * axes.back().extent) {
      axes.back().extent *= shape[d];
    } else {
      axes.push_back({shape[d], step});
    }
  }
  if (axes.empty()) axes.push_back({1, 0});
  const bool together = axes[0].extent % packet == 0 || axes.size() == 1;
  input.reading = !together ? Reading::gather : axes[0].step == 0 ? Reading::one : Reading::row;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    input.extent[input.axes] = Divider(static_cast<std::uint32_t>(axis->extent));
    input.step[input.axes++] = static_cast<std::uint32_t>(axis->step);
  }
  return input;
}

}  // namespace

Chain plan_chain(const Pointwise& spec, int packet, const char* name) {
  GANNET_CHECK(spec.inputs.size() <= max_chain_inputs && spec.instructions.size() <= max_chain_steps &&
                   spec.results.size() <= max_chain_outputs,
               "[{}] a chain of {} inputs, {} instructions and {} results is too long: at most {}, {} and {}", name,
               spec.inputs.size(), spec.instructions.size(), spec.results.size(), max_chain_inputs, max_chain_steps,
               max_chain_outputs);
  Chain chain;
  chain.elements = static_cast<std::uint32_t>(spec.shape.elements());
  chain.inputs = static_cast<std::uint8_t>(spec.inputs.size());
  chain.steps = static_cast<std::uint8_t>(spec.instructions.size());
  chain.outputs = static_cast<std::uint8_t>(spec.results.size());
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) chain.input[i] = plan_input(spec.inputs[i], spec.shape, packet);

  // The last step that reads each register from its slot; what the step before has computed is at hand.
  const int inputs = chain.inputs, registers = inputs + chain.steps;
  std::vector<int> last_read(static_cast<std::size_t>(registers), -1);
  for (int s = 0; s < chain.steps; ++s) {
    const PointwiseInstruction& instruction = spec.instructions[static_cast<std::size_t>(s)];
    const int operands[] = {instruction.a, instruction.b};
    for (int k = 0; k < operands_of(instruction.op); ++k) {
      if (operands[k] != inputs + s - 1 || s == 0) last_read[static_cast<std::size_t>(operands[k])] = s;
    }
  }
  for (const int result : spec.results) {
    if (result != registers - 1 || chain.steps == 0) last_read[static_cast<std::size_t>(result)] = chain.steps;
  }

  std::vector<int> slot(static_cast<std::size_t>(registers), -1), unused;
  for (int i = 0; i < inputs; ++i) slot[static_cast<std::size_t>(i)] = i;
  int slots = inputs;
  const auto place = [&](int step, int wanted) {
    return step > 0 && wanted == inputs + step - 1 ? last_result
                                                   : static_cast<std::uint8_t>(slot[static_cast<std::size_t>(wanted)]);
  };
  for (int s = 0; s < chain.steps; ++s) {
    const PointwiseInstruction& instruction = spec.instructions[static_cast<std::size_t>(s)];
    const int operands = operands_of(instruction.op);
    ChainStep& step = chain.step[s];
    step = {instruction.op, last_result, last_result, no_slot, instruction.alpha, instruction.beta};
    if (operands > 0) step.a = place(s, instruction.a);
    if (operands > 1) step.b = place(s, instruction.b);
    for (int r = 0; r < inputs + s; ++r) {  // slots whose last reader this is
      if (last_read[static_cast<std::size_t>(r)] == s && slot[static_cast<std::size_t>(r)] >= 0) {
        unused.push_back(slot[static_cast<std::size_t>(r)]);
        slot[static_cast<std::size_t>(r)] = -1;
      }
    }
    if (last_read[static_cast<std::size_t>(inputs + s)] < 0) continue;
    int taken = slots;
    if (unused.empty()) {
      ++slots;
    } else {
      taken = unused.back();
      unused.pop_back();
    }
    slot[static_cast<std::size_t>(inputs + s)] = taken;
    step.keep = static_cast<std::uint8_t>(taken);
  }
  chain.slots = static_cast<std::uint8_t>(slots);
  for (std::size_t o = 0; o < spec.results.size(); ++o) {
    chain.output[o].type = o < spec.outputs.size() ? spec.outputs[o].type : DType::f32;
    chain.output[o].slot = place(chain.steps, spec.results[o]);
  }
  return chain;
}

}  // namespace gannet::kernels::cuda

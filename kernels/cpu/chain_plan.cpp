#include "kernels/cpu/chain_plan.h"

#include <algorithm>
#include <numeric>

#include "kernels/check.h"

namespace gannet::kernels::cpu {
namespace {

constexpr std::int64_t widest_vector = 16;

// Rows of `columns` that a tile of at most `longest` elements holds, in whole vectors where that is possible; 0: not even one.
std::int64_t rows_of_tile(std::int64_t columns, std::int64_t longest) {
  const std::int64_t vectors = std::lcm(columns, widest_vector);
  if (vectors <= longest) return longest / vectors * (vectors / columns);
  return longest / columns;
}

}  // namespace

std::vector<WalkedAxis> walk(const Shape& shape, Layout layout, const Shape& operand) {
  std::array<std::int64_t, max_rank> strides{};
  std::int64_t stride = 1;
  for (int d = operand.rank() - 1; d >= 0; --d) {
    strides[d] = operand[d] == 1 ? 0 : stride;
    stride *= operand[d];
  }
  std::vector<WalkedAxis> axes;
  for (const PhysicalAxis& axis : physical_axes(shape, layout)) {
    if (axis.extent == 1) continue;
    const std::int64_t step = strides[axis.dim] * axis.step;
    if (!axes.empty() && axes.back().step == step * axis.extent) {
      axes.back() = {axes.back().extent * axis.extent, step};
    } else {
      axes.push_back({axis.extent, step});
    }
  }
  if (axes.empty()) axes.push_back({1, 0});
  return axes;
}

ChainPlan::ChainPlan(const Pointwise& spec, const char* name) {
  const std::size_t registers = spec.inputs.size() + spec.instructions.size();
  GANNET_CHECK(spec.inputs.size() <= max_chain_inputs && registers <= max_chain_registers,
               "[{}] a chain of {} inputs and {} instructions is too long: at most {} inputs and {} registers", name,
               spec.inputs.size(), spec.instructions.size(), max_chain_inputs, max_chain_registers);
  for (std::size_t o = 0; o < spec.results.size(); ++o) {
    // The result of a sum's chain is only looked at, in its buffer.
    const bool stored = o < spec.outputs.size();
    outputs_.push_back({stored ? spec.outputs[o].type : DType::f32, static_cast<std::int16_t>(spec.results[o]), !stored});
  }
  plan_inputs(spec);
  plan_steps(spec);
  longest_tile_ = std::min(max_tile, chain_arena / std::max(chain_.buffers, 1) / 16 * 16);
  GANNET_CHECK(longest_tile_ >= 16, "[{}] a chain with {} values alive at once is too long", name, chain_.buffers);

  chain_.inputs = static_cast<int>(inputs_.size());
  chain_.steps = static_cast<int>(steps_.size());
  chain_.outputs = static_cast<int>(outputs_.size());
  chain_.input = inputs_.data();
  chain_.step = steps_.data();
  chain_.output = outputs_.data();
  // A tile in whole rows of the broadcast inputs has the same values of theirs as the one before.
  std::int64_t rows = 1;
  for (const ChainInput& input : inputs_) {
    const std::int64_t row = input.extent[input.axes - 1];
    if (input.full || input.axes < 2 || input.step[input.axes - 1] == 0) continue;
    if (std::lcm(rows, row) <= longest_tile_) rows = std::lcm(rows, row);
  }
  hold_rows(rows);
}

void ChainPlan::hold_rows(std::int64_t columns) {
  const std::int64_t rows = rows_of_tile(columns, longest_tile_);
  chain_.tile = static_cast<int>(rows > 0 ? rows * columns : longest_tile_);
}

void ChainPlan::plan_inputs(const Pointwise& spec) {
  for (std::size_t i = 0; i < spec.inputs.size(); ++i) {
    const TensorDesc& desc = spec.inputs[i];
    ChainInput input{};
    input.type = desc.type;
    input.element_bytes = static_cast<std::int64_t>(size_of(desc.type));
    input.full = desc.shape == spec.shape;
    // An input that is also a result could be overwritten, by an output in the same memory, before it is stored.
    const bool stored = std::find(spec.results.begin(), spec.results.end(), static_cast<int>(i)) != spec.results.end();
    input.direct = input.full && desc.type == DType::f32 && !(stored && !spec.outputs.empty());
    input.buffer = input.direct ? -1 : chain_.buffers++;
    for (const WalkedAxis& axis : walk(spec.shape, spec.layout, desc.shape)) {
      input.extent[input.axes] = axis.extent;
      input.step[input.axes++] = axis.step;
    }
    inputs_.push_back(input);
  }
}

void ChainPlan::plan_steps(const Pointwise& spec) {
  const int inputs = static_cast<int>(spec.inputs.size());
  const int registers = inputs + static_cast<int>(spec.instructions.size());
  // The last step that reads each register; results are read after all.
  std::vector<int> last_use(registers, -1);
  int last_direct_read = -1;
  for (int s = 0; s < registers - inputs; ++s) {
    const PointwiseInstruction& instruction = spec.instructions[s];
    const int operands = operands_of(instruction.op);
    for (int k = 0; k < operands; ++k) {
      const int operand = k == 0 ? instruction.a : instruction.b;
      last_use[operand] = s;
      if (operand < inputs && inputs_[operand].direct) last_direct_read = s;
    }
  }
  for (int result : spec.results) last_use[result] = registers;

  std::vector<int> buffer_of(registers, -1), unused;
  for (int s = 0; s < registers - inputs; ++s) {
    const PointwiseInstruction& instruction = spec.instructions[s];
    ChainStep step{instruction.op,
                   static_cast<std::int16_t>(instruction.a),
                   static_cast<std::int16_t>(instruction.b),
                   -1,
                   -1,
                   instruction.alpha,
                   instruction.beta};
    const bool constant = instruction.op == PointwiseOp::constant;
    // Operands that end here give their buffer to the result: an element is read before it is written.
    for (int k = 0; k < operands_of(instruction.op); ++k) {
      const int operand = k == 0 ? instruction.a : instruction.b;
      if (last_use[operand] == s && buffer_of[operand] >= 0) {
        unused.push_back(buffer_of[operand]);
        buffer_of[operand] = -1;
      }
    }
    // A result goes straight to its output unless that could be the memory of an input that is read later.
    for (std::size_t o = 0; o < spec.outputs.size() && step.output < 0 && !constant; ++o) {
      if (outputs_[o].result == inputs + s && outputs_[o].type == DType::f32 && last_direct_read <= s) {
        step.output = static_cast<std::int16_t>(o);
        outputs_[o].written = true;
      }
    }
    if (step.output < 0) {
      if (unused.empty() || constant) {
        step.buffer = static_cast<std::int16_t>(chain_.buffers++);
      } else {
        step.buffer = static_cast<std::int16_t>(unused.back());
        unused.pop_back();
      }
      if (!constant) buffer_of[inputs + s] = step.buffer;  // constants keep theirs
    }
    steps_.push_back(step);
  }
}

}  // namespace gannet::kernels::cpu

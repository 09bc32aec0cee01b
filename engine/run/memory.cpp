// Where values live: variables updated in place where they can be, everything else in one arena by liveness.
#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "engine/run/host_tensor.h"
#include "engine/run/plan.h"

namespace gannet::plan {
namespace {

using namespace kernels;

constexpr std::int64_t few = 256;  // elements that are copied to the host after every run
std::size_t aligned(std::size_t bytes) {
  constexpr auto unit = static_cast<std::size_t>(alignment);
  return (bytes + unit - 1) / unit * unit;
}

// May the step write output `o` to the memory of input `i`?
bool may_alias(const Step& step, std::size_t i, std::size_t o, const std::vector<Value>& values, const Backend& backend) {
  const TensorDesc &in = values[index(step.inputs[i])].desc, &out = values[index(step.outputs[o])].desc;
  if (in.shape != out.shape || in.layout != out.layout || bytes_on(in, backend) != bytes_on(out, backend)) return false;
  if (const auto* pointwise = std::get_if<Pointwise>(&step.spec)) return in.shape == pointwise->shape;
  if (const auto* norm = std::get_if<BatchNorm>(&step.spec)) {
    if (norm->kind == BatchNorm::Kind::backward) return i == 5 && o == 0;  // dx over dy
    return i >= 3 && i == o;                                               // running statistics
  }
  if (const auto* update = std::get_if<OptimizerUpdate>(&step.spec)) {
    if (o == 0) return i == 1;
    if (o == 1 || i < 2) return false;
    const std::size_t stride = index(2 + update->moments()), tensor = (o - 2) / (stride - 1), part = (o - 2) % (stride - 1);
    return i == 2 + tensor * stride + (part == 0 ? 0 : part + 1);
  }
  if (std::holds_alternative<EmaUpdate>(step.spec)) return i == 2 * o;
  if (std::holds_alternative<AllReduce>(step.spec)) return i == o;
  return false;
}

// The value as it is now, in the arena.
Step copy_to_arena(Plan& plan, int value) {
  Value stage = plan.values[index(value)];
  stage.home = Value::Home::arena;
  stage.home_name.clear();
  stage.view_of = -1;
  stage.first = 0;
  stage.kept = false;
  plan.values.push_back(std::move(stage));
  return copy_step(plan, value, static_cast<int>(plan.values.size()) - 1, plan.values[index(value)].label + " copy");
}

}  // namespace

Step copy_step(const Plan& plan, int from, int to, std::string label) {
  const TensorDesc &a = plan.values[index(from)].desc, &b = plan.values[index(to)].desc;
  std::vector<int> straight(index(a.shape.rank()));
  std::iota(straight.begin(), straight.end(), 0);
  Shape zero = a.shape;
  for (int d = 0; d < zero.rank(); ++d) zero[d] = 0;
  return {Copy{a, b, straight, zero, zero, a.shape}, {from}, {to}, std::move(label)};
}

void assign_updates(Plan& plan, const State& state) {
  const Backend& backend = state.backend();
  std::vector<int> producer(plan.values.size(), -1), last_read(plan.values.size(), -1);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    for (int value : plan.steps[i].inputs) last_read[index(plan.root(value))] = static_cast<int>(i);
    for (int value : plan.steps[i].outputs) producer[index(value)] = static_cast<int>(i);
  }
  for (std::size_t v = 0; v < plan.values.size(); ++v)
    if (plan.values[v].kept) last_read[index(plan.root(static_cast<int>(v)))] = std::numeric_limits<int>::max();
  // What a variable takes over from another is copied at the end.
  for (const Write& write : plan.writes) last_read[index(plan.root(write.value))] = std::numeric_limits<int>::max();
  // What the variables hold has to be copied before any of them changes, if it becomes another's value.
  std::vector<Step> copies;
  for (Write& write : plan.writes) {
    int old = -1;
    for (std::size_t v = 0; v < plan.values.size(); ++v)
      if (plan.values[v].home == Value::Home::variable && plan.values[v].home_name == write.variable.name &&
          plan.values[v].view_of < 0)
        old = static_cast<int>(v);
    Value& value = plan.values[index(write.value)];
    const int made = value.view_of < 0 ? producer[index(write.value)] : -1;
    const Layout layout = state.desc(write.variable.name).layout;
    bool in_place = made >= 0 && value.home == Value::Home::arena && value.desc.layout == layout;
    if (in_place && old >= 0) {
      const Step& step = plan.steps[index(made)];
      const TensorDesc& desc = plan.values[index(old)].desc;
      in_place = desc == value.desc && last_read[index(old)] <= made;
      if (in_place && last_read[index(old)] == made) {
        const auto output =
            static_cast<std::size_t>(std::find(step.outputs.begin(), step.outputs.end(), write.value) - step.outputs.begin());
        for (std::size_t i = 0; i < step.inputs.size(); ++i)
          if (plan.root(step.inputs[i]) == old)
            in_place = in_place && step.inputs[i] == old && may_alias(step, i, output, plan.values, backend);
      }
    }
    if (in_place) {
      value.home = Value::Home::variable;
      value.home_name = write.variable.name;
      continue;
    }
    Value target = plan.values[index(write.value)];
    target.view_of = -1;
    target.first = 0;
    target.kept = false;
    target.home = Value::Home::variable;
    target.home_name = write.variable.name;
    target.desc.layout = layout;
    plan.values.push_back(target);
    const int to = static_cast<int>(plan.values.size()) - 1;
    copies.push_back(copy_step(plan, write.value, to, write.variable.name + " update"));
    write.value = to;
  }
  // A copy may read another variable: through the arena, lest the order of the copies matters. So does what the host reads
  // of a variable that changes.
  std::vector<Step> through;
  for (auto& [name, value] : plan.outputs) {
    const Value& source = plan.values[index(plan.root(value))];
    const bool written = std::any_of(plan.writes.begin(), plan.writes.end(), [&](const Write& write) {
      return source.home == Value::Home::variable && source.home_name == write.variable.name && write.value != plan.root(value);
    });
    const bool single = plan.values[index(value)].desc.elements() == 1;
    const bool elsewhere = single && (source.home != Value::Home::arena || source.desc.elements() > few);
    if (!written && !elsewhere) continue;
    through.push_back(copy_to_arena(plan, value));
    value = through.back().outputs[0];
    plan.values[index(value)].kept = true;
  }
  for (Step& copy : copies) {
    const Value source = plan.values[index(plan.root(copy.inputs[0]))];
    if (source.home == Value::Home::variable) {
      through.push_back(copy_to_arena(plan, copy.inputs[0]));
      copy.inputs = through.back().outputs;
    }
  }
  plan.steps.insert(plan.steps.end(), through.begin(), through.end());
  plan.steps.insert(plan.steps.end(), copies.begin(), copies.end());
}

void assign_memory(Plan& plan, const Backend& backend, std::size_t guard) {
  struct Block {
    std::size_t bytes = 0, offset = 0;
    int first = 0, last = 0;
  };
  std::vector<Block> blocks;
  std::vector<int> block_of(plan.values.size(), -1), last(plan.values.size(), -1);
  const int end = static_cast<int>(plan.steps.size());
  for (int i = 0; i < end; ++i)
    for (const auto* operands : {&plan.steps[index(i)].inputs, &plan.steps[index(i)].outputs})
      for (int value : *operands) last[index(plan.root(value))] = i;
  for (std::size_t v = 0; v < plan.values.size(); ++v)
    if (plan.values[v].kept) last[index(plan.root(static_cast<int>(v)))] = end;

  for (const auto& [name, number] : plan.outputs)
    if (Value& value = plan.values[index(plan.root(number))]; value.home == Value::Home::arena && value.desc.elements() <= few)
      value.home = Value::Home::result;
  const auto place_all = [&](Value::Home home) {
    std::size_t bytes = guard;
    for (Value& value : plan.values)
      if (value.home == home) {
        value.offset = bytes;
        bytes += aligned(bytes_on(value.desc, backend)) + guard;
      }
    return bytes;
  };
  plan.input_bytes = place_all(Value::Home::input);
  plan.result_bytes = place_all(Value::Home::result);
  plan.constant_bytes = place_all(Value::Home::constant);

  const auto needs_block = [&](int value) {
    return plan.values[index(value)].home == Value::Home::arena && plan.values[index(value)].view_of < 0;
  };
  for (int i = 0; i < end; ++i) {
    Step& step = plan.steps[index(i)];
    for (std::size_t o = 0; o < step.outputs.size(); ++o) {
      const int output = plan.root(step.outputs[o]);  // of which a step may make a part
      if (!needs_block(output) || block_of[index(output)] >= 0) continue;
      int reused = -1;
      for (std::size_t k = 0; output == step.outputs[o] && k < step.inputs.size() && reused < 0; ++k) {
        const int input = step.inputs[k];
        if (!needs_block(input) || last[index(input)] != i || !may_alias(step, k, o, plan.values, backend)) continue;
        // Views of the operand read by the same step, or a second operand in the same block, forbid it.
        const int candidate = block_of[index(input)];
        const bool alone = std::none_of(step.inputs.begin(), step.inputs.end(), [&](int other) {
          return other != input && block_of[index(plan.root(other))] == candidate && needs_block(plan.root(other));
        });
        const bool taken = std::any_of(step.outputs.begin(), step.outputs.end(),
                                       [&](int other) { return block_of[index(other)] == candidate; });
        if (alone && !taken) reused = candidate;
      }
      if (reused >= 0) {
        block_of[index(output)] = reused;
        blocks[index(reused)].last = std::max(blocks[index(reused)].last, last[index(output)]);
      } else {
        block_of[index(output)] = static_cast<int>(blocks.size());
        blocks.push_back({aligned(bytes_on(plan.values[index(output)].desc, backend)), 0, i, std::max(i, last[index(output)])});
      }
    }
    // A reduction goes on beside the steps after it, until its result is read.
    if (std::holds_alternative<AllReduce>(step.spec))
      for (std::size_t k = 0; k < step.inputs.size(); ++k)
        if (const int input = plan.root(step.inputs[k]); block_of[index(input)] >= 0)
          blocks[index(block_of[index(input)])].last =
              std::max(blocks[index(block_of[index(input)])].last, last[index(plan.root(step.outputs[k]))]);
  }
  std::vector<int> workspace(plan.steps.size(), -1);
  for (int i = 0; i < end; ++i)
    if (plan.steps[index(i)].workspace_bytes > 0) {
      workspace[index(i)] = static_cast<int>(blocks.size());
      blocks.push_back({aligned(plan.steps[index(i)].workspace_bytes), 0, i, i});
    }

  // Offsets: largest first, each at the lowest place that is free over its life.
  std::vector<int> order(blocks.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return blocks[index(a)].bytes > blocks[index(b)].bytes; });
  std::vector<int> placed;  // by offset
  std::size_t arena = guard;
  for (int b : order) {
    Block& block = blocks[index(b)];
    std::size_t offset = guard;
    for (int p : placed) {
      const Block& other = blocks[index(p)];
      if (other.last < block.first || other.first > block.last) continue;
      if (other.offset >= offset + block.bytes + guard) break;
      offset = std::max(offset, other.offset + other.bytes + guard);
    }
    block.offset = offset;
    arena = std::max(arena, offset + block.bytes + guard);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), b,
                                   [&](int x, int y) { return blocks[index(x)].offset < blocks[index(y)].offset; }),
                  b);
  }
  plan.arena_bytes = arena;
  for (std::size_t v = 0; v < plan.values.size(); ++v)
    if (block_of[v] >= 0) plan.values[v].offset = blocks[index(block_of[v])].offset;
  for (std::size_t i = 0; i < plan.steps.size(); ++i)
    if (workspace[i] >= 0) plan.steps[i].workspace_offset = blocks[index(workspace[i])].offset;
}

}  // namespace gannet::plan

// Fusion. A pass over the steps in order; a step takes in the steps that make its operands where that moves nothing past
// a reader. What runs at a position therefore still finds all of its operands made.
#include <algorithm>
#include <limits>
#include <optional>

#include "engine/run/plan.h"

namespace gannet::plan {
namespace {

using kernels::Activation;
using kernels::Pointwise;
using kernels::PointwiseInstruction;
using kernels::PointwiseOp;
using kernels::Reduction;

constexpr std::size_t max_inputs = 12, max_instructions = 48;  // of a chain: what stays in registers and the first cache

// A chain being put together from others; equal inputs and equal instructions are kept once. While it grows, a register is
// an input's number or ~ an instruction's.
class ChainBuilder {
 public:
  int input(int value, const TensorDesc& desc) {
    const auto found = std::find(inputs_.begin(), inputs_.end(), value);
    if (found != inputs_.end()) return static_cast<int>(found - inputs_.begin());
    inputs_.push_back(value);
    descs_.push_back(desc);
    return static_cast<int>(inputs_.size()) - 1;
  }

  // registers: of the chain's inputs; its instructions' are appended.
  void append(const Pointwise& chain, std::vector<int>& registers) {
    for (PointwiseInstruction instruction : chain.instructions) {
      const int operands = operands_of(instruction.op);
      instruction.a = operands > 0 ? registers[index(instruction.a)] : 0;
      instruction.b = operands > 1 ? registers[index(instruction.b)] : 0;
      const auto found = std::find(body_.begin(), body_.end(), instruction);
      registers.push_back(~static_cast<int>(found - body_.begin()));
      if (found == body_.end()) body_.push_back(instruction);
    }
  }

  const std::vector<int>& inputs() const { return inputs_; }
  std::size_t instructions() const { return body_.size(); }

  Pointwise finish(const Shape& shape, Layout layout, std::vector<TensorDesc> outputs, std::vector<int> results) const {
    Pointwise chain{shape, layout, descs_, body_, std::move(outputs), std::move(results)};
    const auto numbered = [&](int& r) { r = r >= 0 ? r : static_cast<int>(inputs_.size()) + ~r; };
    for (PointwiseInstruction& instruction : chain.instructions) {
      const int operands = operands_of(instruction.op);
      if (operands > 0) numbered(instruction.a);
      if (operands > 1) numbered(instruction.b);
    }
    for (int& result : chain.results) numbered(result);
    return chain;
  }

 private:
  std::vector<int> inputs_;
  std::vector<TensorDesc> descs_;
  std::vector<PointwiseInstruction> body_;
};

class Fuser {
 public:
  explicit Fuser(Plan& plan) : plan_(plan), dead_(plan.steps.size(), false) {
    producer_.assign(plan.values.size(), -1);
    for (std::size_t i = 0; i < plan.steps.size(); ++i)
      for (int value : plan.steps[i].outputs) producer_[index(value)] = static_cast<int>(i);
    pinned_.assign(plan.values.size(), false);
    for (const auto& [name, value] : plan.outputs) pinned_[index(value)] = true;
    for (const Write& write : plan.writes) pinned_[index(write.value)] = true;
    viewed_.assign(plan.values.size(), false);
    consumers_.resize(plan.values.size());
    for (std::size_t i = 0; i < plan.steps.size(); ++i)
      for (int value : plan.steps[i].inputs) consumers_[index(value)].push_back(static_cast<int>(i));
    // A view's readers read its root too.
    for (std::size_t v = 0; v < plan.values.size(); ++v)
      if (plan.values[v].view_of >= 0) {
        viewed_[index(plan.root(static_cast<int>(v)))] = true;
        const auto root = index(plan.root(static_cast<int>(v)));
        consumers_[root].insert(consumers_[root].end(), consumers_[v].begin(), consumers_[v].end());
        if (pinned_[v]) pinned_[root] = true;
      }
  }

  void run(bool slopes) {
    for (int i = 0; i < count(); ++i)
      if (chain_of(i)) inline_free_operands(i);
    for (int i = 0; i < count(); ++i) end_with_activation(i);
    for (int i = 0; i < count(); ++i)
      if (!dead_[index(i)] && chain_of(i)) {
        while (merge_one_operand(i)) {
        }
      }
    if (slopes)
      for (int i = 0; i < count(); ++i) end_with_slope(i);
    for (int i = count() - 1; i >= 0; --i) drop_unread(i);
    drop_steps(plan_, dead_);
  }

 private:
  int count() const { return static_cast<int>(plan_.steps.size()); }
  Step& step(int i) { return plan_.steps[index(i)]; }

  Pointwise* chain_of(int i) {
    if (auto* pointwise = std::get_if<Pointwise>(&step(i).spec)) return pointwise;
    if (auto* reduction = std::get_if<Reduction>(&step(i).spec)) return &reduction->chain;
    return nullptr;
  }

  // Broadcasts and casts only move an operand; a chain without operands is a constant.
  static bool is_free(const Pointwise& chain) { return chain.inputs.empty() || chain.instructions.empty(); }

  static bool is_affine(const Pointwise& chain) {
    return chain.inputs.size() == 1 && chain.instructions.size() == 1 && chain.instructions[0].op == PointwiseOp::affine;
  }

  // The value itself, or under a view of a constant, the constant: it has no shape that matters.
  int source_of(int value) const {
    const int root = plan_.root(value), j = producer_[index(root)];
    if (root == value || j < 0) return value;
    const auto* made = std::get_if<Pointwise>(&plan_.steps[index(j)].spec);
    return made && made->inputs.empty() ? root : value;
  }

  // Puts step j's chain in place of operand `value` of step i's. With keep_outputs, step j is gone afterwards and step i makes
  // what others read of it.
  bool absorb(int i, int j, int value, bool keep_outputs) {
    Step &consumer = step(i), &made = step(j);
    Pointwise& into = *chain_of(i);
    const Pointwise& from = std::get<Pointwise>(made.spec);
    ChainBuilder builder;
    std::vector<int> from_registers, into_registers;
    for (std::size_t k = 0; k < from.inputs.size(); ++k)
      from_registers.push_back(builder.input(made.inputs[k], from.inputs[k]));
    builder.append(from, from_registers);
    for (std::size_t k = 0; k < into.inputs.size(); ++k) {
      const int operand = consumer.inputs[k], source = keep_outputs ? operand : source_of(operand);
      if (keep_outputs ? producer_[index(operand)] == j : operand == value) {
        const auto at = std::find(made.outputs.begin(), made.outputs.end(), source) - made.outputs.begin();
        into_registers.push_back(from_registers[index(from.results[static_cast<std::size_t>(at)])]);
      } else {
        into_registers.push_back(builder.input(operand, into.inputs[k]));
      }
    }
    builder.append(into, into_registers);
    if (builder.inputs().size() > max_inputs || builder.instructions() > max_instructions) return false;

    std::vector<int> outputs, results;
    std::vector<TensorDesc> output_descs;
    if (keep_outputs)
      for (std::size_t k = 0; k < made.outputs.size(); ++k)
        if (read_beside(made.outputs[k], i)) {
          outputs.push_back(made.outputs[k]);
          output_descs.push_back(from.outputs[k]);
          results.push_back(from_registers[index(from.results[k])]);
        }
    outputs.insert(outputs.end(), consumer.outputs.begin(), consumer.outputs.end());
    output_descs.insert(output_descs.end(), into.outputs.begin(), into.outputs.end());
    for (int result : into.results) results.push_back(into_registers[index(result)]);

    for (int operand : consumer.inputs) forget(operand, i);
    into = builder.finish(into.shape, into.layout, std::move(output_descs), std::move(results));
    consumer.inputs = builder.inputs();
    consumer.outputs = std::move(outputs);
    for (int operand : consumer.inputs) remember(operand, i);
    if (keep_outputs) {
      for (int operand : made.inputs) forget(operand, j);
      for (int output : consumer.outputs) producer_[index(output)] = i;
      dead_[index(j)] = true;
    }
    return true;
  }

  void forget(int value, int reader) {
    const auto erase_from = [&](std::vector<int>& readers) {
      if (const auto found = std::find(readers.begin(), readers.end(), reader); found != readers.end()) readers.erase(found);
    };
    erase_from(consumers_[index(value)]);
    if (plan_.root(value) != value) erase_from(consumers_[index(plan_.root(value))]);
  }
  void remember(int value, int reader) {
    consumers_[index(value)].push_back(reader);
    if (plan_.root(value) != value) consumers_[index(plan_.root(value))].push_back(reader);
  }

  bool read_beside(int value, int reader) const {
    const auto& readers = consumers_[index(value)];
    return pinned_[index(value)] || viewed_[index(value)] ||
           std::any_of(readers.begin(), readers.end(), [&](int r) { return r != reader; });
  }

  // Broadcasts, casts and constants cost nothing inside a chain, and an affine map next to nothing if it is broadcast there:
  // every reader takes its own.
  void inline_free_operands(int i) {
    bool changed = true;
    while (changed) {
      changed = false;
      for (int value : std::vector<int>(step(i).inputs)) {
        const int j = producer_[index(source_of(value))];
        if (j < 0 || dead_[index(j)]) continue;
        const auto* made = std::get_if<Pointwise>(&step(j).spec);
        if (!made || made->outputs.size() != 1) continue;
        if (!is_free(*made) && !(is_affine(*made) && made->shape != chain_of(i)->shape)) continue;
        // A cast of pictures to bf16 halves the bytes of every reader: it is worth storing when pictures are read twice.
        if (made->instructions.empty() && made->inputs[0].shape == made->outputs[0].shape &&
            made->outputs[0].type == DType::bf16 && consumers_[index(value)].size() > 1)
          continue;
        if (absorb(i, j, value, false)) {
          changed = true;
          break;
        }
      }
    }
  }

  // A convolution or product whose only reader adds a bias per channel, activates, or widens, ends with it.
  void end_with_activation(int i) {
    if (dead_[index(i)]) return;
    const auto* convolution = std::get_if<kernels::Convolution>(&step(i).spec);
    const auto* matmul = std::get_if<kernels::Matmul>(&step(i).spec);
    if (!(convolution && convolution->kind != kernels::ConvolutionKind::wgrad) && !matmul) return;
    for (int current = i;;) {
      const int value = step(current).outputs[0];
      if (pinned_[index(value)] || viewed_[index(value)] || consumers_[index(value)].size() != 1) return;
      const int reader = consumers_[index(value)][0];
      const auto* chain = std::get_if<Pointwise>(&step(reader).spec);
      if (!chain || chain->instructions.size() > 1 || chain->outputs.size() != 1) return;
      const TensorDesc& desc = plan_.values[index(value)].desc;
      if (chain->shape != desc.shape) return;
      if (chain->instructions.empty()) {  // a cast
        if (chain->inputs.size() != 1 || desc.type != DType::bf16 || chain->outputs[0].type != DType::f32) return;
        *result_type(current) = DType::f32;
        take_place_of(current, reader, -1, "cast");
        current = reader;
        continue;
      }
      if (chain->outputs[0].type != desc.type) return;
      bool* bias = convolution_bias(current);
      Activation* activation = convolution_activation(current);
      const PointwiseInstruction& instruction = chain->instructions[0];
      int bias_value = -1;
      if (instruction.op == PointwiseOp::add && !*bias && activation->kind == Activation::Kind::none &&
          step(reader).inputs.size() == 2) {
        const std::size_t other = step(reader).inputs[0] == value ? 1 : 0;
        const TensorDesc& addend = chain->inputs[other];
        const int channel = desc.shape.rank() - 1;
        bias_value = before_cast(step(reader).inputs[other]);
        if (plan_.values[index(bias_value)].desc.type != DType::f32 || addend.elements() != desc.shape[channel] ||
            addend.shape[channel] != desc.shape[channel])
          return;
        *bias = true;
      } else if (activation->kind == Activation::Kind::none && step(reader).inputs.size() == 1) {
        if (instruction.op == PointwiseOp::leaky_relu)
          *activation = {Activation::Kind::leaky_relu, instruction.alpha};
        else if (instruction.op == PointwiseOp::tanh)
          *activation = {Activation::Kind::tanh, 0};
        else if (instruction.op == PointwiseOp::sigmoid)
          *activation = {Activation::Kind::sigmoid, 0};
        else
          return;
      } else {
        return;
      }
      take_place_of(current, reader, bias_value, name_of(instruction.op));
      current = reader;
    }
  }

  // What a value was before it was rounded, if it was.
  int before_cast(int value) {
    const int j = producer_[index(plan_.root(value))];
    const auto* made = j < 0 || dead_[index(j)] ? nullptr : std::get_if<Pointwise>(&step(j).spec);
    const bool cast = made && made->instructions.empty() && made->inputs.size() == 1 && made->inputs[0].shape == made->shape;
    return cast ? step(j).inputs[0] : value;
  }

  DType* result_type(int i) {
    auto* convolution = std::get_if<kernels::Convolution>(&step(i).spec);
    if (!convolution) return &std::get<kernels::Matmul>(step(i).spec).c.type;
    return convolution->kind == kernels::ConvolutionKind::dgrad ? &convolution->x.type : &convolution->y.type;
  }

  // A convolution moves to the place of its only reader, whose result it makes now, with another operand or none (-1).
  void take_place_of(int convolution, int reader, int operand, const std::string& name) {
    Step moved = std::move(step(convolution));
    for (int value : moved.inputs) forget(value, convolution);
    if (operand >= 0) moved.inputs.push_back(operand);
    for (int value : step(reader).inputs) forget(value, reader);
    moved.outputs = step(reader).outputs;
    moved.label += " + " + name;
    dead_[index(convolution)] = true;
    step(reader) = std::move(moved);
    for (int value : step(reader).inputs) remember(value, reader);
    producer_[index(step(reader).outputs[0])] = reader;
  }

  // The activation by whose slope, told by its output in register `activated`, a chain of two operands multiplies the other.
  static std::optional<Activation> slope_in(const Pointwise& chain, int activated) {
    const auto& body = chain.instructions;
    const auto is_product = [](const PointwiseInstruction& i, int a, int b) {
      return i.op == PointwiseOp::multiply && ((i.a == a && i.b == b) || (i.a == b && i.b == a));
    };
    const auto is_complement = [](const PointwiseInstruction& i, int of) {  // 1 - it
      return i.op == PointwiseOp::affine && i.a == of && i.alpha == -1 && i.beta == 1;
    };
    if (body.empty() || !is_product(body.back(), 1 - activated, static_cast<int>(body.size()))) return std::nullopt;
    if (body.size() == 2 && body[0].op == PointwiseOp::leaky_step && body[0].a == activated)
      return Activation{Activation::Kind::leaky_relu, body[0].alpha};
    if (body.size() != 3) return std::nullopt;
    if (is_product(body[0], activated, activated) && is_complement(body[1], 2)) return Activation{Activation::Kind::tanh, 0};
    if (is_complement(body[0], activated) && is_product(body[1], activated, 2)) return Activation{Activation::Kind::sigmoid, 0};
    return std::nullopt;
  }

  // A convolution whose only reader goes back through an activation ends with its slope.
  void end_with_slope(int i) {
    if (dead_[index(i)]) return;
    auto* convolution = std::get_if<kernels::Convolution>(&step(i).spec);
    if (!convolution || convolution->kind == kernels::ConvolutionKind::wgrad || convolution->bias ||
        convolution->activation.kind != Activation::Kind::none)
      return;
    const int value = step(i).outputs[0];
    if (pinned_[index(value)] || viewed_[index(value)] || consumers_[index(value)].size() != 1) return;
    const int reader = consumers_[index(value)][0];
    const auto* chain = std::get_if<Pointwise>(&step(reader).spec);
    if (!chain || chain->inputs.size() != 2 || chain->outputs.size() != 1 ||
        chain->results[0] != 1 + static_cast<int>(chain->instructions.size()))
      return;
    const TensorDesc& desc = plan_.values[index(value)].desc;
    if (chain->inputs[0] != desc || chain->inputs[1] != desc || chain->outputs[0] != desc) return;
    const int activated = step(reader).inputs[0] == value ? 1 : 0;
    const std::optional<Activation> activation = slope_in(*chain, activated);
    if (!activation) return;
    convolution->slope_of = *activation;
    take_place_of(i, reader, step(reader).inputs[index(activated)], "slope");
  }

  bool* convolution_bias(int i) {
    if (auto* convolution = std::get_if<kernels::Convolution>(&step(i).spec)) return &convolution->bias;
    return &std::get<kernels::Matmul>(step(i).spec).bias;
  }
  Activation* convolution_activation(int i) {
    if (auto* convolution = std::get_if<kernels::Convolution>(&step(i).spec)) return &convolution->activation;
    return &std::get<kernels::Matmul>(step(i).spec).activation;
  }

  bool merge_one_operand(int i) {
    const bool reduction = std::holds_alternative<Reduction>(step(i).spec);
    for (int value : step(i).inputs) {
      const int j = producer_[index(value)];
      if (j < 0 || j >= i || dead_[index(j)]) continue;
      const auto* made = std::get_if<Pointwise>(&step(j).spec);
      if (!made || made->shape != chain_of(i)->shape) continue;
      bool allowed = true;
      for (int output : step(j).outputs) {
        if (reduction && read_beside(output, i)) allowed = false;
        for (int reader : consumers_[index(output)]) allowed = allowed && reader >= i;
      }
      // What is also read under another shape has to be in memory before.
      for (int operand : step(i).inputs)
        allowed = allowed && (producer_[index(operand)] == j || producer_[index(plan_.root(operand))] != j);
      if (allowed && absorb(i, j, value, true)) return true;
    }
    return false;
  }

  // A step none of whose outputs is read does not run.
  void drop_unread(int i) {
    if (dead_[index(i)]) return;
    for (int value : step(i).outputs)
      if (pinned_[index(value)] || !consumers_[index(value)].empty()) return;
    for (int operand : step(i).inputs) forget(operand, i);
    dead_[index(i)] = true;
  }

  Plan& plan_;
  std::vector<bool> dead_, pinned_, viewed_;
  std::vector<int> producer_;
  std::vector<std::vector<int>> consumers_;
};

}  // namespace

void fuse(Plan& plan, const kernels::Backend& backend) { Fuser(plan).run(backend.ends_with_slopes()); }

}  // namespace gannet::plan

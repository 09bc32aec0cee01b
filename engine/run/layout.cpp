// How values lie in memory. Values that an elementwise kernel touches together form a class with one layout; convolutions
// say what they want of the classes of their operands; what must be plain gets a copy where its class is not.
#include <map>
#include <numeric>
#include <optional>

#include "engine/run/plan.h"

namespace gannet::plan {
namespace {

using namespace kernels;

bool is_blocked(Layout layout) { return layout == Layout::blocked8 || layout == Layout::blocked16; }

class Layouter {
 public:
  Layouter(Plan& plan, const Backend& backend, const State& state) : plan_(plan), backend_(backend), state_(state) {}

  void run() {
    leader_.resize(plan_.values.size());
    std::iota(leader_.begin(), leader_.end(), 0);
    for (const Step& step : plan_.steps) join_operands(step);
    for (const Write& write : plan_.writes)
      for (std::size_t v = 0; v < plan_.values.size(); ++v)
        if (plan_.values[v].home == Value::Home::variable && plan_.values[v].home_name == write.variable.name)
          join(static_cast<int>(v), write.value);
    for (const Step& step : plan_.steps) collect_wants(step);
    choose();
    insert_copies();
    for (Step& step : plan_.steps) {
      std::vector<TensorDesc> inputs, outputs;
      for (int value : step.inputs) inputs.push_back(plan_.values[index(value)].desc);
      for (int value : step.outputs) outputs.push_back(plan_.values[index(value)].desc);
      set_operands(step.spec, inputs, outputs);
    }
  }

 private:
  int leader(int value) {
    while (leader_[index(value)] != value) value = leader_[index(value)] = leader_[index(leader_[index(value)])];
    return value;
  }
  void join(int a, int b) {
    if (plan_.values[index(a)].view_of < 0 && plan_.values[index(b)].view_of < 0) leader_[index(leader(a))] = leader(b);
  }

  // Which operands of a step have to lie alike.
  void join_operands(const Step& step) {
    const auto all_full = [&](const Shape& shape) {
      int first = -1;
      for (const auto* operands : {&step.inputs, &step.outputs})
        for (int value : *operands)
          if (plan_.values[index(value)].desc.shape == shape) {
            if (first >= 0) join(first, value);
            first = value;
          }
    };
    if (const auto* pointwise = std::get_if<Pointwise>(&step.spec)) {
      all_full(pointwise->shape);
    } else if (const auto* reduction = std::get_if<Reduction>(&step.spec)) {
      int first = -1;
      for (int value : step.inputs)
        if (plan_.values[index(value)].desc.shape == reduction->chain.shape) {
          if (first >= 0) join(first, value);
          first = value;
        }
    } else if (const auto* convolution = std::get_if<Convolution>(&step.spec)) {
      if (convolution->slope_of.kind != Activation::Kind::none) join(step.outputs[0], step.inputs[2]);
    } else if (std::holds_alternative<BatchNorm>(step.spec)) {
      join(step.inputs[0], step.outputs[0]);
      if (step.inputs.size() > 5) join(step.inputs[0], step.inputs[5]);
    } else if (const auto* update = std::get_if<OptimizerUpdate>(&step.spec)) {
      const int moments = update->moments();
      for (std::size_t tensor = 0; tensor < update->parameters.size(); ++tensor) {
        const std::size_t input = 2 + tensor * index(2 + moments), output = 2 + tensor * index(1 + moments);
        for (std::size_t k = 1; k < index(2 + moments); ++k) join(step.inputs[input], step.inputs[input + k]);
        for (std::size_t k = 0; k < index(1 + moments); ++k) join(step.inputs[input], step.outputs[output + k]);
      }
    } else if (std::holds_alternative<EmaUpdate>(step.spec)) {
      for (std::size_t i = 0; i < step.outputs.size(); ++i) {
        join(step.inputs[2 * i], step.inputs[2 * i + 1]);
        join(step.inputs[2 * i], step.outputs[i]);
      }
    } else if (std::holds_alternative<AllReduce>(step.spec)) {
      for (std::size_t i = 0; i < step.outputs.size(); ++i) join(step.inputs[i], step.outputs[i]);
    } else if (const auto* copy = std::get_if<Copy>(&step.spec)) {
      if (keeps_channels(*copy)) join(step.inputs[0], step.outputs[0]);
    } else if (const auto* concatenate = std::get_if<Concatenate>(&step.spec)) {
      if (concatenate->output.shape.rank() == 4 && concatenate->axis == 0)
        for (int value : step.inputs) join(step.outputs[0], value);
    }
  }

  static bool keeps_channels(const Copy& copy) {
    const Shape &in = copy.input.shape, &out = copy.output.shape;
    return in.rank() == 4 && copy.permutation == std::vector<int>{0, 1, 2, 3} && in[3] == out[3];
  }

  void collect_wants(const Step& step) {
    const auto* convolution = std::get_if<Convolution>(&step.spec);
    if (!convolution) return;
    const int first = step.inputs[0], second = step.inputs[1], output = step.outputs[0];
    const bool wgrad = convolution->kind == ConvolutionKind::wgrad;
    for (int picture : {first, wgrad ? second : output}) {
      const TensorDesc& desc = plan_.values[index(picture)].desc;
      if (desc.shape[1] * desc.shape[2] > 1)
        picture_.try_emplace(leader(picture), backend_.picture_layout(desc.shape, desc.type));
    }
    const int filter = wgrad ? output : second;
    const TensorDesc& desc = plan_.values[index(filter)].desc;
    // Filters are kept as fp32 parameters; a bf16 copy is made in the same order.
    filter_.try_emplace(leader(filter), backend_.filter_layout(desc.shape, desc.type));
  }

  void choose() {
    std::map<int, Layout> chosen = filter_;
    for (const auto& [value, layout] : picture_) chosen[value] = layout;
    for (std::size_t v = 0; v < plan_.values.size(); ++v) {
      const Value& value = plan_.values[v];
      if (value.home == Value::Home::variable && value.view_of < 0 && state_.contains(value.home_name))
        chosen[leader(static_cast<int>(v))] = state_.desc(value.home_name).layout;
    }
    for (const Write& write : plan_.writes)
      if (state_.contains(write.variable.name) && plan_.values[index(write.value)].view_of < 0)
        chosen[leader(write.value)] = state_.desc(write.variable.name).layout;
    for (std::size_t v = 0; v < plan_.values.size(); ++v) {
      Value& value = plan_.values[v];
      if (value.view_of >= 0 || value.home == Value::Home::input) continue;  // views and what the host writes are plain
      const auto found = chosen.find(leader(static_cast<int>(v)));
      const Shape& shape = value.desc.shape;
      // Channels of a 1x1 picture are contiguous either way: it is plain.
      if (found != chosen.end() && !(is_blocked(found->second) && shape[1] * shape[2] == 1)) value.desc.layout = found->second;
      // Where a class holds variables that are kept in several layouts, each stays as it is and copies join them.
      if (value.home == Value::Home::variable && state_.contains(value.home_name))
        value.desc.layout = state_.desc(value.home_name).layout;
    }
  }

  // The layout in which a step needs an operand, given those of the values it goes by; none: any will do.
  std::optional<Layout> needed(const Step& step, bool is_output, std::size_t position) const {
    const int value = (is_output ? step.outputs : step.inputs)[position];
    const auto layout_of = [&](int v) { return plan_.values[index(v)].desc.layout; };
    const Shape& shape = plan_.values[index(value)].desc.shape;
    if (const auto* pointwise = std::get_if<Pointwise>(&step.spec))
      return shape == pointwise->shape ? layout_of(step.outputs[0]) : Layout::plain;
    if (const auto* reduction = std::get_if<Reduction>(&step.spec)) {
      if (!is_output && shape == reduction->chain.shape)
        for (int v : step.inputs)
          if (plan_.values[index(v)].desc.shape == shape) return layout_of(v);
      return Layout::plain;
    }
    if (std::holds_alternative<BatchNorm>(step.spec))
      return position == 0 || (!is_output && position == 5) ? layout_of(step.outputs[0]) : Layout::plain;
    if (const auto* update = std::get_if<OptimizerUpdate>(&step.spec)) {
      if (position < 2) return Layout::plain;
      const std::size_t stride = index(2 + update->moments()), tensor = (position - 2) / (is_output ? stride - 1 : stride);
      return layout_of(step.inputs[2 + tensor * stride]);
    }
    if (std::holds_alternative<EmaUpdate>(step.spec))
      return layout_of(step.inputs[is_output ? 2 * position : position / 2 * 2]);
    if (std::holds_alternative<AllReduce>(step.spec)) return layout_of(step.inputs[position]);
    if (const auto* concatenate = std::get_if<Concatenate>(&step.spec))
      return concatenate->output.shape.rank() == 4 && concatenate->axis == 0 ? layout_of(step.outputs[0]) : Layout::plain;
    if (const auto* convolution = std::get_if<Convolution>(&step.spec); convolution && shape.rank() == 4) {
      const bool activated = !is_output && position == 2 && convolution->slope_of.kind != Activation::Kind::none;
      return activated ? std::optional(layout_of(step.outputs[0])) : std::nullopt;
    }
    if (std::holds_alternative<Copy>(step.spec)) return std::nullopt;
    return Layout::plain;
  }

  int twin_of(int value, Layout layout) {
    Value twin = plan_.values[index(value)];
    twin.desc.layout = layout;
    twin.home = Value::Home::arena;
    twin.home_name.clear();
    twin.view_of = -1;
    twin.kept = false;
    plan_.values.push_back(std::move(twin));
    return static_cast<int>(plan_.values.size()) - 1;
  }

  Step reorder(int from, int to) {
    if (is_blocked(plan_.values[index(from)].desc.layout) || is_blocked(plan_.values[index(to)].desc.layout))
      ++plan_.picture_reorders;
    return copy_step(plan_, from, to, plan_.values[index(from)].label + " reorder");
  }

  void insert_copies() {
    std::vector<Step> steps;
    std::map<std::pair<int, Layout>, int> twins;
    const auto in_layout = [&](int value, Layout layout) {
      if (plan_.values[index(value)].desc.layout == layout) return value;
      auto [entry, inserted] = twins.try_emplace({value, layout}, -1);
      if (inserted) {
        entry->second = twin_of(value, layout);
        steps.push_back(reorder(value, entry->second));
      }
      return entry->second;
    };
    // A view needs its root in plain order.
    const auto resolve = [&](int value) {
      for (int v = value; plan_.values[index(v)].view_of >= 0; v = plan_.values[index(v)].view_of)
        plan_.values[index(v)].view_of = in_layout(plan_.values[index(v)].view_of, Layout::plain);
    };
    for (Step& step : plan_.steps) {
      for (int value : step.inputs) resolve(value);
      std::vector<std::optional<Layout>> inputs, outputs;
      for (std::size_t i = 0; i < step.inputs.size(); ++i) inputs.push_back(needed(step, false, i));
      for (std::size_t i = 0; i < step.outputs.size(); ++i) outputs.push_back(needed(step, true, i));
      for (std::size_t i = 0; i < step.inputs.size(); ++i)
        if (const auto layout = inputs[i]) step.inputs[i] = in_layout(step.inputs[i], *layout);
      std::vector<Step> after;
      for (std::size_t i = 0; i < step.outputs.size(); ++i) {
        const int value = step.outputs[i];
        const auto layout = outputs[i];
        if (!layout || plan_.values[index(value)].desc.layout == *layout) continue;
        step.outputs[i] = twin_of(value, *layout);
        twins[{value, *layout}] = step.outputs[i];
        after.push_back(reorder(step.outputs[i], value));
      }
      steps.push_back(std::move(step));
      for (Step& copy : after) steps.push_back(std::move(copy));
    }
    for (const auto& [name, value] : plan_.outputs) resolve(value);
    for (const Write& write : plan_.writes) resolve(write.value);
    plan_.steps = std::move(steps);
  }

  Plan& plan_;
  const Backend& backend_;
  const State& state_;
  std::vector<int> leader_;
  std::map<int, Layout> picture_, filter_;
};

}  // namespace

void assign_layouts(Plan& plan, const Backend& backend, const State& state) { Layouter(plan, backend, state).run(); }

void set_operands(KernelSpec& spec, const std::vector<TensorDesc>& in, const std::vector<TensorDesc>& out) {
  if (auto* convolution = std::get_if<Convolution>(&spec)) {
    switch (convolution->kind) {
      case ConvolutionKind::fprop:
        convolution->x = in[0], convolution->w = in[1], convolution->y = out[0];
        break;
      case ConvolutionKind::dgrad:
        convolution->y = in[0], convolution->w = in[1], convolution->x = out[0];
        break;
      case ConvolutionKind::wgrad:
        convolution->x = in[0], convolution->y = in[1], convolution->w = out[0];
        break;
    }
  } else if (auto* matmul = std::get_if<Matmul>(&spec)) {
    matmul->a = in[0], matmul->b = in[1], matmul->c = out[0];
  } else if (auto* pointwise = std::get_if<Pointwise>(&spec)) {
    pointwise->inputs = in;
    pointwise->outputs = out;
    pointwise->layout = out[0].layout;
  } else if (auto* reduction = std::get_if<Reduction>(&spec)) {
    reduction->chain.inputs = in;
    reduction->chain.layout = Layout::plain;
    for (const TensorDesc& desc : in)
      if (desc.shape == reduction->chain.shape) reduction->chain.layout = desc.layout;
    reduction->output = out[0];
  } else if (auto* batch_norm = std::get_if<BatchNorm>(&spec)) {
    batch_norm->x = in[0];
  } else if (auto* bce = std::get_if<SigmoidBce>(&spec)) {
    bce->logits = in[0], bce->gradient = out[1].type;
  } else if (auto* update = std::get_if<OptimizerUpdate>(&spec)) {
    for (std::size_t i = 0; i < update->parameters.size(); ++i)
      update->parameters[i] = in[2 + i * (2 + index(update->moments()))];
  } else if (auto* ema = std::get_if<EmaUpdate>(&spec)) {
    for (std::size_t i = 0; i < ema->parameters.size(); ++i) ema->parameters[i] = in[2 * i];
  } else if (auto* random = std::get_if<Random>(&spec)) {
    random->output = out[0];
  } else if (auto* copy = std::get_if<Copy>(&spec)) {
    copy->input = in[0], copy->output = out[0];
  } else if (auto* concatenate = std::get_if<Concatenate>(&spec)) {
    concatenate->inputs = in, concatenate->output = out[0];
  } else if (auto* reduce = std::get_if<AllReduce>(&spec)) {
    reduce->tensors = in;
  }
}

}  // namespace gannet::plan

// What the headers of the operator families demand of a spec, in one place for all backends.
#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/check.h"
#include "kernels/operands.h"

namespace gannet::kernels {
namespace {

bool floating(const TensorDesc& desc) { return desc.type == DType::f32 || desc.type == DType::bf16; }
bool stored(const TensorDesc& desc) { return floating(desc) || desc.type == DType::i32 || desc.type == DType::u8; }
bool blocked(const TensorDesc& desc) { return desc.layout == Layout::blocked8 || desc.layout == Layout::blocked16; }
bool is_filter(const TensorDesc& desc) { return desc.layout == Layout::filter8 || desc.layout == Layout::filter16; }
bool plain(const TensorDesc& desc) { return desc.layout == Layout::plain; }

// "[copy] ", as every message begins.
std::string prefix(const KernelSpec& spec) { return fmt::format("[{}] ", name_of(spec)); }

// Throws with the operator's name in front and all operands behind the message.
template <typename... Arguments>
void require(const KernelSpec& spec, bool condition, fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  if (condition) [[likely]]
    return;
  const Operands operands = operands_of(spec);
  std::string text;
  for (const TensorDesc& desc : operands.inputs) text += (text.empty() ? "" : ", ") + to_string(desc);
  text += " ->";
  for (const TensorDesc& desc : operands.outputs) text += " " + to_string(desc);
  throw InputError(prefix(spec) + fmt::format(format, std::forward<Arguments>(arguments)...) + ": " + text);
}

void check_layout(const KernelSpec& spec, const Shape& shape, Layout layout) {
  try {
    physical_axes(shape, layout);
  } catch (const InputError& error) {
    require(spec, false, "{}", error.what());
  }
}

void check_activation(const KernelSpec& spec, const Activation& activation) {
  require(spec, std::isfinite(activation.slope), "the slope of an activation is finite, not {}", activation.slope);
}

void check_one(const KernelSpec& all, const Convolution& spec) {
  const Shape &x = spec.x.shape, &w = spec.w.shape, &y = spec.y.shape;
  require(all, x.rank() == 4 && w.rank() == 4 && y.rank() == 4, "pictures and filters have rank 4");
  require(all, spec.stride >= 1 && spec.pad >= 0, "stride {} must be at least 1 and pad {} at least 0", spec.stride, spec.pad);
  require(all, x[0] == y[0] && x[3] == w[3] && y[3] == w[0], "N, C or K of the operands differ");
  for (int axis : {1, 2}) {
    const std::int64_t room = x[axis] + 2 * spec.pad - w[axis];
    require(all, room >= 0 && room / spec.stride + 1 == y[axis], "extents do not fit stride {} and pad {}", spec.stride,
            spec.pad);
  }
  require(all, floating(spec.x) && floating(spec.w) && floating(spec.y), "operands are f32 or bf16");
  const auto inputs = operands_of(KernelSpec(spec)).inputs;
  require(all, inputs[0].type == inputs[1].type, "both inputs have one type");
  require(all, !is_filter(spec.x) && !is_filter(spec.y) && !blocked(spec.w), "a layout is not of its operand's kind");
  if (spec.kind == ConvolutionKind::wgrad) {
    require(all, spec.w.type == DType::f32, "the filter's gradient is f32");
    require(all, !spec.bias && spec.activation.kind == Activation::Kind::none, "wgrad has neither bias nor activation");
  }
  check_activation(all, spec.activation);
  check_activation(all, spec.slope_of);
  require(all,
          spec.slope_of.kind == Activation::Kind::none ||
              (spec.kind != ConvolutionKind::wgrad && !spec.bias && spec.activation.kind == Activation::Kind::none),
          "the slope of an activation belongs to fprop and dgrad without bias and activation");
}

void check_one(const KernelSpec& all, const ConvolutionBackward& spec) {
  const auto& [data, weights] = spec;
  require(all, data.kind != ConvolutionKind::wgrad && weights.kind == ConvolutionKind::wgrad,
          "data is dgrad or fprop and weights wgrad");
  check_one(all, data);
  check_one(all, weights);
  require(all,
          data.x.shape == weights.x.shape && data.w.shape == weights.w.shape && data.y.shape == weights.y.shape &&
              data.stride == weights.stride && data.pad == weights.pad,
          "both are of one convolution");
  require(all, data.kind == ConvolutionKind::dgrad ? data.y == weights.y : data.x == weights.x, "both read one gradient");
}

void check_one(const KernelSpec& all, const Matmul& spec) {
  const Shape &a = spec.a.shape, &b = spec.b.shape, &c = spec.c.shape;
  require(all, a.rank() == 2 && b.rank() == 2 && c.rank() == 2, "matrices have rank 2");
  const std::int64_t m = a[spec.transpose_a ? 1 : 0], inner = a[spec.transpose_a ? 0 : 1];
  const std::int64_t inner_b = b[spec.transpose_b ? 1 : 0], n = b[spec.transpose_b ? 0 : 1];
  require(all, inner == inner_b && c == Shape{m, n}, "extents do not fit{}{}", spec.transpose_a ? " (first transposed)" : "",
          spec.transpose_b ? " (second transposed)" : "");
  require(all, plain(spec.a) && plain(spec.b) && plain(spec.c), "matrices are plain");
  require(all, floating(spec.a) && spec.a.type == spec.b.type && floating(spec.c),
          "operands are f32 or bf16, both inputs alike");
  check_activation(all, spec.activation);
}

void check_chain(const KernelSpec& all, const Pointwise& spec) {
  check_layout(all, spec.shape, spec.layout);
  for (const TensorDesc& input : spec.inputs) {
    require(all, input.shape.rank() == spec.shape.rank(), "inputs have the rank of {}", to_string(spec.shape));
    for (int d = 0; d < spec.shape.rank(); ++d) {
      require(all, input.shape[d] == spec.shape[d] || input.shape[d] == 1, "an input does not broadcast to {}",
              to_string(spec.shape));
    }
    const bool full = input.shape == spec.shape;
    require(all, input.layout == (full ? spec.layout : Layout::plain), "a full input is {} and a broadcast one plain",
            name_of(spec.layout));
    require(all, stored(input), "inputs are f32, bf16, i32 or u8");
  }
  int registers = static_cast<int>(spec.inputs.size());
  for (const PointwiseInstruction& instruction : spec.instructions) {
    const int operands = operands_of(instruction.op);
    require(all, operands < 1 || (instruction.a >= 0 && instruction.a < registers), "{} reads register {} before it is written",
            name_of(instruction.op), instruction.a);
    require(all, operands < 2 || (instruction.b >= 0 && instruction.b < registers), "{} reads register {} before it is written",
            name_of(instruction.op), instruction.b);
    ++registers;
  }
  for (int result : spec.results) require(all, result >= 0 && result < registers, "there is no register {}", result);
}

void check_one(const KernelSpec& all, const Pointwise& spec) {
  check_chain(all, spec);
  require(all, !spec.outputs.empty() && spec.outputs.size() == spec.results.size(), "there are {} outputs for {} results",
          spec.outputs.size(), spec.results.size());
  for (const TensorDesc& output : spec.outputs) {
    require(all, output.shape == spec.shape && output.layout == spec.layout && stored(output), "outputs are {} and {}",
            to_string(spec.shape), name_of(spec.layout));
  }
}

void check_one(const KernelSpec& all, const Reduction& spec) {
  check_chain(all, spec.chain);
  require(all, spec.chain.outputs.empty() && spec.chain.results.size() == 1, "the chain has one result and no output");
  Shape kept = spec.chain.shape;
  for (int d = 0; d < kept.rank(); ++d) {
    if (spec.summed[d]) kept[d] = 1;
  }
  for (int d = kept.rank(); d < max_rank; ++d) require(all, !spec.summed[d], "there is no axis {} to sum", d);
  require(all, spec.output == TensorDesc{DType::f32, kept, Layout::plain}, "the output is f32{}", to_string(kept));
}

void check_one(const KernelSpec& all, const BatchNorm& spec) {
  const int rank = spec.x.shape.rank();
  require(all, rank == 2 || rank == 4, "x has rank 2 or 4");
  require(all, floating(spec.x) && !is_filter(spec.x), "x is f32 or bf16, and a picture");
  require(all, spec.groups >= 1 && spec.x.shape[0] % spec.groups == 0, "{} groups do not divide the batch", spec.groups);
  require(all, spec.epsilon >= 0 && std::isfinite(spec.epsilon), "epsilon is {}", spec.epsilon);
  require(all, spec.momentum >= 0 && spec.momentum <= 1, "momentum is {}", spec.momentum);
  const std::int64_t values = spec.x.elements() / spec.x.shape[rank - 1] / spec.groups;
  require(all, spec.momentum == 0 || (spec.kind == BatchNorm::Kind::forward && values > 1),
          "running statistics belong to a forward pass over more than one value per channel");
  check_activation(all, spec.activation);
}

void check_one(const KernelSpec& all, const SigmoidBce& spec) {
  const auto runs = static_cast<std::int64_t>(spec.targets.size());
  require(all, spec.logits.type == DType::f32 && plain(spec.logits), "logits are f32 and plain");
  require(all, spec.gradient == DType::f32 || spec.gradient == DType::bf16, "the gradient is f32 or bf16");
  require(all, runs >= 1 && spec.targets.size() == spec.weights.size(), "there are {} targets and {} weights", runs,
          spec.weights.size());
  require(all, spec.logits.elements() % runs == 0, "{} targets do not divide the logits", runs);
}

void check_parameters(const KernelSpec& all, const std::vector<TensorDesc>& parameters) {
  require(all, !parameters.empty(), "there is no parameter");
  for (const TensorDesc& parameter : parameters) require(all, parameter.type == DType::f32, "parameters are f32");
}

void check_one(const KernelSpec& all, const OptimizerUpdate& spec) {
  check_parameters(all, spec.parameters);
  require(all, spec.beta1 >= 0 && spec.beta1 < 1 && spec.beta2 >= 0 && spec.beta2 < 1, "beta1 {} and beta2 {} lie in [0,1)",
          spec.beta1, spec.beta2);
  require(all, spec.alpha >= 0 && spec.alpha <= 1 && spec.momentum >= 0 && spec.epsilon >= 0 && spec.weight_decay >= 0,
          "alpha {}, momentum {}, epsilon {} or weight decay {} is out of range", spec.alpha, spec.momentum, spec.epsilon,
          spec.weight_decay);
}

void check_one(const KernelSpec& all, const EmaUpdate& spec) {
  check_parameters(all, spec.parameters);
  require(all, spec.decay >= 0 && spec.decay <= 1, "decay {} lies in [0,1]", spec.decay);
}

void check_one(const KernelSpec& all, const Bf16Copies& spec) { check_parameters(all, spec.parameters); }

void check_one(const KernelSpec& all, const AllReduce&) { require(all, false, "a backend has no ranks"); }

void check_one(const KernelSpec& all, const Random& spec) {
  require(all, floating(spec.output) && plain(spec.output), "the output is f32 or bf16, and plain");
}

void check_one(const KernelSpec& all, const Copy& spec) {
  const int rank = spec.output.shape.rank();
  require(all,
          spec.input.shape.rank() == rank && spec.extent.rank() == rank && spec.input_start.rank() == rank &&
              spec.output_start.rank() == rank && static_cast<int>(spec.permutation.size()) == rank,
          "input, output, box and permutation have one rank");
  require(all, (floating(spec.input) && floating(spec.output)) || (stored(spec.input) && spec.input.type == spec.output.type),
          "operands are f32 or bf16, or alike");
  std::vector<bool> seen(rank, false);
  for (int d = 0; d < rank; ++d) {
    const int from = spec.permutation[d];
    require(all, from >= 0 && from < rank && !seen[from], "({}) is no permutation", fmt::join(spec.permutation, ","));
    seen[from] = true;
    require(all, spec.extent[d] >= 1, "the box {} is empty", to_string(spec.extent));
    require(all, spec.output_start[d] >= 0 && spec.output_start[d] + spec.extent[d] <= spec.output.shape[d],
            "the box {} at {} leaves the output", to_string(spec.extent), to_string(spec.output_start));
    require(all, spec.input_start[from] >= 0 && spec.input_start[from] + spec.extent[d] <= spec.input.shape[from],
            "the box {} at {} leaves the input", to_string(spec.extent), to_string(spec.input_start));
  }
}

void check_one(const KernelSpec& all, const Concatenate& spec) {
  const Shape& output = spec.output.shape;
  require(all, !spec.inputs.empty(), "there is no input");
  require(all, spec.axis >= 0 && spec.axis < output.rank(), "there is no axis {}", spec.axis);
  require(all, stored(spec.output), "operands are f32, bf16, i32 or u8");
  std::int64_t total = 0;
  for (const TensorDesc& input : spec.inputs) {
    require(all, input.type == spec.output.type && input.shape.rank() == output.rank(), "operands have one type and one rank");
    Shape expected = output;
    expected[spec.axis] = input.shape[spec.axis];
    require(all, input.shape == expected, "inputs differ in more than axis {}", spec.axis);
    total += input.shape[spec.axis];
  }
  require(all, total == output[spec.axis], "the inputs have {} along axis {}", total, spec.axis);
}

}  // namespace

void check_preconditions(const KernelSpec& spec) {
  const Operands operands = operands_of(spec);
  for (const auto* side : {&operands.inputs, &operands.outputs}) {
    for (const TensorDesc& desc : *side) {
      require(spec, std::all_of(desc.shape.begin(), desc.shape.end(), [](std::int64_t e) { return e >= 1; }),
              "an operand is empty");
      check_layout(spec, desc.shape, desc.layout);
    }
  }
  std::visit([&](const auto& s) { check_one(spec, s); }, spec);
}

}  // namespace gannet::kernels

#include "bench/problem.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>

#include "kernels/check.h"

namespace gannet::bench {
namespace {

using namespace kernels;

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

template <typename T>
T number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  GANNET_CHECK(error == std::errc() && end == text.data() + text.size(), "'{}' is not a number", text);
  return value;
}

constexpr DType types[] = {DType::f32, DType::bf16, DType::i32, DType::u8};

std::vector<PointwiseOp> all_ops() {
  std::vector<PointwiseOp> ops;
  for (int op = 0; op <= static_cast<int>(PointwiseOp::leaky_step); ++op) ops.push_back(static_cast<PointwiseOp>(op));
  return ops;
}

// The keys of a line.
class Keys {
 public:
  Keys(std::string_view line, std::int64_t batch) : batch_(batch) {
    std::istringstream words{std::string(line)};
    GANNET_CHECK(words >> name >> family, "a problem is NAME FAMILY KEY=VALUE…");
    for (std::string word; words >> word;) {
      const std::size_t equals = word.find('=');
      const std::string key = word.substr(0, equals);
      GANNET_CHECK(values_.emplace(key, equals == std::string::npos ? "" : word.substr(equals + 1)).second, "{} is given twice",
                   key);
    }
  }
  // Every key has been asked for.
  void finish() const {
    for (const auto& [key, value] : values_) {
      GANNET_CHECK(std::find(asked_.begin(), asked_.end(), key) != asked_.end(), "{} has no key '{}'", family, key);
    }
  }

  bool has(const std::string& key) const {
    asked_.push_back(key);
    return values_.count(key) != 0;
  }
  const std::string& text(const std::string& key) const {
    GANNET_CHECK(has(key), "{} needs {}=…", family, key);
    return values_.at(key);
  }
  template <typename T>
  T get(const std::string& key, T otherwise) const {
    return has(key) ? number<T>(values_.at(key)) : otherwise;
  }
  template <typename T>
  std::vector<T> list(const std::string& key) const {
    std::vector<T> result;
    for (const std::string& part : split(text(key), ';')) result.push_back(number<T>(part));
    return result;
  }
  Shape shape(std::string_view extents) const {
    GANNET_CHECK(extents.size() >= 2 && extents.front() == '(' && extents.back() == ')', "'{}' is not a shape", extents);
    std::vector<std::int64_t> result;
    for (const std::string& extent : split(extents.substr(1, extents.size() - 2), ',')) {
      if (extent.ends_with('N')) {
        result.push_back(batch_ * (extent.size() == 1 ? 1 : number<std::int64_t>(extent.substr(0, extent.size() - 1))));
      } else {
        result.push_back(number<std::int64_t>(extent));
      }
    }
    return Shape(result);
  }
  TensorDesc tensor_of(const std::string& text) const {
    for (const DType type : types) {
      const std::string name = name_of(type);
      if (text.starts_with(name + "(")) return {type, shape(std::string_view(text).substr(name.size())), Layout::plain};
    }
    throw InputError(fmt::format("'{}' is not a tensor", text));
  }
  TensorDesc tensor(const std::string& key) const { return tensor_of(text(key)); }
  std::vector<TensorDesc> tensors(const std::string& key) const {
    std::vector<TensorDesc> result;
    for (const std::string& part : split(text(key), ';')) result.push_back(tensor_of(part));
    return result;
  }
  // prefix: of the keys, "slope_of_" for the activation whose slope is meant.
  Activation activation(const std::string& prefix = "") const {
    if (has(prefix + "tanh")) return {Activation::Kind::tanh, 0};
    if (has(prefix + "sigmoid")) return {Activation::Kind::sigmoid, 0};
    if (has(prefix + "leaky_relu")) return {Activation::Kind::leaky_relu, get(prefix + "leaky_relu", 0.0f)};
    return {};
  }
  // OP:A:B@ALPHA,BETA;…
  std::vector<PointwiseInstruction> steps() const {
    std::vector<PointwiseInstruction> result;
    for (const std::string& step : split(has("steps") ? text("steps") : "", ';')) {
      const std::size_t at = step.find('@');
      const std::vector<std::string> parts = split(std::string_view(step).substr(0, at), ':');
      const std::vector<PointwiseOp> ops = all_ops();
      const auto op = std::find_if(ops.begin(), ops.end(), [&](PointwiseOp one) { return parts[0] == name_of(one); });
      GANNET_CHECK(op != ops.end(), "there is no pointwise operator '{}'", parts[0]);
      GANNET_CHECK(static_cast<int>(parts.size()) == 1 + operands_of(*op), "{} takes {} operands", parts[0], operands_of(*op));
      PointwiseInstruction instruction{*op};
      if (parts.size() > 1) instruction.a = number<int>(parts[1]);
      if (parts.size() > 2) instruction.b = number<int>(parts[2]);
      if (at != std::string::npos) {
        const std::vector<std::string> constants = split(std::string_view(step).substr(at + 1), ',');
        if (!constants.empty()) instruction.alpha = number<float>(constants[0]);
        if (constants.size() > 1) instruction.beta = number<float>(constants[1]);
      }
      result.push_back(instruction);
    }
    return result;
  }

  std::string name, family;

 private:
  std::int64_t batch_;
  std::map<std::string, std::string> values_;
  mutable std::vector<std::string> asked_;
};

Convolution convolution(const Keys& keys, ConvolutionKind kind) {
  return {kind,
          keys.tensor("x"),
          keys.tensor("w"),
          keys.tensor("y"),
          keys.get("stride", 1),
          keys.get("pad", 0),
          keys.has("bias"),
          keys.activation(),
          keys.activation("slope_of_")};
}

// kind: of the way back to the picture, of which x, w and y are.
ConvolutionBackward convolution_backward(const Keys& keys, ConvolutionKind kind) {
  const Convolution data = convolution(keys, kind);
  Convolution weights{ConvolutionKind::wgrad, data.x, data.w, data.y, data.stride, data.pad, false, {}, {}};
  weights.x.type = weights.y.type = data.w.type;
  weights.w.type = DType::f32;
  return {data, weights};
}

Matmul matmul(const Keys& keys) {
  return {keys.tensor("a"),        keys.tensor("b"), keys.tensor("c"), keys.has("transpose_a"),
          keys.has("transpose_b"), keys.has("bias"), keys.activation()};
}

Pointwise pointwise(const Keys& keys) {
  Pointwise spec;
  spec.inputs = keys.has("inputs") ? keys.tensors("inputs") : std::vector<TensorDesc>{};
  spec.instructions = keys.steps();
  spec.outputs = keys.tensors("outputs");
  GANNET_CHECK(!spec.outputs.empty(), "pointwise needs an output");
  spec.shape = spec.outputs[0].shape;
  spec.results = keys.list<int>("results");
  return spec;
}

Reduction reduction(const Keys& keys) {
  Reduction spec;
  spec.chain.shape = keys.shape(keys.text("shape"));
  spec.chain.inputs = keys.tensors("inputs");
  spec.chain.instructions = keys.steps();
  spec.chain.results = keys.list<int>("results");
  for (const int axis : keys.list<int>("summed")) {
    GANNET_CHECK(axis >= 0 && axis < max_rank, "there is no axis {}", axis);
    spec.summed[static_cast<std::size_t>(axis)] = true;
  }
  spec.scale = keys.get("scale", 1.0f);
  spec.output = keys.tensor("output");
  return spec;
}

BatchNorm batch_norm(const Keys& keys, BatchNorm::Kind kind) {
  return {
      kind, keys.tensor("x"), keys.get("groups", 1), keys.get("epsilon", 1e-5f), keys.activation(), keys.get("momentum", 0.0f)};
}

SigmoidBce sigmoid_bce(const Keys& keys) {
  return {keys.tensor("logits"), keys.list<float>("targets"), keys.list<float>("weights"),
          keys.has("bf16") ? DType::bf16 : DType::f32};
}

OptimizerUpdate optimizer(const Keys& keys, OptimizerUpdate::Kind kind) {
  OptimizerUpdate spec;
  spec.kind = kind;
  spec.parameters = keys.tensors("parameters");
  spec.beta1 = keys.get("beta1", spec.beta1);
  spec.beta2 = keys.get("beta2", spec.beta2);
  spec.momentum = keys.get("momentum", spec.momentum);
  spec.weight_decay = keys.get("weight_decay", spec.weight_decay);
  return spec;
}

Random random(const Keys& keys, Random::Distribution distribution) {
  Random spec;
  spec.distribution = distribution;
  spec.seed = 1;
  spec.output = keys.tensor("output");
  return spec;
}

Copy copy(const Keys& keys) {
  Copy spec;
  spec.input = keys.tensor("input");
  spec.output = keys.tensor("output");
  spec.permutation = keys.list<int>("permutation");
  spec.input_start = keys.shape(keys.text("input_start"));
  spec.output_start = keys.shape(keys.text("output_start"));
  spec.extent = keys.shape(keys.text("extent"));
  return spec;
}

Concatenate concatenate(const Keys& keys) { return {keys.tensors("inputs"), keys.tensor("output"), keys.get("axis", 0)}; }

const std::map<std::string, std::function<KernelSpec(const Keys&)>>& families() {
  static const std::map<std::string, std::function<KernelSpec(const Keys&)>> table = {
      {"conv_fprop", [](const Keys& k) { return convolution(k, ConvolutionKind::fprop); }},
      {"conv_dgrad", [](const Keys& k) { return convolution(k, ConvolutionKind::dgrad); }},
      {"conv_wgrad", [](const Keys& k) { return convolution(k, ConvolutionKind::wgrad); }},
      {"conv_dgrad_wgrad", [](const Keys& k) { return convolution_backward(k, ConvolutionKind::dgrad); }},
      {"conv_fprop_wgrad", [](const Keys& k) { return convolution_backward(k, ConvolutionKind::fprop); }},
      {"matmul", matmul},
      {"pointwise", pointwise},
      {"reduction", reduction},
      {"batch_norm_forward", [](const Keys& k) { return batch_norm(k, BatchNorm::Kind::forward); }},
      {"batch_norm_backward", [](const Keys& k) { return batch_norm(k, BatchNorm::Kind::backward); }},
      {"sigmoid_bce", sigmoid_bce},
      {"adam", [](const Keys& k) { return optimizer(k, OptimizerUpdate::Kind::adam); }},
      {"rmsprop", [](const Keys& k) { return optimizer(k, OptimizerUpdate::Kind::rmsprop); }},
      {"sgd", [](const Keys& k) { return optimizer(k, OptimizerUpdate::Kind::sgd); }},
      {"ema",
       [](const Keys& k) {
         return EmaUpdate{k.tensors("parameters"), k.get("decay", 0.999f)};
       }},
      {"bf16_copies", [](const Keys& k) { return Bf16Copies{k.tensors("parameters")}; }},
      {"random_normal", [](const Keys& k) { return random(k, Random::Distribution::normal); }},
      {"random_uniform", [](const Keys& k) { return random(k, Random::Distribution::uniform); }},
      {"copy", copy},
      {"concatenate", concatenate},
  };
  return table;
}

// The other way.
struct Writer {
  std::int64_t batch;

  std::string shape(const Shape& shape) const {
    std::vector<std::string> extents;
    for (int d = 0; d < shape.rank(); ++d) {
      const bool of_batch = d == 0 && batch > 1 && shape[0] > 0 && shape[0] % batch == 0;
      const std::string multiple = shape[d] == batch ? "" : std::to_string(shape[d] / std::max<std::int64_t>(batch, 1));
      extents.push_back(of_batch ? multiple + "N" : std::to_string(shape[d]));
    }
    return fmt::format("({})", fmt::join(extents, ","));
  }
  std::string tensor(const TensorDesc& desc) const { return name_of(desc.type) + shape(desc.shape); }
  std::string tensors(const std::vector<TensorDesc>& descs) const {
    std::vector<std::string> all;
    for (const TensorDesc& desc : descs) all.push_back(tensor(desc));
    return fmt::format("{}", fmt::join(all, ";"));
  }
  static std::string activation(const Activation& activation, const char* prefix = "") {
    switch (activation.kind) {
      case Activation::Kind::leaky_relu:
        return fmt::format(" {}leaky_relu={}", prefix, activation.slope);
      case Activation::Kind::tanh:
        return fmt::format(" {}tanh", prefix);
      case Activation::Kind::sigmoid:
        return fmt::format(" {}sigmoid", prefix);
      default:
        return "";
    }
  }
  static std::string steps(const std::vector<PointwiseInstruction>& instructions) {
    std::vector<std::string> all;
    for (const PointwiseInstruction& one : instructions) {
      std::string text = name_of(one.op);
      if (operands_of(one.op) > 0) text += fmt::format(":{}", one.a);
      if (operands_of(one.op) > 1) text += fmt::format(":{}", one.b);
      if (one.alpha != 0 || one.beta != 0) text += fmt::format("@{}", one.alpha);
      if (one.beta != 0) text += fmt::format(",{}", one.beta);
      all.push_back(text);
    }
    return all.empty() ? "" : fmt::format(" steps={}", fmt::join(all, ";"));
  }

  // and_wgrad: "_wgrad" where both gradients are computed.
  std::string operator()(const Convolution& s, const char* and_wgrad = "") const {
    const char* kind = s.kind == ConvolutionKind::fprop ? "fprop" : s.kind == ConvolutionKind::dgrad ? "dgrad" : "wgrad";
    return fmt::format("conv_{}{} x={} w={} y={} stride={} pad={}{}{}{}", kind, and_wgrad, tensor(s.x), tensor(s.w),
                       tensor(s.y), s.stride, s.pad, s.bias ? " bias" : "", activation(s.activation),
                       activation(s.slope_of, "slope_of_"));
  }
  std::string operator()(const ConvolutionBackward& s) const { return (*this)(s.data, "_wgrad"); }
  std::string operator()(const Matmul& s) const {
    return fmt::format("matmul a={} b={} c={}{}{}{}{}", tensor(s.a), tensor(s.b), tensor(s.c),
                       s.transpose_a ? " transpose_a" : "", s.transpose_b ? " transpose_b" : "", s.bias ? " bias" : "",
                       activation(s.activation));
  }
  std::string operator()(const Pointwise& s) const {
    return fmt::format("pointwise{}{} outputs={} results={}", s.inputs.empty() ? "" : " inputs=" + tensors(s.inputs),
                       steps(s.instructions), tensors(s.outputs), fmt::join(s.results, ";"));
  }
  std::string operator()(const Reduction& s) const {
    std::vector<int> axes;
    for (int d = 0; d < max_rank; ++d)
      if (s.summed[static_cast<std::size_t>(d)]) axes.push_back(d);
    return fmt::format("reduction shape={} inputs={}{} results={} summed={} scale={} output={}", shape(s.chain.shape),
                       tensors(s.chain.inputs), steps(s.chain.instructions), fmt::join(s.chain.results, ";"),
                       fmt::join(axes, ";"), s.scale, tensor(s.output));
  }
  std::string operator()(const BatchNorm& s) const {
    return fmt::format("batch_norm_{} x={} groups={} epsilon={}{}{}",
                       s.kind == BatchNorm::Kind::forward ? "forward" : "backward", tensor(s.x), s.groups, s.epsilon,
                       activation(s.activation), s.momentum > 0 ? fmt::format(" momentum={}", s.momentum) : "");
  }
  std::string operator()(const SigmoidBce& s) const {
    return fmt::format("sigmoid_bce logits={} targets={} weights={}{}", tensor(s.logits), fmt::join(s.targets, ";"),
                       fmt::join(s.weights, ";"), s.gradient == DType::bf16 ? " bf16" : "");
  }
  std::string operator()(const OptimizerUpdate& s) const {
    const char* kind = s.kind == OptimizerUpdate::Kind::adam      ? "adam"
                       : s.kind == OptimizerUpdate::Kind::rmsprop ? "rmsprop"
                                                                  : "sgd";
    return fmt::format("{} parameters={} beta1={} beta2={} momentum={} weight_decay={}", kind, tensors(s.parameters), s.beta1,
                       s.beta2, s.momentum, s.weight_decay);
  }
  std::string operator()(const EmaUpdate& s) const {
    return fmt::format("ema parameters={} decay={}", tensors(s.parameters), s.decay);
  }
  std::string operator()(const Bf16Copies& s) const { return fmt::format("bf16_copies parameters={}", tensors(s.parameters)); }
  std::string operator()(const Random& s) const {
    return fmt::format("random_{} output={}", s.distribution == Random::Distribution::normal ? "normal" : "uniform",
                       tensor(s.output));
  }
  std::string operator()(const Copy& s) const {
    return fmt::format("copy input={} output={} permutation={} input_start={} output_start={} extent={}", tensor(s.input),
                       tensor(s.output), fmt::join(s.permutation, ";"), shape(s.input_start), shape(s.output_start),
                       shape(s.extent));
  }
  std::string operator()(const Concatenate& s) const {
    return fmt::format("concatenate inputs={} output={} axis={}", tensors(s.inputs), tensor(s.output), s.axis);
  }
  std::string operator()(const AllReduce& s) const { return fmt::format("all_reduce tensors={}", tensors(s.tensors)); }
};

}  // namespace

Problem parse_problem(std::string_view line, std::int64_t batch) {
  const Keys keys(line, batch);
  const auto family = families().find(keys.family);
  GANNET_CHECK(family != families().end(), "there is no operator '{}'", keys.family);
  Problem problem{keys.name, family->second(keys)};
  keys.finish();
  return problem;
}

std::vector<Problem> read_problems(const std::string& file, std::int64_t batch) {
  std::ifstream lines(file);
  GANNET_CHECK(lines.good(), "can not read {}", file);
  std::vector<Problem> problems;
  int at = 0;
  for (std::string line; std::getline(lines, line);) {
    ++at;
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      problems.push_back(parse_problem(line, batch));
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}:{}: {}", file, at, error.what()));
    }
  }
  return problems;
}

std::string to_text(const KernelSpec& spec, std::int64_t batch) { return std::visit(Writer{batch}, spec); }

}  // namespace gannet::bench

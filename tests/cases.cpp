#include "tests/cases.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernels/check.h"
#include "kernels/operands.h"

namespace gannet::tests {
namespace {

using namespace kernels;

void make_plain(TensorDesc& desc) { desc.layout = Layout::plain; }
void make_plain(std::vector<TensorDesc>& descs) {
  for (TensorDesc& desc : descs) make_plain(desc);
}
struct MakePlain {
  void operator()(Convolution& s) const { make_plain(s.x), make_plain(s.w), make_plain(s.y); }
  void operator()(ConvolutionBackward& s) const { (*this)(s.data), (*this)(s.weights); }
  void operator()(Matmul& s) const { make_plain(s.a), make_plain(s.b), make_plain(s.c); }
  void operator()(Pointwise& s) const { s.layout = Layout::plain, make_plain(s.inputs), make_plain(s.outputs); }
  void operator()(Reduction& s) const { (*this)(s.chain), make_plain(s.output); }
  void operator()(BatchNorm& s) const { make_plain(s.x); }
  void operator()(SigmoidBce& s) const { make_plain(s.logits); }
  void operator()(OptimizerUpdate& s) const { make_plain(s.parameters); }
  void operator()(EmaUpdate& s) const { make_plain(s.parameters); }
  void operator()(Bf16Copies& s) const { make_plain(s.parameters); }
  void operator()(Random& s) const { make_plain(s.output); }
  void operator()(Copy& s) const { make_plain(s.input), make_plain(s.output); }
  void operator()(Concatenate& s) const { make_plain(s.inputs), make_plain(s.output); }
  void operator()(AllReduce& s) const { make_plain(s.tensors); }
};

std::string text(const Activation& activation) {
  switch (activation.kind) {
    case Activation::Kind::none:
      return "";
    case Activation::Kind::leaky_relu:
      return fmt::format(" leaky_relu({})", activation.slope);
    case Activation::Kind::tanh:
      return " tanh";
    case Activation::Kind::sigmoid:
      return " sigmoid";
  }
  return "";
}

std::string text(const Pointwise& chain) {
  std::string result;
  int next = static_cast<int>(chain.inputs.size());
  for (const PointwiseInstruction& i : chain.instructions) {
    const int operands = operands_of(i.op);
    result += fmt::format(" r{}={}(", next++, name_of(i.op));
    if (operands > 0) result += fmt::format("r{}", i.a);
    if (operands > 1) result += fmt::format(",r{}", i.b);
    result += fmt::format(";{},{})", i.alpha, i.beta);
  }
  return result + fmt::format(" results ({}) over {}/{}", fmt::join(chain.results, ","), gannet::to_string(chain.shape),
                              name_of(chain.layout));
}

struct Attributes {
  std::string operator()(const Convolution& s) const {
    const std::string slope = s.slope_of.kind == Activation::Kind::none ? "" : " slope of" + text(s.slope_of);
    return fmt::format(" stride {} pad {}{}{}", s.stride, s.pad, text(s.activation), slope);
  }
  std::string operator()(const ConvolutionBackward& s) const { return (*this)(s.data); }
  std::string operator()(const Matmul& s) const {
    return fmt::format("{}{}{}", s.transpose_a ? " a'" : "", s.transpose_b ? " b'" : "", text(s.activation));
  }
  std::string operator()(const Pointwise& s) const { return text(s); }
  std::string operator()(const Reduction& s) const {
    return fmt::format("{} summed {} scale {}", text(s.chain), fmt::join(s.summed, ""), s.scale);
  }
  std::string operator()(const BatchNorm& s) const {
    return fmt::format(" groups {} epsilon {} momentum {}{}", s.groups, s.epsilon, s.momentum, text(s.activation));
  }
  std::string operator()(const SigmoidBce& s) const {
    return fmt::format(" targets ({}) weights ({})", fmt::join(s.targets, ","), fmt::join(s.weights, ","));
  }
  std::string operator()(const OptimizerUpdate& s) const {
    return fmt::format(" beta1 {} beta2 {} alpha {} momentum {} epsilon {} decay {}{}", s.beta1, s.beta2, s.alpha, s.momentum,
                       s.epsilon, s.weight_decay, s.counts ? "" : " uncounted");
  }
  std::string operator()(const Bf16Copies&) const { return ""; }
  std::string operator()(const EmaUpdate& s) const { return fmt::format(" decay {}", s.decay); }
  std::string operator()(const Random& s) const {
    return fmt::format(" a {} b {} seed {} stream {} first {}", s.a, s.b, s.seed, s.stream, s.first);
  }
  std::string operator()(const Copy& s) const {
    return fmt::format(" permutation ({}) from {} to {} extent {}", fmt::join(s.permutation, ","),
                       gannet::to_string(s.input_start), gannet::to_string(s.output_start), gannet::to_string(s.extent));
  }
  std::string operator()(const Concatenate& s) const { return fmt::format(" axis {}", s.axis); }
  std::string operator()(const AllReduce&) const { return ""; }
};

double drawn(Draw& draw, const Fill& fill, std::size_t index) {
  switch (fill.kind) {
    case Fill::Kind::uniform:
      return draw.uniform(fill.a, fill.b);
    case Fill::Kind::integers:
      return static_cast<double>(draw.between(std::lround(fill.a), std::lround(fill.b)));
    case Fill::Kind::normal:
      return fill.a + fill.b * draw.normal();
    case Fill::Kind::apart:
      return draw.uniform(fill.a, fill.b) * (draw.chance(0.5) ? 1 : -1);
    case Fill::Kind::listed:
      return fill.values[index % fill.values.size()];
  }
  return 0;
}

// The backward pass is handed the statistics that the forward pass has found.
void fill_statistics(const BatchNorm& spec, std::vector<std::vector<double>>& inputs) {
  const std::vector<double>& x = inputs[0];
  const auto channels = inputs[1].size(), groups = static_cast<std::size_t>(spec.groups);
  const std::size_t count = x.size() / channels / groups;
  for (std::size_t g = 0; g < groups; ++g) {
    for (std::size_t c = 0; c < channels; ++c) {
      double mean = 0, variance = 0;
      for (std::size_t i = 0; i < count; ++i) mean += x[(g * count + i) * channels + c] / static_cast<double>(count);
      for (std::size_t i = 0; i < count; ++i) {
        const double deviation = x[(g * count + i) * channels + c] - mean;
        variance += deviation * deviation / static_cast<double>(count);
      }
      inputs[3][g * channels + c] = rounded(mean, DType::f32);
      inputs[4][g * channels + c] = rounded(variance, DType::f32);
    }
  }
}

}  // namespace

Fill uniform(double low, double high) { return {Fill::Kind::uniform, low, high, {}}; }
Fill integers(int low, int high) { return {Fill::Kind::integers, static_cast<double>(low), static_cast<double>(high), {}}; }
Fill normal(double mean, double deviation) { return {Fill::Kind::normal, mean, deviation, {}}; }
Fill apart(double least, double greatest) { return {Fill::Kind::apart, least, greatest, {}}; }
Fill listed(std::vector<double> values) { return {Fill::Kind::listed, 0, 0, std::move(values)}; }

std::string to_string(const Case& test) {
  const Operands operands = operands_of(test.spec);
  std::string result = fmt::format("{} (seed {}): {}", test.name, test.seed, name_of(test.spec));
  for (const TensorDesc& input : operands.inputs) result += " " + gannet::to_string(input);
  result += " ->";
  for (const TensorDesc& output : operands.outputs) result += " " + gannet::to_string(output);
  return result + std::visit(Attributes{}, test.spec);
}

Selection::Selection() {
  if (const char* only = std::getenv("GANNET_TEST_CASE")) only_ = only;
  if (const char* scale = std::getenv("GANNET_TEST_SCALE")) scale_ = std::atof(scale);
  GANNET_CHECK(scale_ > 0 && scale_ <= 1, "GANNET_TEST_SCALE is {}, not in (0,1]", scale_);
}

bool Selection::takes(const std::string& name) {
  if (!only_.empty()) return name == only_;
  const bool turn = due_ >= 1;
  due_ += turn ? scale_ - 1 : scale_;
  return turn;
}

double rounded(double value, DType type) {
  switch (type) {
    case DType::f64:
      return value;
    case DType::f32:
      return static_cast<float>(value);
    case DType::bf16: {
      // Through f32, as every backend does; to nearest even.
      const float single = static_cast<float>(value);
      if (std::isnan(single)) return std::numeric_limits<double>::quiet_NaN();
      auto bits = std::bit_cast<std::uint32_t>(single);
      bits = (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u;
      return std::bit_cast<float>(bits);
    }
    case DType::i32:
      return std::clamp(std::nearbyint(value), -2147483648.0, 2147483647.0);
    case DType::u8:
      return std::clamp(std::nearbyint(value), 0.0, 255.0);
  }
  return value;
}

std::vector<double> filled(Draw& draw, const Fill& fill, DType type, std::int64_t elements) {
  std::vector<double> values(static_cast<std::size_t>(elements));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = rounded(drawn(draw, fill, i), type);
  return values;
}

std::vector<std::vector<double>> inputs_of(const Case& test) {
  const Operands operands = operands_of(test.spec);
  GANNET_CHECK(operands.inputs.size() == test.fills.size(), "{} has {} fills", to_string(test), test.fills.size());
  Draw draw(test.seed);
  std::vector<std::vector<double>> inputs;
  for (std::size_t i = 0; i < operands.inputs.size(); ++i) {
    inputs.push_back(filled(draw, test.fills[i], operands.inputs[i].type, operands.inputs[i].elements()));
  }
  if (const auto* norm = std::get_if<BatchNorm>(&test.spec); norm != nullptr && norm->kind == BatchNorm::Kind::backward) {
    fill_statistics(*norm, inputs);
  }
  return inputs;
}

KernelSpec with_plain_layouts(KernelSpec spec) {
  std::visit(MakePlain{}, spec);
  return spec;
}

Layout draw_picture_layout(Draw& draw, const Shape& nhwc) {
  std::vector<Layout> fitting{Layout::plain};
  if (nhwc.rank() == 4 && nhwc[3] % 8 == 0) fitting.push_back(Layout::blocked8);
  if (nhwc.rank() == 4 && nhwc[3] % 16 == 0) fitting.push_back(Layout::blocked16);
  return draw.pick(fitting);
}

Layout draw_filter_layout(Draw& draw, const Shape& krsc) {
  std::vector<Layout> fitting{Layout::plain};
  if (krsc.rank() == 4 && krsc[0] % 8 == 0 && krsc[3] % 8 == 0) fitting.push_back(Layout::filter8);
  if (krsc.rank() == 4 && krsc[0] % 16 == 0 && krsc[3] % 16 == 0) fitting.push_back(Layout::filter16);
  return draw.pick(fitting);
}

Shape draw_shape(Draw& draw, int rank, std::int64_t largest_elements) {
  std::vector<std::int64_t> extents;
  std::int64_t room = largest_elements;
  for (int d = 0; d < rank; ++d) {
    const std::int64_t wanted = draw.pick<std::int64_t>({1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17, 24, 31, 32, 33, 48, 67});
    extents.push_back(std::min(wanted, std::max<std::int64_t>(room, 1)));
    room /= extents.back();
  }
  // Where the large extents lie is chance too.
  for (std::size_t i = extents.size(); i > 1; --i) {
    std::swap(extents[i - 1], extents[static_cast<std::size_t>(draw.between(0, static_cast<std::int64_t>(i) - 1))]);
  }
  return Shape(std::span<const std::int64_t>(extents));
}

Activation draw_activation(Draw& draw) {
  using Kind = Activation::Kind;
  const Kind kind = draw.pick({Kind::none, Kind::leaky_relu, Kind::tanh, Kind::sigmoid});
  return {kind, kind == Kind::leaky_relu ? draw.pick({0.0f, 0.2f, 0.01f}) : 0.0f};
}

}  // namespace gannet::tests

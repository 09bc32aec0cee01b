#include "engine/nn/layers.h"

#include "engine/nn/synchronised_batch_norm.h"

#include <fmt/format.h>

#include <cmath>

namespace gannet::nn {

namespace {

constexpr float bn_momentum = 0.1f;
constexpr float bn_epsilon = 1e-5f;

}  // namespace

Value Network::parameter(const std::string& suffix, const Shape& shape, const Initializer& initial) {
  return graph_.read(parameters_.emplace_back(Variable{name_ + "." + suffix, {DType::f32, shape}, initial}));
}

Value Network::statistic(const std::string& suffix, const Shape& shape, float initial) {
  return graph_.read(
      statistics_.emplace_back(Variable{name_ + "." + suffix, {DType::f32, shape}, {Initializer::Kind::constant, initial, 0}}));
}

void Network::assign_statistic(const std::string& suffix, Value value) {
  for (const Variable& variable : statistics_)
    if (variable.name == name_ + "." + suffix) return graph_.assign(variable, value);
  throw InputError(fmt::format("network {} has no statistic {}", name_, suffix));
}

Initializer linear_default(std::int64_t inputs) {
  const float bound = 1.0f / std::sqrt(static_cast<float>(inputs));
  return {Initializer::Kind::uniform, -bound, bound};
}

DType compute_type(std::string_view precision) { return precision == "bf16" ? DType::bf16 : DType::f32; }

Value as_type(Value x, DType type, Where where) { return x.type().type == type ? x : ops::cast(x, type, where); }

Value convolution(Network& network, const std::string& layer, Value x, const ConvolutionSettings& s, Where where) {
  const Graph::Scope scope(network.graph(), layer);
  GANNET_CHECK(x.shape().rank() == 4, "a convolution takes (N,H,W,C), not {}", to_string(x.shape()));
  const std::int64_t c = x.shape()[3];
  const DType type = network.mode().compute;
  const Value w = as_type(network.parameter(layer + ".weight", {s.channels, s.kernel, s.kernel, c}, s.initial), type, where);
  x = as_type(x, type, where);
  return ops::conv_fprop(x, w, s.stride, s.pad, where);
}

Value conv_transpose(Network& network, const std::string& layer, Value y, const ConvolutionSettings& s, Where where) {
  const Graph::Scope scope(network.graph(), layer);
  GANNET_CHECK(y.shape().rank() == 4, "a transposed convolution takes (N,P,Q,K), not {}", to_string(y.shape()));
  const std::int64_t k = y.shape()[3];
  const DType type = network.mode().compute;
  const Value w = as_type(network.parameter(layer + ".weight", {k, s.kernel, s.kernel, s.channels}, s.initial), type, where);
  y = as_type(y, type, where);
  return ops::conv_transpose(y, w, s.stride, s.pad, where);
}

Value linear(Network& network, const std::string& layer, Value x, std::int64_t features, const Initializer& weight,
             const Initializer& bias, Where where) {
  const Graph::Scope scope(network.graph(), layer);
  GANNET_CHECK(x.shape().rank() == 2, "a linear layer takes (N,features), not {}", to_string(x.shape()));
  const DType type = network.mode().compute;
  const Value w = as_type(network.parameter(layer + ".weight", {features, x.shape()[1]}, weight), type, where);
  const Value b = network.parameter(layer + ".bias", {features}, bias);
  const Value y = ops::matmul(as_type(x, type, where), w, false, true, where);
  return ops::add(y, as_type(b, type, where), where);
}

Value batch_norm(Network& network, const std::string& layer, Value x, const Initializer& gamma_start,
                 const Activation& activation, Where where) {
  const Graph::Scope scope(network.graph(), layer);
  const Mode& mode = network.mode();
  const Shape& shape = x.shape();
  const std::int64_t channels = shape[shape.rank() - 1];
  const Value gamma = network.parameter(layer + ".weight", {channels}, gamma_start);
  const Value beta = network.parameter(layer + ".bias", {channels}, {Initializer::Kind::constant, 0, 0});
  const Value mean = network.statistic(layer + ".running_mean", {channels}, 0);
  const Value variance = network.statistic(layer + ".running_var", {channels}, 1);

  if (!mode.training) {
    const Value scale = gamma / ops::sqrt(ops::affine(variance, 1, bn_epsilon, where), where);
    const Value shift = beta - mean * scale;
    const Value y =
        ops::activate(ops::add(ops::multiply(as_type(x, DType::f32, where), scale, where), shift, where), activation, where);
    return as_type(y, x.type().type, where);
  }

  const std::int64_t samples = shape.elements() / channels / mode.groups;
  GANNET_CHECK(samples > 1, "batch norm in training needs more than one value per channel, not a batch of {}",
               to_string(shape));
  const ops::RunningStatistics running{mean, variance, bn_momentum};
  const auto result = mode.ranks > 1 ? synchronised_batch_norm(x, gamma, beta, bn_epsilon, activation, mode, running, where)
                                     : ops::batch_norm(x, gamma, beta, bn_epsilon, activation, mode.groups, running, where);
  network.assign_statistic(layer + ".running_mean", result.running_mean);
  network.assign_statistic(layer + ".running_var", result.running_variance);
  return result.y;
}

std::string Sequential::next(int modules) {
  std::string name = fmt::format("{}.{}", name_, index_);
  index_ += modules;
  return name;
}

Sequential& Sequential::convolution(const ConvolutionSettings& settings, Where where) {
  value_ = nn::convolution(network_, next(), value_, settings, where);
  return *this;
}

Sequential& Sequential::conv_transpose(const ConvolutionSettings& settings, Where where) {
  value_ = nn::conv_transpose(network_, next(), value_, settings, where);
  return *this;
}

Sequential& Sequential::linear(std::int64_t features, const Initializer& weight, const Initializer& bias, Where where) {
  value_ = nn::linear(network_, next(), value_, features, weight, bias, where);
  return *this;
}

Sequential& Sequential::linear(std::int64_t features, Where where) {
  const Initializer initial = linear_default(value_.shape()[value_.shape().rank() - 1]);
  return linear(features, initial, initial, where);
}

Sequential& Sequential::activation(const Activation& activation, Where where) {
  const Graph::Scope scope(network_.graph(), next());
  value_ = ops::activate(value_, activation, where);
  return *this;
}

Sequential& Sequential::batch_norm(const Initializer& gamma, const Activation& activation, Where where) {
  const int modules = activation.kind == Activation::Kind::none ? 1 : 2;
  value_ = nn::batch_norm(network_, next(modules), value_, gamma, activation, where);
  return *this;
}

}  // namespace gannet::nn

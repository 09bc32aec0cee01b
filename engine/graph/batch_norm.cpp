// Batch normalisation with its activation: one kernel forward, one backward; beyond that, their compositions.
#include <algorithm>

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

using kernels::Activation;

struct Settings {
  float epsilon;
  Activation activation;
  int groups;
  float momentum = 0;  // of running statistics; 0: there are none
};

// (N,…,C) as (groups, M, C): statistics run over the middle.
Shape grouped(const Shape& shape, int groups) {
  const std::int64_t channels = shape[shape.rank() - 1];
  return {groups, shape.elements() / channels / groups, channels};
}

// Normalised values and their factor 1/sqrt(variance + epsilon), from statistics (groups, C).
struct Normalised {
  Value hat, factor;  // (groups, M, C), (groups, 1, C)
};
Normalised normalise(Value x, Value mean, Value variance, const Settings& settings) {
  const Shape folded = grouped(x.shape(), settings.groups), statistic{folded[0], 1, folded[2]};
  const Value factor = ops::reciprocal(ops::sqrt(ops::reshape(variance, statistic) + settings.epsilon));
  return {(ops::reshape(x, folded) - ops::reshape(mean, statistic)) * factor, factor};
}

std::vector<TensorType> check_operands(std::span<const TensorType> inputs, int groups) {
  const Shape& x = inputs[0].shape;
  GANNET_CHECK(x.rank() == 2 || x.rank() == 4, "x has rank 2 or 4");
  GANNET_CHECK(groups >= 1 && x[0] % groups == 0, "a batch of {} is not {} equal groups", x[0], groups);
  const std::int64_t channels = x[x.rank() - 1];
  GANNET_CHECK(inputs[1].shape == Shape{channels} && inputs[2].shape == Shape{channels}, "gamma and beta have {} elements",
               channels);
  GANNET_CHECK(x.elements() / channels / groups > 1, "a group has one value per channel: no variance");
  const TensorType per_channel{DType::f32, {channels}}, statistic{DType::f32, {groups, channels}};
  return {per_channel, statistic};
}

class BatchNormBackward : public Operator {
 public:
  explicit BatchNormBackward(const Settings& settings) : settings_(settings) {}
  std::string name() const override { return "batch_norm_backward"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    const auto types = check_operands(inputs, settings_.groups);
    GANNET_CHECK(inputs[3] == types[1] && inputs[4] == types[1] && inputs[5] == inputs[0], "statistics or dy do not fit x");
    return {inputs[0], types[0], types[0]};
  }

  // With z = gamma xhat + beta and dz = dy activation'(z): dbeta = sum dz, dgamma = sum dz xhat,
  // dx = gamma / sqrt(variance + epsilon) (dz - mean dz - xhat mean(dz xhat)), means over the group.
  std::vector<Value> decompose(std::span<const Value> inputs) const override {
    const Value x = ops::cast(inputs[0], DType::f32), dy = ops::cast(inputs[5], DType::f32), gamma = inputs[1];
    const auto [hat, factor] = normalise(x, inputs[3], inputs[4], settings_);
    const Shape channels{gamma.shape()[0]};
    Value dz = ops::reshape(dy, hat.shape());
    if (settings_.activation.kind != Activation::Kind::none) {
      const Value z = hat * gamma + inputs[2];
      const Value y = ops::activate(z, settings_.activation);
      dz = grad(std::span(&y, 1), std::span(&dz, 1), std::span(&z, 1))[0];
    }
    const int over[] = {1}, all[] = {0, 1};
    const Value dx = factor * gamma * (dz - ops::mean(dz, over) - hat * ops::mean(dz * hat, over));
    return {ops::cast(ops::reshape(dx, x.shape()), inputs[0].type().type), ops::reshape(ops::sum(dz * hat, all), channels),
            ops::reshape(ops::sum(dz, all), channels)};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc>) const override {
    return kernels::BatchNorm{kernels::BatchNorm::Kind::backward, inputs[0], settings_.groups, settings_.epsilon,
                              settings_.activation};
  }

 private:
  Settings settings_;
};

class BatchNorm : public Operator {
 public:
  explicit BatchNorm(const Settings& settings) : settings_(settings) {}
  std::string name() const override { return "batch_norm"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    const auto types = check_operands(inputs, settings_.groups);
    std::vector<TensorType> outputs{inputs[0], types[1], types[1]};
    if (settings_.momentum > 0) {
      GANNET_CHECK(inputs[3] == types[0] && inputs[4] == types[0], "running statistics are {}", to_string(types[0]));
      outputs.insert(outputs.end(), 2, types[0]);
    }
    return outputs;
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const override {
    const bool of_statistics =
        std::any_of(gradients.begin() + 1, gradients.end(), [](const Value& gradient) { return bool(gradient); });
    if (!gradients[0] || of_statistics) return Operator::vjp(node, gradients, needs);
    const Value dy = ops::cast(gradients[0], node.outputs[0].type, node.where);
    auto results =
        node.graph->apply(std::make_shared<BatchNormBackward>(settings_),
                          {node.inputs[0], node.inputs[1], node.inputs[2], node.value(1), node.value(2), dy}, node.where);
    results.resize(node.inputs.size());
    return results;
  }

  std::vector<Value> decompose(std::span<const Value> inputs) const override {
    const Value x = ops::cast(inputs[0], DType::f32);
    const Shape folded = grouped(x.shape(), settings_.groups), statistic{folded[0], folded[2]};
    const int over[] = {1};
    const Value flat = ops::reshape(x, folded), mean = ops::mean(flat, over);
    const Value variance = ops::mean(ops::square(flat - mean), over);
    const Value hat = normalise(x, ops::reshape(mean, statistic), ops::reshape(variance, statistic), settings_).hat;
    const Value y = ops::activate(hat * inputs[1] + inputs[2], settings_.activation);
    std::vector<Value> results{ops::cast(ops::reshape(y, x.shape()), inputs[0].type().type), ops::reshape(mean, statistic),
                               ops::reshape(variance, statistic)};
    if (settings_.momentum > 0) {
      const auto values = static_cast<float>(folded[1]);
      results.push_back(moved(inputs[3], results[1], 1));
      results.push_back(moved(inputs[4], results[2], values / (values - 1)));
    }
    return results;
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc>) const override {
    return kernels::BatchNorm{kernels::BatchNorm::Kind::forward,
                              inputs[0],
                              settings_.groups,
                              settings_.epsilon,
                              settings_.activation,
                              settings_.momentum};
  }

 private:
  // A running statistic (C), moved by each row of (groups, C) in turn.
  Value moved(Value running, Value statistics, float scale) const {
    for (int group = 0; group < settings_.groups; ++group) {
      const Value row = ops::reshape(ops::slice_axis(statistics, 0, group, 1), running.shape());
      running = running * (1.0f - settings_.momentum) + row * (settings_.momentum * scale);
    }
    return running;
  }

  Settings settings_;
};

}  // namespace

ops::BatchNormResult ops::batch_norm(Value x, Value gamma, Value beta, float epsilon, const Activation& activation, int groups,
                                     const RunningStatistics& running, Where where) {
  std::vector<Value> inputs{x, gamma, beta};
  if (running.momentum > 0) inputs.insert(inputs.end(), {running.mean, running.variance});
  auto results = x.graph().apply(std::make_shared<BatchNorm>(Settings{epsilon, activation, groups, running.momentum}),
                                 std::move(inputs), where);
  results.resize(5);
  return {results[0], results[1], results[2], results[3], results[4]};
}

}  // namespace gannet

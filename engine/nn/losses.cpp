#include "engine/nn/losses.h"

#include <array>
#include <vector>

#include "engine/graph/operator.h"
#include "engine/nn/layers.h"

namespace gannet::nn {

namespace {

// A norm below this counts as this, a constant: the root's derivative is infinite at 0, and PyTorch's norm has gradient 0
// there. Its square is a normal fp32 number.
constexpr float least_norm = 1e-18f;

Value element(Value values, int index, Where where) {
  return ops::reshape(ops::slice_axis(values, 0, index, 1, where), {}, where);
}

}  // namespace

Value flatten_logits(Value logits, Where where) {
  return ops::reshape(as_type(logits, DType::f32, where), {logits.shape().elements()}, where);
}

BceLoss discriminator_bce(Value logits, float smoothing, Where where) {
  constexpr std::array weights{1.0f, 1.0f};
  const std::array targets{1.0f - smoothing, 0.0f};
  const auto [loss, probability] = ops::sigmoid_bce(flatten_logits(logits, where), targets, weights, where);
  return {loss, element(probability, 0, where), element(probability, 1, where)};
}

BceLoss non_saturating_bce(Value logits, Where where) {
  constexpr std::array targets{1.0f}, weights{1.0f};
  const auto [loss, probability] = ops::sigmoid_bce(flatten_logits(logits, where), targets, weights, where);
  return {loss, {}, ops::reshape(probability, {}, where)};
}

BceLoss minimax_bce(Value logits, Where where) {
  constexpr std::array targets{0.0f}, weights{-1.0f};
  const auto [loss, probability] = ops::sigmoid_bce(flatten_logits(logits, where), targets, weights, where);
  return {loss, {}, ops::reshape(probability, {}, where)};
}

Value gradient_penalty(const std::function<Value(Value)>& critic, Value real, Value fake, Value epsilon, float weight,
                       Where where) {
  const Shape& shape = real.shape();
  Shape per_sample = shape;
  std::vector<int> axes;
  for (int axis = 1; axis < shape.rank(); ++axis) {
    per_sample[axis] = 1;
    axes.push_back(axis);
  }
  const Value e = ops::reshape(epsilon, per_sample, where);
  const Value x = ops::add(ops::multiply(e, real, where), ops::multiply(ops::affine(e, -1, 1, where), fake, where), where);
  // Samples do not mix in the critic (no batch norm), so the gradient of the sum holds each sample's own gradient.
  const Value scores = ops::sum_all(flatten_logits(critic(x), where), where);
  const Value gradient = grad(scores, std::array{x}).front();
  const Value squared = ops::sum(ops::square(gradient, where), axes, where);
  const Value floor = ops::constant(x.graph(), least_norm * least_norm, per_sample, where);
  const Value norm = ops::sqrt(ops::maximum(squared, floor, where), where);
  return ops::affine(ops::mean_all(ops::square(ops::affine(norm, 1, -1, where), where), where), weight, 0, where);
}

}  // namespace gannet::nn

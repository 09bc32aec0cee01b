#include "engine/nn/synchronised_batch_norm.h"

#include <array>

namespace gannet::nn {

ops::BatchNormResult synchronised_batch_norm(Value x, Value gamma, Value beta, float epsilon, const Activation& activation,
                                             const Mode& mode, const ops::RunningStatistics& running, Where where) {
  const std::int64_t channels = gamma.shape()[0], groups = mode.groups, values = x.shape().elements() / channels / groups;
  const auto all = static_cast<float>(values * mode.ranks);
  const std::array over{1};
  // Both sums in one pass and one reduction. About the running mean, which all ranks have in common, they lose nothing to
  // cancellation once it is near the batch's.
  const Value shift = ops::stop_gradient(running.mean);
  const Value moved = ops::reshape(as_type(x, DType::f32, where), {groups, values, channels}, where) - shift;
  const std::vector<Value> sums =
      ops::all_reduce(std::array{ops::sum(moved, over, where), ops::sum(ops::square(moved, where), over, where)},
                      ops::Combine::sum, DType::f32, where);
  const Value mean = sums[0] * (1 / all);  // (groups,1,C)
  const Value zero = ops::constant(x.graph(), 0, mean.shape(), where);
  const Value variance = ops::maximum(sums[1] * (1 / all) - ops::square(mean, where), zero, where);
  const Value factor = ops::reciprocal(ops::sqrt(ops::affine(variance, 1, epsilon, where), where), where);
  const Value y = ops::activate((moved - mean) * factor * gamma + beta, activation, where);

  ops::BatchNormResult result;
  result.y = as_type(ops::reshape(y, x.shape(), where), x.type().type, where);
  result.mean = ops::reshape(mean + shift, {groups, channels}, where);
  result.variance = ops::reshape(variance, {groups, channels}, where);
  result.running_mean = running.mean;
  result.running_variance = running.variance;
  for (std::int64_t group = 0; group < groups; ++group) {
    const auto of_group = [&](Value statistics, float scale) {
      return ops::reshape(ops::slice_axis(statistics, 0, group, 1, where), {channels}, where) * (running.momentum * scale);
    };
    result.running_mean = result.running_mean * (1 - running.momentum) + of_group(result.mean, 1);
    result.running_variance = result.running_variance * (1 - running.momentum) + of_group(result.variance, all / (all - 1));
  }
  return result;
}

}  // namespace gannet::nn

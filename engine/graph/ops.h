// The operators that model code is written with. All are closed under differentiation. Shapes: kernels/*.h.
// Binary pointwise operators broadcast like NumPy.
#pragma once

#include <source_location>

#include "engine/graph/graph.h"

namespace gannet::ops {

using kernels::Activation;
using Where = std::source_location;

// Convolutions: x (N,H,W,C), w (K,R,S,C), y (N,P,Q,K).
Value conv_fprop(Value x, Value w, int stride, int pad, Where where = Where::current());
// height, width: of the result (several sizes can give the same P,Q).
Value conv_dgrad(Value y, Value w, int stride, int pad, std::int64_t height, std::int64_t width,
                 Where where = Where::current());
// r, s: extent of the filter. The result is f32.
Value conv_wgrad(Value x, Value y, int stride, int pad, std::int64_t r, std::int64_t s, Where where = Where::current());
// dgrad to size (P-1)*stride - 2*pad + R, as torch.nn.ConvTranspose2d.
Value conv_transpose(Value y, Value w, int stride, int pad, Where where = Where::current());

// (M,K) x (K,N), either operand transposed on request; the result has the operands' type.
Value matmul(Value a, Value b, bool transpose_a = false, bool transpose_b = false, Where where = Where::current());
Value matmul_f32(Value a, Value b, bool transpose_a, bool transpose_b, Where where = Where::current());  // f32 result

// Pointwise.
Value affine(Value a, float alpha, float beta, Where where = Where::current());  // alpha a + beta
Value add(Value a, Value b, Where where = Where::current());
Value subtract(Value a, Value b, Where where = Where::current());
Value multiply(Value a, Value b, Where where = Where::current());
Value divide(Value a, Value b, Where where = Where::current());
Value maximum(Value a, Value b, Where where = Where::current());
Value minimum(Value a, Value b, Where where = Where::current());
Value greater(Value a, Value b, Where where = Where::current());  // 1 or 0, no derivative
Value exp(Value a, Where where = Where::current());
Value log(Value a, Where where = Where::current());
Value sqrt(Value a, Where where = Where::current());
Value reciprocal(Value a, Where where = Where::current());
Value tanh(Value a, Where where = Where::current());
Value sigmoid(Value a, Where where = Where::current());
Value softplus(Value a, Where where = Where::current());
Value abs(Value a, Where where = Where::current());
Value sign(Value a, Where where = Where::current());                     // no derivative
Value leaky_relu(Value a, float slope, Where where = Where::current());  // slope 0: ReLU
Value square(Value a, Where where = Where::current());
Value cast(Value a, DType type, Where where = Where::current());  // f32, bf16; from u8 and i32 to f32
Value activate(Value a, const Activation& activation, Where where = Where::current());

// Reductions and broadcasting. Axes are kept with extent 1.
Value sum(Value a, std::span<const int> axes, Where where = Where::current());
Value mean(Value a, std::span<const int> axes, Where where = Where::current());
Value sum_all(Value a, Where where = Where::current());                           // rank 0
Value mean_all(Value a, Where where = Where::current());                          // rank 0
Value broadcast_to(Value a, const Shape& shape, Where where = Where::current());  // same rank, extents equal or 1; or rank 0
Value constant(Graph& graph, float value, const Shape& shape, Where where = Where::current());

// Shape operators, in adjoint pairs.
Value reshape(Value a, const Shape& shape, Where where = Where::current());
Value transpose(Value a, std::span<const int> permutation,
                Where where = Where::current());  // output axis d is input axis permutation[d]
Value slice(Value a, const Shape& start, const Shape& extent, Where where = Where::current());
Value pad(Value a, const Shape& before, const Shape& after, Where where = Where::current());  // with zeros
Value concatenate(std::span<const Value> values, int axis, Where where = Where::current());
Value slice_axis(Value a, int axis, std::int64_t start, std::int64_t extent, Where where = Where::current());

// The same value under another name: the derivative passes.
Value identity(Value a, Where where = Where::current());
// The gradient stops here.
Value stop_gradient(Value a, Where where = Where::current());

// Fused: forward and first derivative are each one kernel.
struct RunningStatistics {
  Value mean, variance;  // (C)
  float momentum = 0;    // above 0
};
struct BatchNormResult {
  Value y, mean, variance;               // mean and variance (groups, C), biased
  Value running_mean, running_variance;  // moved by each group in turn; variance by the unbiased ones
};
BatchNormResult batch_norm(Value x, Value gamma, Value beta, float epsilon, const Activation& activation, int groups = 1,
                           const RunningStatistics& running = {}, Where where = Where::current());
struct SigmoidBceResult {
  Value loss, probability;  // (), (targets.size())
};
SigmoidBceResult sigmoid_bce(Value logits, std::span<const float> targets, std::span<const float> weights,
                             Where where = Where::current());

// Random draws, keyed by (seed, step, stream): step is an i32 input of rank 0. The result begins with element `first` of the
// draw.
Value random_normal(Value step, const Shape& shape, float mean, float deviation, std::uint64_t seed, std::uint32_t stream,
                    std::int64_t first = 0, Where where = Where::current());
Value random_uniform(Value step, const Shape& shape, float low, float high, std::uint64_t seed, std::uint32_t stream,
                     std::int64_t first = 0, Where where = Where::current());

// Each value's sum or mean over the ranks of the job (kernels/all_reduce.h), of the same values on every rank. carried: bf16
// halves the bytes and rounds the values and their sums.
using Combine = kernels::AllReduce::Combine;
std::vector<Value> all_reduce(std::span<const Value> values, Combine combine, DType carried = DType::f32,
                              Where where = Where::current());

// Optimizer and moving average over all tensors of a player. Inputs and results as in kernels/optimizer.h.
struct UpdateResult {
  Value step, nonfinite;
  std::vector<Value> parameters;
  std::vector<std::vector<Value>> moments;  // [tensor][moment]
};
UpdateResult optimizer_update(const kernels::OptimizerUpdate& settings, Value learning_rate, Value step,
                              std::span<const Value> parameters, std::span<const Value> gradients,
                              std::span<const std::vector<Value>> moments, Where where = Where::current());
std::vector<Value> ema_update(float decay, std::span<const Value> averages, std::span<const Value> parameters,
                              Where where = Where::current());

}  // namespace gannet::ops

namespace gannet {
Value operator+(Value a, Value b);
Value operator-(Value a, Value b);
Value operator*(Value a, Value b);
Value operator/(Value a, Value b);
Value operator+(Value a, float b);
Value operator-(Value a, float b);
Value operator*(Value a, float b);
Value operator-(Value a);
}  // namespace gannet

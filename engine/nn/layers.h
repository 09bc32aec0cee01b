// Layers written with operators. Names, layouts, starting values and batch-norm semantics are PyTorch's.
#pragma once

#include <string>
#include <vector>

#include "engine/graph/ops.h"

namespace gannet::nn {

using kernels::Activation;
using ops::Where;

inline constexpr Activation relu{Activation::Kind::leaky_relu, 0.0f};
inline constexpr Activation leaky_relu(float slope) { return {Activation::Kind::leaky_relu, slope}; }
inline constexpr Activation tanh{Activation::Kind::tanh, 0.0f};

// How a network is traced. A network may be traced several times in a program, each time with the present weights.
struct Mode {
  bool training = true;        // batch norm by the batch's statistics (updating the running ones), or by the running ones
  DType compute = DType::f32;  // bf16: convolutions and products take bf16, and activations stay bf16 between layers
  int groups = 1;              // equal runs of the batch that batch norm normalises apart (real first, then fake)
  int ranks = 1;               // above 1: batch norm in training goes by the statistics of the batches of all ranks together
};

// A network being traced: `name` begins the names of its variables ("generator", "ema.generator").
class Network {
 public:
  Network(Graph& graph, std::string name, const Mode& mode) : graph_(graph), name_(std::move(name)), mode_(mode) {}

  Graph& graph() const { return graph_; }
  const std::string& name() const { return name_; }
  const Mode& mode() const { return mode_; }
  const std::vector<Variable>& parameters() const { return parameters_; }  // in PyTorch's order
  const std::vector<Variable>& statistics() const { return statistics_; }  // running means and variances of batch norm

  Value parameter(const std::string& suffix, const Shape& shape, const Initializer& initial);
  Value statistic(const std::string& suffix, const Shape& shape, float initial);
  void assign_statistic(const std::string& suffix, Value value);

 private:
  Graph& graph_;
  std::string name_;
  Mode mode_;
  std::vector<Variable> parameters_, statistics_;
};

// torch.nn.Linear's own start: uniform within 1 / sqrt(inputs), weight and bias alike.
Initializer linear_default(std::int64_t inputs);

struct ConvolutionSettings {
  std::int64_t channels;  // of the result
  int kernel, stride, pad;
  Initializer initial;
};

// `layer` is the layer's name within the network ("main.0").
// x (N,H,W,C) -> (N,P,Q,channels); weight (channels,R,S,C). No bias.
Value convolution(Network& network, const std::string& layer, Value x, const ConvolutionSettings& settings,
                  Where where = Where::current());
// y (N,P,Q,K) -> (N,H,W,channels), H = (P-1)*stride - 2*pad + kernel; weight (K,R,S,channels). No bias.
Value conv_transpose(Network& network, const std::string& layer, Value y, const ConvolutionSettings& settings,
                     Where where = Where::current());
// x (N,I) -> (N,features); weight (features,I), bias (features).
Value linear(Network& network, const std::string& layer, Value x, std::int64_t features, const Initializer& weight,
             const Initializer& bias, Where where = Where::current());
// x (N,C) or (N,H,W,C), followed by the activation. Momentum 0.1, epsilon 1e-5; the batch is normalised by its biased
// variance, the running variance takes the unbiased one.
Value batch_norm(Network& network, const std::string& layer, Value x, const Initializer& gamma, const Activation& activation,
                 Where where = Where::current());

// Traces the modules of an nn.Sequential one after the other and counts them as PyTorch does, activations too.
class Sequential {
 public:
  Sequential(Network& network, std::string name, Value input) : network_(network), name_(std::move(name)), value_(input) {}

  Sequential& convolution(const ConvolutionSettings& settings, Where where = Where::current());
  Sequential& conv_transpose(const ConvolutionSettings& settings, Where where = Where::current());
  Sequential& linear(std::int64_t features, const Initializer& weight, const Initializer& bias, Where where = Where::current());
  Sequential& linear(std::int64_t features, Where where = Where::current());  // torch.nn.Linear's own start
  Sequential& activation(const Activation& activation, Where where = Where::current());
  // Two modules: the normalisation and the activation.
  Sequential& batch_norm(const Initializer& gamma, const Activation& activation, Where where = Where::current());

  Value value() const { return value_; }

 private:
  std::string next(int modules = 1);  // the name of the next module

  Network& network_;
  std::string name_;
  Value value_;
  int index_ = 0;
};

// What a mode computes in, from train.precision. tf32 is a GPU's arithmetic on f32 values.
DType compute_type(std::string_view precision);
// x in the type; no operator when it is already.
Value as_type(Value x, DType type, Where where = Where::current());

}  // namespace gannet::nn

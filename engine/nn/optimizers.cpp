#include "engine/nn/optimizers.h"

#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet::nn {

namespace {

kernels::OptimizerUpdate settings_of(const Config& config, const std::string& section) {
  using Kind = kernels::OptimizerUpdate::Kind;
  const auto real = [&](const char* key) { return static_cast<float>(config.real(section + "." + key)); };
  const std::string& kind = config.text(section + ".kind");
  kernels::OptimizerUpdate settings;
  settings.kind = kind == "adam" ? Kind::adam : kind == "rmsprop" ? Kind::rmsprop : Kind::sgd;
  settings.beta1 = real("beta1");
  settings.beta2 = real("beta2");
  settings.alpha = real("alpha");
  settings.momentum = real("momentum");
  settings.epsilon = real("epsilon");
  settings.weight_decay = real("weight_decay");
  return settings;
}

// torch.optim's names of the moments, in the order of kernels/optimizer.h.
std::vector<std::string> moment_names(const kernels::OptimizerUpdate& settings) {
  using Kind = kernels::OptimizerUpdate::Kind;
  if (settings.kind == Kind::adam) return {"exp_avg", "exp_avg_sq"};
  std::vector<std::string> names;
  if (settings.kind == Kind::rmsprop) names.emplace_back("square_avg");
  if (settings.momentum != 0) names.emplace_back("momentum_buffer");
  return names;
}

}  // namespace

void update_player(Graph& graph, const Config& config, const std::string& player, std::span<const Variable> parameters,
                   Value loss, Value learning_rate, int ranks) {
  const Graph::Scope scope(graph, player + ".update");
  const kernels::OptimizerUpdate settings = settings_of(config, player + "_optimizer");
  const std::vector<std::string> names = moment_names(settings);
  const Variable step{"optimizer." + player + ".step", {DType::f32, {}}, {}};

  std::vector<Value> values;
  std::vector<std::vector<Variable>> moments;
  std::vector<std::vector<Value>> moment_values;
  for (const Variable& parameter : parameters) {
    values.push_back(graph.read(parameter));
    auto& variables = moments.emplace_back();
    auto& reads = moment_values.emplace_back();
    for (const std::string& name : names) {
      variables.push_back({"optimizer." + parameter.name + "." + name, parameter.type, {}});
      reads.push_back(graph.read(variables.back()));
    }
  }

  std::vector<Value> gradients = grad(loss, values);
  if (ranks > 1) {
    const DType carried = config.text("train.reduction") == "bf16" ? DType::bf16 : DType::f32;
    gradients = ops::all_reduce(gradients, ops::Combine::mean, carried);
  }
  const ops::UpdateResult updated =
      ops::optimizer_update(settings, learning_rate, graph.read(step), values, gradients, moment_values);
  graph.assign(step, updated.step);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    graph.assign(parameters[i], updated.parameters[i]);
    for (std::size_t m = 0; m < names.size(); ++m) graph.assign(moments[i][m], updated.moments[i][m]);
  }
  graph.output("nonfinite." + player, updated.nonfinite);
}

void update_average(Graph& graph, float decay, std::span<const Variable> parameters, std::span<const Variable> statistics) {
  const Graph::Scope scope(graph, "ema");
  const auto average_of = [](const Variable& v) { return Variable{"ema." + v.name, v.type, v.initial}; };
  std::vector<Variable> averages;
  std::vector<Value> averaged, present;
  for (const Variable& parameter : parameters) {
    averages.push_back(average_of(parameter));
    averaged.push_back(graph.read(averages.back()));
    present.push_back(graph.read(parameter));
  }
  const std::vector<Value> results = ops::ema_update(decay, averaged, present);
  for (std::size_t i = 0; i < averages.size(); ++i) graph.assign(averages[i], results[i]);
  for (const Variable& statistic : statistics) graph.assign(average_of(statistic), graph.read(statistic));
}

}  // namespace gannet::nn

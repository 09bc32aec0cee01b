// Updates of state: optimizers and moving averages over all tensors of a player. Differentiating through one is an error.
#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

class OptimizerUpdate : public Operator {
 public:
  explicit OptimizerUpdate(kernels::OptimizerUpdate spec) : spec_(std::move(spec)) {}
  std::string name() const override {
    using Kind = kernels::OptimizerUpdate::Kind;
    return spec_.kind == Kind::adam ? "adam_update" : spec_.kind == Kind::rmsprop ? "rmsprop_update" : "sgd_update";
  }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    const std::size_t stride = 2 + static_cast<std::size_t>(spec_.moments());
    const TensorType scalar{DType::f32, {}};
    GANNET_CHECK(inputs.size() >= 2 && inputs[0] == scalar && inputs[1] == scalar, "learning rate and step are f32()");
    GANNET_CHECK((inputs.size() - 2) % stride == 0, "{} tensors are not groups of {}", inputs.size() - 2, stride);
    std::vector<TensorType> outputs{scalar, {DType::i32, {}}};
    for (std::size_t first = 2; first < inputs.size(); first += stride) {
      for (std::size_t i = first; i < first + stride; ++i)
        GANNET_CHECK(inputs[i].type == DType::f32 && inputs[i].shape == inputs[first].shape,
                     "parameter, gradient and moments of tensor {} are not alike f32", (first - 2) / stride);
      outputs.push_back(inputs[first]);
      outputs.insert(outputs.end(), inputs.begin() + static_cast<std::ptrdiff_t>(first) + 2,
                     inputs.begin() + static_cast<std::ptrdiff_t>(first + stride));
    }
    return outputs;
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc>) const override {
    kernels::OptimizerUpdate spec = spec_;
    for (std::size_t i = 2; i < inputs.size(); i += 2 + static_cast<std::size_t>(spec.moments()))
      spec.parameters.push_back(inputs[i]);
    return spec;
  }

 private:
  kernels::OptimizerUpdate spec_;  // without parameters: they are known when planned
};

class EmaUpdate : public Operator {
 public:
  explicit EmaUpdate(float decay) : decay_(decay) {}
  std::string name() const override { return "ema_update"; }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    GANNET_CHECK(!inputs.empty() && inputs.size() % 2 == 0, "averages and parameters come in pairs");
    std::vector<TensorType> outputs;
    for (std::size_t i = 0; i < inputs.size(); i += 2) {
      GANNET_CHECK(inputs[i] == inputs[i + 1] && inputs[i].type == DType::f32, "pair {} is not alike f32", i / 2);
      outputs.push_back(inputs[i]);
    }
    return outputs;
  }
  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc>) const override {
    kernels::EmaUpdate spec{{}, decay_};
    for (std::size_t i = 0; i < inputs.size(); i += 2) spec.parameters.push_back(inputs[i]);
    return spec;
  }

 private:
  float decay_;
};

}  // namespace

ops::UpdateResult ops::optimizer_update(const kernels::OptimizerUpdate& settings, Value learning_rate, Value step,
                                        std::span<const Value> parameters, std::span<const Value> gradients,
                                        std::span<const std::vector<Value>> moments, Where where) {
  const auto count = static_cast<std::size_t>(settings.moments());
  GANNET_CHECK(parameters.size() == gradients.size() && parameters.size() == moments.size(),
               "[optimizer_update] {} parameters, {} gradients, {} sets of moments", parameters.size(), gradients.size(),
               moments.size());
  std::vector<Value> inputs{learning_rate, step};
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    GANNET_CHECK(moments[i].size() == count, "[optimizer_update] {} moments, not {}", moments[i].size(), count);
    inputs.push_back(parameters[i]);
    inputs.push_back(gradients[i]);
    inputs.insert(inputs.end(), moments[i].begin(), moments[i].end());
  }
  kernels::OptimizerUpdate spec = settings;
  spec.parameters.clear();
  const auto outputs = step.graph().apply(std::make_shared<OptimizerUpdate>(std::move(spec)), std::move(inputs), where);
  UpdateResult result{outputs[0], outputs[1], {}, {}};
  for (std::size_t next = 2; next < outputs.size();) {
    result.parameters.push_back(outputs[next++]);
    std::vector<Value>& updated = result.moments.emplace_back();
    for (std::size_t j = 0; j < count; ++j) updated.push_back(outputs[next++]);
  }
  return result;
}

std::vector<Value> ops::ema_update(float decay, std::span<const Value> averages, std::span<const Value> parameters,
                                   Where where) {
  GANNET_CHECK(!averages.empty() && averages.size() == parameters.size(), "[ema_update] {} averages, {} parameters",
               averages.size(), parameters.size());
  std::vector<Value> inputs;
  for (std::size_t i = 0; i < averages.size(); ++i) {
    inputs.push_back(averages[i]);
    inputs.push_back(parameters[i]);
  }
  return averages[0].graph().apply(std::make_shared<EmaUpdate>(decay), std::move(inputs), where);
}

}  // namespace gannet

// Binary cross-entropy on logits, its gradient and the mean probability as one operator.
#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

class SigmoidBce : public Operator {
 public:
  SigmoidBce(std::vector<float> targets, std::vector<float> weights)
      : targets_(std::move(targets)), weights_(std::move(weights)) {}
  std::string name() const override { return "sigmoid_bce"; }

  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    const auto runs = static_cast<std::int64_t>(targets_.size());
    GANNET_CHECK(runs > 0 && weights_.size() == targets_.size(), "{} targets and {} weights", targets_.size(), weights_.size());
    GANNET_CHECK(inputs[0].type == DType::f32, "logits are f32");
    GANNET_CHECK(inputs[0].shape.elements() % runs == 0, "logits are not {} equal runs", runs);
    return {{DType::f32, {}}, inputs[0], {DType::f32, {runs}}};
  }

  std::vector<Value> vjp(Node& node, std::span<const Value> gradients, const std::vector<bool>& needs) const override {
    if (!gradients[0] || gradients[1] || gradients[2]) return Operator::vjp(node, gradients, needs);
    return {ops::multiply(node.value(1), gradients[0], node.where)};
  }

  // softplus(x) - t x, and its derivative sigmoid(x) - t.
  std::vector<Value> decompose(std::span<const Value> inputs) const override {
    const auto runs = static_cast<std::int64_t>(targets_.size());
    const std::int64_t per_run = inputs[0].shape().elements() / runs;
    const Value logits = ops::reshape(inputs[0], {runs, per_run});
    std::vector<Value> losses, slopes;
    for (std::int64_t run = 0; run < runs; ++run) {
      const float target = targets_[static_cast<std::size_t>(run)], weight = weights_[static_cast<std::size_t>(run)];
      const Value x = ops::slice_axis(logits, 0, run, 1);
      losses.push_back(ops::mean_all(ops::softplus(x) - x * target) * weight);
      slopes.push_back(ops::affine(ops::sigmoid(x) - target, weight / static_cast<float>(per_run), 0));
    }
    Value loss = losses[0];
    for (std::size_t run = 1; run < losses.size(); ++run) loss = loss + losses[run];
    const int over[] = {1};
    return {loss, ops::reshape(ops::concatenate(slopes, 0), inputs[0].shape()),
            ops::reshape(ops::mean(ops::sigmoid(logits), over), {runs})};
  }

  Kernel kernel(std::span<const TensorDesc> inputs, std::span<const TensorDesc>) const override {
    return kernels::SigmoidBce{inputs[0], targets_, weights_, DType::f32};
  }

 private:
  std::vector<float> targets_, weights_;
};

}  // namespace

ops::SigmoidBceResult ops::sigmoid_bce(Value logits, std::span<const float> targets, std::span<const float> weights,
                                       Where where) {
  const auto results = logits.graph().apply(std::make_shared<SigmoidBce>(std::vector<float>(targets.begin(), targets.end()),
                                                                         std::vector<float>(weights.begin(), weights.end())),
                                            {logits}, where);
  return {results[0], results[2]};
}

}  // namespace gannet

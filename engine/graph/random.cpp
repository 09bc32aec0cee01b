// Random draws: counter-based, so a step's numbers depend on nothing but (seed, step, stream).
#include "engine/graph/operator.h"
#include "engine/graph/ops.h"

namespace gannet {
namespace {

class Random : public Operator {
 public:
  explicit Random(const kernels::Random& spec) : spec_(spec) {}
  std::string name() const override {
    return spec_.distribution == kernels::Random::Distribution::normal ? "random_normal" : "random_uniform";
  }
  std::vector<TensorType> infer(std::span<const TensorType> inputs) const override {
    GANNET_CHECK((inputs[0] == TensorType{DType::i32, {}}), "the step is i32()");
    return {{DType::f32, spec_.output.shape}};
  }
  std::vector<Value> vjp(Node&, std::span<const Value>, const std::vector<bool>&) const override { return {}; }
  Kernel kernel(std::span<const TensorDesc>, std::span<const TensorDesc> outputs) const override {
    kernels::Random spec = spec_;
    spec.output = outputs[0];
    return spec;
  }

 private:
  kernels::Random spec_;
};

Value draw(kernels::Random::Distribution distribution, Value step, const Shape& shape, float a, float b, std::uint64_t seed,
           std::uint32_t stream, std::int64_t first, ops::Where where) {
  const kernels::Random spec{distribution, a, b, seed, stream, first, {DType::f32, shape, Layout::plain}};
  return step.graph().apply(std::make_shared<Random>(spec), {step}, where)[0];
}

}  // namespace

Value ops::random_normal(Value step, const Shape& shape, float mean, float deviation, std::uint64_t seed, std::uint32_t stream,
                         std::int64_t first, Where where) {
  return draw(kernels::Random::Distribution::normal, step, shape, mean, deviation, seed, stream, first, where);
}

Value ops::random_uniform(Value step, const Shape& shape, float low, float high, std::uint64_t seed, std::uint32_t stream,
                          std::int64_t first, Where where) {
  return draw(kernels::Random::Distribution::uniform, step, shape, low, high, seed, stream, first, where);
}

}  // namespace gannet

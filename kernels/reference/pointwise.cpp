// Pointwise chains, stored or summed.
#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/reference/activation.h"
#include "kernels/reference/factories.h"

namespace gannet::kernels::reference {
namespace {

double load(const void* data, DType type, std::int64_t index) {
  if (type == DType::i32) return static_cast<const std::int32_t*>(data)[index];
  if (type == DType::u8) return static_cast<const std::uint8_t*>(data)[index];
  return static_cast<const double*>(data)[index];
}

// Integers are rounded to nearest even and saturated; NaN becomes 0.
void store(void* data, DType type, std::int64_t index, double value) {
  const double whole = std::isnan(value) ? 0 : std::nearbyint(value);
  if (type == DType::i32) {
    static_cast<std::int32_t*>(data)[index] = static_cast<std::int32_t>(std::clamp(whole, -2147483648.0, 2147483647.0));
  } else if (type == DType::u8) {
    static_cast<std::uint8_t*>(data)[index] = static_cast<std::uint8_t>(std::clamp(whole, 0.0, 255.0));
  } else {
    static_cast<double*>(data)[index] = value;
  }
}

double evaluate(const PointwiseInstruction& instruction, double a, double b) {
  const double nan = std::nan("");
  switch (instruction.op) {
    case PointwiseOp::constant:
      return instruction.alpha;
    case PointwiseOp::affine:
      return instruction.alpha * a + instruction.beta;
    case PointwiseOp::add:
      return a + b;
    case PointwiseOp::subtract:
      return a - b;
    case PointwiseOp::multiply:
      return a * b;
    case PointwiseOp::divide:
      return a / b;
    case PointwiseOp::maximum:
      return std::isnan(a) || std::isnan(b) ? nan : std::max(a, b);
    case PointwiseOp::minimum:
      return std::isnan(a) || std::isnan(b) ? nan : std::min(a, b);
    case PointwiseOp::greater:
      return a > b ? 1 : 0;
    case PointwiseOp::exp:
      return std::exp(a);
    case PointwiseOp::log:
      return std::log(a);
    case PointwiseOp::sqrt:
      return std::sqrt(a);
    case PointwiseOp::tanh:
      return std::tanh(a);
    case PointwiseOp::sigmoid:
      return sigmoid(a);
    case PointwiseOp::abs:
      return std::abs(a);
    case PointwiseOp::sign:
      return a > 0 ? 1 : a < 0 ? -1 : a;
    case PointwiseOp::reciprocal:
      return 1 / a;
    case PointwiseOp::softplus:
      return std::max(a, 0.0) + std::log1p(std::exp(-std::abs(a)));
    case PointwiseOp::leaky_relu:
      return a > 0 ? a : instruction.alpha * a;
    case PointwiseOp::leaky_step:
      return a > 0 ? 1 : instruction.alpha;
  }
  return nan;
}

// Walks a chain's elements in row-major order and computes all registers of each.
class Chain {
 public:
  explicit Chain(const Pointwise& spec) : spec_(spec), registers_(spec.inputs.size() + spec.instructions.size()) {}

  std::int64_t elements() const { return spec_.shape.elements(); }

  const std::vector<double>& evaluate_at(std::int64_t index, const void* const* inputs) {
    for (std::size_t i = 0; i < spec_.inputs.size(); ++i) {
      registers_[i] = load(inputs[i], spec_.inputs[i].type, broadcast(index, spec_.inputs[i].shape));
    }
    std::size_t next = spec_.inputs.size();
    for (const PointwiseInstruction& instruction : spec_.instructions) {
      const int operands = operands_of(instruction.op);
      registers_[next++] =
          evaluate(instruction, operands > 0 ? registers_[instruction.a] : 0, operands > 1 ? registers_[instruction.b] : 0);
    }
    return registers_;
  }

  // The flat index, in a tensor of the same rank whose extents are equal or 1, of what element `index` of the chain meets.
  std::int64_t broadcast(std::int64_t index, const Shape& shape) const {
    std::int64_t result = 0, stride = 1;
    for (int d = spec_.shape.rank() - 1; d >= 0; --d) {
      const std::int64_t coordinate = index % spec_.shape[d];
      index /= spec_.shape[d];
      if (shape[d] > 1) result += coordinate * stride;
      stride *= shape[d];
    }
    return result;
  }

 private:
  Pointwise spec_;
  std::vector<double> registers_;
};

class PointwiseKernel final : public Kernel {
 public:
  explicit PointwiseKernel(const Pointwise& spec) : spec_(spec), chain_(spec) {}

  void run(const Arguments& arguments) override {
    for (std::int64_t i = 0; i < chain_.elements(); ++i) {
      const std::vector<double>& registers = chain_.evaluate_at(i, arguments.inputs);
      for (std::size_t o = 0; o < spec_.outputs.size(); ++o) {
        store(arguments.outputs[o], spec_.outputs[o].type, i, registers[spec_.results[o]]);
      }
    }
  }

 private:
  Pointwise spec_;
  Chain chain_;
};

class ReductionKernel final : public Kernel {
 public:
  explicit ReductionKernel(const Reduction& spec) : spec_(spec), chain_(spec.chain) {}

  void run(const Arguments& arguments) override {
    auto* sums = static_cast<double*>(arguments.outputs[0]);
    const std::int64_t results = spec_.output.elements();
    std::fill(sums, sums + results, 0.0);
    for (std::int64_t i = 0; i < chain_.elements(); ++i) {
      sums[chain_.broadcast(i, spec_.output.shape)] += chain_.evaluate_at(i, arguments.inputs)[spec_.chain.results[0]];
    }
    for (std::int64_t i = 0; i < results; ++i) sums[i] *= spec_.scale;
  }

 private:
  Reduction spec_;
  Chain chain_;
};

}  // namespace

std::unique_ptr<Kernel> make(const Pointwise& spec) { return std::make_unique<PointwiseKernel>(spec); }
std::unique_ptr<Kernel> make(const Reduction& spec) { return std::make_unique<ReductionKernel>(spec); }

}  // namespace gannet::kernels::reference

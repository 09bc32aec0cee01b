// Updates of all tensors of a player in one pass on all cores: the tensors are cut into pieces of a fixed size, and the pieces
// are shared out whatever the sizes of the tensors.
#include "kernels/cpu/optimizer.h"

#include <atomic>
#include <cmath>
#include <cstring>

#include "kernels/bf16_copies.h"
#include "kernels/cpu/factories.h"
#include "kernels/cpu/parallel.h"
#include "kernels/operands.h"

namespace gannet::kernels::cpu {
namespace {

constexpr std::int64_t piece_elements = 16384;

struct Piece {
  std::int32_t tensor;
  std::int64_t begin, length;
};

std::vector<Piece> cut(const std::vector<TensorDesc>& tensors) {
  std::vector<Piece> pieces;
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    for (std::int64_t begin = 0; begin < tensors[t].elements(); begin += piece_elements) {
      pieces.push_back({static_cast<std::int32_t>(t), begin, std::min(piece_elements, tensors[t].elements() - begin)});
    }
  }
  return pieces;
}

std::int64_t elements_of(const std::vector<TensorDesc>& tensors) {
  std::int64_t sum = 0;
  for (const TensorDesc& tensor : tensors) sum += tensor.elements();
  return sum;
}

using UpdateFunction = decltype(&baseline::adam);

UpdateFunction choose(const OptimizerUpdate& spec, VectorSet set) {
  switch (spec.kind) {
    case OptimizerUpdate::Kind::adam:
      return GANNET_FOR_VECTOR_SET(set, adam);
    case OptimizerUpdate::Kind::rmsprop:
      return spec.momentum > 0 ? GANNET_FOR_VECTOR_SET(set, rmsprop_momentum) : GANNET_FOR_VECTOR_SET(set, rmsprop);
    case OptimizerUpdate::Kind::sgd:
      return spec.momentum > 0 ? GANNET_FOR_VECTOR_SET(set, sgd_momentum) : GANNET_FOR_VECTOR_SET(set, sgd);
  }
  return nullptr;
}

float complement(float decay) { return static_cast<float>(1 - static_cast<double>(decay)); }

class OptimizerKernel final : public Kernel {
 public:
  explicit OptimizerKernel(const OptimizerUpdate& spec)
      : spec_(spec),
        moments_(static_cast<std::size_t>(spec.moments())),
        pieces_(cut(spec.parameters)),
        threads_(threads_for(elements_of(spec.parameters))),
        all_finite_(GANNET_FOR_VECTOR_SET(vector_set(), all_finite)),
        update_(choose(spec, vector_set())) {}

  void run(const Arguments& arguments) override {
    const float learning_rate = *static_cast<const float*>(arguments.inputs[0]);
    const float step = *static_cast<const float*>(arguments.inputs[1]);
    std::int32_t nonfinite = first_nonfinite(arguments);
    if (step < 0 && nonfinite == 0) nonfinite = static_cast<std::int32_t>(spec_.parameters.size()) + 1;
    *static_cast<float*>(arguments.outputs[0]) = nonfinite == 0 ? step + (spec_.counts ? 1.0f : 0.0f) : -1;
    *static_cast<std::int32_t*>(arguments.outputs[1]) = nonfinite;
    const UpdateRates rates = rates_at(step, learning_rate);
    parallel_for(threads_, static_cast<std::int64_t>(pieces_.size()), [&](std::int64_t index, int) {
      const Piece& piece = pieces_[static_cast<std::size_t>(index)];
      const UpdateSpan span = span_of(arguments, piece);
      if (nonfinite == 0) {
        update_(rates, span, piece.length);
      } else {
        keep(span, piece.length);
      }
    });
  }

 private:
  // 1 + the index of the first tensor whose gradient is not finite; 0: none.
  std::int32_t first_nonfinite(const Arguments& arguments) const {
    constexpr std::int32_t none = INT32_MAX;
    std::atomic<std::int32_t> first = none;
    parallel_for(threads_, static_cast<std::int64_t>(pieces_.size()), [&](std::int64_t index, int) {
      const Piece& piece = pieces_[static_cast<std::size_t>(index)];
      const auto* gradient = static_cast<const float*>(input(arguments, piece.tensor, 1)) + piece.begin;
      if (all_finite_(gradient, piece.length)) return;
      std::int32_t seen = first.load(std::memory_order_relaxed);
      while (piece.tensor < seen && !first.compare_exchange_weak(seen, piece.tensor, std::memory_order_relaxed)) {
      }
    });
    const std::int32_t found = first.load(std::memory_order_relaxed);
    return found == none ? 0 : found + 1;
  }

  const void* input(const Arguments& arguments, std::int32_t tensor, std::size_t index) const {
    return arguments.inputs[2 + static_cast<std::size_t>(tensor) * (2 + moments_) + index];
  }

  UpdateSpan span_of(const Arguments& arguments, const Piece& piece) const {
    void* const* outputs = arguments.outputs + 2 + static_cast<std::size_t>(piece.tensor) * (1 + moments_);
    UpdateSpan span{};
    span.parameter = static_cast<const float*>(input(arguments, piece.tensor, 0)) + piece.begin;
    span.gradient = static_cast<const float*>(input(arguments, piece.tensor, 1)) + piece.begin;
    span.new_parameter = static_cast<float*>(outputs[0]) + piece.begin;
    for (std::size_t m = 0; m < moments_; ++m) {
      span.moment[m] = static_cast<const float*>(input(arguments, piece.tensor, 2 + m)) + piece.begin;
      span.new_moment[m] = static_cast<float*>(outputs[1 + m]) + piece.begin;
    }
    return span;
  }

  void keep(const UpdateSpan& span, std::int64_t length) const {
    const std::size_t bytes = static_cast<std::size_t>(length) * sizeof(float);
    std::memmove(span.new_parameter, span.parameter, bytes);
    for (std::size_t m = 0; m < moments_; ++m) std::memmove(span.new_moment[m], span.moment[m], bytes);
  }

  // `step` updates were made before this one.
  UpdateRates rates_at(float step, float learning_rate) const {
    UpdateRates rates{};
    rates.learning_rate = learning_rate;
    rates.epsilon = spec_.epsilon;
    rates.weight_decay = spec_.weight_decay;
    switch (spec_.kind) {
      case OptimizerUpdate::Kind::adam: {
        const double beta1 = spec_.beta1, beta2 = spec_.beta2, updates = static_cast<double>(step) + 1;
        rates.learning_rate = static_cast<float>(learning_rate / (1 - std::pow(beta1, updates)));
        rates.root_scale = static_cast<float>(1 / std::sqrt(1 - std::pow(beta2, updates)));
        rates.decay[0] = spec_.beta1;
        rates.decay[1] = spec_.beta2;
        break;
      }
      case OptimizerUpdate::Kind::rmsprop:
        rates.decay[0] = spec_.alpha;
        rates.decay[1] = spec_.momentum;
        break;
      case OptimizerUpdate::Kind::sgd:
        rates.decay[0] = step == 0 ? 0 : spec_.momentum;  // the first buffer is the gradient
        break;
    }
    for (int m : {0, 1}) rates.complement[m] = complement(rates.decay[m]);
    return rates;
  }

  OptimizerUpdate spec_;
  std::size_t moments_;
  std::vector<Piece> pieces_;
  int threads_;
  decltype(&baseline::all_finite) all_finite_;
  UpdateFunction update_;
};

class EmaKernel final : public Kernel {
 public:
  explicit EmaKernel(const EmaUpdate& spec)
      : pieces_(cut(spec.parameters)),
        threads_(threads_for(elements_of(spec.parameters))),
        update_(GANNET_FOR_VECTOR_SET(vector_set(), moving_average)) {
    rates_.decay[0] = spec.decay;
    rates_.complement[0] = complement(spec.decay);
  }

  void run(const Arguments& arguments) override {
    parallel_for(threads_, static_cast<std::int64_t>(pieces_.size()), [&](std::int64_t index, int) {
      const Piece& piece = pieces_[static_cast<std::size_t>(index)];
      const auto tensor = static_cast<std::size_t>(piece.tensor);
      UpdateSpan span{};
      span.parameter = static_cast<const float*>(arguments.inputs[2 * tensor]) + piece.begin;
      span.gradient = static_cast<const float*>(arguments.inputs[2 * tensor + 1]) + piece.begin;
      span.new_parameter = static_cast<float*>(arguments.outputs[tensor]) + piece.begin;
      update_(rates_, span, piece.length);
    });
  }

 private:
  std::vector<Piece> pieces_;
  int threads_;
  UpdateFunction update_;
  UpdateRates rates_{};
};

}  // namespace

std::unique_ptr<Kernel> make_optimizer_update(const OptimizerUpdate& spec) {
  check_preconditions(spec);
  return std::make_unique<OptimizerKernel>(spec);
}

std::unique_ptr<Kernel> make_ema_update(const EmaUpdate& spec) {
  check_preconditions(spec);
  return std::make_unique<EmaKernel>(spec);
}

std::unique_ptr<Kernel> make_bf16_copies(const Bf16Copies& spec) {
  check_preconditions(spec);
  return bf16_copies_by(spec, [](const Pointwise& cast) { return make_pointwise(cast); });
}

}  // namespace gannet::kernels::cpu

// Optimizer updates: every tensor is read once and written once. About a flop per byte: the time is that of memory.
#include "kernels/cpu/optimizer.h"

#include "kernels/cpu/simd_math.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {
namespace {

// The elements of a vector, or the first n of them, of every tensor of an update.
struct Elements {
  Float parameter, gradient, moment[2];
};

// body(elements) changes parameter and moments in place.
template <int moments, class Body>
inline void update(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n, Body body) {
  const auto one = [&](std::int64_t i, auto take, auto put) {
    Elements e;
    e.parameter = take(span.parameter + i);
    e.gradient = take(span.gradient + i);
    if (rates.weight_decay != 0) e.gradient = fma(Float(rates.weight_decay), e.parameter, e.gradient);
    for (int m = 0; m < moments; ++m) e.moment[m] = take(span.moment[m] + i);
    body(e);
    put(span.new_parameter + i, e.parameter);
    for (int m = 0; m < moments; ++m) put(span.new_moment[m] + i, e.moment[m]);
  };
  std::int64_t i = 0;
  for (; i + Float::width <= n; i += Float::width) {
    one(
        i, [](const float* p) { return load(p); }, [](float* p, Float x) { store(p, x); });
  }
  if (const int rest = static_cast<int>(n - i); rest > 0) {
    one(
        i, [=](const float* p) { return load_partial(p, rest); }, [=](float* p, Float x) { store_partial(p, x, rest); });
  }
}

}  // namespace

bool all_finite(const float* values, std::int64_t n) {
  // x - x is 0 for a finite x and NaN for any other, and a NaN stays in a sum.
  Float sums[4] = {Float(0.0f), Float(0.0f), Float(0.0f), Float(0.0f)};
  std::int64_t i = 0;
  for (; i + 4 * Float::width <= n; i += 4 * Float::width) {
    for (int k = 0; k < 4; ++k) {
      const Float x = load(values + i + k * Float::width);
      sums[k] = sums[k] + (x - x);
    }
  }
  for (; i < n; i += Float::width) {
    const Float x = load_partial(values + i, n - i < Float::width ? static_cast<int>(n - i) : Float::width);
    sums[0] = sums[0] + (x - x);
  }
  return sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3])) == 0;
}

void adam(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n) {
  update<2>(rates, span, n, [&](Elements& e) {
    const Float g = e.gradient;
    e.moment[0] = fma(Float(rates.decay[0]), e.moment[0], Float(rates.complement[0]) * g);
    e.moment[1] = fma(Float(rates.decay[1]), e.moment[1], Float(rates.complement[1]) * g * g);
    const Float deviation = fma(square_root(e.moment[1]), Float(rates.root_scale), Float(rates.epsilon));
    e.parameter = e.parameter - Float(rates.learning_rate) * e.moment[0] / deviation;
  });
}

void rmsprop(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n) {
  update<1>(rates, span, n, [&](Elements& e) {
    const Float g = e.gradient;
    e.moment[0] = fma(Float(rates.decay[0]), e.moment[0], Float(rates.complement[0]) * g * g);
    e.parameter = e.parameter - Float(rates.learning_rate) * g / (square_root(e.moment[0]) + Float(rates.epsilon));
  });
}

void rmsprop_momentum(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n) {
  update<2>(rates, span, n, [&](Elements& e) {
    const Float g = e.gradient;
    e.moment[0] = fma(Float(rates.decay[0]), e.moment[0], Float(rates.complement[0]) * g * g);
    e.moment[1] = fma(Float(rates.decay[1]), e.moment[1], g / (square_root(e.moment[0]) + Float(rates.epsilon)));
    e.parameter = e.parameter - Float(rates.learning_rate) * e.moment[1];
  });
}

void sgd(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n) {
  update<0>(rates, span, n, [&](Elements& e) { e.parameter = e.parameter - Float(rates.learning_rate) * e.gradient; });
}

void sgd_momentum(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n) {
  update<1>(rates, span, n, [&](Elements& e) {
    e.moment[0] = fma(Float(rates.decay[0]), e.moment[0], e.gradient);
    e.parameter = e.parameter - Float(rates.learning_rate) * e.moment[0];
  });
}

void moving_average(const UpdateRates& rates, const UpdateSpan& span, std::int64_t n) {
  update<0>(rates, span, n, [&](Elements& e) {
    e.parameter = fma(Float(rates.decay[0]), e.parameter, Float(rates.complement[0]) * e.gradient);
  });
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET

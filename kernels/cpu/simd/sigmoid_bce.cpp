// Cross-entropy of a sigmoid, its gradient and the probability in one pass: all three share one exponential.
#include "kernels/cpu/sigmoid_bce.h"

#include "kernels/cpu/simd_math.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {

BceSums sigmoid_bce(const float* logits, std::int64_t n, float target, float scale, bool narrow, void* gradient) {
  constexpr int vectors_of_a_sum = 32;
  BceSums sums{0, 0};
  Float loss(0.0f), probability(0.0f);
  int vectors = 0;
  for (std::int64_t i = 0; i < n; i += Float::width) {
    const int present = n - i < Float::width ? static_cast<int>(n - i) : Float::width;
    const Float x = load_partial(logits + i, present);
    const Float e = exp_of_minus_size(x);
    const Float sigmoid = sigmoid_given(x, e);
    const Float slope = (sigmoid - Float(target)) * Float(scale);
    if (narrow)
      store_partial(static_cast<Bf16*>(gradient) + i, slope, present);
    else
      store_partial(static_cast<float*>(gradient) + i, slope, present);
    // softplus(x) - target * x, in an order that leaves what is small in it whole where softplus(x) is nearly x.
    const Float cross_entropy = fma(Float(-target), x, maximum(Float(0.0f), x)) + log1p_of_fraction(e);
    loss = loss + select(first(present), cross_entropy, Float(0.0f));
    probability = probability + select(first(present), sigmoid, Float(0.0f));
    if (++vectors == vectors_of_a_sum || n - i <= Float::width) {
      sums.loss += sum_lanes(loss);
      sums.probability += sum_lanes(probability);
      loss = probability = Float(0.0f);
      vectors = 0;
    }
  }
  return sums;
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET

// The losses of the two players. Derivations and signs: models/README.md.
#pragma once

#include <functional>

#include "engine/graph/ops.h"

namespace gannet::nn {

using ops::Where;

// Logits of any shape with f32 or bf16 elements as f32 (M): losses accumulate in fp32.
Value flatten_logits(Value logits, Where where = Where::current());

struct BceLoss {
  Value loss;            // ()
  Value d_real, d_fake;  // (): mean sigmoid(D(x)) and mean sigmoid(D(G(z))); only what the loss saw
};
// The discriminator's: BCE(D(x), 1 - smoothing) + BCE(D(G(z)), 0), on the logits of one batch: real first, then as many fake.
// One-sided label smoothing (Salimans et al. 2016, section 3.4): the target of fake stays 0.
BceLoss discriminator_bce(Value logits, float smoothing, Where where = Where::current());
// The generator's on D(G(z)): BCE(D(G(z)), 1) = -mean log D(G(z)).
BceLoss non_saturating_bce(Value logits, Where where = Where::current());
// -BCE(D(G(z)), 0) = mean log(1 - D(G(z))), the second term of V(D,G).
BceLoss minimax_bce(Value logits, Where where = Where::current());

// Gradient penalty (Gulrajani et al. 2017, equation 3): weight * mean_n (|d critic(x)_n / d x_n|_2 - 1)^2, the norm per sample
// over all its axes, at x = epsilon * real + (1 - epsilon) * fake with one epsilon (N) per sample. `critic` traces the critic:
// x -> (N,…).
Value gradient_penalty(const std::function<Value(Value)>& critic, Value real, Value fake, Value epsilon, float weight,
                       Where where = Where::current());

}  // namespace gannet::nn

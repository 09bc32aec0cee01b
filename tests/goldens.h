// Gannet against PyTorch: the same weights and inputs, 20 steps through the trainer, number by number (tests/goldens).
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/backend.h"

namespace gannet::tests {

struct Golden {
  std::string family, name;
};
inline const Golden all_goldens[] = {{"dcgan", "non_saturating"}, {"dcgan", "minimax"}, {"dcgan", "label_smoothing"},
                                     {"vanilla", "sgd"},          {"vanilla", "adam"},  {"vanilla", "rmsprop"},
                                     {"wgan_gp", "adam"}};

// Trains as `gannet train CONFIG --init --replay` does, and expects every scalar of every step within 1e-4 of PyTorch's
// (relative) and every weight at the end within 1e-3 of the tensor's largest.
void expect_golden(const Golden& golden, kernels::Backend& backend);

}  // namespace gannet::tests

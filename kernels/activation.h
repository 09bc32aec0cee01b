// The activations that other operators can end with.
#pragma once

#include <cstdint>

namespace gannet::kernels {

struct Activation {
  enum class Kind : std::uint8_t { none, leaky_relu, tanh, sigmoid };
  Kind kind = Kind::none;
  float slope = 0;  // of leaky_relu for x < 0; 0 is ReLU
  bool operator==(const Activation&) const = default;
};

}  // namespace gannet::kernels

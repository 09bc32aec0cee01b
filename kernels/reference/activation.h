#pragma once

#include <cmath>

#include "kernels/activation.h"

namespace gannet::kernels::reference {

inline double sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }

inline double activate(const Activation& activation, double x) {
  switch (activation.kind) {
    case Activation::Kind::none:
      return x;
    case Activation::Kind::leaky_relu:
      return x > 0 ? x : activation.slope * x;
    case Activation::Kind::tanh:
      return std::tanh(x);
    case Activation::Kind::sigmoid:
      return sigmoid(x);
  }
  return x;
}

// d activate(x) / dx
inline double slope_at(const Activation& activation, double x) {
  switch (activation.kind) {
    case Activation::Kind::none:
      return 1;
    case Activation::Kind::leaky_relu:
      return x > 0 ? 1 : activation.slope;
    case Activation::Kind::tanh:
      return 1 - std::tanh(x) * std::tanh(x);
    case Activation::Kind::sigmoid:
      return sigmoid(x) * (1 - sigmoid(x));
  }
  return 1;
}

// The same by y = activate(x).
inline double slope_by_output(const Activation& activation, double y) {
  switch (activation.kind) {
    case Activation::Kind::none:
      return 1;
    case Activation::Kind::leaky_relu:
      return y > 0 ? 1 : activation.slope;
    case Activation::Kind::tanh:
      return 1 - y * y;
    case Activation::Kind::sigmoid:
      return y * (1 - y);
  }
  return 1;
}

}  // namespace gannet::kernels::reference

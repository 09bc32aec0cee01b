// Signs that a game is lost, each said once: a discriminator that is always right, a generator whose samples are all alike.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/train/step.h"

namespace gannet {

class Health {
 public:
  explicit Health(Step& step);

  // After every step (`made` counts from 1): a warning, or empty. Allocates only to warn and every 100 steps.
  std::string check(std::int64_t made);

 private:
  std::string check_discriminator(std::int64_t made);
  std::string check_generator(std::int64_t made);

  Step& step_;
  bool judges_probability_;          // d_real and d_fake are probabilities
  Step::Part* generator_ = nullptr;  // whose output "fake" are samples
  std::vector<float> fake_;
  std::int64_t samples_ = 0;
  int saturated_ = 0;  // steps in a row
  bool warned_saturated_ = false, warned_collapsed_ = false;
};

}  // namespace gannet

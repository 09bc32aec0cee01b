// DCGAN: "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks", Radford et al. 2016.
#include "models/convolutional.h"
#include "models/models.h"

namespace gannet::models {

Family dcgan() {
  return {"dcgan", "convolutional GAN for pictures of 16 to 256 pixels (Radford et al. 2016)", convolutional_keys(),
          [](const Config& config, bool replay) { return bce_model(config, replay, convolutional_players(config, true)); }};
}

}  // namespace gannet::models

// DCGAN: "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks", Radford et al. 2016.
#include "models/convolutional.h"
#include "models/models.h"

namespace gannet::models {

Family dcgan() {
  return {"dcgan", "convolutional GAN for pictures of 16 to 256 pixels (Radford et al. 2016)", convolutional_keys(),
          [](const Config& config, const TraceOptions& options) {
            return bce_model(config, options, convolutional_players(config, true));
          }};
}

}  // namespace gannet::models

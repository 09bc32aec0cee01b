// WGAN-GP: "Improved Training of Wasserstein GANs", Gulrajani et al. 2017, on DCGAN's networks.
#include "models/convolutional.h"
#include "models/models.h"

namespace gannet::models {

namespace {

// The paper's algorithm 1 and its defaults.
std::vector<Key> keys() {
  using enum Key::Type;
  std::vector<Key> keys = convolutional_keys();
  keys.push_back({"model.discriminator_norm",
                  text,
                  "none",
                  "normalisation in the critic; batch_norm is refused",
                  0,
                  0,
                  {"none", "batch_norm"}});
  keys.push_back({"loss.kind", text, "wasserstein", "what the critic estimates", 0, 0, {"wasserstein"}});
  keys.push_back({"loss.gradient_penalty", real, 10.0, "weight of (|gradient of D| - 1)^2", 0, 1e6});
  keys.push_back({"train.n_critic", integer, 5, "updates of the critic per update of the generator", 1, 1000});
  for (const std::string section : {"generator_optimizer.", "discriminator_optimizer."}) {
    keys.push_back({section + "learning_rate", real, 1e-4, "step size", 0, 100});
    keys.push_back({section + "beta1", real, 0.0, "adam: decay of the mean gradient", 0, 0.999999});
    keys.push_back({section + "beta2", real, 0.9, "adam: decay of the mean squared gradient", 0, 0.999999});
  }
  return keys;
}

Model trace(const Config& config, const TraceOptions& options) {
  GANNET_CHECK(
      config.text("model.discriminator_norm") == "none",
      "model.discriminator_norm: batch norm makes the critic's value of a sample depend on the rest of its batch, and the "
      "gradient penalty holds only for each sample alone; use none");
  return wasserstein_model(config, options, convolutional_players(config, false));
}

}  // namespace

Family wgan_gp() {
  return {"wgan_gp", "Wasserstein GAN with gradient penalty, convolutional (Gulrajani et al. 2017)", keys(), trace};
}

}  // namespace gannet::models

// The multi-layer perceptron GAN: "Generative Adversarial Nets", Goodfellow et al. 2014.
#include <array>

#include "models/game.h"
#include "models/models.h"

namespace gannet::models {

namespace {

struct PerceptronShape {
  std::int64_t image_size, channels, generator_features, generator_layers, discriminator_features, discriminator_layers;
};

// Pictures as rows in the order of PyTorch's view(N, -1): channel by channel.
Value to_rows(Value pictures) {
  const Shape shape = pictures.shape();
  if (shape[3] > 1) pictures = ops::transpose(pictures, std::array{0, 3, 1, 2});
  return ops::reshape(pictures, {shape[0], shape[1] * shape[2] * shape[3]});
}

Value to_pictures(Value rows, const PerceptronShape& shape) {
  const std::int64_t n = rows.shape()[0], size = shape.image_size;
  if (shape.channels == 1) return ops::reshape(rows, {n, size, size, 1});
  return ops::transpose(ops::reshape(rows, {n, shape.channels, size, size}), std::array{0, 2, 3, 1});
}

Value generator(nn::Network& network, const PerceptronShape& shape, Value z) {
  nn::Sequential main(network, "main", z);
  for (std::int64_t layer = 0; layer < shape.generator_layers; ++layer)
    main.linear(shape.generator_features).activation(nn::relu);
  main.linear(shape.image_size * shape.image_size * shape.channels).activation(nn::tanh);
  return to_pictures(main.value(), shape);
}

Value discriminator(nn::Network& network, const PerceptronShape& shape, Value pictures) {
  nn::Sequential main(network, "main", to_rows(pictures));
  for (std::int64_t layer = 0; layer < shape.discriminator_layers; ++layer)
    main.linear(shape.discriminator_features).activation(nn::leaky_relu(0.2f));
  main.linear(1);
  return main.value();
}

std::vector<Key> keys() {
  using enum Key::Type;
  std::vector<Key> keys = {
      {"model.image_size", integer, 28, "height and width of a picture", 1, 256},
      {"model.channels", integer, 1, "of a picture", 1, 4},
      {"model.generator_features", integer, 256, "width of the generator's hidden layers", 1, 65536},
      {"model.generator_layers", integer, 2, "hidden layers of the generator", 1, 16},
      {"model.discriminator_features", integer, 256, "width of the discriminator's hidden layers", 1, 65536},
      {"model.discriminator_layers", integer, 2, "hidden layers of the discriminator", 1, 16},
  };
  const std::vector<Key> latent = latent_keys(64);
  keys.insert(keys.end(), latent.begin(), latent.end());
  return keys;
}

Model trace(const Config& config, const TraceOptions& options) {
  const PerceptronShape shape{config.integer("model.image_size"),
                              config.integer("model.channels"),
                              config.integer("model.generator_features"),
                              config.integer("model.generator_layers"),
                              config.integer("model.discriminator_features"),
                              config.integer("model.discriminator_layers")};
  Players players;
  players.generator = [shape](nn::Network& network, Value z) { return generator(network, shape, z); };
  players.discriminator = [shape](nn::Network& network, Value x) { return discriminator(network, shape, x); };
  players.sample = {shape.image_size, shape.image_size, shape.channels};
  players.real = pictures(players.sample);
  return bce_model(config, options, players);
}

}  // namespace

Family vanilla() {
  return {"vanilla", "multi-layer perceptron GAN for small pictures (Goodfellow et al. 2014)", keys(), trace};
}

}  // namespace gannet::models

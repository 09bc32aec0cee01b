#include "models/convolutional.h"

#include <bit>

namespace gannet::models {

namespace {

constexpr Initializer filter_start{Initializer::Kind::normal, 0, 0.02f};
constexpr Initializer gamma_start{Initializer::Kind::normal, 1, 0.02f};

// 4x4 filters throughout: (1,1) <-> (4,4) once, then each halves or doubles the size.
nn::ConvolutionSettings ends(std::int64_t channels) { return {channels, 4, 1, 0, filter_start}; }
nn::ConvolutionSettings strided(std::int64_t channels) { return {channels, 4, 2, 1, filter_start}; }

int doublings(std::int64_t image_size) { return std::countr_zero(static_cast<std::uint64_t>(image_size)) - 2; }

Value generator(nn::Network& network, const ConvolutionalShape& shape, Value z) {
  nn::Sequential main(network, "main", ops::reshape(z, {z.shape()[0], 1, 1, z.shape()[1]}));
  std::int64_t channels = shape.generator_features << (doublings(shape.image_size) - 1);
  main.conv_transpose(ends(channels)).batch_norm(gamma_start, nn::relu);
  while (channels > shape.generator_features) main.conv_transpose(strided(channels /= 2)).batch_norm(gamma_start, nn::relu);
  main.conv_transpose(strided(shape.channels)).activation(nn::tanh);
  return main.value();
}

Value discriminator(nn::Network& network, const ConvolutionalShape& shape, Value x) {
  const nn::Activation leaky = nn::leaky_relu(0.2f);
  nn::Sequential main(network, "main", x);
  std::int64_t channels = shape.discriminator_features;
  main.convolution(strided(channels)).activation(leaky);
  while (main.value().shape()[1] > 4) {
    main.convolution(strided(channels *= 2));
    if (shape.discriminator_norm)
      main.batch_norm(gamma_start, leaky);
    else
      main.activation(leaky);
  }
  main.convolution(ends(1));
  return main.value();
}

}  // namespace

std::vector<Key> convolutional_keys() {
  using enum Key::Type;
  std::vector<Key> keys = {
      {"model.image_size", integer, 64, "height and width of a picture: 16, 32, 64, 128 or 256", 16, 256},
      {"model.channels", integer, 3, "of a picture", 1, 4},
      {"model.generator_features", integer, 64, "channels before the generator's last layer", 1, 1024},
      {"model.discriminator_features", integer, 64, "channels after the discriminator's first layer", 1, 1024},
  };
  const std::vector<Key> latent = latent_keys(100);
  keys.insert(keys.end(), latent.begin(), latent.end());
  return keys;
}

Players convolutional_players(const Config& config, bool discriminator_norm) {
  const ConvolutionalShape shape{config.integer("model.image_size"), config.integer("model.channels"),
                                 config.integer("model.generator_features"), config.integer("model.discriminator_features"),
                                 discriminator_norm};
  GANNET_CHECK(std::has_single_bit(static_cast<std::uint64_t>(shape.image_size)),
               "model.image_size must be 16, 32, 64, 128 or 256, not {}", shape.image_size);
  Players players;
  players.generator = [shape](nn::Network& network, Value z) { return generator(network, shape, z); };
  players.discriminator = [shape](nn::Network& network, Value x) { return discriminator(network, shape, x); };
  players.sample = {shape.image_size, shape.image_size, shape.channels};
  players.real = pictures(players.sample);
  return players;
}

}  // namespace gannet::models

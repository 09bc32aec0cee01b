// The networks of DCGAN (Radford et al. 2016), module for module those of the PyTorch examples repository at image size 64.
#pragma once

#include "engine/nn/layers.h"
#include "models/game.h"

namespace gannet::models {

// Image size S = 4 * 2^n. Generator: (N,latent) -> (4,4,features*2^(n-1)) -> n-1 times half the channels at twice the size ->
// (S,S, channels) in [-1,1]. Discriminator: the mirror image, to one logit. Strided convolutions only: no pooling, no dense
// layer.
struct ConvolutionalShape {
  std::int64_t image_size, channels, generator_features, discriminator_features;
  bool discriminator_norm;  // batch norm in the discriminator (in the generator there always is)
};

// model.image_size, channels, generator_features, discriminator_features, and the latent's keys.
std::vector<Key> convolutional_keys();

Players convolutional_players(const Config& config, bool discriminator_norm);

}  // namespace gannet::models

// The game of a generator and a discriminator: what a family's two networks need to become a Model.
#pragma once

#include <functional>

#include "engine/nn/layers.h"
#include "engine/train/model.h"

namespace gannet::models {

// How a family traces its networks and draws its real samples.
struct Players {
  std::function<Value(nn::Network&, Value z)> generator;            // (N,latent) -> samples
  std::function<Value(nn::Network&, Value samples)> discriminator;  // samples -> one logit (or critic value) each
  std::function<Value(Tracer&, std::int64_t batch)> real;           // samples of the data
  Shape sample;                                                     // of one sample: (H,W,C), or (1) on a line
  // A player's learning rate in the course of training, from the configured one; empty: it stays.
  std::function<Value(Tracer&, const std::string& player, Value rate)> schedule = {};
};

// Real pictures of this shape (H,W,C), from the loader.
std::function<Value(Tracer&, std::int64_t batch)> pictures(const Shape& hwc);

// model.latent and model.latent_distribution (uniform: in [-1,1)).
std::vector<Key> latent_keys(std::int64_t latent, const std::string& distribution = "normal");

// The model of loss.kind bce. With train.n_critic 1 it has one program, "step", in which both players learn from the same
// G(z); otherwise the phases are those of wasserstein_model.
Model bce_model(const Config& config, const TraceOptions& options, const Players& players);

// The model of loss.kind wasserstein with a gradient penalty: the phases "critic", n_critic times, with the draws z and
// epsilon, and "generator" with the draw z_generator.
Model wasserstein_model(const Config& config, const TraceOptions& options, const Players& players);

}  // namespace gannet::models

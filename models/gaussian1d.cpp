// The picture of convergence on a line: figure 1 of "Generative Adversarial Nets", Goodfellow et al. 2014.
#include <cmath>
#include <numbers>

#include "models/game.h"
#include "models/gaussian1d_picture.h"
#include "models/models.h"

namespace gannet::models {

namespace {

std::vector<Key> keys() {
  using enum Key::Type;
  std::vector<Key> keys = {
      {"model.data_mean", real, 1.0, "mean of p_data", -100, 100},
      {"model.data_deviation", real, 0.5, "deviation of p_data", 0.01, 100},
      {"model.generator_features", integer, 32, "width of the generator's hidden layers", 1, 65536},
      {"model.generator_layers", integer, 2, "hidden layers of the generator", 1, 16},
      {"model.discriminator_features", integer, 64, "width of the discriminator's hidden layers", 1, 65536},
      {"model.discriminator_layers", integer, 2, "hidden layers of the discriminator", 1, 16},
      {"model.latent", integer, 1, "z is a number", 1, 1},
      {"model.latent_distribution", text, "uniform", "of z, in [-1,1)", 0, 0, {"uniform"}},
      {"train.head_start", integer, 500, "steps in which the discriminator learns alone, towards D*", 0, 1e9},
      {"train.half_life", integer, 0, "steps in which the learning rates halve; 0: they stay", 0, 1e9},
  };
  return keys;
}

// torch.nn.Linear's start, but for the last layer, whose weights are `gain` times as large.
Value perceptron(nn::Network& network, Value x, std::int64_t features, std::int64_t layers, float gain) {
  nn::Sequential main(network, "main", x);
  for (std::int64_t layer = 0; layer < layers; ++layer) main.linear(features).activation(nn::tanh);
  const Initializer bias = nn::linear_default(features);
  return main.linear(1, {bias.kind, gain * bias.a, gain * bias.b}, bias).value();
}

// The generator stands still during the head start; both rates decay, so that the players settle where the game does.
Value schedule(const Config& config, Tracer& tracer, const std::string& player, Value rate) {
  const auto head_start = static_cast<float>(config.integer("train.head_start"));
  const auto half_life = static_cast<float>(config.integer("train.half_life"));
  const bool generator = player == "generator";
  const auto runs_per_step = static_cast<float>(generator ? 1 : config.integer("train.n_critic"));
  const Value step = ops::affine(ops::cast(tracer.step(), DType::f32), 1 / runs_per_step, 0);
  if (half_life > 0) rate = rate * ops::exp(step * (-std::numbers::ln2_v<float> / half_life));
  if (generator && head_start > 0) rate = rate * ops::greater(step, ops::constant(tracer.graph(), head_start - 0.5f, {}));
  return rate;
}

Model trace(const Config& config, const TraceOptions& options) {
  const auto mean = static_cast<float>(config.real("model.data_mean"));
  const auto deviation = static_cast<float>(config.real("model.data_deviation"));
  const auto perceptron_of = [&](const std::string& player, float gain) {
    return [features = config.integer("model." + player + "_features"), layers = config.integer("model." + player + "_layers"),
            gain](nn::Network& network, Value x) { return perceptron(network, x, features, layers, gain); };
  };
  Players players;
  players.generator = perceptron_of("generator", 6);  // so that p_g starts about as wide as z, and not as a spike
  players.discriminator = perceptron_of("discriminator", 1);
  players.sample = {1};
  players.real = [mean, deviation](Tracer& tracer, std::int64_t batch) {
    return tracer.normal("real", {batch, 1}, mean, deviation);
  };
  players.schedule = [config](Tracer& tracer, const std::string& player, Value rate) {
    return schedule(config, tracer, player, rate);
  };
  Model model = bce_model(config, options, players);
  model.uses_images = false;
  const LineTrace generator = [sample = model.sample, ema = model.has_ema](Graph& graph, Value z) {
    return sample(graph, z, ema);
  };
  model.plan_drawing = [data = Gaussian{mean, deviation}, head_start = config.integer("train.head_start"), generator,
                        discriminator = model.discriminate](State& state) {
    return line_drawing(data, head_start, generator, discriminator, state);
  };
  return model;
}

}  // namespace

Family gaussian1d() {
  return {"gaussian1d", "the four stages of convergence, drawn on a line (Goodfellow et al. 2014, figure 1)", keys(), trace};
}

}  // namespace gannet::models

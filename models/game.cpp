#include "models/game.h"

#include <array>

#include "engine/nn/losses.h"
#include "engine/nn/optimizers.h"

namespace gannet::models {

namespace {

using nn::Network;

// A program being traced: the game's parts that all losses share.
class Trace {
 public:
  Trace(const Config& config, const TraceOptions& options, const Players& players, Model& model, std::string name, int repeats)
      : config_(config), players_(players), model_(model), ranks_(options.ranks), batch_(options.batch(config)) {
    phase_ = {std::move(name), repeats, std::make_unique<Graph>()};
    tracer_.emplace(*phase_.graph, static_cast<std::uint64_t>(config.integer("train.seed")), options);
    mode_.compute = nn::compute_type(config.text("train.precision"));
    if (config.boolean("train.sync_batch_norm")) mode_.ranks = ranks_;
  }

  Graph& graph() { return *phase_.graph; }

  Value real() { return nn::as_type(players_.real(*tracer_, batch_), mode_.compute); }

  Value epsilon() { return tracer_->uniform("epsilon", {batch_}, 0, 1); }

  Value fake(const std::string& draw) {
    const Graph::Scope scope(graph(), "generator");
    const Shape shape{batch_, model_.latent.shape[0]};
    const bool uniform = model_.latent.distribution == kernels::Random::Distribution::uniform;
    const Value z = uniform ? tracer_->uniform(draw, shape, -1, 1) : tracer_->normal(draw, shape);
    generator_.emplace(graph(), "generator", mode_);
    return players_.generator(*generator_, z);
  }

  // One logit per sample. `groups` as in nn::Mode.
  Value judge(Value samples, int groups = 1) {
    const Graph::Scope scope(graph(), "discriminator");
    nn::Mode mode = mode_;
    mode.groups = groups;
    discriminator_.emplace(graph(), "discriminator", mode);
    return players_.discriminator(*discriminator_, samples);
  }

  // The fake half carries no gradient to the generator: it is frozen while the discriminator learns.
  Value judge_both(Value real, Value fake) { return judge(ops::concatenate(std::array{real, ops::stop_gradient(fake)}, 0), 2); }

  void update_discriminator(Value loss) {
    nn::update_player(graph(), config_, "discriminator", discriminator_->parameters(), loss, rate("discriminator"), ranks_);
    name_parameters(model_.discriminator_parameters, *discriminator_);
  }

  // Differentiates through the discriminator to the generator's parameters alone: the discriminator is frozen.
  void update_generator(Value loss) {
    nn::update_player(graph(), config_, "generator", generator_->parameters(), loss, rate("generator"), ranks_);
    name_parameters(model_.generator_parameters, *generator_);
    if (!model_.has_ema) return;
    nn::update_average(graph(), static_cast<float>(config_.real("train.ema")), generator_->parameters(),
                       generator_->statistics());
  }

  void finish() { model_.phases.push_back(std::move(phase_)); }

 private:
  Value rate(const std::string& player) {
    const Value rate = tracer_->learning_rate(player);
    return players_.schedule ? players_.schedule(*tracer_, player, rate) : rate;
  }

  static void name_parameters(std::vector<std::string>& names, const Network& network) {
    names.clear();
    for (const Variable& parameter : network.parameters()) names.push_back(parameter.name);
  }

  const Config& config_;
  const Players& players_;
  Model& model_;
  int ranks_;
  std::int64_t batch_;
  nn::Mode mode_;
  Phase phase_;
  std::optional<Tracer> tracer_;
  std::optional<Network> generator_, discriminator_;  // as traced last
};

// All but the phases.
Model describe(const Config& config, const Players& players) {
  using Distribution = kernels::Random::Distribution;
  Model model;
  model.latent = {{config.integer("model.latent")},
                  config.text("model.latent_distribution") == "uniform" ? Distribution::uniform : Distribution::normal};
  model.has_ema = config.real("train.ema") > 0;
  const nn::Mode mode{.training = false, .compute = nn::compute_type(config.text("train.precision"))};
  model.sample = [players, mode](Graph& graph, Value z, bool ema) {
    const Graph::Scope scope(graph, "generator");
    Network network(graph, ema ? "ema.generator" : "generator", mode);
    return nn::as_type(players.generator(network, z), DType::f32);
  };
  model.discriminate = [players, mode](Graph& graph, Value samples) {
    const Graph::Scope scope(graph, "discriminator");
    Network network(graph, "discriminator", mode);
    return ops::reshape(nn::flatten_logits(players.discriminator(network, nn::as_type(samples, mode.compute))),
                        {samples.shape()[0], 1});
  };
  return model;
}

Value learn_bce(Trace& program, const Config& config, Value fake) {
  const Value logits = program.judge_both(program.real(), fake);
  const auto [loss, d_real, d_fake] = nn::discriminator_bce(logits, static_cast<float>(config.real("loss.label_smoothing")));
  program.update_discriminator(loss);
  program.graph().output("loss_d", loss);
  program.graph().output("d_real", d_real);
  program.graph().output("d_fake", d_fake);
  return loss;
}

void teach_bce(Trace& program, const Config& config, Value fake) {
  const Value logits = program.judge(fake);
  const nn::BceLoss bce = config.text("loss.generator") == "minimax" ? nn::minimax_bce(logits) : nn::non_saturating_bce(logits);
  program.update_generator(bce.loss);
  program.graph().output("loss_g", bce.loss);
  program.graph().output("fake", fake);
}

}  // namespace

std::function<Value(Tracer&, std::int64_t batch)> pictures(const Shape& hwc) {
  return [hwc](Tracer& tracer, std::int64_t batch) { return tracer.real({batch, hwc[0], hwc[1], hwc[2]}); };
}

std::vector<Key> latent_keys(std::int64_t latent, const std::string& distribution) {
  return {{"model.latent", Key::Type::integer, latent, "size of the latent vector z", 1, 4096},
          {"model.latent_distribution",
           Key::Type::text,
           distribution,
           "what z is drawn from: normal(0,1) or uniform in [-1,1)",
           0,
           0,
           {"normal", "uniform"}}};
}

Model bce_model(const Config& config, const TraceOptions& options, const Players& players) {
  GANNET_CHECK(config.text("loss.kind") == "bce", "loss.kind of this family is bce; family wgan_gp trains with {}",
               config.text("loss.kind"));
  GANNET_CHECK(config.real("loss.gradient_penalty") == 0, "loss.gradient_penalty belongs to the family wgan_gp; set it to 0");
  Model model = describe(config, players);
  const int n_critic = static_cast<int>(config.integer("train.n_critic"));
  if (n_critic == 1) {
    Trace step(config, options, players, model, "step", 1);
    const Value fake = step.fake("z");
    learn_bce(step, config, fake);
    teach_bce(step, config, fake);
    step.finish();
    return model;
  }
  Trace critic(config, options, players, model, "critic", n_critic);
  learn_bce(critic, config, critic.fake("z"));
  critic.finish();
  Trace generator(config, options, players, model, "generator", 1);
  teach_bce(generator, config, generator.fake("z_generator"));
  generator.finish();
  return model;
}

Model wasserstein_model(const Config& config, const TraceOptions& options, const Players& players) {
  GANNET_CHECK(config.text("loss.kind") == "wasserstein", "loss.kind of this family is wasserstein, not {}",
               config.text("loss.kind"));
  GANNET_CHECK(config.real("loss.label_smoothing") == 0,
               "loss.label_smoothing belongs to bce: a critic has no labels; set it to 0");
  Model model = describe(config, players);

  Trace critic(config, options, players, model, "critic", static_cast<int>(config.integer("train.n_critic")));
  const Value real = critic.real(), fake = ops::stop_gradient(critic.fake("z"));
  const Value values = nn::flatten_logits(critic.judge_both(real, fake));
  const std::int64_t batch = real.shape()[0];
  const Value d_real = ops::mean_all(ops::slice_axis(values, 0, 0, batch));
  const Value d_fake = ops::mean_all(ops::slice_axis(values, 0, batch, batch));
  const Value penalty = nn::gradient_penalty([&](Value x) { return critic.judge(x); }, nn::as_type(real, DType::f32),
                                             nn::as_type(fake, DType::f32), critic.epsilon(),
                                             static_cast<float>(config.real("loss.gradient_penalty")));
  const Value loss = d_fake - d_real + penalty;
  critic.update_discriminator(loss);
  critic.graph().output("loss_d", loss);
  critic.graph().output("d_real", d_real);
  critic.graph().output("d_fake", d_fake);
  critic.graph().output("penalty", penalty);
  critic.finish();

  Trace generator(config, options, players, model, "generator", 1);
  const Value samples = generator.fake("z_generator");
  const Value loss_g = -ops::mean_all(nn::flatten_logits(generator.judge(samples)));
  generator.update_generator(loss_g);
  generator.graph().output("loss_g", loss_g);
  generator.graph().output("fake", samples);
  generator.finish();
  return model;
}

}  // namespace gannet::models

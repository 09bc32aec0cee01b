// The keys that every family has.
#include "engine/train/config.h"

namespace gannet {
namespace {

void add_optimizer(std::vector<Key>& keys, const std::string& player) {
  using enum Key::Type;
  const std::string section = player + "_optimizer.";
  keys.insert(keys.end(), {{section + "kind", text, "adam", "optimizer", 0, 0, {"adam", "rmsprop", "sgd"}},
                           {section + "learning_rate", real, 2e-4, "step size", 0, 100},
                           {section + "beta1", real, 0.5, "adam: decay of the mean gradient", 0, 0.999999},
                           {section + "beta2", real, 0.999, "adam: decay of the mean squared gradient", 0, 0.999999},
                           {section + "momentum", real, 0.0, "sgd, rmsprop: momentum", 0, 0.999999},
                           {section + "alpha", real, 0.99, "rmsprop: decay of the mean squared gradient", 0, 0.999999},
                           {section + "epsilon", real, 1e-8, "adam, rmsprop: added to the denominator", 0, 1},
                           {section + "weight_decay", real, 0.0, "L2 penalty, added to the gradient", 0, 1}});
}

}  // namespace

std::vector<Key> common_keys() {
  using enum Key::Type;
  std::vector<Key> keys = {
      {"model.family", text, nullptr, "the family of GAN"},
      {"loss.kind", text, "bce", "bce: on logits; wasserstein: difference of means", 0, 0, {"bce", "wasserstein"}},
      {"loss.generator", text, "non_saturating", "bce: what the generator minimises", 0, 0, {"non_saturating", "minimax"}},
      {"loss.label_smoothing", real, 0.0, "bce: the target of real samples is 1 - this (one-sided)", 0, 0.5},
      {"loss.gradient_penalty", real, 0.0, "weight of (|gradient of D| - 1)^2", 0, 1e6},
      {"train.batch", integer, 64, "samples per step", 1, 65536},
      {"train.steps", integer, 10000, "total number of steps", 1, 1e9},
      {"train.seed", integer, 1, "of weights, noise and the order of the data", 0, 9007199254740991.0},
      {"train.precision", text, "fp32", "arithmetic of convolutions and products", 0, 0, {"fp32", "tf32", "bf16"}},
      {"train.n_critic", integer, 1, "updates of the discriminator per update of the generator", 1, 1000},
      {"train.ema", real, 0.0, "decay of the generator's averaged weights; 0: none", 0, 0.9999999},
      {"train.sample_every", integer, 500, "steps between sample grids; 0: only at the end", 0, 1e9},
      {"train.sample_count", integer, 64, "samples in a grid", 1, 4096},
      {"train.checkpoint_every", integer, 1000, "steps between checkpoints; 0: only at the end", 0, 1e9},
      {"train.keep_last", integer, 3, "checkpoints kept; 0: all", 0, 1e6},
      {"train.log_every", integer, 100, "steps between lines of the log", 1, 1e9},
      {"train.tensorboard_every", integer, 10, "steps between TensorBoard scalars", 1, 1e9},
      {"train.threads", integer, 0, "CPU threads; 0: all that the process may use", 0, 4096},
      {"train.sync_batch_norm", boolean, false, "several ranks: batch norm by the statistics of all of them"},
      {"train.reduction", text, "fp32", "several ranks: gradients are exchanged as", 0, 0, {"fp32", "bf16"}},
      {"train.bucket_kib", integer, 4096, "several ranks: gradients are exchanged when so many KiB are ready", 1, 4194304},
      {"train.silence", integer, 20, "several ranks: seconds after which one that is not heard of ends the job", 1, 86400},
      {"train.patience", integer, 60, "several ranks: seconds in which all must have come together", 1, 86400},
      {"data.file", text, "", "dataset file (--data)"},
      {"data.flip", boolean, false, "mirror samples left to right at random"},
  };
  add_optimizer(keys, "generator");
  add_optimizer(keys, "discriminator");
  return keys;
}

}  // namespace gannet

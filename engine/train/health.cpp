#include "engine/train/health.h"

#include "engine/train/sampler.h"

namespace gannet {
namespace {

constexpr int patience = 100;        // steps in a row of a saturated discriminator; steps between looks at the samples
constexpr double collapsed = 0.002;  // of a range of 2: less than a grey level

}  // namespace

Health::Health(Step& step) : step_(step), judges_probability_(step.config().text("loss.kind") == "bce") {
  generator_ = step.part_with_output("fake");
  if (!generator_) return;
  const Shape& shape = generator_->program.output_type("fake").shape;
  samples_ = shape[0];
  fake_.resize(static_cast<std::size_t>(shape.elements()));
}

std::string Health::check(std::int64_t made) {
  std::string warning = check_discriminator(made);
  return warning.empty() ? check_generator(made) : warning;
}

std::string Health::check_discriminator(std::int64_t made) {
  if (warned_saturated_ || !judges_probability_) return {};
  const bool saturated = step_.figure("d_real") > 0.99 && step_.figure("d_fake") < 0.01;
  saturated_ = saturated ? saturated_ + 1 : 0;
  if (saturated_ < patience) return {};
  warned_saturated_ = true;
  return fmt::format(
      "step {}: warning: the discriminator is saturated (D(x) > 0.99 and D(G(z)) < 0.01 for {} steps): the generator learns "
      "next to nothing. A lower discriminator_optimizer.learning_rate or loss.label_smoothing 0.1 may help",
      made, patience);
}

std::string Health::check_generator(std::int64_t made) {
  if (warned_collapsed_ || !generator_ || samples_ < 2 || made % patience != 0) return {};
  generator_->program.read("fake", fake_);
  const double deviation = spread(fake_, samples_);
  if (deviation >= collapsed) return {};
  warned_collapsed_ = true;
  return fmt::format(
      "step {}: warning: the generator has collapsed: the samples of a batch are all alike (mean deviation {:.2g})", made,
      deviation);
}

}  // namespace gannet

#include "engine/train/step.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/check.h"

namespace gannet {
namespace {

constexpr std::string_view nonfinite_prefix = "nonfinite.", rate_prefix = "learning_rate.";

void check_precision(const Config& config, const kernels::Backend& backend) {
  GANNET_CHECK(config.text("train.precision") != "bf16" || backend.supports(DType::bf16),
               "train.precision: this machine ({}) has no bf16 arithmetic; use fp32", backend.name());
}

}  // namespace

Step::Step(const Family& family, const Config& config, kernels::Backend& backend, bool replay)
    : config_(config), state_(backend, static_cast<std::uint64_t>(config.integer("train.seed"))) {
  check_precision(config, backend);
  model_ = family.trace(config, replay);
  for (const Phase& phase : model_.phases) {
    Part part{phase.name, phase.repeats, Program(*phase.graph, state_), {}, figures_.size(), {}, {}};
    for (const auto& [name, value] : phase.graph->outputs()) {
      if (name.starts_with(nonfinite_prefix)) {
        part.nonfinite.push_back(name);
      } else if (value.shape().rank() == 0) {
        part.outputs.push_back(name);
        figures_.push_back({name, std::numeric_limits<double>::quiet_NaN()});
      }
    }
    for (const std::string& name : part.program.inputs())
      if (name.starts_with(rate_prefix)) part.learning_rates.push_back(name);
    parts_.push_back(std::move(part));
  }
  for (Part& part : parts_) {
    for (const std::string& name : part.learning_rates) {
      const std::string player = name.substr(rate_prefix.size());
      const float rate = static_cast<float>(config_.real(player + "_optimizer.learning_rate"));
      part.program.write(name, &rate, sizeof(rate));
    }
  }
}

void Step::start(std::int64_t step, const Feed& feed) {
  static const std::string step_input = "step";
  for (Part& part : parts_) {
    for (int repeat = 0; repeat < part.repeats; ++repeat) {
      const std::int64_t run = step * part.repeats + repeat;
      if (part.program.has_input(step_input)) {
        const auto number = static_cast<std::int32_t>(run);
        part.program.write(step_input, &number, sizeof(number));
      }
      feed(part.program, run);
      if (part.started >= 0 && !runs_ahead()) take_figures(part, 0);
      {
        const kernels::Range range(state_.backend(), part.name);
        part.program.run();
      }
      // What is not finite in an earlier repeat is still seen after the last: nothing is updated from there on.
      if (part.started >= 0) take_figures(part, 1);
    }
    part.started = step;
  }
}

void Step::finish() {
  for (Part& part : parts_)
    if (part.started >= 0) take_figures(part, 0);
}

void Step::take_figures(Part& part, int runs_ago) {
  bool finite = true;
  for (std::size_t i = 0; i < part.outputs.size(); ++i) {
    figures_[part.first_figure + i].value = part.program.read_scalar(part.outputs[i], runs_ago);
    finite = finite && std::isfinite(figures_[part.first_figure + i].value);
  }
  for (const std::string& output : part.nonfinite) finite = finite && part.program.read_scalar(output, runs_ago) == 0;
  if (!finite) fail(part, runs_ago);
  part.started = -1;
}

void Step::fail(Part& part, int runs_ago) {
  const std::int64_t step = part.started;
  std::vector<std::string> faults;
  for (std::size_t i = 0; i < part.outputs.size(); ++i)
    if (!std::isfinite(figures_[part.first_figure + i].value)) faults.push_back(part.outputs[i]);
  for (const std::string& output : part.nonfinite) {
    const auto index = static_cast<std::size_t>(part.program.read_scalar(output, runs_ago));
    if (index == 0) continue;
    const std::string player = output.substr(nonfinite_prefix.size());
    const auto& names = player == "generator" ? model_.generator_parameters : model_.discriminator_parameters;
    faults.push_back("gradient of " + (index <= names.size() ? names[index - 1] : player));
  }
  const std::string first = part.program.find_nonfinite(runs_ago);
  throw RuntimeError(fmt::format(
      "step {}: not finite: {}; the first tensor at fault: {}. The last checkpoint is untouched; a lower learning rate or "
      "another loss may help",
      step + 1, fmt::join(faults, ", "), first.empty() ? "none when run again" : first));
}

double Step::figure(std::string_view name) const {
  const auto found = std::find_if(figures_.begin(), figures_.end(), [&](const Figure& figure) { return figure.name == name; });
  return found == figures_.end() ? std::numeric_limits<double>::quiet_NaN() : found->value;
}

Step::Part* Step::part_with_input(const std::string& name) {
  const auto found = std::find_if(parts_.begin(), parts_.end(), [&](const Part& part) { return part.program.has_input(name); });
  return found == parts_.end() ? nullptr : &*found;
}

Step::Part* Step::part_with_output(const std::string& name) {
  const auto found =
      std::find_if(parts_.begin(), parts_.end(), [&](const Part& part) { return part.program.has_output(name); });
  return found == parts_.end() ? nullptr : &*found;
}

}  // namespace gannet

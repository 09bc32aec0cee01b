#include "engine/train/step.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/check.h"

namespace gannet {
namespace {

constexpr std::string_view nonfinite_prefix = "nonfinite.", rate_prefix = "learning_rate.";
const std::string step_input = "step", stop_name = "stop";

bool is_figure(const std::string& name, const Value& value) {
  return !name.starts_with(nonfinite_prefix) && value.shape().rank() == 0;
}

// Every rank reports what all of them found, and whether one of them wants to stop.
void reduce_figures(Graph& graph) {
  std::vector<std::string> names{stop_name};
  std::vector<Value> values{graph.input(stop_name, {DType::f32, {}})};
  for (const auto& [name, value] : graph.outputs()) {
    if (!is_figure(name, value)) continue;
    names.push_back(name);
    values.push_back(value);
  }
  const std::vector<Value> reduced = ops::all_reduce(values, ops::Combine::mean);
  graph.output(stop_name, reduced[0]);
  for (std::size_t i = 1; i < names.size(); ++i) graph.replace_output(names[i], reduced[i]);
}

void check_precision(const Config& config, const kernels::Backend& backend) {
  GANNET_CHECK(config.text("train.precision") != "bf16" || backend.supports(DType::bf16),
               "train.precision: this machine ({}) has no bf16 arithmetic; use fp32", backend.name());
}

}  // namespace

Step::Step(const Family& family, const Config& config, kernels::Backend& backend, bool replay, const Ranks* ranks)
    : config_(config), ranks_(ranks), state_(backend, static_cast<std::uint64_t>(config.integer("train.seed"))) {
  check_precision(config, backend);
  trace_options_.replay = replay;
  PlanOptions plan;
  if (ranks != nullptr) {
    trace_options_.rank = ranks->rank();
    trace_options_.ranks = ranks->size();
    plan.communicator = &ranks->communicator;
    plan.bucket_bytes = static_cast<std::size_t>(config.integer("train.bucket_kib")) << 10;
  }
  model_ = family.trace(config, trace_options_);
  for (const Phase& phase : model_.phases) {
    if (ranks != nullptr) reduce_figures(*phase.graph);
    Part part{phase.name, phase.repeats, Program(*phase.graph, state_, plan), {}, figures_.size(), {}, {}};
    for (const auto& [name, value] : phase.graph->outputs()) {
      if (name.starts_with(nonfinite_prefix)) {
        part.nonfinite.push_back(name);
      } else if (is_figure(name, value) && name != stop_name) {
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
  for (Part& part : parts_) {
    for (int repeat = 0; repeat < part.repeats; ++repeat) {
      const std::int64_t run = step * part.repeats + repeat;
      if (part.program.has_input(step_input)) {
        const auto number = static_cast<std::int32_t>(run);
        part.program.write(step_input, &number, sizeof(number));
      }
      if (ranks_ != nullptr) {
        const float stop = asks_to_stop_ ? 1 : 0;
        part.program.write(stop_name, &stop, sizeof(stop));
        ranks_->group.at(step + 1, part.name);
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
  if (ranks_ != nullptr && part.program.read_scalar(stop_name, runs_ago) != 0) to_stop_ = true;
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
    // With ranks it is an index among the tensors of one bucket.
    faults.push_back("gradient of " + (ranks_ == nullptr && index <= names.size() ? names[index - 1] : player));
  }
  throw RuntimeError(fmt::format(
      "step {}: not finite: {}; the first tensor at fault: {}. The last checkpoint is untouched; a lower learning rate or "
      "another loss may help",
      step + 1, fmt::join(faults, ", "), first_at_fault(part, runs_ago)));
}

std::string Step::first_at_fault(Part& part, int runs_ago) {
  Program::Fault first = part.program.find_nonfinite(runs_ago);
  if (ranks_ == nullptr) return first.kernel < 0 ? "none when run again" : first.label;
  // What one rank makes all have after the next reduction: the earliest of all ranks is where it began.
  const std::vector<std::string> all = ranks_->group.gather(fmt::format("{} {}", first.kernel, first.label));
  int rank = -1;
  first.kernel = -1;
  for (int r = 0; r < ranks_->size(); ++r) {
    const std::string& text = all[static_cast<std::size_t>(r)];
    const int kernel = std::stoi(text);
    if (kernel < 0 || (rank >= 0 && kernel >= first.kernel)) continue;
    first = {kernel, text.substr(text.find(' ') + 1)};
    rank = r;
  }
  if (rank < 0) return "none when run again";
  return fmt::format("{} of rank {} (host {}, phase {})", first.label, rank, ranks_->group.host(rank), part.name);
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

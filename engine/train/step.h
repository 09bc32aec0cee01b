// A training step: the programs of a model, planned over one state and run in their order.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/parallel/ranks.h"
#include "engine/run/program.h"
#include "engine/train/config.h"
#include "engine/train/model.h"

namespace gannet {

// A number that a step reports.
struct Figure {
  std::string name;
  double value = 0;
};

// Writes a program's data (real samples, labels, replayed draws) before its run `run` (see Phase).
using Feed = std::function<void(Program& program, std::int64_t run)>;

class Step {
 public:
  // Plans every phase; the state gets their variables, initialised. InputError when the backend lacks train.precision.
  // ranks: those that train together, each of which makes the same Step; null when this process trains alone. They outlive it.
  Step(const Family& family, const Config& config, kernels::Backend& backend, bool replay, const Ranks* ranks = nullptr);

  const Model& model() const { return model_; }
  const Config& config() const { return config_; }
  const TraceOptions& trace_options() const { return trace_options_; }
  State& state() { return state_; }
  const State& state() const { return state_; }

  // Starts step number `step` (from 0), and takes the figures of the step started before, if they were not taken yet. Does not
  // wait for the step itself. Allocates nothing. RuntimeError when a loss or gradient of the steps whose figures were taken is
  // not finite: it names the step and the first tensor at fault, and no weight has taken up the value.
  void start(std::int64_t step, const Feed& feed);
  // Waits for the step that was started and takes its figures. RuntimeError as of start().
  void finish();
  void run(std::int64_t step, const Feed& feed) {
    start(step, feed);
    finish();
  }
  // With ranks: has every rank learnt, by the figures taken last, that one of them wants to stop? They all learn it at the same
  // step. ask_to_stop is of the steps started from then on.
  bool to_stop() const { return to_stop_; }
  void ask_to_stop() { asks_to_stop_ = true; }
  // May a step be started before the last one is over?
  bool runs_ahead() const { return state_.backend().launches_ahead() > 1; }
  // Those taken last: outputs of rank 0, from each phase's last repeat; with several ranks the means of theirs.
  std::span<const Figure> figures() const { return figures_; }
  // A figure by name; NaN when the model has none of it.
  double figure(std::string_view name) const;

  struct Part {
    std::string name;
    int repeats;
    Program program;
    std::vector<std::string> outputs;         // of rank 0, reported
    std::size_t first_figure;                 // where in figures_
    std::vector<std::string> nonfinite;       // outputs "nonfinite.PLAYER"
    std::vector<std::string> learning_rates;  // inputs "learning_rate.PLAYER"
    std::int64_t started = -1;                // the step whose figures are still to be taken
  };
  std::span<Part> parts() { return parts_; }
  std::span<const Part> parts() const { return parts_; }
  // The phase whose program has this input or output; null when none has.
  Part* part_with_input(const std::string& name);
  Part* part_with_output(const std::string& name);

 private:
  void take_figures(Part& part, int runs_ago);
  [[noreturn]] void fail(Part& part, int runs_ago);
  std::string first_at_fault(Part& part, int runs_ago);

  Config config_;
  const Ranks* ranks_;
  TraceOptions trace_options_;
  bool to_stop_ = false, asks_to_stop_ = false;
  Model model_;
  State state_;
  std::vector<Part> parts_;
  std::vector<Figure> figures_;
};

}  // namespace gannet

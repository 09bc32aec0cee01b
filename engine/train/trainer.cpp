#include "engine/train/trainer.h"

#include <chrono>
#include <csignal>
#include <cstring>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include "engine/data/file.h"
#include "engine/parallel/agreement.h"
#include "engine/train/checkpoint.h"
#include "engine/train/data_feed.h"
#include "engine/train/forecast.h"
#include "engine/train/health.h"
#include "engine/train/metrics.h"
#include "engine/train/process_memory.h"
#include "engine/train/progress.h"
#include "engine/train/run_folder.h"
#include "engine/train/run_log.h"
#include "engine/train/sampler.h"
#include "engine/train/tensorboard.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

// What may change when a run goes on. Anything else would make it another run.
constexpr std::string_view may_change[] = {"train.steps",
                                           "train.sample_every",
                                           "train.sample_count",
                                           "train.checkpoint_every",
                                           "train.keep_last",
                                           "train.log_every",
                                           "train.tensorboard_every",
                                           "train.threads",
                                           "data.file",
                                           "generator_optimizer.learning_rate",
                                           "discriminator_optimizer.learning_rate"};

// The folder to go on in, locked from here on: what another process saves there while it ends is seen. None for a new run,
// whose folder is made when all else is known to be right.
std::unique_ptr<RunFolder> folder_to_resume(const TrainOptions& options) {
  if (options.ranks != nullptr && options.ranks->rank() != 0) return nullptr;
  if (options.resume) return std::make_unique<RunFolder>(RunFolder::resume(options.out));
  RunFolder::check_unused(options.out);
  return nullptr;
}

// The checkpoint to go on from, after checking that the configuration is that of its run; none for a new run.
std::optional<Checkpoint> checkpoint_to_resume(const TrainOptions& options) {
  if (!options.resume) return std::nullopt;
  if (options.ranks != nullptr && options.ranks->rank() != 0) return std::nullopt;  // it is told
  GANNET_CHECK(options.init.empty(), "--init begins a run and --resume goes on with one: give one of them");
  const Config before(run_configuration(options.out), all_keys(options.family.keys));
  const std::string difference = first_difference(before, options.config, may_change);
  GANNET_CHECK(difference.empty(), "{}: cannot resume with another configuration: {}", options.out.string(), difference);
  return Checkpoint(find_checkpoint(options.out));
}

// The dataset file; empty when the run takes none.
std::string dataset_of(const TrainOptions& options) { return options.replay.empty() ? options.config.text("data.file") : ""; }

// Of the dataset file, after checking it; 0 without one. It does not stay mapped: the forecast counts its pages apart.
std::size_t dataset_size(const TrainOptions& options) {
  const std::string file = dataset_of(options);
  return file.empty() ? 0 : static_cast<std::size_t>(fs::file_size(Dataset(file).path()));
}

Drawing plan_drawing(Step& step) {
  if (step.model().plan_drawing) return step.model().plan_drawing(step.state());
  return grid_drawing(step.model(), step.state(), step.config().integer("train.sample_count"));
}

class Trainer {
 public:
  Trainer(const TrainOptions& options, kernels::Backend& backend, StopSignal& stop)
      : options_(options),
        config_(options.config),
        backend_(backend),
        stop_(stop),
        ranks_(options.ranks),
        folder_(folder_to_resume(options)),
        resumed_(checkpoint_to_resume(options)),
        dataset_bytes_(dataset_size(options)),
        step_(options.family, config_, backend, !options.replay.empty(), ranks_),
        log_(leads() ? options.terminal : nullptr) {}

  int run() {
    first_ = resumed_ ? resumed_->info().step : 0;
    std::uint64_t position = resumed_ ? resumed_->info().position : 0;
    if (ranks_ != nullptr) {
      require_same_training(*ranks_, step_, dataset_of(options_));
      std::istringstream(ranks_->group.broadcast(fmt::format("{} {}", first_, position))) >> first_ >> position;
    }
    const std::int64_t total = config_.integer("train.steps");
    GANNET_CHECK(first_ <= total, "{}: the run has made {} steps already; train.steps (--steps) is {} in all",
                 options_.out.string(), first_, total);
    drawing_ = plan_drawing(step_);  // before weights are read: what they leave on the heap is no part of the forecast
    forecast_ = forecast_memory(step_, drawing_, dataset_bytes_, total - first_);
    load_weights();
    resumed_.reset();  // its file need not stay mapped
    make_feed(position);
    if (leads()) open_folder();
    if (first_ == total) {
      log_.line(fmt::format("all {} steps are made: nothing to do", total));
      return 0;
    }
    try {
      return loop(total);
    } catch (const RuntimeError& error) {
      // Before what the others still exchange with this rank goes: they are to hear the cause, not of a broken connection.
      const std::string cause = ranks_ != nullptr ? ranks_->group.fail(error.what()) : error.what();
      if (leads()) log_.note(fmt::format("error: {}", cause));
      throw RuntimeError(cause);
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool leads() const { return ranks_ == nullptr || ranks_->rank() == 0; }

  void load_weights() {
    load_own_weights();
    if (ranks_ == nullptr) return;
    if (options_.resume)
      take_state_of_rank_0(*ranks_, step_.state());
    else
      require_same_weights(*ranks_, step_);
  }

  void load_own_weights() {
    if (resumed_) {
      resumed_->restore(step_.state(), true);
      const CheckpointInfo& info = resumed_->info();
      GANNET_CHECK(info.family == options_.family.name && info.seed == step_.state().seed(),
                   "{}: checkpoint of another run (family {}, seed {})", resumed_->file().path().string(), info.family,
                   info.seed);
      return;
    }
    if (!options_.init.empty()) {
      std::vector<std::string> parameters = step_.model().generator_parameters;
      const auto& discriminator = step_.model().discriminator_parameters;
      parameters.insert(parameters.end(), discriminator.begin(), discriminator.end());
      initialise_weights(options_.init, step_.state(), parameters);
    }
    start_averages(step_.state());
  }

  void make_feed(std::uint64_t position) {
    const std::string file = dataset_of(options_);
    if (!options_.replay.empty())
      feed_ = std::make_unique<DataFeed>(step_, options_.replay);
    else
      feed_ = std::make_unique<DataFeed>(step_, file.empty() ? nullptr : std::make_shared<const Dataset>(file), position);
  }

  void open_folder() {
    if (options_.resume)
      folder_->prepare();
    else
      folder_ = std::make_unique<RunFolder>(RunFolder::create(options_.out));
    if (!options_.resume) write(0);         // so that a run can always be resumed
    folder_->write_configuration(config_);  // what has none is no run
    log_.open(folder_->log());
    metrics_ = std::make_unique<MetricsFile>(folder_->metrics(), first_);
    events_ = std::make_unique<EventFile>(folder_->path(), options_.resume ? first_ + 1 : 0);
    log_.line(fmt::format("{}: {} on {}", folder_->path().string(), options_.family.name, backend_.name()));
    for (const std::string& line : describe_plan(step_, drawing_, forecast_)) log_.line(line);
    if (config_.text("train.precision") == "tf32" && backend_.host_memory())
      log_.line("tf32 is an arithmetic of GPUs: here it is fp32");
    if (options_.resume) log_.line(fmt::format("goes on after step {}", first_));
  }

  int loop(std::int64_t total) {
    const std::int64_t sample_every = config_.integer("train.sample_every");
    const std::int64_t checkpoint_every = config_.integer("train.checkpoint_every");
    Progress progress(log_, total, batch_, config_.integer("train.log_every"));
    Health health(step_);
    const Feed feed = [this](Program& program, std::int64_t run) { feed_->feed(program, run); };
    if (first_ == 0) sample(0);
    int asked = 0;  // the signal that this process got
    const auto conclude = [&](std::int64_t made, double seconds) {
      if (!leads()) return;
      report(made, seconds);
      progress.show(made, seconds, step_);
      if (const std::string warning = health.check(made); !warning.empty()) log_.line(warning);
    };
    bool ahead = false;  // was the step before started, but not concluded?
    for (std::int64_t made = first_ + 1; made <= total; ++made) {
      Clock::time_point start = Clock::now();
      const auto lap = [&start] {
        return std::chrono::duration<double>(Clock::now() - std::exchange(start, Clock::now())).count();
      };
      if (ranks_ != nullptr) asked = stop_.take();
      if (asked != 0) step_.ask_to_stop();
      step_.start(made - 1, feed);
      if (ahead) conclude(made - 1, lap());
      // Several ranks stop at a step that they agree on, whichever of them got the signal.
      const int signal = ranks_ == nullptr ? stop_.take() : !step_.to_stop() ? 0 : asked != 0 ? asked : SIGTERM;
      const bool last = made == total || signal != 0;
      // Whoever stops a run may not wait for a picture.
      const bool pictured = signal == 0 && (last || is_due(made, sample_every)), saved = last || is_due(made, checkpoint_every);
      ahead = step_.runs_ahead() && !pictured && !saved;
      if (ahead) continue;
      step_.finish();
      const double seconds = lap();
      if (pictured) sample(made);
      conclude(made, seconds);
      extra_.clear();
      if (saved) save(made);
      if (last) return finish(made, signal);
    }
    return 0;
  }

  static bool is_due(std::int64_t made, std::int64_t every) { return every > 0 && made % every == 0; }

  void report(std::int64_t made, double seconds) {
    metrics_->begin(made);
    for (const Figure& figure : step_.figures()) metrics_->figure(figure.name, figure.value);
    const double rate = static_cast<double>(batch_) / seconds;
    metrics_->figure("images_per_s", rate);
    for (const auto& [name, value] : extra_) metrics_->figure(name, value);
    metrics_->end();
    if (made % tensorboard_every_ == 0) {
      for (const Figure& figure : step_.figures()) events_->scalar(figure.name, made, static_cast<float>(figure.value));
      events_->scalar("images_per_s", made, static_cast<float>(rate));
    }
    for (const auto& [name, value] : extra_) events_->scalar(name, made, static_cast<float>(value));
    const Clock::time_point now = Clock::now();
    if (now - flushed_ < std::chrono::seconds(1)) return;
    flushed_ = now;  // so that others can follow the run
    metrics_->flush();
    events_->flush();
  }

  // Rank 0 works for all: the others wait for it here, where they may take their time, and not within a step.
  template <typename Work>
  void alone(std::int64_t made, const char* phase, const Work& work) {
    if (ranks_ != nullptr) ranks_->group.at(made, phase, false);
    if (leads()) work();
    if (ranks_ != nullptr) ranks_->group.gather({});
  }

  void sample(std::int64_t made) {
    alone(made, "drawing", [&] { draw(made); });
  }

  void draw(std::int64_t made) {
    Drawing::Result drawn = drawing_.draw(made, folder_->sample(made));
    const Image& picture = drawn.picture;
    events_->image("samples", made, picture.height, picture.width, picture.channels,
                   {reinterpret_cast<const char*>(drawn.png.data()), drawn.png.size()});
    extra_ = std::move(drawn.figures);
    if (extra_.empty()) return;
    std::string line = fmt::format("step {}:", made);
    for (const auto& [name, value] : extra_) line += fmt::format(" {} {:.4f}", name, value);
    log_.line(line);
  }

  void save(std::int64_t made) {
    if (ranks_ != nullptr) {
      ranks_->group.at(made, "comparing weights", false);
      require_same_weights(*ranks_, step_);
    }
    alone(made, "saving", [&] { write(made); });
  }

  // Metrics first: a run that goes on from this checkpoint has them all.
  void write(std::int64_t made) {
    if (metrics_) metrics_->sync();
    if (events_) events_->flush();
    save_checkpoint(folder_->checkpoint(made), step_.state(),
                    {made, step_.state().seed(), feed_->position(), options_.family.name, config_.json()});
    folder_->keep_checkpoints(config_.integer("train.keep_last"));
  }

  int finish(std::int64_t made, int signal) {
    const int code = signal == 0 ? 0 : 128 + signal;
    if (!leads()) return code;
    const auto peak = static_cast<double>(peak_resident_bytes()), total = static_cast<double>(forecast_.total());
    const std::string share = signal == 0 ? fmt::format(" ({:+.1f} %)", 100 * (peak / total - 1)) : "";  // of all steps
    log_.line(fmt::format("memory       {} at most, forecast {}{}", format_bytes(peak), format_bytes(total), share));
    if (signal != 0)
      log_.line(fmt::format("stopped by SIG{} after step {}; --resume goes on", sigabbrev_np(signal), made));
    else
      log_.line(fmt::format("done: {} steps; {}", made, folder_->checkpoint(made).string()));
    return code;
  }

  const TrainOptions& options_;
  const Config& config_;
  kernels::Backend& backend_;
  StopSignal& stop_;
  const Ranks* ranks_;
  std::unique_ptr<RunFolder> folder_;
  std::optional<Checkpoint> resumed_;
  std::size_t dataset_bytes_;
  Step step_;
  RunLog log_;
  const std::int64_t batch_ = config_.integer("train.batch");
  const std::int64_t tensorboard_every_ = config_.integer("train.tensorboard_every");
  std::unique_ptr<DataFeed> feed_;
  std::int64_t first_ = 0;  // steps made before
  Drawing drawing_;
  std::unique_ptr<MetricsFile> metrics_;
  std::unique_ptr<EventFile> events_;
  MemoryForecast forecast_;
  std::vector<std::pair<std::string, double>> extra_;  // figures of this step's samples
  Clock::time_point flushed_;
};

}  // namespace

int train(const TrainOptions& options, kernels::Backend& backend, StopSignal& stop) {
  return Trainer(options, backend, stop).run();
}

std::vector<std::string> dry_run(const TrainOptions& options, kernels::Backend& backend) {
  Step step(options.family, options.config, backend, !options.replay.empty());
  const Drawing drawing = plan_drawing(step);
  const std::int64_t steps = options.config.integer("train.steps");
  return describe_plan(step, drawing, forecast_memory(step, drawing, dataset_size(options), steps));
}

}  // namespace gannet

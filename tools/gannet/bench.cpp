// gannet bench
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>

#include "engine/data/file.h"
#include "engine/run/host_tensor.h"
#include "engine/train/process_memory.h"
#include "engine/train/step.h"
#include "models/models.h"
#include "tools/gannet/bench_allreduce.h"
#include "tools/gannet/command.h"
#include "tools/gannet/configuration.h"
#include "tools/gannet/job.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string configuration;
  std::vector<std::string> settings;
  std::int64_t warmup = 2, steps = 10;
  int repeats = 5;
  bool json = false;
  DeviceOptions device;
};

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// Noise where pictures would be: the work does not depend on what they show.
void fill_inputs(Step& step) {
  std::mt19937 random(1);
  for (Step::Part& part : step.parts()) {
    if (part.program.has_input("real")) {
      std::vector<std::uint8_t> pictures(static_cast<std::size_t>(part.program.input_type("real").shape.elements()));
      std::generate(pictures.begin(), pictures.end(), [&] { return static_cast<std::uint8_t>(random()); });
      part.program.write("real", pictures.data(), pictures.size());
    }
    if (part.program.has_input("labels")) {
      const std::vector<std::int32_t> labels(static_cast<std::size_t>(part.program.input_type("labels").shape.elements()));
      part.program.write("labels", labels.data(), labels.size() * sizeof(std::int32_t));
    }
  }
}

// Seconds from the end of a step to that of the next. As in training, the next one is started before the last is over where
// that is possible.
std::vector<double> seconds_of_steps(Step& step, std::int64_t first, std::int64_t count, const Feed& feed) {
  std::vector<double> seconds;
  Clock::time_point begin = Clock::now();
  if (step.runs_ahead()) step.start(first, feed);
  for (std::int64_t next = first + 1; next <= first + count; ++next) {
    if (!step.runs_ahead())
      step.run(next - 1, feed);
    else if (next < first + count)
      step.start(next, feed);
    else
      step.finish();
    const Clock::time_point end = Clock::now();
    seconds.push_back(std::chrono::duration<double>(end - begin).count());
    begin = end;
  }
  return seconds;
}

// What one step asks of the device, by its plans.
struct Work {
  int kernels = 0, launches = 0;
  double flops = 0, product_flops = 0, least_bytes = 0;
};

Work work_of(const Step& step, bool as_graphs) {
  Work work;
  for (const Step::Part& part : step.parts()) {
    const PlanReport& report = part.program.report();
    work.kernels += report.kernels * part.repeats;
    work.launches += (as_graphs ? 1 : report.kernels) * part.repeats;
    work.flops += report.flops * part.repeats;
    work.product_flops += report.product_flops * part.repeats;
    work.least_bytes += report.bytes * part.repeats;
  }
  return work;
}

// The simulator gives its devices such names.
bool is_simulated(const kernels::Backend& backend) { return backend.name().starts_with("cuda (Simulated"); }

// What the ranks of a job have to do with each other.
struct Exchange {
  double local_seconds = 0;   // a step of the samples of one rank, which exchanges nothing
  double reduce_seconds = 0;  // the reductions of a step, one after the other and nothing beside them
  double bytes = 0;           // reduced in a step
};

Exchange measure_exchange(const Options& options, const Resolved& resolved, const Step& step, Job& job) {
  const Ranks& ranks = *job.ranks();
  nlohmann::json own = resolved.config.json();
  own["train"]["batch"] = step.trace_options().batch(resolved.config);
  const Resolved local = resolve(own);
  Step alone(*local.family, local.config, job.backend(), false);
  fill_inputs(alone);
  const Feed feed = [](Program&, std::int64_t) {};
  for (std::int64_t i = 0; i < options.warmup; ++i) alone.run(i, feed);
  Exchange exchange;
  ranks.group.gather({});
  exchange.local_seconds = median(seconds_of_steps(alone, options.warmup, options.steps, feed));

  std::vector<std::unique_ptr<kernels::Kernel>> reductions;
  std::size_t largest = 0;
  for (const Step::Part& part : step.parts()) {
    for (int repeat = 0; repeat < part.repeats; ++repeat) {
      for (std::size_t bytes : part.program.report().reductions) {
        const TensorDesc bucket{DType::f32, {static_cast<std::int64_t>(bytes / sizeof(float))}, Layout::plain};
        reductions.push_back(ranks.communicator.create({kernels::AllReduce::Combine::mean, {bucket}, DType::f32}));
        largest = std::max(largest, bytes);
        exchange.bytes += static_cast<double>(bytes);
      }
    }
  }
  const std::vector<std::byte> zeros(largest);
  kernels::Backend& backend = job.backend();
  const BackendMemory memory(backend, largest);
  backend.upload(memory.data(), zeros.data(), largest);
  const void* input = memory.data();
  void* output = memory.data();
  std::vector<double> seconds;
  for (std::int64_t i = 0; i < options.warmup + options.steps; ++i) {
    ranks.group.gather({});
    const Clock::time_point begin = Clock::now();
    for (const auto& reduction : reductions) {
      reduction->run({&input, &output, nullptr});
      reduction->await();
    }
    backend.synchronize();
    if (i >= options.warmup) seconds.push_back(seconds_since(begin));
  }
  exchange.reduce_seconds = median(seconds);
  return exchange;
}

// The share of the reductions' time that a step does not take longer for them.
double hidden(const Exchange& exchange, double step_seconds) {
  return std::clamp(1 - (step_seconds - exchange.local_seconds) / exchange.reduce_seconds, 0.0, 1.0);
}

int time_steps(const Options& options, const Resolved& resolved, Job& job) {
  const Clock::time_point start = Clock::now();
  kernels::Backend* const backend = &job.backend();
  Step step(*resolved.family, resolved.config, *backend, false, job.ranks());
  fill_inputs(step);
  const Feed feed = [](Program&, std::int64_t) {};
  std::int64_t made = 0;
  step.run(made++, feed);
  const double first = seconds_since(start);
  const bool simulated = is_simulated(*backend);
  if (options.json && job.leads()) {
    nlohmann::json event = {{"event", "first step"}};
    if (!simulated) event["seconds"] = first;
    fmt::print("{}\n", event.dump());
    std::fflush(stdout);
  }
  for (std::int64_t i = 1; i < options.warmup; ++i) step.run(made++, feed);
  std::optional<kernels::Range> range(std::in_place, *backend, "timed");  // for profilers, which can wait for it
  const std::vector<double> seconds = seconds_of_steps(step, made, options.steps, feed);
  range.reset();
  const auto peak = peak_resident_bytes();  // without what measure_exchange needs
  std::optional<Exchange> exchange;
  if (job.ranks() != nullptr) exchange = measure_exchange(options, resolved, step, job);
  if (!job.leads()) return 0;
  const auto batch = static_cast<double>(resolved.config.integer("train.batch"));
  std::vector<double> rates;
  for (double of_step : seconds) rates.push_back(batch / of_step);
  const bool on_device = !backend->host_memory();
  const Work work = work_of(step, on_device && !options.device.kernel_by_kernel);
  const double middle = median(seconds);
  if (options.json) {
    nlohmann::json report = {{"simulated", simulated},
                             {"batch", batch},
                             {"backend", backend->name()},
                             {"peak_bytes", peak},
                             {"kernels", work.kernels},
                             {"flops", work.flops},
                             {"product_flops", work.product_flops},
                             {"least_bytes", work.least_bytes}};
    if (on_device) report["launches"] = work.launches;
    if (!simulated)
      report.update({{"images_per_s", rates},
                     {"step_ms", 1000 * middle},
                     {"first_step_s", first},
                     {"gflop_per_s", work.flops / middle / 1e9}});
    if (exchange) {
      report["ranks"] = job.ranks()->size();
      report["reduced_bytes"] = exchange->bytes;
      if (!simulated)
        report.update({{"local_step_ms", 1000 * exchange->local_seconds},
                       {"reduce_ms", 1000 * exchange->reduce_seconds},
                       {"scaling", exchange->local_seconds / middle},
                       {"hidden", hidden(*exchange, middle)}});
    }
    for (const Figure& figure : step.figures()) report[figure.name] = figure.value;
    fmt::print("{}\n", report.dump());
    return 0;
  }
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  fmt::print("{} on {}\n", resolved.family->name, backend->name());
  if (simulated) {
    fmt::print("simulated    this is no GPU: how long a step takes here means nothing\n");
  } else {
    fmt::print("first step   {:.2f} s after the start\n", first);
    fmt::print("a step       {:.2f} ms ({:.2f} to {:.2f}, {} steps), {:.1f} images/s, {:.1f} GFLOP/s\n", 1000 * middle,
               1000 * *fastest, 1000 * *slowest, options.steps, batch / middle, work.flops / middle / 1e9);
  }
  fmt::print("its work     {} kernels{}, {:.4g} GFLOP, {} to read and write at least\n", work.kernels,
             on_device ? fmt::format(" in {} launch{}", work.launches, work.launches == 1 ? "" : "es") : "", work.flops / 1e9,
             format_bytes(work.least_bytes));
  if (exchange) {
    fmt::print("{} ranks      {} reduced in a step by {}\n", job.ranks()->size(), format_bytes(exchange->bytes),
               job.ranks()->communicator.name());
    if (!simulated)
      fmt::print(
          "             {:.1f} % of what {} ranks without exchange would do ({:.2f} ms a step); reductions alone take "
          "{:.2f} ms, {:.0f} % of that hidden\n",
          100 * exchange->local_seconds / middle, job.ranks()->size(), 1000 * exchange->local_seconds,
          1000 * exchange->reduce_seconds, 100 * hidden(*exchange, middle));
  }
  fmt::print("memory       {} at most\n", format_bytes(static_cast<double>(peak)));
  return 0;
}

int run_step(const Options& options) {
  const Resolved resolved = resolve(load_configuration(options.configuration), options.settings);
  TraceOptions{.ranks = ranks_of(options.device)}.batch(resolved.config);  // said once, and not by every rank
  if (const std::optional<int> code = start_ranks(options.device)) return *code;
  Job job(options.device, resolved.config);
  return job.run([&] { return time_steps(options, resolved, job); });
}

int run_operators(const Options& options) {
  const Resolved resolved = resolve(load_configuration(options.configuration), options.settings);
  const auto backend = options.device.make_backend(resolved.config);
  Step step(*resolved.family, resolved.config, *backend, false);
  fill_inputs(step);
  step.run(0, [](Program&, std::int64_t) {});
  nlohmann::json report = nlohmann::json::array();
  if (!options.json) fmt::print("{} on {}, median of {}\n", resolved.family->name, backend->name(), options.repeats);
  for (Step::Part& part : step.parts()) {
    std::optional<kernels::Range> range(std::in_place, *backend, part.name);
    std::vector<Program::KernelTime> times = part.program.profile(options.repeats);
    range.reset();
    double total = 0;
    for (const auto& time : times) total += time.seconds;
    std::stable_sort(times.begin(), times.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    if (!options.json)
      fmt::print("\n{}: {} kernels, {:.2f} ms\n{:>9} {:>6} {:>9} {:>8}  {:<14} {}\n", part.name, times.size(), 1000 * total,
                 "ms", "share", "GFLOP/s", "GB/s", "kind", "operator");
    for (const auto& time : times) {
      if (options.json)
        report.push_back({{"program", part.name},
                          {"operator", time.label},
                          {"kind", time.kind},
                          {"seconds", time.seconds},
                          {"flops", time.flops},
                          {"bytes", time.bytes}});
      else
        fmt::print("{:9.3f} {:5.1f}% {:9.1f} {:8.1f}  {:<14} {}\n", 1000 * time.seconds, 100 * time.seconds / total,
                   time.flops / time.seconds / 1e9, time.bytes / time.seconds / 1e9, time.kind, time.label);
    }
  }
  if (options.json) fmt::print("{}\n", report.dump(2));
  return 0;
}

void add_common(CLI::App& command, Options& options) {
  const std::string ready =
      fmt::format("A configuration file (JSON) or a ready one: {}", fmt::join(models::ready_names(), ", "));
  path(command.add_option("CONFIG", options.configuration, ready), "")->required();
  command.add_option("--set", options.settings, "Set a key of the configuration; may be given again and again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command.add_flag("--json", options.json, "Print JSON");
  options.device.add_to(command, "(train.threads)");
}

}  // namespace

void add_bench(CLI::App& app, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("bench", "Measure throughput on synthetic data");
  command->require_subcommand(1);
  auto options = std::make_shared<Options>();
  CLI::App* step = command->add_subcommand(
      "step",
      "Time whole training steps and say what a step asks of the device (--json: a line after the first "
      "step, and one at the end)");
  add_common(*step, *options);
  step->footer(
      "JSON: images_per_s (of each step), step_ms (median), first_step_s, gflop_per_s; of one step, by its plan: kernels, "
      "launches "
      "(on a device: of graphs, or of kernels), flops, product_flops (of convolutions and products of matrices), least_bytes "
      "(each "
      "kernel's operands once); simulated (under gannet-sim, where there are no times), batch, backend, peak_bytes, and the "
      "losses. With several ranks also ranks, reduced_bytes, local_step_ms (of a rank that exchanges nothing), reduce_ms (of "
      "the "
      "reductions alone), scaling (local_step_ms over step_ms) and hidden (the share of reduce_ms that a step does not take "
      "longer).");
  add_ranks_to(*step, options->device);
  whole_number(step->add_option("--warmup", options->warmup, "Steps before the timed ones"), 1, 1000000)->capture_default_str();
  whole_number(step->add_option("--steps", options->steps, "Timed steps"), 1, 1000000)->capture_default_str();
  step->add_flag(
      "--kernel-by-kernel", options->device.kernel_by_kernel,
      "Start kernels one by one instead of a step as one CUDA Graph, so that profilers show the ranges of operators");
  step->callback([options, &chosen] { chosen = [options] { return run_step(*options); }; });
  CLI::App* operators = command->add_subcommand("operators", "Time every kernel of a step");
  add_common(*operators, *options);
  whole_number(operators->add_option("--repeats", options->repeats, "Runs of each kernel"), 1, 10000)->capture_default_str();
  operators->callback([options, &chosen] { chosen = [options] { return run_operators(*options); }; });
  add_bench_allreduce(*command, chosen);
}

}  // namespace gannet::tool

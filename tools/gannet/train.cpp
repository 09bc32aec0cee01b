// gannet train
#include <fmt/format.h>

#include "engine/train/run_folder.h"
#include "engine/train/trainer.h"
#include "models/models.h"
#include "tools/gannet/command.h"
#include "tools/gannet/configuration.h"
#include "tools/gannet/job.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string configuration;
  fs::path data, out, init, replay;
  std::int64_t steps = 0;
  std::vector<std::string> settings;
  bool resume = false, dry_run = false;
  DeviceOptions device;
};

Resolved resolve_for(const Options& options) {
  GANNET_CHECK(!options.configuration.empty() || (options.resume && !options.out.empty()),
               "give CONFIG, a file or the name of a ready configuration ({})", fmt::join(models::ready_names(), ", "));
  nlohmann::json given =
      options.configuration.empty() ? run_configuration(options.out) : load_configuration(options.configuration);
  std::vector<std::string> settings = options.settings;
  if (options.steps > 0) settings.push_back(fmt::format("train.steps={}", options.steps));
  GANNET_CHECK(is_utf8(options.data.string()),
               "--data: the name of the file is not UTF-8, and so can not be kept in the configuration");
  if (!options.data.empty()) settings.push_back(fmt::format("data.file={}", nlohmann::json(options.data.string()).dump()));
  if (options.device.threads > 0) settings.push_back(fmt::format("train.threads={}", options.device.threads));
  return resolve(std::move(given), settings);
}

int run(const Options& options) {
  const Resolved resolved = resolve_for(options);
  TraceOptions{.ranks = ranks_of(options.device)}.batch(resolved.config);  // said once, and not by every rank
  if (!options.dry_run)
    if (const std::optional<int> code = start_ranks(options.device)) return *code;
  StopSignal stop;  // before any thread is made
  const fs::path out = options.out.empty() ? fs::path("runs") / fs::path(options.configuration).stem() : options.out;
  TrainOptions settings{*resolved.family, resolved.config, out, options.init, options.replay, options.resume, stdout};
  if (options.dry_run) {
    const auto backend = options.device.make_backend(resolved.config);
    fmt::print("{} on {}\n", resolved.family->name, backend->name());
    for (const std::string& line : dry_run(settings, *backend)) fmt::print("{}\n", line);
    return 0;
  }
  Job job(options.device, resolved.config);
  settings.ranks = job.ranks();
  return job.run([&] { return train(settings, job.backend(), stop); });
}

// "what it is (its choices) [its default]"
std::string describe(const Key& key) {
  std::string text = key.help;
  if (!key.choices.empty()) text += fmt::format(" ({})", fmt::join(key.choices, ", "));
  return key.initial.is_null() ? text : fmt::format("{} [{}]", text, key.initial.dump());
}

// Families and ready configurations, so that the help is complete without the README.
std::string footer() {
  std::string text = "Families:\n";
  for (const Family& family : models::families()) text += fmt::format("  {:<12}{}\n", family.name, family.summary);
  text += fmt::format("Ready configurations: {}\n", fmt::join(models::ready_names(), ", "));
  text += "Keys that every configuration has (--set KEY=VALUE):\n";
  for (const Key& key : common_keys()) text += fmt::format("  {:<40}{}\n", key.path, describe(key));
  text += "and those of a family:\n";
  for (const Family& family : models::families())
    for (const Key& key : family.keys) text += fmt::format("  {:<12}{:<40}{}\n", family.name, key.path, describe(key));
  text +=
      "SIGINT, SIGTERM, SIGHUP and SIGPIPE (a closed terminal, a closed output) end the step, save and exit; --resume then "
      "goes on\n"
      "as if nothing had been.";
  return text;
}

}  // namespace

void add_train(CLI::App& app, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("train", "Train a GAN");
  auto options = std::make_shared<Options>();
  path(command->add_option("CONFIG", options->configuration,
                           "A configuration file (JSON) or the name of a ready one; with --resume, the run's own"),
       "");
  path(command->add_option("--data", options->data, "Dataset file (data.file); gannet prepare makes one"), "FILE");
  path(command->add_option("--out", options->out, "Run folder [runs/CONFIG]"), "DIR");
  whole_number(command->add_option("--steps", options->steps, "Total number of steps (train.steps), also when resuming"), 1,
               1000000000);
  options->device.add_to(*command, "(train.threads)");
  add_ranks_to(*command, options->device);
  command->add_option("--set", options->settings, "Set a key of the configuration; may be given again and again")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_flag("--resume", options->resume, "Go on from the newest checkpoint of the run in --out");
  path(command->add_option("--init", options->init, "Start from these weights (safetensors, PyTorch's names and layouts)"),
       "FILE");
  path(command->add_option("--replay", options->replay,
                           "Take every step's inputs from this file (safetensors) instead of data and noise"),
       "FILE");
  command->add_flag("--dry-run", options->dry_run, "Plan, print what a run would take, and train nothing");
  command->footer(footer());
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace gannet::tool

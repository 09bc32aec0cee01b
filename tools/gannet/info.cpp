// gannet info
#include <fmt/format.h>

#include <fstream>

#include "engine/data/dataset.h"
#include "engine/data/file.h"
#include "engine/train/checkpoint.h"
#include "engine/train/run_folder.h"
#include "tools/gannet/command.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {
namespace {

namespace fs = std::filesystem;

void print_tensors(const SafetensorsFile& file) {
  for (const auto& [name, entry] : file.entries())
    fmt::print("  {:<56} {:<5} ({})\n", name, entry.type, fmt::join(entry.shape, ","));
}

void print_dataset(const fs::path& path) {
  const Dataset dataset(path);
  const Shape& shape = dataset.shape();
  fmt::print("{}: dataset of {} pictures, {}x{} with {} channels, {}\n", path.string(), shape[0], shape[1], shape[2], shape[3],
             format_bytes(static_cast<double>(fs::file_size(path))));
  if (dataset.labels().empty()) return;
  std::vector<std::int64_t> histogram(static_cast<std::size_t>(dataset.class_count()));
  for (const std::int32_t label : dataset.labels()) ++histogram[static_cast<std::size_t>(label)];
  fmt::print("labels of {} classes:\n", histogram.size());
  for (std::size_t i = 0; i < histogram.size(); ++i)
    fmt::print("  {:>8}  {}\n", histogram[i], i < dataset.classes().size() ? dataset.classes()[i] : std::to_string(i));
}

void print_checkpoint(const fs::path& path) {
  const Checkpoint checkpoint(path);
  const CheckpointInfo& info = checkpoint.info();
  fmt::print("{}: checkpoint of family {}, step {}, seed {}, loader at sample {}; its checksum is right\n", path.string(),
             info.family, info.step, info.seed, info.position);
  fmt::print("configuration: {}\ntensors:\n", info.configuration.dump());
  print_tensors(checkpoint.file());
}

void print_safetensors(const fs::path& path) {
  const SafetensorsFile file(path);
  if (file.metadata().contains("gannet.checkpoint")) return print_checkpoint(path);
  if (file.contains("images")) return print_dataset(path);
  fmt::print("{}: safetensors of {} tensors, {}\n", path.string(), file.entries().size(),
             format_bytes(static_cast<double>(fs::file_size(path))));
  for (const auto& [key, value] : file.metadata()) fmt::print("  {}: {}\n", key, value);
  print_tensors(file);
}

void print_run(const fs::path& run) {
  const nlohmann::json configuration = run_configuration(run);
  fmt::print("{}: run of family {}\n", run.string(), configuration.value("/model/family"_json_pointer, "unknown"));
  std::ifstream metrics(run / "metrics.jsonl");
  std::string last;
  for (std::string line; std::getline(metrics, line) && !metrics.eof();) last = std::move(line);
  if (!last.empty()) fmt::print("last metrics: {}\n", last);
  fmt::print("checkpoints:\n");
  for (const auto& [step, file] : checkpoints_of(run))
    fmt::print("  step {:>8}  {}  {}\n", step, file.string(), format_bytes(static_cast<double>(fs::file_size(file))));
  fmt::print("configuration:\n{}\n", configuration.dump(2));
}

int run(const fs::path& path) {
  std::error_code error;
  GANNET_CHECK(fs::exists(path, error), "{}: no such file or run folder", path.string());
  if (fs::is_directory(path, error))
    print_run(path);
  else
    print_safetensors(path);
  return 0;
}

}  // namespace

void add_info(CLI::App& app, Chosen& chosen) {
  CLI::App* command =
      app.add_subcommand("info", "Say what is in a dataset, a checkpoint, a run folder or any safetensors file");
  auto file = std::make_shared<fs::path>();
  path(command->add_option("FILE|RUN", *file, "A file or a run folder"), "")->required();
  command->callback([file, &chosen] { chosen = [file] { return run(*file); }; });
}

}  // namespace gannet::tool

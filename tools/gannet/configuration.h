// What subcommands share: which configuration, on which device.
#pragma once

#include <CLI/CLI.hpp>

#include <memory>
#include <string>
#include <vector>

#include "engine/train/checkpoint.h"
#include "engine/train/config.h"
#include "engine/train/model.h"
#include "kernels/backend.h"

namespace gannet::tool {

struct Resolved {
  const Family* family;
  Config config;
};

// JSON of a ready configuration or of a file. InputError names the nearest ready one when it is neither.
nlohmann::json load_configuration(const std::string& name_or_file);
// Checked against the keys of its family.
Resolved resolve(const nlohmann::json& given);
// With every "key=value" applied first.
Resolved resolve(nlohmann::json given, const std::vector<std::string>& settings);

struct DeviceOptions {
  std::string device = "cpu", kernels = "native";
  int gpus = 1, processes = 1;  // ranks to start on this host: see tools/gannet/job.h
  int gpu = 0;                  // the one that this process computes on
  int threads = 0;
  bool kernel_by_kernel = false;  // see kernels::CudaOptions

  // threads_help: which key of a configuration --threads sets.
  void add_to(CLI::App& command, const std::string& threads_help = "");
  // As a configuration says: train.threads (when --threads is not given) and train.precision. InputError for what this build
  // or machine has not.
  std::unique_ptr<kernels::Backend> make_backend(const Config& config) const;
  std::unique_ptr<kernels::Backend> make_backend() const { return make_backend(0, false); }

 private:
  std::unique_ptr<kernels::Backend> make_backend(std::int64_t configured_threads, bool tf32) const;
};

// A trained model to draw from: the newest checkpoint of a run folder, or a checkpoint file.
struct Trained {
  explicit Trained(const std::filesystem::path& run_or_file);

  Checkpoint checkpoint;
  Resolved resolved;
  Model model;
};

// Threads that this process may use.
int available_threads();

}  // namespace gannet::tool

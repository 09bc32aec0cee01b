// A run's folder: config.json, metrics.jsonl, log.txt, TensorBoard's event files, samples/ and checkpoints/.
#pragma once

#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "engine/train/config.h"

namespace gannet {

class RunFolder {
 public:
  // InputError when there is anything in `path` but what a run left that was killed while it began; makes nothing.
  static void check_unused(const std::filesystem::path& path);
  // A new run, which begins when its configuration is written: what has no config.json is no run.
  static RunFolder create(const std::filesystem::path& path);
  // Of a run that began; changes nothing before prepare().
  static RunFolder resume(const std::filesystem::path& path);
  ~RunFolder();
  RunFolder(RunFolder&& other) noexcept;
  RunFolder& operator=(RunFolder&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path samples() const { return path_ / "samples"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path log() const { return path_ / "log.txt"; }
  std::filesystem::path sample(std::int64_t step) const;
  std::filesystem::path checkpoint(std::int64_t step) const;

  // Makes its folders and removes what a killed process left half written.
  void prepare() const;
  void write_configuration(const Config& config) const;
  // Removes all checkpoints but the `count` newest; 0 keeps all.
  void keep_checkpoints(std::int64_t count) const;

 private:
  explicit RunFolder(const std::filesystem::path& path);  // locks it: one process trains in a folder

  std::filesystem::path path_;
  int lock_ = -1;
};

// The JSON of a run's config.json. InputError when `run` is no run folder.
nlohmann::json run_configuration(const std::filesystem::path& run);

// Step and file of a run's checkpoints, oldest first.
std::vector<std::pair<std::int64_t, std::filesystem::path>> checkpoints_of(const std::filesystem::path& run);

// A checkpoint file itself, or the newest one of a run folder. InputError when there is none.
std::filesystem::path find_checkpoint(const std::filesystem::path& run_or_file);

}  // namespace gannet

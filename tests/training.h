// Small trainings for tests: a folder of one's own, a dataset, tiny configurations.
#pragma once

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "engine/train/trainer.h"

namespace gannet::testing {

// A new folder, removed with its contents at the end.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::filesystem::path& file);
void write_file(const std::filesystem::path& file, const std::string& bytes);

// Every file below a folder, with its bytes.
std::map<std::string, std::string> contents(const std::filesystem::path& folder);

// `count` pictures of 16x16 with one channel: bright discs on black.
void write_dataset(const std::filesystem::path& file, int count = 48);

// The ready configuration of a family at a size that trains hundreds of steps a second on pictures of 16x16, with the dataset.
nlohmann::json tiny(const std::string& family, const std::filesystem::path& data, int steps);

// Trains quietly: what train() returns or throws.
struct Train {
  nlohmann::json configuration;
  std::filesystem::path out;
  std::filesystem::path init = {}, replay = {};
  bool resume = false;

  int operator()() const;
  int operator()(StopSignal& stop) const;
  int operator()(StopSignal& stop, kernels::Backend& backend) const;
};

// What an error of the given kind says; "" when there is none.
std::string input_error(const std::function<void()>& action);
std::string runtime_error(const std::function<void()>& action);

}  // namespace gannet::testing

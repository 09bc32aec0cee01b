#include "tests/training.h"

#include <unistd.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "engine/data/safetensors.h"
#include "kernels/backend.h"
#include "models/models.h"

namespace gannet::testing {

namespace fs = std::filesystem;

Folder::Folder() {
  std::string name = (fs::temp_directory_path() / "gannet-test-XXXXXX").string();
  if (!::mkdtemp(name.data())) throw RuntimeError("cannot make a temporary folder");
  path_ = name;
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::string read_file(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

void write_file(const fs::path& file, const std::string& bytes) { std::ofstream(file, std::ios::binary) << bytes; }

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  if (!fs::exists(folder)) return files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    files[fs::relative(entry.path(), folder).string()] = entry.is_regular_file() ? read_file(entry.path()) : "";
  return files;
}

void write_dataset(const fs::path& file, int count) {
  constexpr int side = 16;
  std::vector<std::uint8_t> images;
  for (int n = 0; n < count; ++n)
    for (int y = 0; y < side; ++y)
      for (int x = 0; x < side; ++x) {
        const double distance = std::hypot(x - 7.5 - n % 3 + 1, y - 7.5 - n % 5 + 2);
        images.push_back(distance < 4 + n % 2 ? 230 : 10);
      }
  write_safetensors(file, {{"images", {DType::u8, {count, side, side, 1}, std::as_bytes(std::span(images))}}});
}

nlohmann::json tiny(const std::string& family, const fs::path& data, int steps) {
  nlohmann::json configuration = parse_json(models::ready_configuration(family), family);
  configuration["model"]["image_size"] = 16;
  configuration["model"]["channels"] = 1;
  configuration["model"]["latent"] = 8;
  configuration["model"]["generator_features"] = 8;
  configuration["model"]["discriminator_features"] = 8;
  configuration["train"].update(
      {{"batch", 8}, {"steps", steps}, {"sample_every", 0}, {"checkpoint_every", 0}, {"sample_count", 4}});
  configuration["data"]["file"] = data.string();
  return configuration;
}

int Train::operator()() const {
  StopSignal stop;
  return (*this)(stop);
}

int Train::operator()(StopSignal& stop) const {
  const auto backend = kernels::make_cpu_backend(1);
  return (*this)(stop, *backend);
}

int Train::operator()(StopSignal& stop, kernels::Backend& backend) const {
  const Family& family = models::family(configuration["model"]["family"].get<std::string>());
  return train({family, Config(configuration, all_keys(family.keys)), out, init, replay, resume, nullptr}, backend, stop);
}

std::string input_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

std::string runtime_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const RuntimeError& error) {
    return error.what();
  }
  return "";
}

}  // namespace gannet::testing

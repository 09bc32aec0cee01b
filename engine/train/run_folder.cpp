#include "engine/train/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "engine/data/file.h"

namespace gannet {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view checkpoint_prefix = "step_", checkpoint_suffix = ".safetensors";

bool is_partial(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.starts_with(".") && name.ends_with(".partial");
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw RuntimeError(fmt::format("cannot make folder {}: {}", path.string(), error.message()));
}

}  // namespace

void RunFolder::check_unused(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return;
  GANNET_CHECK(fs::is_directory(status), "{}: exists and is not a folder", path.string());
  GANNET_CHECK(!fs::exists(path / "config.json"),
               "{}: a run is there already; continue it with --resume or choose another --out", path.string());
  fs::directory_iterator entries(path, error);
  GANNET_CHECK(!error, "cannot read folder {}: {}", path.string(), error.message());
  for (const auto& entry : entries) {
    const bool begun =
        entry.path().filename() == "samples" || entry.path().filename() == "checkpoints";  // it writes step 0 first
    GANNET_CHECK(begun || is_partial(entry.path()), "{}: the folder is not empty; choose another --out", path.string());
  }
  for (const auto& [step, file] : checkpoints_of(path))
    GANNET_CHECK(step == 0, "{}: the folder is not empty; choose another --out", path.string());
}

RunFolder::RunFolder(const fs::path& path) : path_(path) {
  lock_ = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) throw RuntimeError(fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    ::close(lock_);
    GANNET_CHECK(reason != EWOULDBLOCK, "{}: another process is training there", path.string());
    throw RuntimeError(fmt::format("cannot lock {}: {}", path.string(), std::strerror(reason)));
  }
}

RunFolder::~RunFolder() {
  if (lock_ >= 0) ::close(lock_);
}

RunFolder::RunFolder(RunFolder&& other) noexcept : path_(std::move(other.path_)), lock_(std::exchange(other.lock_, -1)) {}

RunFolder RunFolder::create(const fs::path& path) {
  check_unused(path);
  make_folder(path);
  RunFolder folder(path);
  folder.prepare();
  return folder;
}

RunFolder RunFolder::resume(const fs::path& path) {
  run_configuration(path);
  return RunFolder(path);
}

void RunFolder::prepare() const {
  make_folder(samples());
  make_folder(checkpoints());
  for (const fs::path& place : {path_, samples(), checkpoints()})
    for (const auto& entry : fs::directory_iterator(place))
      if (is_partial(entry.path())) fs::remove(entry.path());
}

fs::path RunFolder::sample(std::int64_t step) const { return samples() / fmt::format("step_{:08}.png", step); }

fs::path RunFolder::checkpoint(std::int64_t step) const {
  return checkpoints() / fmt::format("{}{:08}{}", checkpoint_prefix, step, checkpoint_suffix);
}

void RunFolder::write_configuration(const Config& config) const {
  atomic_write(path_ / "config.json", config.json().dump(2) + "\n");
}

void RunFolder::keep_checkpoints(std::int64_t count) const {
  if (count == 0) return;
  const auto all = checkpoints_of(path_);
  for (std::size_t i = 0; i + static_cast<std::size_t>(count) < all.size(); ++i) {
    std::error_code error;
    fs::remove(all[i].second, error);
    if (error) throw RuntimeError(fmt::format("cannot remove {}: {}", all[i].second.string(), error.message()));
  }
}

nlohmann::json run_configuration(const fs::path& run) {
  std::error_code error;
  GANNET_CHECK(fs::is_directory(run, error), "{}: no such run folder", run.string());
  GANNET_CHECK(fs::exists(run / "config.json", error), "{}: not a run folder (no config.json)", run.string());
  return read_json(run / "config.json");
}

std::vector<std::pair<std::int64_t, fs::path>> checkpoints_of(const fs::path& run) {
  std::vector<std::pair<std::int64_t, fs::path>> found;
  std::error_code error;
  const fs::directory_iterator entries(run / "checkpoints", error);
  GANNET_CHECK(!error || error == std::errc::no_such_file_or_directory, "cannot read folder {}: {}",
               (run / "checkpoints").string(), error.message());
  for (const auto& entry : entries) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(checkpoint_prefix) || !name.ends_with(checkpoint_suffix)) continue;
    const char* first = name.data() + checkpoint_prefix.size();
    const char* last = name.data() + name.size() - checkpoint_suffix.size();
    std::int64_t step = 0;
    const auto [end, failure] = std::from_chars(first, last, step);
    if (failure == std::errc() && end == last) found.emplace_back(step, entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

fs::path find_checkpoint(const fs::path& run_or_file) {
  std::error_code error;
  GANNET_CHECK(fs::exists(run_or_file, error), "{}: no such run folder or checkpoint", run_or_file.string());
  if (!fs::is_directory(run_or_file, error)) return run_or_file;
  run_configuration(run_or_file);
  const auto all = checkpoints_of(run_or_file);
  GANNET_CHECK(!all.empty(), "{}: the run has no checkpoint yet", run_or_file.string());
  return all.back().second;
}

}  // namespace gannet

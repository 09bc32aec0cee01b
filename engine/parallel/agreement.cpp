#include "engine/parallel/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "engine/data/dataset.h"
#include "engine/train/crc32c.h"

namespace gannet {
namespace {

// What each machine may have its own of.
constexpr std::string_view of_machine[] = {"train.threads", "data.file"};

std::uint32_t checksum(std::span<const std::byte> bytes) { return crc32c(bytes.data(), bytes.size()); }

std::string fingerprint_of_program() {
  const MappedFile self("/proc/self/exe");
  return fmt::format("{} bytes, CRC {:08x}", self.bytes().size(), checksum(self.bytes()));
}

std::string fingerprint_of(const std::filesystem::path& dataset) {
  if (dataset.empty()) return "none";
  constexpr std::size_t beginning = std::size_t{1} << 20;
  const Dataset data(dataset);
  const auto images = data.images().first(std::min(beginning, data.images().size()));
  return fmt::format("{} pictures, {} classes, CRC {:08x}", to_string(data.shape()), data.class_count(),
                     crc32c(images.data(), images.size(), crc32c(data.labels().data(), data.labels().size_bytes())));
}

// The first line that two texts do not share, of both.
std::string first_line_apart(const std::string& first, const std::string& other) {
  std::istringstream a(first), b(other);
  std::string line_a, line_b;
  while (true) {
    const bool has_a = static_cast<bool>(std::getline(a, line_a)), has_b = static_cast<bool>(std::getline(b, line_b));
    if (!has_a) line_a = "nothing";
    if (!has_b) line_b = "nothing";
    if (line_a != line_b || (!has_a && !has_b)) return fmt::format("{}, not {}", line_b, line_a);
  }
}

bool is_statistic(const std::string& name) { return name.ends_with(".running_mean") || name.ends_with(".running_var"); }

}  // namespace

void require_same_training(const Ranks& ranks, const Step& step, const std::filesystem::path& dataset) {
  ranks.group.require_equal("program", fingerprint_of_program(), first_line_apart);
  std::string settings;
  nlohmann::json flat = step.config().json().flatten();
  for (const auto& [pointer, value] : flat.items()) {
    std::string path = pointer.substr(1);
    std::replace(path.begin(), path.end(), '/', '.');
    if (std::find(std::begin(of_machine), std::end(of_machine), path) == std::end(of_machine))
      settings += fmt::format("{}: {}\n", path, value.dump());
  }
  ranks.group.require_equal("configuration", settings, first_line_apart);
  ranks.group.require_equal("dataset", fingerprint_of(dataset), first_line_apart);
  std::string kernels;
  for (const Step::Part& part : step.parts()) kernels += part.program.describe();
  ranks.group.require_equal("plan (its processor or its device is of another kind)", kernels, first_line_apart);
}

void require_same_weights(const Ranks& ranks, const Step& step) {
  const State& state = step.state();
  const bool statistics = step.config().boolean("train.sync_batch_norm");
  std::string checksums;
  for (const Variable& variable : state.variables()) {
    if (!statistics && is_statistic(variable.name)) continue;
    const std::vector<float> values = state.get(variable.name);
    checksums += fmt::format("{} with CRC {:08x}\n", variable.name, checksum(std::as_bytes(std::span(values))));
  }
  ranks.group.require_equal("weights", checksums, first_line_apart);
}

void take_state_of_rank_0(const Ranks& ranks, State& state) {
  std::vector<float> all;
  std::string bytes;
  for (const Variable& variable : state.variables()) {
    if (ranks.rank() != 0) break;
    const std::vector<float> values = state.get(variable.name);
    bytes.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  }
  bytes = ranks.group.broadcast(bytes);
  if (ranks.rank() == 0) return;
  std::size_t first = 0;
  for (const Variable& variable : state.variables()) {
    all.resize(static_cast<std::size_t>(state.desc(variable.name).elements()));
    std::memcpy(all.data(), bytes.data() + first, all.size() * sizeof(float));
    state.set(variable.name, all);
    first += all.size() * sizeof(float);
  }
}

}  // namespace gannet

#include "engine/train/metrics.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <iterator>
#include <string>

#include "kernels/check.h"

namespace gannet {
namespace {

// Bytes of the leading lines that are whole and of steps up to `steps_made`.
std::uintmax_t bytes_to_keep(const std::filesystem::path& file, std::int64_t steps_made) {
  std::ifstream stream(file, std::ios::binary);
  std::uintmax_t kept = 0;
  for (std::string line; std::getline(stream, line) && !stream.eof();) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (!json.is_object() || !json.contains("step") || !json["step"].is_number_integer()) break;
    if (json["step"].get<std::int64_t>() > steps_made) break;
    kept += line.size() + 1;
  }
  return kept;
}

}  // namespace

MetricsFile::MetricsFile(const std::filesystem::path& file, std::int64_t steps_made) {
  if (std::filesystem::exists(file)) truncate_file(file, bytes_to_keep(file, steps_made));
  file_ = OutputFile(file);
  line_.reserve(4096);
}

void MetricsFile::begin(std::int64_t step) {
  line_.clear();
  fmt::format_to(std::back_inserter(line_), "{{\"step\":{}", step);
}

void MetricsFile::figure(std::string_view name, double value) {
  const auto out = std::back_inserter(line_);
  if (std::isfinite(value))
    fmt::format_to(out, ",\"{}\":{:.9g}", name, value);
  else
    fmt::format_to(out, ",\"{}\":null", name);  // JSON has no other word for it
}

void MetricsFile::end() {
  line_.append(std::string_view("}\n"));
  file_.append({line_.data(), line_.size()});
}

}  // namespace gannet

// metrics.jsonl: a line of JSON for every step, each step once.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "engine/train/output_file.h"

namespace gannet {

class MetricsFile {
 public:
  // Appends to `file` after dropping the lines of steps beyond `steps_made` (and a line cut short by a killed process).
  MetricsFile(const std::filesystem::path& file, std::int64_t steps_made);

  // One line: begin, any number of figures, end. Allocates nothing.
  void begin(std::int64_t step);
  void figure(std::string_view name, double value);
  void end();
  void flush() { file_.flush(); }
  void sync() { file_.sync(); }

 private:
  OutputFile file_;
  fmt::memory_buffer line_;
};

}  // namespace gannet

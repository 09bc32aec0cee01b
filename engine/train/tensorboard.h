// TensorBoard's event files, written without its libraries: TFRecord frames around protocol buffers
// (tensorflow/core/util/event.proto, tensorflow/core/framework/summary.proto).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "engine/train/output_file.h"

namespace gannet {

class EventFile {
 public:
  EventFile() = default;
  // A new file in `folder`. When a run resumes, readers drop what older files say of steps from `first_step` on.
  EventFile(const std::filesystem::path& folder, std::int64_t first_step);

  void scalar(std::string_view tag, std::int64_t step, float value);
  void image(std::string_view tag, std::int64_t step, int height, int width, int channels, std::string_view png);
  void flush() { file_.flush(); }
  void sync() { file_.sync(); }

 private:
  void write(std::string_view event);

  OutputFile file_;
  std::string value_, summary_, event_;  // kept, so that writing a scalar allocates nothing
};

}  // namespace gannet

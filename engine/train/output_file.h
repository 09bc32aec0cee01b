// Files that a run appends to line by line. (Files that appear whole: engine/data/file.h.)
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace gannet {

// Appends to a file. The buffer is allocated once; append() allocates nothing. RuntimeError when the disk refuses.
class OutputFile {
 public:
  OutputFile() = default;
  // Opens (creates) `file` for appending.
  explicit OutputFile(const std::filesystem::path& file, std::size_t buffer_bytes = 1 << 16);
  ~OutputFile();  // what is buffered is written as far as that goes; flush() first to know
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&& other) noexcept;

  void append(std::string_view bytes);
  void flush();  // to the operating system
  void sync();   // to the disk

 private:
  void write(const char* bytes, std::size_t count);

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::string buffer_;
  std::size_t capacity_ = 0;
};

// Cuts `file` to its first `bytes` bytes.
void truncate_file(const std::filesystem::path& file, std::uintmax_t bytes);

}  // namespace gannet

// Whole files: read by mapping, written atomically.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace gannet {

// A file mapped read-only. InputError: missing, unreadable, not a regular file.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }
  // RuntimeError when the file has become shorter since it was mapped: reading past its end would kill the process.
  void check_whole() const;

 private:
  void release() noexcept;

  std::filesystem::path path_;
  int descriptor_ = -1;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// A file that comes into being all at once: written beside its place (".NAME.partial", which no two processes write at a
// time), synced, renamed, and the folder synced. Until commit() an earlier file of that name is whole; without commit() the
// partial file is removed. Failures are RuntimeErrors naming the file; a path that is a folder or device is an InputError.
class AtomicFile {
 public:
  explicit AtomicFile(const std::filesystem::path& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void append(std::span<const std::byte> bytes);
  void overwrite(std::uint64_t offset, std::span<const std::byte> bytes);  // of what was appended
  std::uint64_t size() const { return size_; }
  void commit();

 private:
  [[noreturn]] void fail(const char* what) const;

  std::filesystem::path path_, partial_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

void atomic_write(const std::filesystem::path& path, std::span<const std::byte> bytes);
void atomic_write(const std::filesystem::path& path, std::string_view text);

std::string format_bytes(double bytes);  // "1.5 MiB"

}  // namespace gannet

#include "engine/train/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/check.h"

namespace gannet {
namespace {

[[noreturn]] void fail(const char* what, const std::filesystem::path& path) {
  throw RuntimeError(fmt::format("cannot {} {}: {}", what, path.string(), std::strerror(errno)));
}

}  // namespace

OutputFile::OutputFile(const std::filesystem::path& file, std::size_t buffer_bytes) : path_(file), capacity_(buffer_bytes) {
  buffer_.reserve(capacity_);
  descriptor_ = ::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail("write", path_);
}

OutputFile::~OutputFile() {
  if (descriptor_ < 0) return;
  try {
    flush();
  } catch (const RuntimeError& error) {
    fmt::print(stderr, "gannet: {}\n", error.what());
  }
  ::close(descriptor_);
}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      buffer_(std::move(other.buffer_)),
      capacity_(other.capacity_) {}

OutputFile& OutputFile::operator=(OutputFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(buffer_, other.buffer_);
  std::swap(capacity_, other.capacity_);
  return *this;
}

void OutputFile::append(std::string_view bytes) {
  if (buffer_.size() + bytes.size() > capacity_) flush();
  if (bytes.size() > capacity_)
    write(bytes.data(), bytes.size());
  else
    buffer_.append(bytes);
}

void OutputFile::flush() {
  try {
    write(buffer_.data(), buffer_.size());
  } catch (const RuntimeError&) {
    buffer_.clear();  // the destructor must not write half of it again
    throw;
  }
  buffer_.clear();
}

void OutputFile::sync() {
  flush();
  if (::fsync(descriptor_) != 0) fail("sync", path_);
}

void OutputFile::write(const char* bytes, std::size_t count) {
  while (count > 0) {
    const ssize_t written = ::write(descriptor_, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("write", path_);
    bytes += written;
    count -= static_cast<std::size_t>(written);
  }
}

void truncate_file(const std::filesystem::path& file, std::uintmax_t bytes) {
  if (::truncate(file.c_str(), static_cast<off_t>(bytes)) != 0) fail("truncate", file);
}

}  // namespace gannet

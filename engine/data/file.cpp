#include "engine/data/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>

#include "kernels/check.h"

namespace gannet {

namespace {

std::string reason(int error) { return std::strerror(error); }

// A rename is durable only once the folder that holds the name is. Not every file system can sync a folder: those say EINVAL.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw RuntimeError(fmt::format("{}: cannot open the folder: {}", folder.string(), reason(errno)));
  const int error = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  if (error != 0 && error != EINVAL) {
    throw RuntimeError(fmt::format("{}: cannot sync the folder: {}", folder.string(), reason(error)));
  }
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  GANNET_CHECK(descriptor_ >= 0, "{}: cannot open: {}", path.string(), reason(errno));
  try {
    struct stat status {};
    GANNET_CHECK(::fstat(descriptor_, &status) == 0, "{}: cannot read: {}", path.string(), reason(errno));
    GANNET_CHECK(S_ISREG(status.st_mode), "{}: not a regular file", path.string());
    size_ = static_cast<std::size_t>(status.st_size);
    if (size_ > 0) {
      void* address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor_, 0);
      GANNET_CHECK(address != MAP_FAILED, "{}: cannot map: {}", path.string(), reason(errno));
      data_ = static_cast<const std::byte*>(address);
    }
  } catch (...) {
    release();
    throw;
  }
}

MappedFile::~MappedFile() { release(); }

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  if (this != &other) {
    release();
    path_ = std::move(other.path_);
    descriptor_ = std::exchange(other.descriptor_, -1);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

void MappedFile::release() noexcept {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
  if (descriptor_ >= 0) ::close(descriptor_);
  data_ = nullptr;
  descriptor_ = -1;
}

void MappedFile::check_whole() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) throw RuntimeError(fmt::format("{}: cannot read: {}", path_.string(), reason(errno)));
  if (static_cast<std::size_t>(status.st_size) < size_) {
    throw RuntimeError(fmt::format("{}: was cut from {} to {} bytes while in use", path_.string(), size_, status.st_size));
  }
}

AtomicFile::AtomicFile(const std::filesystem::path& path) : path_(path) {
  GANNET_CHECK(path.has_filename(), "'{}' names no file", path.string());
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    GANNET_CHECK(S_ISREG(status.st_mode), "{}: exists and is not a regular file", path.string());
  }
  partial_ = path.parent_path() / ("." + path.filename().string() + ".partial");
  // The name is fixed, so that a killed process leaves at most one file and the next write takes it over; the lock keeps
  // another process from the file. Whoever gets the lock makes sure that the name still means the file that was locked.
  while (true) {
    descriptor_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0) throw RuntimeError(fmt::format("{}: cannot write: {}", path_.string(), reason(errno)));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      ::close(descriptor_);
      throw RuntimeError(fmt::format("{}: another process is writing it", path_.string()));
    }
    struct stat named {};
    if (::fstat(descriptor_, &status) == 0 && ::lstat(partial_.c_str(), &named) == 0 && status.st_ino == named.st_ino) break;
    ::close(descriptor_);
  }
  if (::ftruncate(descriptor_, 0) != 0) {
    const int error = errno;
    ::close(descriptor_);
    throw RuntimeError(fmt::format("{}: cannot write: {}", path_.string(), reason(error)));
  }
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::unlink(partial_.c_str());
  ::close(descriptor_);
}

void AtomicFile::fail(const char* what) const {
  throw RuntimeError(fmt::format("{}: {}: {}", path_.string(), what, reason(errno)));
}

void AtomicFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("cannot write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    size_ += static_cast<std::uint64_t>(written);
  }
}

void AtomicFile::overwrite(std::uint64_t offset, std::span<const std::byte> bytes) {
  GANNET_CHECK(offset + bytes.size() <= size_, "{}: overwriting past the end", path_.string());
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0) {
      if (errno == EINTR) continue;
      fail("cannot write");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) fail("cannot sync");
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail("cannot rename the finished file");
  // close() releases the lock; what it could report (a delayed write error) fsync already has.
  ::close(std::exchange(descriptor_, -1));
  sync_folder(path_.has_parent_path() ? path_.parent_path() : std::filesystem::path("."));
}

void atomic_write(const std::filesystem::path& path, std::span<const std::byte> bytes) {
  AtomicFile file(path);
  file.append(bytes);
  file.commit();
}

void atomic_write(const std::filesystem::path& path, std::string_view text) {
  atomic_write(path, std::as_bytes(std::span(text)));
}

std::string format_bytes(double bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; bytes >= 1024 && unit + 1 < std::size(units); ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, units[unit]);
}

}  // namespace gannet

// safetensors files (https://github.com/huggingface/safetensors): a length, a JSON header, and the tensors' bytes without
// gaps. The reader maps the file and trusts nothing in it; the writer is atomic and its bytes depend on the contents alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/file.h"
#include "kernels/tensor.h"

namespace gannet {

using Metadata = std::map<std::string, std::string>;

struct TensorView {
  DType type = DType::f32;
  Shape shape;
  std::span<const std::byte> data;  // little-endian, row-major; may be unaligned for its type in files of other writers
};

// What the header says of a tensor, of any type that the format has.
struct SafetensorsEntry {
  std::string type;  // "F32", "I64", …
  std::vector<std::int64_t> shape;
  std::size_t offset = 0, bytes = 0;  // within the data
};

class SafetensorsFile {
 public:
  // Checks the whole header. InputError names the file, the tensor, and what is wrong.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const MappedFile& file() const { return file_; }
  const Metadata& metadata() const { return metadata_; }
  const std::map<std::string, SafetensorsEntry, std::less<>>& entries() const { return entries_; }
  std::vector<std::string> names() const;  // in order
  bool contains(std::string_view name) const { return entries_.contains(name); }

  // InputError: no such tensor; a type or rank that the engine has not (I64, F16, …; see values()).
  TensorView tensor(std::string_view name) const;
  // The values as f32, rounded to nearest, of any of F64, F32, F16, BF16, I64, I32, U8, BOOL.
  std::vector<float> values(std::string_view name) const;

  // The checksum that write_safetensors stored; none in files of other writers.
  std::optional<std::uint32_t> checksum() const { return checksum_; }
  // Reads the whole file and compares. InputError when it differs; `required`: also when there is none.
  void verify(bool required = false) const;

 private:
  const SafetensorsEntry& entry(std::string_view name) const;

  MappedFile file_;
  std::span<const std::byte> data_;
  Metadata metadata_;
  std::map<std::string, SafetensorsEntry, std::less<>> entries_;
  std::optional<std::uint32_t> checksum_;
};

struct TensorDeclaration {
  std::string name;
  DType type = DType::f32;
  Shape shape;
};

// Streams tensors to a file in the order of their declaration. The file appears at finish().
// The metadata gets `checksum`: "crc32:" and the CRC-32 of the whole file, in which the eight digits themselves are zeros.
class SafetensorsWriter {
 public:
  // InputError: names that repeat or are no UTF-8, negative extents.
  SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorDeclaration> tensors, Metadata metadata);
  // More bytes of tensors[tensor]; the tensors before it are then complete.
  void append(std::size_t tensor, std::span<const std::byte> bytes);
  // Makes the file appear. InputError when a tensor has not got its bytes.
  void finish();

 private:
  std::vector<TensorDeclaration> tensors_;
  std::vector<std::uint64_t> missing_;  // bytes still to come, per tensor
  std::size_t current_ = 0;
  std::size_t digits_at_ = 0;  // where the checksum goes
  std::uint32_t crc_ = 0;
  AtomicFile file_;
};

// Writes a whole file: tensors ordered by element size (large first, so that all are aligned), then name.
void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const Metadata& metadata = {});

}  // namespace gannet

#include "engine/data/safetensors.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/data/safetensors_header.h"
#include "kernels/check.h"

namespace gannet {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

namespace {

constexpr std::size_t length_bytes = 8;
constexpr std::uint64_t longest_header = 100'000'000;  // the format's own limit
constexpr std::string_view checksum_key = "checksum";
constexpr std::string_view checksum_prefix = "crc32:";
constexpr std::string_view checksum_zeros = "00000000";
// How the checksum appears in a header. Inside a JSON text every quote is escaped, so this is found nowhere else.
constexpr std::string_view checksum_pattern = "\"checksum\":\"crc32:";

std::uint32_t crc(std::uint32_t start, std::span<const std::byte> bytes) {
  if (bytes.empty()) return start;  // zlib takes a null pointer for "start anew"
  return static_cast<std::uint32_t>(::crc32_z(start, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <typename T>
T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

float from_half(std::uint16_t half) {
  const int exponent = (half >> 10) & 0x1f;
  const int fraction = half & 0x3ff;
  float value;
  if (exponent == 31) {
    value = fraction != 0 ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  } else {
    value = std::ldexp(static_cast<float>(exponent == 0 ? fraction : fraction | 0x400), std::max(exponent, 1) - 25);
  }
  return (half & 0x8000) != 0 ? -value : value;
}

template <typename T, typename Convert>
std::vector<float> convert(std::span<const std::byte> data, Convert to_float) {
  std::vector<float> values(data.size() / sizeof(T));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = to_float(load<T>(data.data() + i * sizeof(T)));
  return values;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  const std::span<const std::byte> bytes = file_.bytes();
  GANNET_CHECK(bytes.size() >= length_bytes, "{}: {} bytes are too few for a safetensors file", name, bytes.size());
  const std::uint64_t length = load<std::uint64_t>(bytes.data());
  GANNET_CHECK(length <= longest_header, "{}: not a safetensors file: its header would be {} bytes long", name, length);
  GANNET_CHECK(length <= bytes.size() - length_bytes, "{}: truncated: a header of {} bytes in a file of {}", name, length,
               bytes.size());
  const std::string_view json = text_of(bytes.subspan(length_bytes, length));
  GANNET_CHECK(json.starts_with('{'), "{}: not a safetensors file: its header does not begin with '{{'", name);

  SafetensorsHeader header = parse_safetensors_header(json, name);
  data_ = bytes.subspan(length_bytes + length);
  check_extents(header.entries, data_.size(), name);
  entries_ = std::move(header.entries);
  metadata_ = std::move(header.metadata);

  if (const auto found = metadata_.find(std::string(checksum_key));
      found != metadata_.end() && found->second.starts_with(checksum_prefix)) {
    const std::string digits = found->second.substr(checksum_prefix.size());
    const bool hexadecimal =
        digits.size() == checksum_zeros.size() && digits.find_first_not_of("0123456789abcdef") == std::string::npos;
    GANNET_CHECK(hexadecimal, "{}: malformed checksum {}", name, quote(found->second));
    checksum_ = static_cast<std::uint32_t>(std::stoul(digits, nullptr, 16));
  }
}

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : entries_) names.push_back(name);
  return names;
}

const SafetensorsEntry& SafetensorsFile::entry(std::string_view name) const {
  const auto found = entries_.find(name);
  GANNET_CHECK(found != entries_.end(), "{}: has no tensor {}", path().string(), quote(name));
  return found->second;
}

TensorView SafetensorsFile::tensor(std::string_view name) const {
  const SafetensorsEntry& found = entry(name);
  const std::optional<DType> type = engine_type(found.type);
  GANNET_CHECK(type.has_value(), "{}: tensor {} has the type {}, which cannot be used here", path().string(), quote(name),
               found.type);
  GANNET_CHECK(found.shape.size() <= static_cast<std::size_t>(max_rank), "{}: tensor {} has {} dimensions, more than {}",
               path().string(), quote(name), found.shape.size(), max_rank);
  return {*type, Shape(found.shape), data_.subspan(found.offset, found.bytes)};
}

std::vector<float> SafetensorsFile::values(std::string_view name) const {
  const SafetensorsEntry& found = entry(name);
  const std::span<const std::byte> data = data_.subspan(found.offset, found.bytes);
  const auto plain = [](auto value) { return static_cast<float>(value); };
  if (found.type == "F32") return convert<float>(data, plain);
  if (found.type == "F64") return convert<double>(data, plain);
  if (found.type == "I64") return convert<std::int64_t>(data, plain);
  if (found.type == "I32") return convert<std::int32_t>(data, plain);
  if (found.type == "U8" || found.type == "BOOL") return convert<std::uint8_t>(data, plain);
  if (found.type == "F16") return convert<std::uint16_t>(data, from_half);
  if (found.type == "BF16") {
    return convert<std::uint16_t>(data, [](std::uint16_t value) { return std::bit_cast<float>(std::uint32_t{value} << 16); });
  }
  throw InputError(fmt::format("{}: tensor {} has the type {}, which cannot be read as numbers here", path().string(),
                               quote(name), found.type));
}

void SafetensorsFile::verify(bool required) const {
  if (!checksum_) {
    GANNET_CHECK(!required, "{}: has no checksum", path().string());
    return;
  }
  const std::span<const std::byte> bytes = file_.bytes();
  const std::size_t header_end = bytes.size() - data_.size();
  const std::size_t at = text_of(bytes.first(header_end)).find(checksum_pattern);
  GANNET_CHECK(at != std::string_view::npos, "{}: its header was rewritten: the checksum is not where it was stored",
               path().string());
  const std::size_t digits = at + checksum_pattern.size();
  std::uint32_t found = crc(0, bytes.first(digits));
  found = crc(found, std::as_bytes(std::span(checksum_zeros)));
  found = crc(found, bytes.subspan(digits + checksum_zeros.size()));
  GANNET_CHECK(found == *checksum_, "{}: corrupt: its checksum is {:08x}, its contents have {:08x}", path().string(),
               *checksum_, found);
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorDeclaration> tensors,
                                     Metadata metadata)
    : tensors_(std::move(tensors)), file_(path) {
  metadata[std::string(checksum_key)] = std::string(checksum_prefix) + std::string(checksum_zeros);
  nlohmann::json json;  // keys are ordered, so the same contents give the same bytes
  json["__metadata__"] = metadata;
  std::uint64_t end = 0;
  for (const auto& [name, type, shape] : tensors_) {
    GANNET_CHECK(!json.contains(name), "{}: two tensors named {}", path.string(), quote(name));
    const bool counts = std::all_of(shape.begin(), shape.end(), [](std::int64_t extent) { return extent >= 0; });
    GANNET_CHECK(counts, "{}: tensor {} has shape {}", path.string(), quote(name), to_string(shape));
    missing_.push_back(static_cast<std::uint64_t>(shape.elements()) * size_of(type));
    json[name] = {{"dtype", safetensors_type(type)},
                  {"shape", std::vector<std::int64_t>(shape.begin(), shape.end())},
                  {"data_offsets", {end, end + missing_.back()}}};
    end += missing_.back();
  }
  std::string text;
  try {
    text = json.dump();
  } catch (const nlohmann::json::exception&) {
    throw InputError(fmt::format("{}: a tensor's name or the metadata is not valid UTF-8", path.string()));
  }
  text.resize((text.size() + length_bytes - 1) / length_bytes * length_bytes, ' ');
  digits_at_ = length_bytes + text.find(checksum_pattern) + checksum_pattern.size();
  const std::uint64_t length = text.size();
  for (const std::span<const std::byte> part : {std::as_bytes(std::span(&length, 1)), std::as_bytes(std::span(text))}) {
    file_.append(part);
    crc_ = crc(crc_, part);
  }
}

void SafetensorsWriter::append(std::size_t tensor, std::span<const std::byte> bytes) {
  GANNET_CHECK(tensor >= current_ && tensor < tensors_.size(), "tensors of a safetensors file are written in their order");
  for (; current_ < tensor; ++current_) {
    GANNET_CHECK(missing_[current_] == 0, "tensor {} lacks {} bytes", quote(tensors_[current_].name), missing_[current_]);
  }
  GANNET_CHECK(bytes.size() <= missing_[tensor], "tensor {} of shape {} got too many bytes", quote(tensors_[tensor].name),
               to_string(tensors_[tensor].shape));
  file_.append(bytes);
  crc_ = crc(crc_, bytes);
  missing_[tensor] -= bytes.size();
}

void SafetensorsWriter::finish() {
  for (std::size_t i = current_; i < tensors_.size(); ++i) {
    GANNET_CHECK(missing_[i] == 0, "tensor {} lacks {} bytes", quote(tensors_[i].name), missing_[i]);
  }
  const std::string digits = fmt::format("{:08x}", crc_);
  file_.overwrite(digits_at_, std::as_bytes(std::span(digits)));
  file_.commit();
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, TensorView>& tensors,
                       const Metadata& metadata) {
  std::vector<TensorDeclaration> declarations;
  for (const auto& [name, tensor] : tensors) declarations.push_back({name, tensor.type, tensor.shape});
  std::stable_sort(declarations.begin(), declarations.end(),
                   [](const TensorDeclaration& a, const TensorDeclaration& b) { return size_of(a.type) > size_of(b.type); });
  SafetensorsWriter writer(path, declarations, metadata);
  for (std::size_t i = 0; i < declarations.size(); ++i) writer.append(i, tensors.at(declarations[i].name).data);
  writer.finish();
}

}  // namespace gannet

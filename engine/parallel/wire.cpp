#include "engine/parallel/wire.h"

namespace gannet::parallel {

Writer& Writer::number(std::int64_t value) {
  for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(static_cast<std::uint64_t>(value) >> shift);
  return *this;
}

Writer& Writer::text(std::string_view text) {
  number(static_cast<std::int64_t>(text.size()));
  bytes += text;
  return *this;
}

std::int64_t Reader::number() {
  if (bytes_.size() < 8) throw WireError("a message is too short");
  std::uint64_t value = 0;
  for (std::size_t i = 8; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes_[i]);
  bytes_.remove_prefix(8);
  return static_cast<std::int64_t>(value);
}

std::string_view Reader::text() {
  const auto size = static_cast<std::uint64_t>(number());
  if (size > bytes_.size()) throw WireError("a message is too short");
  const std::string_view text = bytes_.substr(0, size);
  bytes_.remove_prefix(size);
  return text;
}

}  // namespace gannet::parallel

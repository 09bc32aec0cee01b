// Words between ranks, as bytes: numbers of 8 bytes, the lowest first; texts after their length.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

namespace gannet::parallel {

class Writer {
 public:
  Writer& number(std::int64_t value);
  Writer& text(std::string_view text);
  std::string bytes;
};

// What was sent is not what was expected: another program, or another version of this one.
class WireError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The bytes stay where they are.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  std::int64_t number();
  std::string_view text();

 private:
  std::string_view bytes_;
};

}  // namespace gannet::parallel

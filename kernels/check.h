// Errors: what a caller can get wrong is one clear message, thrown as an exception and printed once, at the door.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace gannet {

// Bad usage, configuration or input: exit code 2.
class InputError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Something failed while running (disk, memory, numbers): exit code 1.
class RuntimeError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace gannet

// Throws InputError with the formatted message when the condition does not hold.
#define GANNET_CHECK(condition, ...)                          \
  do {                                                        \
    if (!(condition)) [[unlikely]]                            \
      throw ::gannet::InputError(::fmt::format(__VA_ARGS__)); \
  } while (false)

#pragma once
// The format of device printf.
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "machine/memory.h"

namespace sim {

struct PrintfArguments {
  Address next = 0;  // of the next argument; each is aligned to its size
  std::function<void(Address, void*, std::size_t)> read;
  std::function<std::string(Address)> string;
};

/// Appends the text; returns the number of arguments that were read, as device printf does. A conversion that C does not know
/// is printed as it is.
int format_printf(std::string_view format, PrintfArguments& arguments, std::string& text);

}  // namespace sim

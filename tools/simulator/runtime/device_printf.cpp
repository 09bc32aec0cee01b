#include "runtime/device_printf.h"

#include <cstdint>
#include <cstdio>

namespace sim {
namespace {

template <class T>
T take(PrintfArguments& arguments) {
  T value;
  arguments.next = (arguments.next + sizeof(T) - 1) / sizeof(T) * sizeof(T);
  arguments.read(arguments.next, &value, sizeof value);
  arguments.next += sizeof(T);
  return value;
}

/// Prints one value with a conversion that has been checked to fit its type.
template <class T>
void append(std::string& text, const std::string& conversion, T value) {
  char small[256];
  const int size = std::snprintf(small, sizeof small, conversion.c_str(), value);
  if (size < 0) return;
  if (static_cast<std::size_t>(size) < sizeof small) {
    text.append(small, static_cast<std::size_t>(size));
    return;
  }
  std::string large(static_cast<std::size_t>(size) + 1, '\0');
  std::snprintf(large.data(), large.size(), conversion.c_str(), value);
  text.append(large, 0, static_cast<std::size_t>(size));
}

}  // namespace

int format_printf(std::string_view format, PrintfArguments& arguments, std::string& text) {
  int taken = 0;
  for (std::size_t i = 0; i < format.size();) {
    if (format[i] != '%') {
      const std::size_t end = std::min(format.find('%', i), format.size());
      text.append(format, i, end - i);
      i = end;
      continue;
    }
    const std::size_t begin = i++;
    std::string conversion = "%";
    while (i < format.size() && std::string_view("-+ #0").find(format[i]) != std::string_view::npos) conversion += format[i++];
    const auto number = [&] {
      if (i < format.size() && format[i] == '*') {
        conversion += std::to_string(take<std::int32_t>(arguments));
        ++taken;
        ++i;
      }
      while (i < format.size() && format[i] >= '0' && format[i] <= '9') conversion += format[i++];
    };
    number();
    if (i < format.size() && format[i] == '.') {
      conversion += format[i++];
      number();
    }
    // Lengths: the device has 4-byte int and 8-byte long, long long, size_t and pointers.
    std::string length;
    while (i < format.size() && std::string_view("hlLjzt").find(format[i]) != std::string_view::npos) length += format[i++];
    const char c = i < format.size() ? format[i++] : '\0';
    const bool wide = length.find_first_of("ljztL") != std::string::npos;
    switch (c) {
      case '%':
        text += '%';
        continue;
      case 'd':
      case 'i':
      case 'u':
      case 'o':
      case 'x':
      case 'X':
        if (wide) {
          append(text, conversion + "ll" + c, take<long long>(arguments));
        } else {
          append(text, conversion + length + c, take<int>(arguments));
        }
        break;
      case 'c':
        append(text, conversion + c, take<int>(arguments));
        break;
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
      case 'a':
      case 'A':
        append(text, conversion + c, take<double>(arguments));
        break;
      case 's':
        append(text, conversion + c, arguments.string(take<Address>(arguments)).c_str());
        break;
      case 'p':
        append(text, conversion + c, reinterpret_cast<const void*>(take<Address>(arguments)));
        break;
      default:
        text.append(format, begin, i - begin);
        continue;
    }
    ++taken;
  }
  return taken;
}

}  // namespace sim

#pragma once
#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace sim {

/// What the simulator can not do or was given wrongly: a malformed fat binary, PTX it does not know, an API call that is not
/// there. Its text is one sentence for the user. Faults of the simulated program are not errors: they are findings
/// (machine/report.h).
class Error : public std::runtime_error {
 public:
  template <class... Args>
  explicit Error(fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

}  // namespace sim

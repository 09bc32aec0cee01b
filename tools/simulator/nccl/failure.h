#pragma once
#include <fmt/format.h>
#include <nccl.h>

#include <stdexcept>
#include <string>

namespace sim::nccl {

/// Ends a call of the API with this result; its text is what ncclGetLastError gives.
class Failure : public std::runtime_error {
 public:
  template <class... Args>
  explicit Failure(ncclResult_t result, fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)), result(result) {}
  ncclResult_t result;
};

}  // namespace sim::nccl

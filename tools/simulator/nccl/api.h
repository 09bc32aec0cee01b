#pragma once
// What every function of the library begins and ends with.
#include <nccl.h>

#include <utility>

#include "error.h"
#include "nccl/failure.h"

// The alias is not said to be nothrow where the compiler finds that its target is.
#pragma GCC diagnostic ignored "-Wmissing-attributes"

/// Defines pncclNAME and the weak ncclNAME, which a profiler may replace.
#define NCCL_API(Result, name, ...)                                                                     \
  extern "C" [[gnu::visibility("default")]] Result p##name(__VA_ARGS__);                                \
  extern "C" [[gnu::weak, gnu::alias("p" #name), gnu::visibility("default")]] Result name(__VA_ARGS__); \
  extern "C" [[gnu::visibility("default")]] Result p##name(__VA_ARGS__)

namespace sim::nccl {

/// Prints it and ends the process with code 2.
[[noreturn]] void stop(const std::string& text);
[[noreturn]] void not_simulated(const char* name);
ncclResult_t fail(const char* name, ncclResult_t result, const char* text);

template <class Body>
ncclResult_t call(const char* name, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const Failure& failure) {
    return fail(name, failure.result, failure.what());
  } catch (const Error& error) {
    stop(error.what());
  } catch (const std::exception& error) {
    return fail(name, ncclSystemError, error.what());
  }
}

inline void require(bool condition, const char* text) {
  if (!condition) throw Failure(ncclInvalidArgument, "{}", text);
}

}  // namespace sim::nccl

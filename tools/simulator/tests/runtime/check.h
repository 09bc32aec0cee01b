#pragma once
// Self-checking programs: main runs cases; what is wrong is printed and makes the exit code 1.
#include <cuda_runtime.h>

#include <cstdio>
#include <functional>
#include <vector>

inline int failures = 0;

#define EXPECT(condition)                                                   \
  do {                                                                      \
    if (!(condition)) {                                                     \
      ++failures;                                                           \
      std::printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                       \
  } while (0)

#define EXPECT_EQ(a, b)                                                                                                  \
  do {                                                                                                                   \
    const auto value_a = (a);                                                                                            \
    const decltype(value_a) value_b = static_cast<decltype(value_a)>(b);                                                 \
    if (!(value_a == value_b)) {                                                                                         \
      ++failures;                                                                                                        \
      std::printf("%s:%d: %s is %.17g, not %s = %.17g\n", __FILE__, __LINE__, #a, (double)value_a, #b, (double)value_b); \
    }                                                                                                                    \
  } while (0)

#define EXPECT_ERROR(expected, call)                                                                   \
  do {                                                                                                 \
    const cudaError_t error_ = (call);                                                                 \
    if (error_ != (expected)) {                                                                        \
      ++failures;                                                                                      \
      std::printf("%s:%d: %s gives %s, not %s\n", __FILE__, __LINE__, #call, cudaGetErrorName(error_), \
                  cudaGetErrorName(expected));                                                         \
    }                                                                                                  \
    (void)cudaGetLastError();                                                                          \
  } while (0)

#define OK(call) EXPECT_ERROR(cudaSuccess, call)

inline int finish() {
  std::printf(failures == 0 ? "passed\n" : "%d wrong\n", failures);
  return failures == 0 ? 0 : 1;
}

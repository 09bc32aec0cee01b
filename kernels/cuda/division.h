// Division by a number that is known when a kernel is prepared: a product and a shift (Granlund & Montgomery 1994).
#pragma once

#include <cstdint>

namespace gannet::kernels::cuda {

// Exact for dividends below 2^31.
struct Divider {
  std::uint32_t divisor = 1;
  std::uint32_t multiplier = 0x80000001u;  // 2^shift / divisor, rounded up
  std::uint32_t shift = 31;

  Divider() = default;
  explicit Divider(std::uint32_t by) : divisor(by) {
    std::uint32_t bits = 0;
    while ((std::uint64_t{1} << bits) < by) ++bits;
    shift = 31 + bits;
    multiplier = static_cast<std::uint32_t>((std::uint64_t{1} << shift) / by + 1);
  }

#ifdef __CUDACC__
  // Returns the quotient and leaves the remainder.
  __device__ std::uint32_t divide(std::uint32_t& index) const {
    const auto quotient = static_cast<std::uint32_t>((std::uint64_t{index} * multiplier) >> shift);
    index -= quotient * divisor;
    return quotient;
  }
#endif
};

}  // namespace gannet::kernels::cuda

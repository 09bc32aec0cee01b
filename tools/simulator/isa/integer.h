// The parts of the integer family, one a file; integer_opcodes() gives them all. And the arithmetic that they share.
#pragma once
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "isa/decoder.h"
#include "isa/lanes.h"

namespace sim {

std::vector<OpcodeEntry> division_opcodes();  // div rem
std::vector<OpcodeEntry> carry_opcodes();     // add.cc sub.cc mad.cc addc subc madc
std::vector<OpcodeEntry> bit_opcodes();       // popc clz bfind brev bfe bfi fns bmsk szext
std::vector<OpcodeEntry> shift_opcodes();     // shl shr shf prmt
std::vector<OpcodeEntry> dot_opcodes();       // dp4a dp2a
std::vector<OpcodeEntry> logic_opcodes();     // and or xor not cnot lop3
std::vector<OpcodeEntry> video_opcodes();     // vadd vsub vavrg vabsdiff vmin vmax vset, two- and four-way

// Wrapping arithmetic without undefined behaviour.
template <class T>
constexpr T wrapping_add(T a, T b) {
  return static_cast<T>(static_cast<Bits<T>>(a) + static_cast<Bits<T>>(b));
}
template <class T>
constexpr T wrapping_subtract(T a, T b) {
  return static_cast<T>(static_cast<Bits<T>>(a) - static_cast<Bits<T>>(b));
}
template <class T>
constexpr T low_product(T a, T b) {
  // Through 64 bits: 16-bit operands would be promoted to int and could overflow it.
  if constexpr (sizeof(T) == 2)
    return static_cast<T>(static_cast<std::uint32_t>(a) * static_cast<std::uint32_t>(b));
  else
    return static_cast<T>(static_cast<Bits<T>>(a) * static_cast<Bits<T>>(b));
}

// The high half of the product of two 64-bit numbers out of 32-bit products, which vectorise.
constexpr std::uint64_t high_product_64(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a_low = a & 0xffffffff, a_high = a >> 32, b_low = b & 0xffffffff, b_high = b >> 32;
  const std::uint64_t low = a_low * b_low;
  const std::uint64_t cross = a_high * b_low + (low >> 32);
  const std::uint64_t middle = a_low * b_high + (cross & 0xffffffff);
  return a_high * b_high + (cross >> 32) + (middle >> 32);
}
template <class T>
constexpr T high_product(T a, T b) {
  if constexpr (sizeof(T) == 2) {
    using Product = std::conditional_t<std::is_signed_v<T>, std::int32_t, std::uint32_t>;
    return static_cast<T>(static_cast<Product>(a) * static_cast<Product>(b) >> 16);
  } else if constexpr (std::is_same_v<T, std::int32_t>) {
    return static_cast<T>((static_cast<std::int64_t>(a) * b) >> 32);
  } else if constexpr (std::is_same_v<T, std::uint32_t>) {
    return static_cast<T>((static_cast<std::uint64_t>(a) * b) >> 32);
  } else {
    const auto x = static_cast<std::uint64_t>(a), y = static_cast<std::uint64_t>(b);
    std::uint64_t high = high_product_64(x, y);
    // A negative operand counts as 2^64 more than it is.
    if constexpr (std::is_signed_v<T>) high -= (a < 0 ? y : 0) + (b < 0 ? x : 0);
    return static_cast<T>(high);
  }
}

}  // namespace sim

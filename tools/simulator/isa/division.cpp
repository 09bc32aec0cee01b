// div and rem of integers. A division by zero gives all ones for both, as the code that ptxas expands them to does; the
// smallest number divided by -1 gives itself, and remainder 0.
#include <cmath>

#include "isa/form.h"
#include "isa/integer.h"

namespace sim {
namespace {

using ptx::Type;

// Processors divide floating-point vectors only. A quotient a / b that is no integer is at least 1 / b away from the next one,
// relatively more than 2^-32: the rounded quotient of doubles never reaches it, so truncation is exact; floats do for 16 bits
// in the same way.

double to_double(std::uint32_t a) { return static_cast<double>(static_cast<std::int32_t>(a ^ 0x80000000u)) + 2147483648.0; }

std::uint32_t quotient(std::uint32_t a, std::uint32_t b) {
  const double exact = std::floor(to_double(a) / to_double(b));
  return static_cast<std::uint32_t>(static_cast<std::int32_t>(exact - 2147483648.0)) ^ 0x80000000u;
}

std::uint16_t quotient(std::uint16_t a, std::uint16_t b) {
  return static_cast<std::uint16_t>(static_cast<std::int32_t>(static_cast<float>(a) / static_cast<float>(b)));
}

std::uint64_t quotient(std::uint64_t a, std::uint64_t b) { return a / b; }

template <class T>
constexpr Bits<T> magnitude(T a) {
  const auto bits = static_cast<Bits<T>>(a);
  if constexpr (std::is_signed_v<T>) return a < 0 ? static_cast<Bits<T>>(0 - bits) : bits;
  return bits;
}

struct Divide {
  template <class T>
  static T f(T a, T b) {
    const Bits<T> divisor = magnitude(b);
    const Bits<T> result = quotient(magnitude(a), static_cast<Bits<T>>(divisor + (b == 0 ? 1 : 0)));
    const Bits<T> with_sign = (a < 0) != (b < 0) ? static_cast<Bits<T>>(0 - result) : result;
    return static_cast<T>(b == 0 ? static_cast<Bits<T>>(~Bits<T>{0}) : with_sign);
  }
};

struct Remainder {
  template <class T>
  static T f(T a, T b) {
    const Bits<T> dividend = magnitude(a), divisor = magnitude(b);
    const Bits<T> result = static_cast<Bits<T>>(
        dividend - low_product(quotient(dividend, static_cast<Bits<T>>(divisor + (b == 0 ? 1 : 0))), divisor));
    const Bits<T> with_sign = a < 0 ? static_cast<Bits<T>>(0 - result) : result;
    return static_cast<T>(b == 0 ? static_cast<Bits<T>>(~Bits<T>{0}) : with_sign);
  }
};

// 64-bit operands are mostly small: then 32-bit arithmetic, which is vectorised, does.
template <class Op, class T>
void divide_64(Warp& w, const Instruction& in) {
  const std::uint64_t* a = w.at<std::uint64_t>(in.a);
  const std::uint64_t* b = w.at<std::uint64_t>(in.b);
  std::uint64_t all = 0;
#pragma GCC ivdep
  for (int lane = 0; lane < kLanes; ++lane) all |= a[lane] | b[lane];
  if (all >> 32 != 0) return lanewise<&Op::template f<T>>(w, in);
  for_lanes(w.mask, w.at<std::uint64_t>(in.d), [=](int lane) {
    const std::uint64_t result = Op::f(static_cast<std::uint32_t>(a[lane]), static_cast<std::uint32_t>(b[lane]));
    return b[lane] == 0 ? ~std::uint64_t{0} : result;
  });
}

template <class Op>
bool decode_division(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete() || !is_integer(type)) return false;
  Handler run = nullptr;
  switch (type) {
    case Type::u16:
      run = lanewise<&Op::template f<std::uint16_t>>;
      break;
    case Type::s16:
      run = lanewise<&Op::template f<std::int16_t>>;
      break;
    case Type::u32:
      run = lanewise<&Op::template f<std::uint32_t>>;
      break;
    case Type::s32:
      run = lanewise<&Op::template f<std::int32_t>>;
      break;
    case Type::u64:
      run = divide_64<Op, std::uint64_t>;
      break;
    default:
      run = divide_64<Op, std::int64_t>;
      break;
  }
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, run, width, {width, width});
}

}  // namespace

std::vector<OpcodeEntry> division_opcodes() { return {{"div", decode_division<Divide>}, {"rem", decode_division<Remainder>}}; }

}  // namespace sim

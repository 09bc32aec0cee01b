// IEEE 754 and PTX arithmetic in integers, for the tests to compare with: every operation is worked out exactly on a number
// line of 4,608 bits and rounded once. Written for clarity alone; it shares nothing with the simulator.
#pragma once
#include <array>
#include <cstdint>
#include <random>
#include <vector>

namespace sim::test {

enum class Direction { nearest, zero, down, up, away };  // away: to nearest, halves away from zero (.rna)

/// A binary format: `digits` of the significand with the hidden one, `bias`, bits in all.
struct Format {
  int digits, bias, bits;
  bool finite_only = false;  // e4m3: no infinity, one NaN a sign, and that exponent is in use else

  int exponent_bits() const { return bits - digits; }
  std::uint64_t sign() const { return std::uint64_t{1} << (bits - 1); }
  std::uint64_t infinity() const { return ((std::uint64_t{1} << exponent_bits()) - 1) << (digits - 1); }
  std::uint64_t largest() const { return finite_only ? infinity() + (std::uint64_t{1} << (digits - 1)) - 2 : infinity() - 1; }
  std::uint64_t canonical_nan() const;  // PTX's: 0x7fffffff, 0x7fff, …; f64: 0xfff8000000000000
  bool is_nan(std::uint64_t x) const { return (x & ~sign()) > (finite_only ? largest() : infinity()); }
  bool is_infinite(std::uint64_t x) const { return !finite_only && (x & ~sign()) == infinity(); }
  bool is_subnormal(std::uint64_t x) const { return (x & ~sign()) != 0 && (x & ~sign()) < std::uint64_t{1} << (digits - 1); }
};
inline constexpr Format kF64{53, 1023, 64}, kF32{24, 127, 32}, kF16{11, 15, 16}, kBf16{8, 127, 16}, kE4m3{4, 7, 8, true},
    kE5m2{3, 15, 8};
inline constexpr Format kTf32{11, 127, 19};

/// A finite number: `magnitude` counts units of 2^-2240. `rest`: something smaller than half a unit is to be added to the
/// magnitude.
struct Exact {
  bool negative = false, rest = false;
  std::array<std::uint64_t, 72> magnitude{};

  bool is_zero() const;
};

Exact exact(std::uint64_t bits, const Format& format);                        // of a finite number
Exact exact_product(std::uint64_t a, std::uint64_t b, const Format& format);  // of finite ones
Exact exact_integer(bool negative, std::uint64_t magnitude);
Exact exact_sum(const Exact& a, const Exact& b);

/// Rounds once; zero keeps the sign of `x`. Overflow as IEEE 754 has it for the direction. `flush`: a result that would be
/// subnormal with an unbounded exponent becomes zero.
std::uint64_t rounded(const Exact& x, const Format& format, Direction direction, bool flush = false);

/// Rounded to an integer, clamped to [least, most]; the two's complement.
std::uint64_t rounded_integer(const Exact& x, Direction direction, bool is_signed, int bits);
/// An integral value of the same format.
std::uint64_t rounded_integral(std::uint64_t bits, const Format& format, Direction direction);

struct Modifiers {
  Direction direction = Direction::nearest;
  bool flush = false, saturate = false, relu = false;
};

std::uint64_t add(std::uint64_t a, std::uint64_t b, const Format& format, const Modifiers& how);
std::uint64_t multiply(std::uint64_t a, std::uint64_t b, const Format& format, const Modifiers& how);
std::uint64_t fused(std::uint64_t a, std::uint64_t b, std::uint64_t c, const Format& format, const Modifiers& how);
std::uint64_t divide(std::uint64_t a, std::uint64_t b, const Format& format, const Modifiers& how);
std::uint64_t square_root(std::uint64_t a, const Format& format, const Modifiers& how);
std::uint64_t extreme(std::vector<std::uint64_t> operands, const Format& format, bool max, bool nan, bool absolute,
                      bool xorsign, bool flush);

/// NaN for NaN, canonical in the target; the rest rounded once.
std::uint64_t convert(std::uint64_t a, const Format& from, const Format& to, Direction direction);

std::uint64_t flushed(std::uint64_t a, const Format& format);
std::uint64_t saturated(std::uint64_t a, const Format& format);  // .sat
std::uint64_t rectified(std::uint64_t a, const Format& format);  // .relu

/// Zeros, subnormals, ends of the range, ones and their neighbours, halfway cases, infinities, NaNs.
std::vector<std::uint64_t> edge_values(const Format& format);
/// Random bits, or a number of everyday size, or one near a power of two.
std::uint64_t random_value(const Format& format, std::mt19937_64& random);

}  // namespace sim::test

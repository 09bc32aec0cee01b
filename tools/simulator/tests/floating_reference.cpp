#include "tests/floating_reference.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace sim::test {
namespace {

constexpr int kUnit = -2240;                   // exponent of Exact's units
__extension__ typedef unsigned __int128 Wide;  // NOLINT(modernize-use-using): __extension__ wants a typedef

int top_bit(const std::array<std::uint64_t, 72>& m) {
  for (int n = 71; n >= 0; --n) {
    if (m[n] != 0) return n * 64 + 63 - std::countl_zero(m[n]);
  }
  return -1;
}
bool bit_at(const std::array<std::uint64_t, 72>& m, int at) { return at >= 0 && (m[at / 64] >> (at % 64) & 1) != 0; }
bool any_below(const std::array<std::uint64_t, 72>& m, int at) {
  for (int n = 0; n < 72 && n * 64 < at; ++n) {
    const std::uint64_t part = at - n * 64 >= 64 ? m[n] : m[n] & ((std::uint64_t{1} << (at - n * 64)) - 1);
    if (part != 0) return true;
  }
  return false;
}
// Bits [at, at + 64), which hold the top.
std::uint64_t bits_from(const std::array<std::uint64_t, 72>& m, int at) {
  std::uint64_t r = 0;
  for (int n = 0; n < 64 && at + n < 72 * 64; ++n) r |= std::uint64_t{bit_at(m, at + n)} << n;
  return r;
}

Exact placed(bool negative, Wide value, int exponent) {
  Exact x;
  x.negative = negative;
  const int shift = exponent - kUnit;
  if (shift < 0) throw std::logic_error("below the number line");
  for (int n = 0; n < 128; ++n) {
    if ((value >> n & 1) != 0) x.magnitude.at((shift + n) / 64) |= std::uint64_t{1} << ((shift + n) % 64);
  }
  return x;
}

struct Parts {
  bool negative;
  std::uint64_t significand;
  int exponent;
};
Parts parts(std::uint64_t bits, const Format& f) {
  const std::uint64_t magnitude = bits & (f.sign() - 1);
  const int field = static_cast<int>(magnitude >> (f.digits - 1));
  const std::uint64_t fraction = magnitude & ((std::uint64_t{1} << (f.digits - 1)) - 1);
  return {(bits & f.sign()) != 0, field == 0 ? fraction : fraction | std::uint64_t{1} << (f.digits - 1),
          std::max(field, 1) - f.bias - (f.digits - 1)};
}

int compare(const Exact& a, const Exact& b) {  // of magnitudes
  for (int n = 71; n >= 0; --n) {
    if (a.magnitude[n] != b.magnitude[n]) return a.magnitude[n] < b.magnitude[n] ? -1 : 1;
  }
  return 0;
}

// Whether a magnitude goes up from what was cut off below bit `quantum`; `odd`: the last bit kept.
bool goes_up(const Exact& x, int quantum, bool odd, Direction direction) {
  const bool half = bit_at(x.magnitude, quantum - 1);
  const bool below = any_below(x.magnitude, quantum - 1) || x.rest;
  switch (direction) {
    case Direction::nearest:
      return half && (below || odd);
    case Direction::away:
      return half;
    case Direction::zero:
      return false;
    case Direction::down:
      return x.negative && (half || below);
    case Direction::up:
      return !x.negative && (half || below);
  }
  return false;
}

std::uint64_t invalid(const Format& f) { return f.canonical_nan(); }

// The NaN that a instruction gives for these operands: canonical, but f64's the first's payload.
std::uint64_t nan_of(std::initializer_list<std::uint64_t> operands, const Format& f) {
  for (std::uint64_t x : operands) {
    if (f.is_nan(x) && f.bits == 64) return x | std::uint64_t{1} << 51;
  }
  return f.canonical_nan();
}

std::uint64_t finish(std::uint64_t r, const Format& f, const Modifiers& how) {
  if (how.saturate) r = saturated(r, f);
  if (how.relu) r = rectified(r, f);
  return r;
}

}  // namespace

std::uint64_t Format::canonical_nan() const {
  if (bits == 64) return 0xfff8000000000000;
  return sign() - 1;
}

bool Exact::is_zero() const { return top_bit(magnitude) < 0; }

Exact exact(std::uint64_t bits, const Format& format) {
  const Parts p = parts(bits, format);
  return placed(p.negative, p.significand, p.exponent);
}

Exact exact_product(std::uint64_t a, std::uint64_t b, const Format& format) {
  const Parts p = parts(a, format), q = parts(b, format);
  return placed(p.negative != q.negative, Wide{p.significand} * q.significand, p.exponent + q.exponent);
}

Exact exact_integer(bool negative, std::uint64_t magnitude) { return placed(negative, magnitude, 0); }

Exact exact_sum(const Exact& a, const Exact& b) {
  Exact r;
  if (a.negative == b.negative) {
    r.negative = a.negative;
    Wide carry = 0;
    for (int n = 0; n < 72; ++n) {
      carry += Wide{a.magnitude[n]} + b.magnitude[n];
      r.magnitude[n] = static_cast<std::uint64_t>(carry);
      carry >>= 64;
    }
    return r;
  }
  const bool a_larger = compare(a, b) >= 0;
  const Exact& large = a_larger ? a : b;
  const Exact& small = a_larger ? b : a;
  r.negative = large.negative;
  std::uint64_t borrow = 0;
  for (int n = 0; n < 72; ++n) {
    const Wide take = Wide{small.magnitude[n]} + borrow;
    borrow = Wide{large.magnitude[n]} < take ? 1 : 0;
    r.magnitude[n] = static_cast<std::uint64_t>(large.magnitude[n] - static_cast<std::uint64_t>(take));
  }
  return r;
}

std::uint64_t rounded(const Exact& x, const Format& f, Direction direction, bool flush) {
  const std::uint64_t sign = x.negative ? f.sign() : 0;
  const int top = top_bit(x.magnitude);
  if (top < 0) return sign;
  const int least_normal = 1 - f.bias;  // exponent of the smallest normal number
  auto round_at = [&](int quantum) {
    const std::uint64_t kept = top < quantum ? 0 : bits_from(x.magnitude, quantum);
    return kept + (goes_up(x, quantum, (kept & 1) != 0, direction) ? 1 : 0);
  };
  if (flush) {
    const int quantum = top - (f.digits - 1);
    const std::uint64_t kept = round_at(quantum);
    const int exponent = top + kUnit + (kept >> f.digits != 0 ? 1 : 0);
    if (exponent < least_normal) return sign;
  }
  const int subnormal_quantum = least_normal - (f.digits - 1) - kUnit;
  const int quantum = std::max(top - (f.digits - 1), subnormal_quantum);
  std::uint64_t kept = round_at(quantum);
  int exponent = quantum + kUnit + f.digits - 1;  // of the leading digit's place
  if (kept >> f.digits != 0) kept >>= 1, ++exponent;
  const bool is_subnormal = kept >> (f.digits - 1) == 0;
  const std::uint64_t magnitude = is_subnormal ? kept
                                               : (static_cast<std::uint64_t>(exponent + f.bias) << (f.digits - 1)) +
                                                     (kept - (std::uint64_t{1} << (f.digits - 1)));
  if (exponent > f.bias + 2 || magnitude > f.largest()) {
    const bool to_infinity = direction == Direction::nearest || direction == Direction::away ||
                             (direction == Direction::up && !x.negative) || (direction == Direction::down && x.negative);
    return sign | (to_infinity ? f.infinity() : f.largest());
  }
  return sign | magnitude;
}

std::uint64_t rounded_integer(const Exact& x, Direction direction, bool is_signed, int bits) {
  const int top = top_bit(x.magnitude);
  const std::uint64_t most = ~std::uint64_t{0} >> (64 - bits + (is_signed ? 1 : 0));
  const std::uint64_t least_magnitude = is_signed ? most + 1 : 0;
  const std::uint64_t mask = ~std::uint64_t{0} >> (64 - bits);
  bool beyond = top >= -kUnit + 64;
  std::uint64_t magnitude = 0;
  if (!beyond) {
    magnitude = bits_from(x.magnitude, -kUnit);
    if (goes_up(x, -kUnit, (magnitude & 1) != 0, direction)) {
      beyond = magnitude == ~std::uint64_t{0};
      ++magnitude;
    }
  }
  if (x.negative) return (beyond || magnitude > least_magnitude ? 0 - least_magnitude : 0 - magnitude) & mask;
  return beyond || magnitude > most ? most : magnitude;
}

std::uint64_t rounded_integral(std::uint64_t a, const Format& f, Direction direction) {
  if (f.is_nan(a)) return f.bits == 64 ? a | std::uint64_t{1} << 51 : f.canonical_nan();
  const Exact x = exact(a, f);
  if (f.is_infinite(a) || top_bit(x.magnitude) >= -kUnit + f.digits) return a;  // has no fraction
  const std::uint64_t kept = bits_from(x.magnitude, -kUnit);
  return rounded(placed(x.negative, kept + (goes_up(x, -kUnit, (kept & 1) != 0, direction) ? 1 : 0), 0), f, Direction::nearest);
}

std::uint64_t flushed(std::uint64_t a, const Format& f) { return f.is_subnormal(a) ? a & f.sign() : a; }

std::uint64_t saturated(std::uint64_t a, const Format& f) {
  const std::uint64_t one = static_cast<std::uint64_t>(f.bias) << (f.digits - 1);
  if (f.is_nan(a) || (a & f.sign()) != 0) return 0;
  return std::min(a, one);
}

std::uint64_t rectified(std::uint64_t a, const Format& f) { return !f.is_nan(a) && (a & f.sign()) != 0 ? 0 : a; }

std::uint64_t add(std::uint64_t a, std::uint64_t b, const Format& f, const Modifiers& how) {
  if (how.flush) a = flushed(a, f), b = flushed(b, f);
  if (f.is_nan(a) || f.is_nan(b)) return finish(nan_of({a, b}, f), f, how);
  if (f.is_infinite(a) && f.is_infinite(b) && a != b) return finish(invalid(f), f, how);
  if (f.is_infinite(a) || f.is_infinite(b)) return finish(f.is_infinite(a) ? a : b, f, how);
  Exact sum = exact_sum(exact(a, f), exact(b, f));
  if (sum.is_zero()) {
    const bool both = (a & b & f.sign()) != 0, either = ((a | b) & f.sign()) != 0;
    sum.negative = both || (either && how.direction == Direction::down);
    if ((a & ~f.sign()) != 0) sum.negative = how.direction == Direction::down;
  }
  return finish(rounded(sum, f, how.direction, how.flush), f, how);
}

std::uint64_t multiply(std::uint64_t a, std::uint64_t b, const Format& f, const Modifiers& how) {
  if (how.flush) a = flushed(a, f), b = flushed(b, f);
  if (f.is_nan(a) || f.is_nan(b)) return finish(nan_of({a, b}, f), f, how);
  const std::uint64_t sign = (a ^ b) & f.sign();
  if (f.is_infinite(a) || f.is_infinite(b)) {
    const bool zero = (a & ~f.sign()) == 0 || (b & ~f.sign()) == 0;
    return finish(zero ? invalid(f) : sign | f.infinity(), f, how);
  }
  return finish(rounded(exact_product(a, b, f), f, how.direction, how.flush), f, how);
}

std::uint64_t fused(std::uint64_t a, std::uint64_t b, std::uint64_t c, const Format& f, const Modifiers& how) {
  if (how.flush) a = flushed(a, f), b = flushed(b, f), c = flushed(c, f);
  if (f.is_nan(a) || f.is_nan(b) || f.is_nan(c)) return finish(nan_of({a, b, c}, f), f, how);
  if (f.is_infinite(a) || f.is_infinite(b)) {
    const std::uint64_t product = multiply(a, b, f, {});
    if (f.is_nan(product) || (f.is_infinite(c) && c != product)) return finish(invalid(f), f, how);
    return finish(product, f, how);
  }
  if (f.is_infinite(c)) return finish(c, f, how);
  const Exact product = exact_product(a, b, f);
  const Exact addend = exact(c, f);
  Exact sum = exact_sum(product, addend);
  if (sum.is_zero()) {
    if (product.is_zero() && addend.is_zero() && product.negative == addend.negative) {
      sum.negative = product.negative;
    } else {
      sum.negative = how.direction == Direction::down;
    }
  }
  return finish(rounded(sum, f, how.direction, how.flush), f, how);
}

std::uint64_t divide(std::uint64_t a, std::uint64_t b, const Format& f, const Modifiers& how) {
  if (how.flush) a = flushed(a, f), b = flushed(b, f);
  if (f.is_nan(a) || f.is_nan(b)) return nan_of({a, b}, f);
  const std::uint64_t sign = (a ^ b) & f.sign();
  const bool a_zero = (a & ~f.sign()) == 0, b_zero = (b & ~f.sign()) == 0;
  if ((a_zero && b_zero) || (f.is_infinite(a) && f.is_infinite(b))) return invalid(f);
  if (f.is_infinite(a) || b_zero) return sign | f.infinity();
  if (f.is_infinite(b) || a_zero) return sign;
  Parts p = parts(a, f), q = parts(b, f);
  const int shift = std::countl_zero(p.significand) + 10;  // the quotient has at least 64 bits
  Wide numerator = Wide{p.significand} << shift;
  int more = 0;
  while (numerator >> 126 == 0) numerator <<= 1, ++more;
  Exact r = placed(sign != 0, numerator / q.significand, p.exponent - q.exponent - shift - more);
  r.rest = numerator % q.significand != 0;
  return rounded(r, f, how.direction, how.flush);
}

std::uint64_t square_root(std::uint64_t a, const Format& f, const Modifiers& how) {
  if (how.flush) a = flushed(a, f);
  if (f.is_nan(a)) return nan_of({a}, f);
  if ((a & ~f.sign()) == 0) return a;
  if ((a & f.sign()) != 0) return invalid(f);
  if (f.is_infinite(a)) return a;
  const Parts p = parts(a, f);
  Wide square = p.significand;
  int exponent = p.exponent;
  while (square >> 124 == 0 || exponent % 2 != 0) square <<= 1, --exponent;
  Wide root = 0;
  for (int n = 63; n >= 0; --n) {
    const Wide next = root | Wide{1} << n;
    if (next * next <= square) root = next;
  }
  Exact r = placed(false, root, exponent / 2);
  r.rest = root * root != square;
  return rounded(r, f, how.direction, how.flush);
}

std::uint64_t extreme(std::vector<std::uint64_t> operands, const Format& f, bool max, bool nan, bool absolute, bool xorsign,
                      bool flush) {
  std::uint64_t sign = 0;
  for (std::uint64_t& x : operands) {
    if (flush) x = flushed(x, f);
    sign ^= x & f.sign();
    if (absolute) x &= ~f.sign();
  }
  // Ordered as signed magnitudes: -0 below +0.
  auto key = [&](std::uint64_t x) { return (x & f.sign()) != 0 ? f.sign() - 1 - (x & ~f.sign()) : f.sign() + x; };
  bool found = false, saw_nan = false;
  std::uint64_t best = 0;
  for (std::uint64_t x : operands) {
    if (f.is_nan(x)) {
      saw_nan = true;
      continue;
    }
    if (!found || (max ? key(x) > key(best) : key(x) < key(best))) best = x;
    found = true;
  }
  if (!found && f.bits == 64) return operands.back() | std::uint64_t{1} << 51;
  if (!found || (nan && saw_nan)) return f.canonical_nan();
  return xorsign ? best | sign : best;
}

std::uint64_t convert(std::uint64_t a, const Format& from, const Format& to, Direction direction) {
  if (from.is_nan(a)) {
    if (to.bits != 64) return to.canonical_nan();
    // The payload's leading digits; those of halves are canonical in f32 first.
    if (from.bits == 64) return a;
    if (from.bits == 32) return (a & from.sign()) << 32 | to.infinity() | std::uint64_t{1} << 51 | (a & 0x007fffff) << 29;
    return 0x7fffffffe0000000;
  }
  const std::uint64_t sign = (a & from.sign()) != 0 ? to.sign() : 0;
  if (from.is_infinite(a)) return sign | to.infinity();
  return rounded(exact(a, from), to, direction);
}

std::vector<std::uint64_t> edge_values(const Format& f) {
  const std::uint64_t one = static_cast<std::uint64_t>(f.bias) << (f.digits - 1), unit = std::uint64_t{1} << (f.digits - 1);
  const std::uint64_t least = unit, half = one - unit;
  std::vector<std::uint64_t> positive = {0,
                                         1,
                                         unit / 2,
                                         least - 1,
                                         least,
                                         least + 1,
                                         half,
                                         half + 1,
                                         one - 1,
                                         one,
                                         one + 1,
                                         one + unit / 2,
                                         one + unit,
                                         one + 2 * unit + unit / 4,
                                         one + (static_cast<std::uint64_t>(f.digits) - 1) * unit + 1,
                                         f.largest() - 1,
                                         f.largest(),
                                         f.infinity(),
                                         f.infinity() | unit / 2,
                                         f.infinity() | 1};
  std::vector<std::uint64_t> all;
  for (std::uint64_t x : positive) {
    all.push_back(x);
    all.push_back(x | f.sign());
  }
  return all;
}

std::uint64_t random_value(const Format& f, std::mt19937_64& random) {
  const std::uint64_t mask = f.sign() | (f.sign() - 1), unit = std::uint64_t{1} << (f.digits - 1);
  std::uint64_t bits = random() & mask;
  switch (random() % 4) {
    case 0:
      return bits;
    case 1: {  // everyday size
      const std::uint64_t exponent = static_cast<std::uint64_t>(f.bias) - 4 + random() % 8;
      return (bits & (f.sign() | (unit - 1))) | exponent << (f.digits - 1);
    }
    case 2: {  // few digits, so that results are exact or halfway
      const std::uint64_t exponent =
          static_cast<std::uint64_t>(f.bias) - f.digits / 2 + random() % static_cast<std::uint64_t>(f.digits);
      const std::uint64_t fraction = (bits & (unit - 1)) >> (f.digits - 4) << (f.digits - 4);
      return (bits & f.sign()) | fraction | exponent << (f.digits - 1);
    }
    default: {  // about the smallest normal numbers
      return (bits & f.sign()) | (unit - 8 + random() % 16 + (random() % 4) * unit);
    }
  }
}

}  // namespace sim::test

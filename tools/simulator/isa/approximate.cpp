// The approximate instructions. PTX bounds their errors and leaves the rest to the hardware; here they come in two kinds:
// `rounded`, the exact result rounded once, and `perturbed`, the exact result moved by a pseudo-random part of the bound (a
// hash of the operands and the seed) before it is rounded. A kernel should pass with both. Zeros, infinities, NaNs and
// subnormals, given or resulting, are exact in either.
#include <array>
#include <bit>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "isa/elementary.h"
#include "isa/floating.h"
#include "isa/half.h"

namespace sim {
namespace {

constexpr double kSlack = 1 - 0x1p-20;  // keeps the double-precision errors of the exact result within the bound

[[gnu::always_inline]] inline F64x4 abs_of(F64x4 x) { return as<F64x4>(as<U64x4>(x) & 0x7fffffffffffffff); }

// What a unit in the last place of y is worth in f32, for normal y; the smaller one where the exact y may lie on either side of
// a power of two.
[[gnu::always_inline]] inline F64x4 ulp_of(F64x4 y) { return as<F64x4>((as<U64x4>(y) - 4096) & 0x7ff0000000000000) * 0x1p-23; }

// Each function: its value in double precision and the bound of its error, both for finite operands; special operands are taken
// care of here or by what the arithmetic does with them.
struct Reciprocal {
  [[gnu::always_inline]] static F64x4 value(F64x4 x, F64x4) { return 1 / x; }
  [[gnu::always_inline]] static F64x4 bound(F64x4, F64x4 y) { return ulp_of(y); }
};

// a / b; for |b| > 2^126 div.approx multiplies with a reciprocal that is zero.
template <bool Full>
struct Quotient {
  [[gnu::always_inline]] static F64x4 value(F64x4 x, F64x4 z) {
    const F64x4 quotient = x / z;
    if constexpr (Full) return quotient;
    return abs_of(z) > 0x1p126 ? x * as<F64x4>(as<U64x4>(z) & 0x8000000000000000) : quotient;
  }
  [[gnu::always_inline]] static F64x4 bound(F64x4, F64x4 y) { return 2 * ulp_of(y); }
};

struct SquareRoot {
  [[gnu::always_inline]] static F64x4 value(F64x4 x, F64x4) { return _mm256_sqrt_pd(x); }
  [[gnu::always_inline]] static F64x4 bound(F64x4, F64x4 y) { return y * 0x1p-23; }
};

struct ReciprocalRoot {
  [[gnu::always_inline]] static F64x4 value(F64x4 x, F64x4) { return 1 / F64x4(_mm256_sqrt_pd(x)); }
  [[gnu::always_inline]] static F64x4 bound(F64x4, F64x4 y) { return y * 0x1.125fbee250664p-23; }  // 2^-22.9
};

struct Exp2 {
  [[gnu::always_inline]] static F64x4 value(F64x4 x, F64x4) { return exp2_of(x); }
  [[gnu::always_inline]] static F64x4 bound(F64x4, F64x4 y) { return 2 * ulp_of(y); }
};

struct Log2 {
  [[gnu::always_inline]] static F64x4 value(F64x4 x, F64x4) {
    F64x4 y = log2_of(x);
    y = x == 0 ? elementary_detail::all(-HUGE_VAL) : y;
    y = x < 0 ? elementary_detail::all(std::bit_cast<double>(0x7ff8000000000000)) : y;
    return x == HUGE_VAL ? x : y;
  }
  [[gnu::always_inline]] static F64x4 bound(F64x4 x, F64x4 y) {
    return (x > 0.5) & (x < 2) ? elementary_detail::all(0x1p-22) : abs_of(y) * 0x1p-22;
  }
};

// Beyond 100 pi the manual gives no bound; the error of the hardware's reduction grows with the argument.
template <bool Cosine>
struct Sine {
  [[gnu::always_inline]] static F64x4 value(F64x4 x, F64x4) {
    const I64x4 finite = abs_of(x) < HUGE_VAL;
    const F64x4 y = sine_of<Cosine>(finite ? x : F64x4{});
    return finite ? y : elementary_detail::all(std::bit_cast<double>(0x7ff8000000000000));
  }
  [[gnu::always_inline]] static F64x4 bound(F64x4 x, F64x4) {
    constexpr double kTwoPi = 0x1.921fb54442d18p+2, kHundredPi = 0x1.3a28c59d5433bp+8;
    const F64x4 size = abs_of(x);
    const F64x4 far = size > kHundredPi ? size * (0x1.3b2c47bff8329p-15 / kHundredPi)
                                        : elementary_detail::all(0x1.3b2c47bff8329p-15);      // 2^-14.7
    const F64x4 bound = size > kTwoPi ? far : elementary_detail::all(0x1.6a09e667f3bcdp-21);  // 2^-20.5
    return bound > 1 ? elementary_detail::all(1) : bound;
  }
};

struct Tanh {
  [[gnu::always_inline]] static F64x4 value(F64x4 x, F64x4) { return tanh_of(x); }
  [[gnu::always_inline]] static F64x4 bound(F64x4, F64x4 y) { return abs_of(y) * 0x1p-11; }
};

// Where results are confined to [-1, 1], perturbed ones are too.
template <class Function>
inline constexpr bool kWithinOne = false;
template <bool Cosine>
inline constexpr bool kWithinOne<Sine<Cosine>> = true;
template <>
inline constexpr bool kWithinOne<Tanh> = true;

// Uniform over all 32-bit numbers.
[[gnu::always_inline]] inline I32x8 hash(U32x8 x, U32x8 z, std::uint64_t seed) {
  U32x8 h = (x ^ static_cast<std::uint32_t>(seed)) * 0x9e3779b1U + (z ^ static_cast<std::uint32_t>(seed >> 32)) * 0x85ebca77U;
  h ^= h >> 15;
  h *= 0x2c1b3c6dU;
  h ^= h >> 12;
  h *= 0x297a2d39U;
  h ^= h >> 15;
  return as<I32x8>(h);
}

[[gnu::always_inline]] inline F64x4 as_double(F32x4 x) { return widened(x); }

template <class Function, bool Perturbed>
[[gnu::always_inline]] inline F32x4 evaluate(F32x4 a, F32x4 b, __m128i noise) {
  const F64x4 x = as_double(a), z = as_double(b);
  const F64x4 y = Function::value(x, z);
  const F32x4 rounded = _mm256_cvtpd_ps(y);
  if constexpr (!Perturbed) return rounded;
  constexpr double kSmallest = 0x1p-126, kLargest = 0x1.fffffep127;
  const F64x4 bound = Function::bound(x, y) * kSlack;
  const F64x4 u = F64x4(_mm256_cvtepi32_pd(noise)) * 0x1p-31;
  F64x4 moved = y + u * bound;
  if constexpr (kWithinOne<Function>) {
    moved = moved > 1 ? elementary_detail::all(1) : moved;
    moved = moved < -1 ? elementary_detail::all(-1) : moved;
  }
  const F64x4 result = as_double(_mm256_cvtpd_ps(moved));
  auto ordinary = [=](F64x4 v) __attribute__((always_inline)) { return (abs_of(v) >= kSmallest) & (abs_of(v) <= kLargest); };
  const I64x4 use = ordinary(x) & ordinary(z) & ordinary(y) & ordinary(result) & (abs_of(result - y) <= bound);
  const F64x4 chosen = use ? result : as_double(rounded);
  return _mm256_cvtpd_ps(chosen);  // exact
}

template <class Function, int Operands, bool Flush, bool Perturbed>
void approximate_f32(Warp& w, const Instruction& in) {
  const float* a = w.at<const float>(in.a);
  const float* b = Operands == 2 ? w.at<const float>(in.b) : nullptr;
  const auto seed = static_cast<std::uint64_t>(in.immediate);
  for_vectors<F32x8>(
      w.mask, w.at<float>(in.d), [=](int lane) __attribute__((always_inline)) {
        F32x8 x = load<F32x8>(a + lane), z = Operands == 2 ? load<F32x8>(b + lane) : F32x8{} + 1;
        if constexpr (Flush) x = flushed(x), z = flushed(z);
        __m256i noise{};
        if constexpr (Perturbed) noise = (__m256i)hash(as<U32x8>(x), as<U32x8>(z), seed);
        const F32x4 low = evaluate<Function, Perturbed>(low_half(x), low_half(z), _mm256_castsi256_si128(noise));
        const F32x4 high = evaluate<Function, Perturbed>(high_half(x), high_half(z), _mm256_extracti128_si256(noise, 1));
        F32x8 r = joined(low, high);
        if constexpr (Flush) r = flushed(r);
        if constexpr (Operands == 1) r = x == x ? r : x;  // elementary functions do not pass NaN on
        return canonical(r);
      });
}

// Correctly rounded quotients and roots in f32 itself.
template <class Function, bool Flush>
void rounded_f32(Warp& w, const Instruction& in) {
  const float* a = w.at<const float>(in.a);
  for_vectors<F32x8>(
      w.mask, w.at<float>(in.d), [=](int lane) __attribute__((always_inline)) {
        F32x8 x = load<F32x8>(a + lane);
        if constexpr (Flush) x = flushed(x);
        F32x8 r{};
        if constexpr (std::is_same_v<Function, Reciprocal>) {
          r = 1 / x;
        } else {
          r = _mm256_sqrt_ps(x);
        }
        if constexpr (Flush) r = flushed(r);
        return canonical(r);
      });
}

template <class Function, int Operands>
Handler handler_f32(bool flush, bool perturbed) {
  constexpr bool kDirect = std::is_same_v<Function, Reciprocal> || std::is_same_v<Function, SquareRoot>;
  if (perturbed)
    return flush ? approximate_f32<Function, Operands, true, true> : approximate_f32<Function, Operands, false, true>;
  if constexpr (kDirect) {
    return flush ? rounded_f32<Function, true> : rounded_f32<Function, false>;
  } else {
    return flush ? approximate_f32<Function, Operands, true, false> : approximate_f32<Function, Operands, false, false>;
  }
}

// --- f64: rcp.approx.ftz.f64 and rsqrt.approx.ftz.f64 read and write the upper 32 bits only, "1.11.20"; rsqrt.approx.f64 is
// whole.

std::uint64_t hash(std::uint64_t x, std::uint64_t seed) {
  x ^= seed;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
  x = (x ^ x >> 27) * 0x94d049bb133111ebU;
  return x ^ x >> 31;
}

template <bool Root, bool Perturbed>
double coarse(double a, std::uint64_t seed) {
  constexpr std::uint64_t kLow = 0xffffffff, kSign = 0x8000000000000000;
  auto flush = [](double v) { return std::abs(v) < 0x1p-1022 ? std::copysign(0.0, v) : v; };
  if (std::isnan(a)) return std::bit_cast<double>(std::uint64_t{0x7fffffff00000000});
  const double x = flush(std::bit_cast<double>(std::bit_cast<std::uint64_t>(a) & ~kLow));
  const double y = Root ? 1 / std::sqrt(x) : 1 / x;
  if (std::isnan(y)) return std::bit_cast<double>(std::uint64_t{0x7fffffff00000000});
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(flush(y));
  if ((bits & ~kSign) == 0 || std::isinf(y)) return std::bit_cast<double>(bits);
  std::uint64_t rounded = (bits + 0x7fffffff + (bits >> 32 & 1)) & ~kLow;
  if (Perturbed) {
    // The manual gives no bound: one unit of the 20 bits.
    const std::uint64_t moved = rounded + (hash(std::bit_cast<std::uint64_t>(x), seed) % 3 - 1) * (kLow + 1);
    if (std::isnormal(std::bit_cast<double>(moved))) rounded = moved;
  }
  return flush(std::bit_cast<double>(rounded));
}

template <bool Perturbed>
double reciprocal_root(double x, std::uint64_t seed) {
  if (std::isnan(x)) return std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) | 0x0008000000000000);
  if (x < 0) return std::bit_cast<double>(std::uint64_t{0xfff8000000000000});
  if (x == 0) return std::copysign(HUGE_VAL, x);
  if (std::isinf(x)) return 0;
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // [1/2, 1)
  if (exponent % 2 != 0) m *= 2, --exponent;
  // One Newton step with the residual 1 - m y^2 kept exact.
  const double y = 1 / std::sqrt(m);
  const double square = y * y, rest = std::fma(y, y, -square);
  const double residual = std::fma(-m, square, 1.0) - m * rest;
  const double correction = y * residual * 0.5;
  double r = y + correction;
  if (Perturbed && hash(std::bit_cast<std::uint64_t>(x), seed) % 2 != 0) {
    // The neighbour on the other side of the exact value, within one unit in the last place.
    const double error = (y - r) + correction;
    if (error != 0) r = std::nextafter(r, error > 0 ? HUGE_VAL : 0.0);
  }
  return std::ldexp(r, -exponent / 2);
}

template <double (*F)(double, std::uint64_t)>
void scalar_f64(Warp& w, const Instruction& in) {
  const double* a = w.at<const double>(in.a);
  for_vectors<F64x4>(w.mask, w.at<double>(in.d), [=](int lane) {
    F64x4 r{};
    for (int n = 0; n < 4; ++n) r[n] = F(a[lane + n], static_cast<std::uint64_t>(in.immediate));
    return r;
  });
}

// --- f16 and bf16: ex2 and tanh of every one of the 65,536 arguments, worked out once.

using Table = std::array<std::uint16_t, 65536>;

template <class Format>
std::uint16_t narrow_once(double y) {
  const F64x4 all = elementary_detail::all(y);
  return canonical_half(Format::template narrow<Rounding::nearest>(narrowed_to_odd(all, all)), Format::kInfinity)[0];
}

template <class Format>
double value_of(std::uint16_t bits) {
  return static_cast<double>(Format::widen(U16x8{} + bits)[0]);
}

template <class Format, bool IsTanh>
void fill(Table& table, bool perturbed, std::uint64_t seed) {
  constexpr bool kFlushes = !IsTanh && std::is_same_v<Format, Bfloat>;  // ex2.approx.ftz.bf16
  constexpr double kSmallest = std::is_same_v<Format, Half> ? 0x1p-14 : 0x1p-126;
  for (std::uint32_t bits = 0; bits < table.size(); ++bits) {
    const double x = value_of<Format>(static_cast<std::uint16_t>(bits));
    const double y = IsTanh ? std::tanh(x) : std::exp2(x);
    std::uint16_t result = std::isnan(x) ? std::uint16_t{0x7fff} : narrow_once<Format>(y);
    if (kFlushes && (result & Format::kInfinity) == 0) result &= 0x8000;
    const bool ordinary =
        std::isfinite(x) && std::abs(x) >= kSmallest && std::abs(y) >= kSmallest && (result & 0x7fff) < Format::kInfinity;
    if (perturbed && ordinary) {
      double bound = 0;
      if (std::is_same_v<Format, Half>) {
        bound = IsTanh ? 0x1.0251353756991p-11 : y * 0x1.125fbee250664p-10;  // 2^-10.987, absolute; 2^-9.9
      } else {
        bound = IsTanh ? 0x1p-8 : y * 0x1p-7;
      }
      bound *= kSlack;
      const double u = static_cast<double>(hash(std::uint64_t{bits} << 1 | (IsTanh ? 1 : 0), seed) >> 11) * 0x1p-52 - 1;
      double moved = y + u * bound;
      if (IsTanh) moved = std::fmin(1, std::fmax(-1, moved));
      const std::uint16_t candidate = narrow_once<Format>(moved);
      const double reached = value_of<Format>(candidate);
      if (std::isfinite(reached) && std::abs(reached) >= kSmallest && std::abs(reached - y) <= bound) result = candidate;
    }
    table[bits] = result;
  }
}

const Table& table_of(bool bfloat, bool is_tanh, bool perturbed, std::uint64_t seed) {
  static std::mutex mutex;
  static std::map<std::tuple<bool, bool, bool, std::uint64_t>, std::unique_ptr<Table>> tables;
  const std::lock_guard lock(mutex);
  std::unique_ptr<Table>& table = tables[{bfloat, is_tanh, perturbed, perturbed ? seed : 0}];
  if (table == nullptr) {
    table = std::make_unique<Table>();
    if (bfloat) {
      is_tanh ? fill<Bfloat, true>(*table, perturbed, seed) : fill<Bfloat, false>(*table, perturbed, seed);
    } else {
      is_tanh ? fill<Half, true>(*table, perturbed, seed) : fill<Half, false>(*table, perturbed, seed);
    }
  }
  return *table;
}

template <bool Packed>
void look_up(Warp& w, const Instruction& in) {
  const auto* a = w.at<const std::uint16_t>(in.a);
  const auto* table = reinterpret_cast<const std::uint16_t*>(static_cast<std::uintptr_t>(in.immediate));
  for_halves<Packed>(w, in, [=](int at) {
    U16x16 r{};
    for (int n = 0; n < 16; ++n) r[n] = table[a[at + n]];
    return r;
  });
}

bool decode_half_table(const ptx::Instruction& in, const FloatingForm& form, Instruction& out, bool perturbed,
                       std::uint64_t seed) {
  using ptx::Type;
  const bool is_bfloat = form.type == Type::bf16 || form.type == Type::bf16x2;
  const bool is_tanh = in.opcode == "tanh";
  if (!is_tanh && in.opcode != "ex2") return false;
  if (form.has(kFlush) != (is_bfloat && !is_tanh)) return false;
  out.immediate =
      static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(table_of(is_bfloat, is_tanh, perturbed, seed).data()));
  out.run = form.type == Type::f16x2 || form.type == Type::bf16x2 ? look_up<true> : look_up<false>;
  return true;
}

bool decode_f64(const ptx::Instruction& in, const FloatingForm& form, Instruction& out, bool perturbed) {
  if (in.opcode == "rcp" && form.has(kFlush)) {
    out.run = perturbed ? scalar_f64<coarse<false, true>> : scalar_f64<coarse<false, false>>;
  } else if (in.opcode == "rsqrt" && form.has(kFlush)) {
    out.run = perturbed ? scalar_f64<coarse<true, true>> : scalar_f64<coarse<true, false>>;
  } else if (in.opcode == "rsqrt") {
    out.run = perturbed ? scalar_f64<reciprocal_root<true>> : scalar_f64<reciprocal_root<false>>;
  } else {
    return false;
  }
  return true;
}

Handler decode_f32(const ptx::Instruction& in, const FloatingForm& form, bool perturbed) {
  const bool flush = form.has(kFlush);
  if (in.opcode == "div")
    return form.full ? handler_f32<Quotient<true>, 2>(flush, perturbed) : handler_f32<Quotient<false>, 2>(flush, perturbed);
  if (form.full) return nullptr;
  if (in.opcode == "rcp") return handler_f32<Reciprocal, 1>(flush, perturbed);
  if (in.opcode == "sqrt") return handler_f32<SquareRoot, 1>(flush, perturbed);
  if (in.opcode == "rsqrt") return handler_f32<ReciprocalRoot, 1>(flush, perturbed);
  if (in.opcode == "sin") return handler_f32<Sine<false>, 1>(flush, perturbed);
  if (in.opcode == "cos") return handler_f32<Sine<true>, 1>(flush, perturbed);
  if (in.opcode == "lg2") return handler_f32<Log2, 1>(flush, perturbed);
  if (in.opcode == "ex2") return handler_f32<Exp2, 1>(flush, perturbed);
  if (in.opcode == "tanh" && !flush) return handler_f32<Tanh, 1>(flush, perturbed);
  return nullptr;
}

}  // namespace

bool decode_approximate(const ptx::Instruction& in, const FloatingForm& form, Decoder& decoder, Instruction& out,
                        Approximation approximation, std::uint64_t seed) {
  if (form.rounded || form.nan || form.xorsign || form.abs || (form.approx && form.full) || (form.flags & ~kFlush) != 0)
    return false;
  const bool perturbed = approximation == Approximation::perturbed;
  out.immediate = static_cast<std::int64_t>(seed);
  switch (form.type) {
    case ptx::Type::f32:
      out.run = decode_f32(in, form, perturbed);
      if (out.run == nullptr) return false;
      break;
    case ptx::Type::f64:
      if (form.full || !decode_f64(in, form, out, perturbed)) return false;
      break;
    case ptx::Type::f16:
    case ptx::Type::f16x2:
    case ptx::Type::bf16:
    case ptx::Type::bf16x2:
      if (form.full || !decode_half_table(in, form, out, perturbed, seed)) return false;
      break;
    default:
      return false;
  }
  floating_operands(in, decoder, out, form.type);
  return true;
}

}  // namespace sim

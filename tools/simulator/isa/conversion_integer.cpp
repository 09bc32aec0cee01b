// cvt between integers and floating-point types.
#include <cmath>
#include <limits>

#include "isa/conversion.h"
#include "isa/half.h"
#include "isa/lanes.h"

namespace sim {
namespace {

using ptx::Type;

template <class T>
using Storage = std::conditional_t<(sizeof(T) <= 2), std::uint16_t, std::make_unsigned_t<T>>;

// --- To floating point. f32 and f64 are rounded by the processor, under the instruction's MXCSR.

template <class T, class F, bool Saturate>
void from_integer(Warp& w, const Instruction& in) {
  const auto* a = w.at<const Storage<T>>(in.a);
  using U = std::conditional_t<sizeof(F) == 4, std::uint32_t, std::uint64_t>;
  for_lanes(
      w.mask, w.at<U>(in.d), [=](int lane) __attribute__((always_inline)) {
        const auto x = static_cast<T>(a[lane]);
        // 0 and 1 are the only integers that .sat leaves.
        if constexpr (Saturate)
          return std::bit_cast<U>(static_cast<F>(x > 0 ? 1 : 0));
        else
          return std::bit_cast<U>(static_cast<F>(x));
      });
}

// Integers of more than 64 - 11 bits are first cut to 53, the last one set where bits are lost: to odd, as in half.h.
template <class T>
[[gnu::always_inline]] inline double to_odd(T value) {
  if constexpr (sizeof(T) < 8) {
    return static_cast<double>(value);
  } else {
    const bool negative = value < 0;
    const auto magnitude = negative ? 0 - static_cast<std::uint64_t>(value) : static_cast<std::uint64_t>(value);
    const std::uint64_t cut = (magnitude & ~std::uint64_t{0xfff}) | static_cast<std::uint64_t>((magnitude & 0xfff) != 0) << 11;
    const auto exact = static_cast<double>(magnitude < std::uint64_t{1} << 53 ? magnitude : cut);
    return negative ? -exact : exact;
  }
}

template <class T, class Format>
void from_integer_to_half(Warp& w, const Instruction& in) {
  const auto* a = w.at<const Storage<T>>(in.a);
  const auto rounding = static_cast<Rounding>(in.flags & kRoundingBits);
  const bool saturate = (in.flags & kSaturate) != 0;
  for_vectors<U16x8>(w.mask, w.at<std::uint16_t>(in.d), [=](int lane) {
    F64x4 low{}, high{};
    for (int n = 0; n < 4; ++n) {
      low[n] = to_odd(static_cast<T>(a[lane + n]));
      high[n] = to_odd(static_cast<T>(a[lane + n + 4]));
    }
    const F32x8 x = narrowed_to_odd(low, high);
    return narrow<Format>(saturate ? saturated(x) : x, rounding);
  });
}

template <class T>
Handler from(const ConversionForm& form) {
  const bool saturate = form.has(kSaturate);
  switch (form.to) {
    case Type::f16:
      return from_integer_to_half<T, Half>;
    case Type::bf16:
      return from_integer_to_half<T, Bfloat>;
    case Type::f32:
      return saturate ? from_integer<T, float, true> : kPair<from_integer<T, float, false>>.choose(form.flags);
    default:
      return saturate ? from_integer<T, double, true> : kPair<from_integer<T, double, false>>.choose(form.flags);
  }
}

// --- To integers: rounded, then clamped to the type's range. NaN gives 0, but 2^(bits - 1) where either type has 64 bits.

[[gnu::always_inline]] inline F32x8 to_integral(F32x8 x, Rounding rounding) {
  switch (rounding) {
    case Rounding::down:
      return _mm256_round_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
    case Rounding::up:
      return _mm256_round_ps(x, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
    case Rounding::zero:
      return _mm256_round_ps(x, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
    case Rounding::nearest:
      break;
  }
  return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

double to_integral(double x, Rounding rounding) {
  switch (rounding) {
    case Rounding::down:
      return std::floor(x);
    case Rounding::up:
      return std::ceil(x);
    case Rounding::zero:
      return std::trunc(x);
    case Rounding::nearest:
      break;
  }
  return std::nearbyint(x);
}

struct FromHalf {
  using Lane = std::uint16_t;
  [[gnu::always_inline]] static F32x8 read(const std::uint16_t* from) { return Half::widen(load<U16x8>(from)); }
};
struct FromBfloat {
  using Lane = std::uint16_t;
  [[gnu::always_inline]] static F32x8 read(const std::uint16_t* from) { return Bfloat::widen(load<U16x8>(from)); }
};
struct FromSingle {
  using Lane = float;
  [[gnu::always_inline]] static F32x8 read(const float* from) { return load<F32x8>(from); }
};

// Up to 32 bits, eight lanes at a time.
template <class From, class T>
void to_narrow_integer(Warp& w, const Instruction& in) {
  const auto* a = w.at<const typename From::Lane>(in.a);
  const auto rounding = static_cast<Rounding>(in.flags & kRoundingBits);
  const bool flush = (in.flags & kFlush) != 0;
  using V = std::conditional_t<sizeof(T) == 4, U32x8, U16x8>;
  for_vectors<V>(
      w.mask, w.at<Element<V>>(in.d), [=](int lane) __attribute__((always_inline)) {
        F32x8 x = From::read(a + lane);
        if (flush) x = flushed(x);
        x = to_integral(x == x ? x : F32x8{}, rounding);
        if constexpr (sizeof(T) == 4) {
          if constexpr (std::is_signed_v<T>) {
            // vcvttps2dq gives 0x80000000 for what does not fit, which is right below the range.
            const U32x8 r = as<U32x8>(I32x8(_mm256_cvttps_epi32(x)));
            return x >= 0x1p31F ? U32x8{} + 0x7fffffffU : r;
          } else {
            x = x > 0 ? x : F32x8{};
            const U32x8 low = as<U32x8>(I32x8(_mm256_cvttps_epi32(x)));
            const U32x8 high = as<U32x8>(I32x8(_mm256_cvttps_epi32(x - 0x1p31F))) ^ 0x80000000U;
            const U32x8 r = x >= 0x1p31F ? high : low;
            return x >= 0x1p32F ? U32x8{} + 0xffffffffU : r;
          }
        } else {
          const F32x8 least = F32x8{} + static_cast<float>(std::numeric_limits<T>::min()),
                      most = F32x8{} + static_cast<float>(std::numeric_limits<T>::max());
          x = x < least ? least : x;
          x = x > most ? most : x;
          return __builtin_convertvector(as<U32x8>(I32x8(_mm256_cvttps_epi32(x))), U16x8);
        }
      });
}

template <class T>
T clamped(double x) {
  constexpr double kBeyond = 2.0 * static_cast<double>(std::numeric_limits<T>::max() / 2 + 1);  // 2^bits
  if (x >= kBeyond) return std::numeric_limits<T>::max();
  if (x <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
  return static_cast<T>(x);
}

template <class From>
double read_double(const typename From::Lane* lanes, int lane, bool flush) {
  F32x8 x = From::read(lanes + (lane & ~7));
  if (flush) x = flushed(x);
  return static_cast<double>(x[lane & 7]);
}
struct FromDouble {
  using Lane = double;
};
template <>
double read_double<FromDouble>(const double* lanes, int lane, bool) {
  return lanes[lane];
}

// Where one of the types has 64 bits.
template <class From, class T>
void to_integer(Warp& w, const Instruction& in) {
  const auto* a = w.at<const typename From::Lane>(in.a);
  const auto rounding = static_cast<Rounding>(in.flags & kRoundingBits);
  const bool flush = (in.flags & kFlush) != 0;
  for_lanes(w.mask, w.at<Storage<T>>(in.d), [=](int lane) {
    const double x = read_double<From>(a, lane, flush);
    const T r =
        x == x ? clamped<T>(to_integral(x, rounding)) : static_cast<T>(std::make_unsigned_t<T>{1} << (8 * sizeof(T) - 1));
    return static_cast<Storage<T>>(r);
  });
}

template <class T>
Handler to(Type from) {
  if (from == Type::f64) return to_integer<FromDouble, T>;
  if constexpr (sizeof(T) == 8) {
    return from == Type::f16    ? to_integer<FromHalf, T>
           : from == Type::bf16 ? to_integer<FromBfloat, T>
                                : to_integer<FromSingle, T>;
  } else {
    return from == Type::f16    ? to_narrow_integer<FromHalf, T>
           : from == Type::bf16 ? to_narrow_integer<FromBfloat, T>
                                : to_narrow_integer<FromSingle, T>;
  }
}

}  // namespace

Handler integer_to_floating(const ConversionForm& form) {
  if (!form.rounded || (form.flags & (kToInteger | kRelu | kSaturateFinite)) != 0) return nullptr;
  if (form.to == Type::bf16 && (form.has(kSaturate) || ptx::size_of(form.from) == 1)) return nullptr;
  switch (form.from) {
    case Type::u8:
      return from<std::uint8_t>(form);
    case Type::s8:
      return from<std::int8_t>(form);
    case Type::u16:
      return from<std::uint16_t>(form);
    case Type::s16:
      return from<std::int16_t>(form);
    case Type::u32:
      return from<std::uint32_t>(form);
    case Type::s32:
      return from<std::int32_t>(form);
    case Type::u64:
      return from<std::uint64_t>(form);
    default:
      return from<std::int64_t>(form);
  }
}

Handler floating_to_integer(const ConversionForm& form) {
  if (!form.has(kToInteger) || form.rounded || (form.flags & (kRelu | kSaturateFinite)) != 0) return nullptr;
  if (form.from == Type::bf16 && (form.has(kSaturate) || ptx::size_of(form.to) == 1)) return nullptr;
  switch (form.to) {
    case Type::u8:
      return to<std::uint8_t>(form.from);
    case Type::s8:
      return to<std::int8_t>(form.from);
    case Type::u16:
      return to<std::uint16_t>(form.from);
    case Type::s16:
      return to<std::int16_t>(form.from);
    case Type::u32:
      return to<std::uint32_t>(form.from);
    case Type::s32:
      return to<std::int32_t>(form.from);
    case Type::u64:
      return to<std::uint64_t>(form.from);
    default:
      return to<std::int64_t>(form.from);
  }
}

}  // namespace sim

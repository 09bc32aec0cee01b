// cvt between integers and floating-point types.
#include <array>
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

struct FromDouble {
  using Lane = double;
};

// To 32 bits: vcvttps2dq and vcvttpd2dq give 0x80000000 for NaN and for what does not fit, which is right below the range of
// s32.
template <class T>
[[gnu::always_inline]] inline U32x8 to_32(F32x8 x) {
  if constexpr (std::is_signed_v<T>) {
    const U32x8 r = as<U32x8>(I32x8(_mm256_cvttps_epi32(x)));
    return x >= 0x1p31F ? U32x8{} + 0x7fffffffU : r;
  } else {
    x = x > 0 ? x : F32x8{};
    const U32x8 low = as<U32x8>(I32x8(_mm256_cvttps_epi32(x)));
    const U32x8 high = as<U32x8>(I32x8(_mm256_cvttps_epi32(x - 0x1p31F))) ^ 0x80000000U;
    const U32x8 r = x >= 0x1p31F ? high : low;
    return x >= 0x1p32F ? U32x8{} + 0xffffffffU : r;
  }
}

[[gnu::always_inline]] inline F64x4 limited(F64x4 x, double least, double most) {
  const F64x4 low = F64x4{} + least, high = F64x4{} + most;
  x = x < low ? low : x;
  return x > high ? high : x;
}

// Of doubles to 32 bits or fewer; NaN to 2^(bits - 1).
template <class T>
[[gnu::always_inline]] inline __m128i narrow_of(F64x4 x) {
  using Limits = std::numeric_limits<T>;
  constexpr double kHalf = static_cast<double>(std::make_unsigned_t<T>{1} << (8 * sizeof(T) - 1));
  x = x == x ? x : F64x4{} + (std::is_signed_v<T> ? -kHalf : kHalf);
  x = limited(x, static_cast<double>(Limits::min()), static_cast<double>(Limits::max()));
  if constexpr (std::is_same_v<T, std::uint32_t>) {
    // By way of s32, 2^31 lower.
    return _mm_xor_si128(_mm256_cvttpd_epi32(x - 0x1p31), _mm_set1_epi32(std::numeric_limits<std::int32_t>::min()));
  }
  return _mm256_cvttpd_epi32(x);
}

// To 64 bits; NaN to 2^63.
template <class T>
[[gnu::always_inline]] inline U64x4 to_64(F64x4 x) {
  constexpr unsigned long long kTop = 0x8000000000000000;
#ifdef __AVX512DQ__
  auto convert = [](F64x4 v) __attribute__((always_inline)) { return (U64x4)_mm256_cvttpd_epi64(v); };
#else
  auto convert = [](F64x4 v) __attribute__((always_inline)) {
    return (U64x4)_mm256_set_epi64x(_mm_cvttsd_si64(_mm_set_sd(v[3])), _mm_cvttsd_si64(_mm_set_sd(v[2])),
                                    _mm_cvttsd_si64(_mm_set_sd(v[1])), _mm_cvttsd_si64(_mm_set_sd(v[0])));
  };
#endif
  // The processor, too, gives 2^63 for NaN and for what does not fit.
  if constexpr (std::is_signed_v<T>) return x >= 0x1p63 ? U64x4{} + (kTop - 1) : convert(x);
  x = x < 0 ? F64x4{} : x;
  const U64x4 r = x >= 0x1p63 ? convert(x - 0x1p63) ^ kTop : convert(x);
  return x >= 0x1p64 ? U64x4{} + ~0ULL : r;
}

// Up to 32 bits of f32 and halves; NaN to 0.
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
          return to_32<T>(x);
        } else {
          const F32x8 least = F32x8{} + static_cast<float>(std::numeric_limits<T>::min());
          const F32x8 most = F32x8{} + static_cast<float>(std::numeric_limits<T>::max());
          x = x < least ? least : x;
          x = x > most ? most : x;
          return lower_halves(as<U32x8>(I32x8(_mm256_cvttps_epi32(x))) & 0xffff);
        }
      });
}

template <class T>
void double_to_narrow_integer(Warp& w, const Instruction& in) {
  const double* a = w.at<const double>(in.a);
  const auto rounding = static_cast<Rounding>(in.flags & kRoundingBits);
  using V = std::conditional_t<sizeof(T) == 4, U32x8, U16x8>;
  for_vectors<V>(
      w.mask, w.at<Element<V>>(in.d), [=](int lane) __attribute__((always_inline)) {
        const __m128i low = narrow_of<T>(to_integral(load<F64x4>(a + lane), rounding));
        const __m128i high = narrow_of<T>(to_integral(load<F64x4>(a + lane + 4), rounding));
        const auto r = (U32x8)_mm256_set_m128i(high, low);
        if constexpr (sizeof(T) == 4) {
          return r;
        } else {
          return lower_halves(r & 0xffff);
        }
      });
}

template <class From, class T>
void to_wide_integer(Warp& w, const Instruction& in) {
  const auto* a = w.at<const typename From::Lane>(in.a);
  const auto rounding = static_cast<Rounding>(in.flags & kRoundingBits);
  const bool flush = (in.flags & kFlush) != 0;
  alignas(32) std::array<unsigned long long, kLanes> result;
  for (int lane = 0; lane < kLanes; lane += 8) {
    if constexpr (std::is_same_v<From, FromDouble>) {
      store(&result[lane], to_64<T>(to_integral(load<F64x4>(a + lane), rounding)));
      store(&result[lane + 4], to_64<T>(to_integral(load<F64x4>(a + lane + 4), rounding)));
    } else {
      F32x8 x = From::read(a + lane);
      x = to_integral(flush ? flushed(x) : x, rounding);
      store(&result[lane], to_64<T>(widened(low_half(x))));
      store(&result[lane + 4], to_64<T>(widened(high_half(x))));
    }
  }
  for_vectors<U64x4>(
      w.mask,
      w.at<unsigned long long>(in.d), [&](int lane) __attribute__((always_inline)) { return load<U64x4>(&result[lane]); });
}

template <class T>
Handler to(Type from) {
  if constexpr (sizeof(T) == 8) {
    switch (from) {
      case Type::f16:
        return to_wide_integer<FromHalf, T>;
      case Type::bf16:
        return to_wide_integer<FromBfloat, T>;
      case Type::f32:
        return to_wide_integer<FromSingle, T>;
      default:
        return to_wide_integer<FromDouble, T>;
    }
  } else {
    switch (from) {
      case Type::f16:
        return to_narrow_integer<FromHalf, T>;
      case Type::bf16:
        return to_narrow_integer<FromBfloat, T>;
      case Type::f32:
        return to_narrow_integer<FromSingle, T>;
      default:
        return double_to_narrow_integer<T>;
    }
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

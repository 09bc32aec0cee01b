// cvt between the floating-point types, each rounded once. Vectors of eight lanes; f32 is the way between the halves, and f64
// reaches them through f32 rounded to odd (half.h).
#include "isa/conversion.h"
#include "isa/half.h"

namespace sim {
namespace {

using ptx::Type;

struct Single {
  using Lane = float;
  [[gnu::always_inline]] static F32x8 read(const float* from) { return load<F32x8>(from); }
  [[gnu::always_inline]] static F32x8 result(F32x8 x, Rounding) { return canonical(x); }
};

template <class Format>
struct Narrow {
  using Lane = std::uint16_t;
  [[gnu::always_inline]] static F32x8 read(const std::uint16_t* from) { return Format::widen(load<U16x8>(from)); }
  [[gnu::always_inline]] static U16x8 result(F32x8 x, Rounding rounding) {
    return canonical_half(narrow<Format>(x, rounding), Format::kInfinity);
  }
};

// A source only: with more bits than f32 has, but rounded to odd.
struct Double {
  using Lane = double;
  [[gnu::always_inline]] static F32x8 read(const double* from) {
    return narrowed_to_odd(load<F64x4>(from), load<F64x4>(from + 4));
  }
};

template <class To>
inline constexpr float kLargest = 0x1.fffffep127F;
template <>
inline constexpr float kLargest<Narrow<Half>> = Half::kLargestValue;
template <>
inline constexpr float kLargest<Narrow<Bfloat>> = Bfloat::kLargestValue;

template <class From, class To, bool Modified>
void convert(Warp& w, const Instruction& in) {
  const auto* a = w.at<const typename From::Lane>(in.a);
  const std::uint8_t flags = in.flags;
  const auto rounding = Modified ? static_cast<Rounding>(flags & kRoundingBits) : Rounding::nearest;
  using V = decltype(To::result(F32x8{}, Rounding::nearest));
  for_vectors<V>(
      w.mask, w.at<typename To::Lane>(in.d), [=](int lane) __attribute__((always_inline)) {
        F32x8 x = From::read(a + lane);
        if constexpr (Modified) {
          // .ftz is about f32, here the source or the result: the same flush, as the other side can not hold what it takes
          // away.
          if ((flags & kFlush) != 0) x = flushed(x);
          if ((flags & kToInteger) != 0) x = to_integral(x, rounding);
          if ((flags & kSaturate) != 0) x = saturated(x);
          if ((flags & kRelu) != 0) x = rectified(x);
          if ((flags & kSaturateFinite) != 0) {
            const F32x8 limit = F32x8{} + kLargest<To>;
            x = x > limit ? limit : x;
            x = x < -limit ? -limit : x;
          }
        }
        return To::result(x, rounding);
      });
}

template <class From, class To>
Handler convert_handler(bool modified) {
  return modified ? convert<From, To, true> : convert<From, To, false>;
}

// bf16 is the upper half of f32, NaNs included.
void shift_bfloat(Warp& w, const Instruction& in) {
  const auto* a = w.at<const std::uint16_t>(in.a);
  for_vectors<F32x8>(
      w.mask, w.at<float>(in.d), [=](int lane) __attribute__((always_inline)) { return Bfloat::widen(load<U16x8>(a + lane)); });
}

// f64 to f32 under the instruction's MXCSR.
template <bool Saturate>
void double_to_single(Warp& w, const Instruction& in) {
  const double* a = w.at<const double>(in.a);
  for_vectors<F32x8>(
      w.mask, w.at<float>(in.d), [=](int lane) __attribute__((always_inline)) {
        const F32x8 r = joined(_mm256_cvtpd_ps(load<F64x4>(a + lane)), _mm256_cvtpd_ps(load<F64x4>(a + lane + 4)));
        return Saturate ? saturated(r) : canonical(r);
      });
}

[[gnu::always_inline]] inline F32x4 read_four(const float* from) { return load<F32x4>(from); }
template <class Format>
[[gnu::always_inline]] inline F32x4 read_four(const std::uint16_t* from) {
  U16x8 bits{};
  std::memcpy(&bits, from, 8);
  return low_half(canonical(Format::widen(bits)));
}

// A NaN's payload moves up with the fraction; NaNs of halves are canonical first.
template <class Format, class Lane, bool Modified>
void to_double(Warp& w, const Instruction& in) {
  const auto* a = w.at<const Lane>(in.a);
  const std::uint8_t flags = in.flags;
  for_vectors<F64x4>(
      w.mask, w.at<double>(in.d), [=](int lane) __attribute__((always_inline)) {
        F32x4 x{};
        if constexpr (std::is_same_v<Lane, float>) {
          x = read_four(a + lane);
        } else {
          x = read_four<Format>(a + lane);
        }
        if constexpr (Modified) {
          if ((flags & kFlush) != 0) x = low_half(flushed(joined(x, x)));
        }
        const F64x4 r = widened(x);
        if constexpr (Modified) return (flags & kSaturate) != 0 ? saturated(r) : r;
        return r;
      });
}

void double_to_double(Warp& w, const Instruction& in) {
  const double* a = w.at<const double>(in.a);
  const std::uint8_t flags = in.flags;
  for_vectors<F64x4>(
      w.mask, w.at<double>(in.d), [=](int lane) __attribute__((always_inline)) {
        F64x4 x = load<F64x4>(a + lane);
        if ((flags & kToInteger) != 0) x = to_integral(x, static_cast<Rounding>(flags & kRoundingBits));
        return (flags & kSaturate) != 0 ? saturated(x) : x;
      });
}

Handler to_f64(Type from, bool modified) {
  switch (from) {
    case Type::f16:
      return modified ? to_double<Half, std::uint16_t, true> : to_double<Half, std::uint16_t, false>;
    case Type::bf16:
      return modified ? to_double<Bfloat, std::uint16_t, true> : to_double<Bfloat, std::uint16_t, false>;
    case Type::f32:
      return modified ? to_double<void, float, true> : to_double<void, float, false>;
    default:
      return double_to_double;
  }
}

template <class To>
Handler from_any(Type from, bool modified) {
  switch (from) {
    case Type::f16:
      return convert_handler<Narrow<Half>, To>(modified);
    case Type::bf16:
      return convert_handler<Narrow<Bfloat>, To>(modified);
    case Type::f32:
      return convert_handler<Single, To>(modified);
    default:
      return convert_handler<Double, To>(modified);
  }
}

}  // namespace

Handler floating_to_floating(const ConversionForm& form) {
  const Type from = form.from, to = form.to;
  const int from_bytes = ptx::size_of(from), to_bytes = ptx::size_of(to);
  const bool bfloat = from == Type::bf16 || to == Type::bf16;
  const bool loses = from_bytes > to_bytes;
  // A rounding is written where digits may be lost, and allowed with bf16; to an integer only within one type.
  if (loses && !form.rounded) return nullptr;
  if (form.rounded && !loses && (!bfloat || from == to)) return nullptr;
  if (form.has(kToInteger) && from != to) return nullptr;
  if (form.has(kSaturate) && bfloat) return nullptr;
  const std::uint8_t clamps = form.flags & (kRelu | kSaturateFinite);
  if (clamps != 0 && (from != Type::f32 || to_bytes != 2 || form.has(kSaturate))) return nullptr;
  const bool modified = form.flags != 0;
  switch (to) {
    case Type::f16:
      return from_any<Narrow<Half>>(from, modified);
    case Type::bf16:
      return from_any<Narrow<Bfloat>>(from, modified);
    case Type::f64:
      return to_f64(from, modified);
    default:
      break;
  }
  if (from == Type::f64)
    return (form.has(kSaturate) ? kPair<double_to_single<true>> : kPair<double_to_single<false>>).choose(form.flags);
  if (from == Type::bf16 && !form.has(kFlush)) return shift_bfloat;
  return from_any<Single>(from, modified);
}

}  // namespace sim

// cvt with packed results or operands (f16x2, bf16x2, e4m3x2, e5m2x2), to tf32, and cvt.pack. Of two operands the first goes to
// the upper half.
#include <algorithm>
#include <array>
#include <cmath>

#include "isa/conversion.h"
#include "isa/half.h"

namespace sim {
namespace {

using ptx::Type;

// --- f16x2 and bf16x2 of two f32.

template <class Format>
[[gnu::always_inline]] inline F32x8 clamped(F32x8 x, std::uint8_t flags) {
  if ((flags & kRelu) != 0) x = rectified(x);
  if ((flags & kSaturateFinite) != 0) {
    const F32x8 limit = F32x8{} + Format::kLargestValue;
    x = x > limit ? limit : x;
    x = x < -limit ? -limit : x;
  }
  return x;
}

template <class Format>
[[gnu::always_inline]] inline U32x8 narrow_lanes(F32x8 x, std::uint8_t flags) {
  const U16x8 bits = canonical_half(narrow<Format>(clamped<Format>(x, flags), static_cast<Rounding>(flags & kRoundingBits)),
                                    Format::kInfinity);
  return as<U32x8>(I32x8(_mm256_cvtepu16_epi32((__m128i)bits)));
}

template <class Format>
void pack_halves(Warp& w, const Instruction& in) {
  const float* a = w.at<const float>(in.a);
  const float* b = w.at<const float>(in.b);
  const std::uint8_t flags = in.flags;
  for_vectors<U32x8>(
      w.mask, w.at<std::uint32_t>(in.d), [=](int lane) __attribute__((always_inline)) {
        return narrow_lanes<Format>(load<F32x8>(a + lane), flags) << 16 | narrow_lanes<Format>(load<F32x8>(b + lane), flags);
      });
}

// --- tf32: f32 without its last 13 bits. `more` is 1 for .rna, which rounds halves away from zero.

void to_tf32(Warp& w, const Instruction& in) {
  const float* a = w.at<const float>(in.a);
  const std::uint8_t flags = in.flags;
  const bool away = in.more != 0;
  const bool nearest = static_cast<Rounding>(flags & kRoundingBits) == Rounding::nearest;
  for_vectors<U32x8>(
      w.mask, w.at<std::uint32_t>(in.d), [=](int lane) __attribute__((always_inline)) {
        F32x8 x = load<F32x8>(a + lane);
        if ((flags & kRelu) != 0) x = rectified(x);
        if ((flags & kSaturateFinite) != 0) {
          const F32x8 limit = F32x8{} + 0x1.ffcp127F;
          x = x > limit ? limit : x;
          x = x < -limit ? -limit : x;
        }
        U32x8 bits = as<U32x8>(x);
        if (away) {
          bits += 0x1000;
        } else if (nearest) {
          bits += 0xfff + ((bits >> 13) & 1);
        }
        bits = magnitude(x) < HUGE_VALF ? bits & 0xffffe000 : as<U32x8>(x);
        return x == x ? bits : U32x8{} + kNan32;
      });
}

// --- e4m3 and e5m2 (OCP 8-bit Floating Point Specification 1.0): rounded to nearest even, beyond the largest number to it, NaN
// to 0x7f.

template <int Fraction, int Bias, std::uint32_t Largest>
[[gnu::always_inline]] inline U32x8 narrow_to_eight(F32x8 x, bool relu) {
  if (relu) x = rectified(x);
  const U32x8 sign = as<U32x8>(x) >> 24 & 0x80;
  constexpr int kCut = 23 - Fraction;
  constexpr std::uint32_t kSmallestNormal = std::uint32_t{127 - Bias + 1} << 23;
  // Added to a subnormal, this leaves its multiple of the smallest one in the low bits, rounded by the addition.
  constexpr float kAligned = Fraction == 3 ? 0x1p14F : 0x1p7F;
  constexpr std::uint32_t kAlignedBits = Fraction == 3 ? 0x46800000 : 0x43000000;
  U32x8 bits = as<U32x8>(magnitude(x));
  bits = bits > Largest ? U32x8{} + Largest : bits;
  const U32x8 normal = ((bits + ((std::uint32_t{1} << (kCut - 1)) - 1) + ((bits >> kCut) & 1)) >> kCut) -
                       (std::uint32_t{127 - Bias} << Fraction);
  const U32x8 subnormal = as<U32x8>(as<F32x8>(bits) + kAligned) - kAlignedBits;
  const U32x8 code = (bits < kSmallestNormal ? subnormal : normal) | sign;
  return x == x ? code : U32x8{} + 0x7f;
}

struct E4m3 {
  [[gnu::always_inline]] static U32x8 narrow(F32x8 x, bool relu) { return narrow_to_eight<3, 7, 0x43e00000>(x, relu); }  // 448
  static constexpr std::uint16_t widen(std::uint32_t code) {
    const std::uint32_t sign = (code & 0x80) << 8, magnitude = code & 0x7f;
    if (magnitude == 0x7f) return 0x7fff;
    if (magnitude >= 8) return static_cast<std::uint16_t>(sign | ((magnitude << 7) + (8 << 10)));  // biases 15 and 7
    if (magnitude == 0) return static_cast<std::uint16_t>(sign);
    std::uint32_t exponent = 9, fraction = magnitude << 7;  // a multiple of 2^-9
    while ((fraction & 0x400) == 0) fraction <<= 1, --exponent;
    return static_cast<std::uint16_t>(sign | exponent << 10 | (fraction & 0x3ff));
  }
};
struct E5m2 {
  [[gnu::always_inline]] static U32x8 narrow(F32x8 x, bool relu) {
    return narrow_to_eight<2, 15, 0x47600000>(x, relu);
  }  // 57,344
  static constexpr std::uint16_t widen(std::uint32_t code) {
    return (code & 0x7f) > 0x7c ? std::uint16_t{0x7fff} : static_cast<std::uint16_t>(code << 8);
  }
};

template <class Format>
void pack_eights(Warp& w, const Instruction& in) {
  const float* a = w.at<const float>(in.a);
  const float* b = w.at<const float>(in.b);
  const bool relu = (in.flags & kRelu) != 0;
  for_vectors<U16x8>(
      w.mask, w.at<std::uint16_t>(in.d), [=](int lane) __attribute__((always_inline)) {
        const U32x8 codes = Format::narrow(load<F32x8>(a + lane), relu) << 8 | Format::narrow(load<F32x8>(b + lane), relu);
        return lower_halves(codes);
      });
}

template <class Format>
void pack_eights_of_halves(Warp& w, const Instruction& in) {
  const auto* a = w.at<const std::uint32_t>(in.a);
  const bool relu = (in.flags & kRelu) != 0;
  for_vectors<U16x8>(
      w.mask, w.at<std::uint16_t>(in.d), [=](int lane) __attribute__((always_inline)) {
        const U32x8 pairs = load<U32x8>(a + lane);
        const F32x8 low = Half::widen(lower_halves(pairs & 0xffff)), high = Half::widen(lower_halves(pairs >> 16));
        return lower_halves(Format::narrow(high, relu) << 8 | Format::narrow(low, relu));
      });
}

template <class Format>
constexpr auto widened_codes() {
  std::array<std::uint16_t, 256> table{};
  for (std::uint32_t code = 0; code < 256; ++code) table[code] = Format::widen(code);
  return table;
}

template <class Format>
void unpack_eights(Warp& w, const Instruction& in) {
  static constexpr auto kTable = widened_codes<Format>();
  const auto* a = w.at<const std::uint16_t>(in.a);
  const bool relu = (in.flags & kRelu) != 0;
  auto half = [=](std::uint32_t code) __attribute__((always_inline)) {
    const std::uint32_t bits = kTable[code & 0xff];
    return relu && (bits & 0x8000) != 0 ? 0 : bits;
  };
  for_vectors<U32x8>(w.mask, w.at<std::uint32_t>(in.d), [=](int lane) {
    U32x8 r{};
    for (int n = 0; n < 8; ++n) r[n] = half(a[lane + n] >> 8U) << 16 | half(a[lane + n]);
    return r;
  });
}

// --- cvt.pack.sat: two s32 clamped to a narrower type, above the bits of c.

// flags: bits of the type; more: whether it is signed.
void pack_integers(Warp& w, const Instruction& in) {
  const auto* a = w.at<const std::int32_t>(in.a);
  const auto* b = w.at<const std::int32_t>(in.b);
  const auto* c = in.c == kNowhere ? nullptr : w.at<const std::uint32_t>(in.c);
  const int bits = in.flags;
  const std::int32_t most = (1 << (bits - in.more)) - 1, least = in.more != 0 ? -most - 1 : 0;
  const std::uint32_t field = (std::uint32_t{1} << bits) - 1;
  for_vectors<U32x8>(w.mask, w.at<std::uint32_t>(in.d), [=](int lane) {
    U32x8 r{};
    for (int n = 0; n < 8; ++n) {
      const std::uint32_t high = static_cast<std::uint32_t>(std::clamp(a[lane + n], least, most)) & field;
      const std::uint32_t low = static_cast<std::uint32_t>(std::clamp(b[lane + n], least, most)) & field;
      const std::uint32_t rest = c == nullptr ? 0 : c[lane + n] << (2 * bits);
      r[n] = rest | high << bits | low;
    }
    return r;
  });
}

void read_operands(const ptx::Instruction& in, Decoder& decoder, Instruction& out, std::size_t sources, Type to, Type from) {
  if (in.operands.size() != sources + 1) decoder.fail(in, "the number of operands is wrong");
  auto check = [&](const ptx::Operand& operand, Type type) {
    const Width width = decoder.width(operand);
    if (width != Width::none && width != width_of(type)) decoder.fail(in, "an operand is a register of another width");
  };
  check(in.operands[0], to);
  out.d = decoder.write(in.operands[0], width_of(to));
  for (std::size_t n = 1; n <= sources; ++n) {
    check(in.operands[n], from);
    (n == 1 ? out.a : n == 2 ? out.b : out.c) = decoder.read(in.operands[n], width_of(from), from);
  }
}

}  // namespace

bool decode_packed(const ptx::Instruction& in, const ConversionForm& form, Decoder& decoder, Instruction& out) {
  const Type from = form.from, to = form.to;
  const auto rounding = static_cast<Rounding>(form.flags & kRoundingBits);
  const bool nearest = form.rounded && rounding == Rounding::nearest,
             nearest_or_zero = nearest || (form.rounded && rounding == Rounding::zero);
  const std::uint8_t clamps = kRelu | kSaturateFinite;
  if ((form.flags & ~(clamps | kRoundingBits)) != 0) return false;
  out.flags = form.flags;
  std::size_t sources = 1;
  if (from == Type::f32 && (to == Type::f16x2 || to == Type::bf16x2)) {
    if (!nearest_or_zero || form.away) return false;
    out.run = to == Type::f16x2 ? pack_halves<Half> : pack_halves<Bfloat>;
    sources = 2;
  } else if (from == Type::f32 && to == Type::tf32) {
    if (form.away ? form.rounded || form.has(kRelu) : !nearest_or_zero) return false;
    out.more = form.away ? 1 : 0;
    out.run = to_tf32;
  } else if (to == Type::e4m3x2 || to == Type::e5m2x2) {
    if (!nearest || form.away || !form.has(kSaturateFinite) || (from != Type::f32 && from != Type::f16x2)) return false;
    if (from == Type::f32) {
      out.run = to == Type::e4m3x2 ? pack_eights<E4m3> : pack_eights<E5m2>;
      sources = 2;
    } else {
      out.run = to == Type::e4m3x2 ? pack_eights_of_halves<E4m3> : pack_eights_of_halves<E5m2>;
    }
  } else if (to == Type::f16x2 && (from == Type::e4m3x2 || from == Type::e5m2x2)) {
    if (!nearest || form.away || form.has(kSaturateFinite)) return false;
    out.run = from == Type::e4m3x2 ? unpack_eights<E4m3> : unpack_eights<E5m2>;
  } else {
    return false;
  }
  read_operands(in, decoder, out, sources, to, from);
  return true;
}

bool decode_pack(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  // cvt.pack.sat.type.s32{.b32}
  const auto& modifiers = in.modifiers;
  if (modifiers.size() < 4 || modifiers[1] != "sat" || modifiers[3] != "s32") return false;
  const bool three = modifiers.size() == 5 && modifiers[4] == "b32";
  if (modifiers.size() > 4 && !three) return false;
  struct Target {
    std::string_view name;
    std::uint8_t bits;
    bool is_signed;
  };
  static constexpr std::array<Target, 8> kTargets = {{{"u2", 2, false},
                                                      {"s2", 2, true},
                                                      {"u4", 4, false},
                                                      {"s4", 4, true},
                                                      {"u8", 8, false},
                                                      {"s8", 8, true},
                                                      {"u16", 16, false},
                                                      {"s16", 16, true}}};
  const auto target = std::find_if(kTargets.begin(), kTargets.end(), [&](const Target& t) { return t.name == modifiers[2]; });
  if (target == kTargets.end() || (target->bits == 16) == three) return false;
  out.flags = target->bits;
  out.more = target->is_signed ? 1 : 0;
  out.run = pack_integers;
  read_operands(in, decoder, out, three ? 3 : 2, Type::b32, Type::b32);
  return true;
}

}  // namespace sim

// Arithmetic of f16 and bf16, one a register or packed in pairs: add sub mul fma, min max, abs neg. Each operation rounds once:
// sums and products of two halves survive f32's rounding (24 >= 2 p + 2 bits; products are exact), fused ones are summed to
// odd.
#include "isa/half.h"

#include "isa/floating.h"

namespace sim {
namespace {

// Below this, an f16 result is subnormal after rounding to 11 bits without a bound on the exponent.
constexpr float kHalfTiny = 0x1.ffep-15F;

struct Add {
  template <class Format>
  [[gnu::always_inline]] static F32x8 apply(F32x8 a, F32x8 b, F32x8) {
    return a + b;
  }
};
struct Subtract {
  template <class Format>
  [[gnu::always_inline]] static F32x8 apply(F32x8 a, F32x8 b, F32x8) {
    return a - b;
  }
};
struct Multiply {
  template <class Format>
  [[gnu::always_inline]] static F32x8 apply(F32x8 a, F32x8 b, F32x8) {
    return a * b;
  }
};

[[gnu::noinline]] F32x8 fused_through_double(F32x8 a, F32x8 b, F32x8 c) {
  const F64x4 low = add_to_odd<F64x4>(widened(low_half(a)) * widened(low_half(b)), widened(low_half(c)));
  const F64x4 high = add_to_odd<F64x4>(widened(high_half(a)) * widened(high_half(b)), widened(high_half(c)));
  return narrowed_to_odd(low, high);
}

struct FusedMultiplyAdd {
  template <class Format>
  [[gnu::always_inline]] static F32x8 apply(F32x8 a, F32x8 b, F32x8 c) {
    const F32x8 product = a * b;
    if constexpr (std::is_same_v<Format, Bfloat>) {
      // A product of two bf16 has 16 bits, but may leave f32's range at either end.
      const F32x8 size = magnitude(product);
      const I32x8 exact = ((size >= 0x1p-120F) & (size <= 0x1.fffffep127F)) | (a == 0) | (b == 0);
      if (_mm256_movemask_ps(as<F32x8>(exact)) != 0xff) return fused_through_double(a, b, c);
    }
    return add_to_odd(product, c);
  }
};

template <class Format, bool Modified>
[[gnu::always_inline]] inline U16x8 finish(F32x8 r, std::uint8_t flags) {
  if constexpr (Modified) {
    if ((flags & kFlush) != 0) r = magnitude(r) < kHalfTiny ? as<F32x8>(as<U32x8>(r) & 0x80000000) : r;
    if ((flags & kSaturate) != 0) r = saturated(r);
    if ((flags & kRelu) != 0) r = rectified(r);
  }
  return Format::template narrow<Rounding::nearest>(r);
}

[[gnu::always_inline]] inline U16x16 flushed_half(U16x16 x) { return (x & 0x7c00) == 0 ? x & 0x8000 : x; }

template <class Format, class Op, int Operands, bool Packed, bool Modified>
void arithmetic(Warp& w, const Instruction& in) {
  const auto* a = w.at<const std::uint16_t>(in.a);
  const auto* b = w.at<const std::uint16_t>(in.b);
  const auto* c = Operands == 3 ? w.at<const std::uint16_t>(in.c) : nullptr;
  const std::uint8_t flags = in.flags;
  for_halves<Packed>(
      w, in, [=](int at) __attribute__((always_inline)) {
        auto operand = [=](const std::uint16_t* from) __attribute__((always_inline)) {
          const U16x16 x = load<U16x16>(from + at);
          if constexpr (Modified) return (flags & kFlush) != 0 ? flushed_half(x) : x;
          return x;
        };
        const U16x16 x = operand(a), y = operand(b), z = Operands == 3 ? operand(c) : U16x16{};
        const F32x8 low =
            Op::template apply<Format>(Format::widen(low_half(x)), Format::widen(low_half(y)), Format::widen(low_half(z)));
        const F32x8 high =
            Op::template apply<Format>(Format::widen(high_half(x)), Format::widen(high_half(y)), Format::widen(high_half(z)));
        const U16x16 bits = joined(finish<Format, Modified>(low, flags), finish<Format, Modified>(high, flags));
        return canonical_half(bits, Format::kInfinity);
      });
}

template <class Format, bool Max, bool Packed>
void extreme_half(Warp& w, const Instruction& in) {
  const auto* a = w.at<const std::uint16_t>(in.a);
  const auto* b = w.at<const std::uint16_t>(in.b);
  const auto* c = in.c == kNowhere ? nullptr : w.at<const std::uint16_t>(in.c);
  const std::uint8_t flags = in.flags;
  const bool nan = in.more != 0;
  for_halves<Packed>(
      w, in, [=](int at) __attribute__((always_inline)) {
        const bool absolute = (flags & (kXorsignAbs | kAbs)) != 0;
        U16x16 signs{};
        U16x16 any_nan{};
        auto operand = [&](const std::uint16_t* from) __attribute__((always_inline)) {
          U16x16 x = load<U16x16>(from + at);
          if ((flags & kFlush) != 0) x = flushed_half(x);
          signs ^= x & 0x8000;
          if (absolute) x &= 0x7fff;
          any_nan |= (U16x16)((x & 0x7fff) > Format::kInfinity);
          return x;
        };
        auto choose = [](U16x16 x, U16x16 y) __attribute__((always_inline)) {
          const F32x8 low = extreme<Max>(Format::widen(low_half(x)), Format::widen(low_half(y)));
          const F32x8 high = extreme<Max>(Format::widen(high_half(x)), Format::widen(high_half(y)));
          return joined(Format::template narrow<Rounding::nearest>(low), Format::template narrow<Rounding::nearest>(high));
        };
        const U16x16 x = operand(a), y = operand(b);
        U16x16 r = choose(x, y);
        if (c != nullptr) r = choose(r, operand(c));
        if ((flags & kXorsignAbs) != 0) r |= signs;
        if (nan) r |= any_nan;
        return canonical_half(r, Format::kInfinity);
      });
}

template <class Format, bool Packed>
void sign_half(Warp& w, const Instruction& in) {
  const auto* a = w.at<const std::uint16_t>(in.a);
  const bool flush = (in.flags & kFlush) != 0, negate = in.more != 0;
  for_halves<Packed>(
      w, in, [=](int at) __attribute__((always_inline)) {
        const U16x16 x = flush ? flushed_half(load<U16x16>(a + at)) : load<U16x16>(a + at);
        return canonical_half(negate ? x ^ 0x8000 : x & 0x7fff, Format::kInfinity);
      });
}

template <class Op, int Operands>
Handler arithmetic_handler(ptx::Type type, bool modified) {
  using ptx::Type;
  switch (type) {
    case Type::f16:
      return modified ? arithmetic<Half, Op, Operands, false, true> : arithmetic<Half, Op, Operands, false, false>;
    case Type::f16x2:
      return modified ? arithmetic<Half, Op, Operands, true, true> : arithmetic<Half, Op, Operands, true, false>;
    case Type::bf16:
      return modified ? arithmetic<Bfloat, Op, Operands, false, true> : arithmetic<Bfloat, Op, Operands, false, false>;
    default:
      return modified ? arithmetic<Bfloat, Op, Operands, true, true> : arithmetic<Bfloat, Op, Operands, true, false>;
  }
}

template <bool Max>
Handler extreme_handler(ptx::Type type) {
  using ptx::Type;
  switch (type) {
    case Type::f16:
      return extreme_half<Half, Max, false>;
    case Type::f16x2:
      return extreme_half<Half, Max, true>;
    case Type::bf16:
      return extreme_half<Bfloat, Max, false>;
    default:
      return extreme_half<Bfloat, Max, true>;
  }
}

Handler sign_handler(ptx::Type type) {
  using ptx::Type;
  switch (type) {
    case Type::f16:
      return sign_half<Half, false>;
    case Type::f16x2:
      return sign_half<Half, true>;
    case Type::bf16:
      return sign_half<Bfloat, false>;
    default:
      return sign_half<Bfloat, true>;
  }
}

}  // namespace

bool decode_half(const ptx::Instruction& in, const FloatingForm& form, Decoder& decoder, Instruction& out) {
  const bool is_bfloat = form.type == ptx::Type::bf16 || form.type == ptx::Type::bf16x2;
  if ((form.flags & kRoundingBits) != 0) return false;  // there is .rn only
  if (is_bfloat && (form.has(kFlush) || form.has(kSaturate))) return false;
  const bool is_fma = in.opcode == "fma";
  const bool modified = (form.flags & (kFlush | kSaturate | kRelu)) != 0;
  if (form.has(kRelu) && (!is_fma || form.has(kSaturate))) return false;
  out.flags = form.flags;
  if (in.opcode == "min" || in.opcode == "max") {
    if ((in.operands.size() == 4 && form.xorsign) || (in.operands.size() == 3 && form.abs && !form.xorsign)) return false;
    out.flags |= form.xorsign ? kXorsignAbs : form.abs ? kAbs : std::uint8_t{0};
    out.more = form.nan ? 1 : 0;
    out.run = in.opcode == "max" ? extreme_handler<true>(form.type) : extreme_handler<false>(form.type);
  } else if (in.opcode == "abs" || in.opcode == "neg") {
    out.more = in.opcode == "neg" ? 1 : 0;
    out.run = sign_handler(form.type);
  } else if (is_fma) {
    if (!form.rounded) return false;
    out.run = arithmetic_handler<FusedMultiplyAdd, 3>(form.type, modified);
  } else if (in.opcode == "add") {
    out.run = arithmetic_handler<Add, 2>(form.type, modified);
  } else if (in.opcode == "sub") {
    out.run = arithmetic_handler<Subtract, 2>(form.type, modified);
  } else if (in.opcode == "mul") {
    out.run = arithmetic_handler<Multiply, 2>(form.type, modified);
  } else {
    return false;
  }
  floating_operands(in, decoder, out, form.type);
  return true;
}

}  // namespace sim

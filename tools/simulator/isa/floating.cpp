// f32 and f64 arithmetic as IEEE 754 and PTX define it: add sub mul fma mad div rcp sqrt with a rounding, abs neg min max
// copysign testp. NaNs: every f32 instruction gives 0x7fffffff; f64 ones pass on the payload of the first operand that is NaN,
// and give 0xfff8000000000000 when none is.
#include "isa/floating.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace sim {
namespace {

template <class T>
using Vector = std::conditional_t<sizeof(T) == 4, F32x8, F64x4>;

[[gnu::always_inline]] inline F64x4 quiet(F64x4 x) { return as<F64x4>(as<U64x4>(x) | 0x0008000000000000); }
// The processor would choose between two NaNs by the order in which the compiler put the operands.
[[gnu::always_inline]] inline F64x4 first_nan(F64x4 x, F64x4 r) { return x == x ? r : quiet(x); }

struct Add {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return a + b;
  }
};
struct Subtract {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return a - b;
  }
};
struct Multiply {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return a * b;
  }
};
struct Divide {
  template <class V>
  [[gnu::always_inline]] static V apply(V a, V b) {
    return a / b;
  }
};
struct FusedMultiplyAdd {
  [[gnu::always_inline]] static F32x8 apply(F32x8 a, F32x8 b, F32x8 c) { return _mm256_fmadd_ps(a, b, c); }
  [[gnu::always_inline]] static F64x4 apply(F64x4 a, F64x4 b, F64x4 c) { return _mm256_fmadd_pd(a, b, c); }
};
struct Reciprocal {
  template <class V>
  [[gnu::always_inline]] static V apply(V a) {
    return 1 / a;
  }
};
struct SquareRoot {
  [[gnu::always_inline]] static F32x8 apply(F32x8 a) { return _mm256_sqrt_ps(a); }
  [[gnu::always_inline]] static F64x4 apply(F64x4 a) { return _mm256_sqrt_pd(a); }
};

template <class Op, class T>
void unary(Warp& w, const Instruction& in) {
  using V = Vector<T>;
  const T* a = w.at<const T>(in.a);
  for_vectors<V>(
      w.mask, w.at<T>(in.d), [=](int lane) __attribute__((always_inline)) {
        const V r = Op::apply(load<V>(a + lane));
        if constexpr (std::is_same_v<T, float>) return canonical(r);
        return r;
      });
}

template <class Op, class T, bool Saturate>
void binary(Warp& w, const Instruction& in) {
  using V = Vector<T>;
  const T* a = w.at<const T>(in.a);
  const T* b = w.at<const T>(in.b);
  for_vectors<V>(
      w.mask, w.at<T>(in.d), [=](int lane) __attribute__((always_inline)) {
        const V x = load<V>(a + lane);
        const V r = Op::apply(x, load<V>(b + lane));
        if constexpr (Saturate) return saturated(r);
        if constexpr (std::is_same_v<T, float>) {
          return canonical(r);
        } else {
          return first_nan(x, r);
        }
      });
}

template <class T, bool Saturate>
void fused(Warp& w, const Instruction& in) {
  using V = Vector<T>;
  const T* a = w.at<const T>(in.a);
  const T* b = w.at<const T>(in.b);
  const T* c = w.at<const T>(in.c);
  for_vectors<V>(
      w.mask, w.at<T>(in.d), [=](int lane) __attribute__((always_inline)) {
        const V x = load<V>(a + lane), y = load<V>(b + lane);
        const V r = FusedMultiplyAdd::apply(x, y, load<V>(c + lane));
        if constexpr (Saturate) return saturated(r);
        if constexpr (std::is_same_v<T, float>) {
          return canonical(r);
        } else {
          return first_nan(x, first_nan(y, r));
        }
      });
}

template <class Op, class T>
HandlerPair binary_pair(bool saturate) {
  if constexpr (std::is_same_v<T, float>) {
    if (saturate) return kPair<binary<Op, T, true>>;
  }
  return kPair<binary<Op, T, false>>;
}

HandlerPair arithmetic(std::string_view opcode, bool is_f64, bool saturate) {
  if (opcode == "add") return is_f64 ? binary_pair<Add, double>(false) : binary_pair<Add, float>(saturate);
  if (opcode == "sub") return is_f64 ? binary_pair<Subtract, double>(false) : binary_pair<Subtract, float>(saturate);
  if (opcode == "mul") return is_f64 ? binary_pair<Multiply, double>(false) : binary_pair<Multiply, float>(saturate);
  if (opcode == "div") return is_f64 ? binary_pair<Divide, double>(false) : binary_pair<Divide, float>(false);
  if (opcode == "rcp") return is_f64 ? kPair<unary<Reciprocal, double>> : kPair<unary<Reciprocal, float>>;
  if (opcode == "sqrt") return is_f64 ? kPair<unary<SquareRoot, double>> : kPair<unary<SquareRoot, float>>;
  if (is_f64) return kPair<fused<double, false>>;
  return saturate ? kPair<fused<float, true>> : kPair<fused<float, false>>;
}

template <bool Max>
void extreme_f32(Warp& w, const Instruction& in) {
  const float* a = w.at<const float>(in.a);
  const float* b = w.at<const float>(in.b);
  for_vectors<F32x8>(
      w.mask, w.at<float>(in.d), [=](int lane) __attribute__((always_inline)) {
        return canonical(extreme<Max>(load<F32x8>(a + lane), load<F32x8>(b + lane)));
      });
}

// The same with .ftz, .NaN, .xorsign.abs, .abs or three operands.
template <bool Max, bool Nan>
void extreme_f32_modified(Warp& w, const Instruction& in) {
  const float* a = w.at<const float>(in.a);
  const float* b = w.at<const float>(in.b);
  const float* c = in.c == kNowhere ? nullptr : w.at<const float>(in.c);
  const std::uint8_t flags = in.flags;
  for_vectors<F32x8>(
      w.mask, w.at<float>(in.d), [=](int lane) __attribute__((always_inline)) {
        auto operand = [=](const float* from) __attribute__((always_inline)) {
          const F32x8 x = load<F32x8>(from + lane);
          return (flags & kFlush) != 0 ? flushed(x) : x;
        };
        const bool absolute = (flags & (kXorsignAbs | kAbs)) != 0;
        F32x8 x = operand(a), y = operand(b);
        const U32x8 signs = (as<U32x8>(x) ^ as<U32x8>(y)) & 0x80000000;
        if (absolute) x = magnitude(x), y = magnitude(y);
        F32x8 r = extreme<Max>(x, y);
        I32x8 numbers = (x == x) & (y == y);
        if (c != nullptr) {
          const F32x8 z = absolute ? magnitude(operand(c)) : operand(c);
          r = extreme<Max>(r, z);
          numbers &= z == z;
        }
        if ((flags & kXorsignAbs) != 0) r = as<F32x8>(as<U32x8>(r) | signs);
        if constexpr (Nan) return numbers ? r : as<F32x8>(U32x8{} + kNan32);
        return canonical(r);
      });
}

// Two NaNs give the second, quiet: so does the sequence that ptxas makes of it.
template <bool Max>
void extreme_f64(Warp& w, const Instruction& in) {
  const double* a = w.at<const double>(in.a);
  const double* b = w.at<const double>(in.b);
  for_vectors<F64x4>(
      w.mask, w.at<double>(in.d), [=](int lane) __attribute__((always_inline)) {
        const F64x4 x = load<F64x4>(a + lane), y = load<F64x4>(b + lane);
        const F64x4 r = Max ? _mm256_max_pd(x, y) : _mm256_min_pd(x, y);
        const U64x4 equal = Max ? as<U64x4>(x) & as<U64x4>(y) : as<U64x4>(x) | as<U64x4>(y);
        const F64x4 ordered = x == y ? as<F64x4>(equal) : r;
        const F64x4 number = x == x ? x : quiet(y);
        return y == y ? ordered : number;
      });
}

template <bool Negate>
void sign_f32(Warp& w, const Instruction& in) {
  const float* a = w.at<const float>(in.a);
  const bool flush = (in.flags & kFlush) != 0;
  for_vectors<F32x8>(
      w.mask, w.at<float>(in.d), [=](int lane) __attribute__((always_inline)) {
        const F32x8 x = flush ? flushed(load<F32x8>(a + lane)) : load<F32x8>(a + lane);
        return canonical(Negate ? as<F32x8>(as<U32x8>(x) ^ 0x80000000) : magnitude(x));
      });
}

template <bool Negate>
void sign_f64(Warp& w, const Instruction& in) {
  const auto* a = w.at<const unsigned long long>(in.a);
  constexpr unsigned long long kSign = 0x8000000000000000;
  for_vectors<U64x4>(
      w.mask, w.at<unsigned long long>(in.d), [=](int lane) __attribute__((always_inline)) {
        const U64x4 x = load<U64x4>(a + lane);
        return Negate ? x ^ kSign : x & ~kSign;
      });
}

// The sign of a and the magnitude of b.
template <class U, class T>
void copy_sign(Warp& w, const Instruction& in) {
  const T* a = w.at<const T>(in.a);
  const T* b = w.at<const T>(in.b);
  constexpr T kSign = T{1} << (sizeof(T) * 8 - 1);
  for_vectors<U>(
      w.mask, w.at<T>(in.d), [=](int lane) __attribute__((always_inline)) {
        return (load<U>(a + lane) & kSign) | (load<U>(b + lane) & ~kSign);
      });
}

enum class Property : std::uint8_t { finite, infinite, number, notanumber, normal, subnormal };
constexpr std::array<std::string_view, 6> kProperties = {"finite", "infinite", "number", "notanumber", "normal", "subnormal"};

template <class T>
void test_property(Warp& w, const Instruction& in) {
  constexpr T kMagnitude = static_cast<T>(~T{0}) >> 1;
  constexpr T kInfinity = sizeof(T) == 4 ? T{0x7f800000} : static_cast<T>(0x7ff0000000000000);
  constexpr T kSmallestNormal = sizeof(T) == 4 ? T{0x00800000} : static_cast<T>(0x0010000000000000);
  const T* a = w.at<const T>(in.a);
  Mask result = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const T x = a[lane] & kMagnitude;
    const bool subnormal = x != 0 && x < kSmallestNormal;
    bool holds = false;
    switch (static_cast<Property>(in.flags)) {
      case Property::finite:
        holds = x < kInfinity;
        break;
      case Property::infinite:
        holds = x == kInfinity;
        break;
      case Property::number:
        holds = x <= kInfinity;
        break;
      case Property::notanumber:
        holds = x > kInfinity;
        break;
      case Property::normal:
        holds = x < kInfinity && !subnormal;
        break;  // zeros count as normal
      case Property::subnormal:
        holds = subnormal;
        break;
    }
    result |= Mask{holds} << lane;
  }
  Mask& d = *w.at<Mask>(in.d);
  d = (d & ~w.mask) | (result & w.mask);
}

bool is_half(ptx::Type type) {
  using ptx::Type;
  return type == Type::f16 || type == Type::f16x2 || type == Type::bf16 || type == Type::bf16x2;
}

bool decode_arithmetic(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  FloatingForm form;
  if (!floating_form(in, form)) return false;
  if (form.approx || form.full) {
    return decode_approximate(in, form, decoder, out, options().approximation, options().seed);
  }
  if (form.nan || form.xorsign || form.abs || form.has(kSaturateFinite)) return false;
  if (is_half(form.type)) return decode_half(in, form, decoder, out);
  const bool is_f64 = form.type == ptx::Type::f64;
  if (!is_f64 && form.type != ptx::Type::f32) return false;
  const bool is_sum = in.opcode == "add" || in.opcode == "sub" || in.opcode == "mul";
  const bool is_fused = in.opcode == "fma" || in.opcode == "mad";
  if (form.has(kRelu) || (!form.rounded && !is_sum) || (is_f64 && form.has(kFlush)) ||
      (form.has(kSaturate) && (is_f64 || !(is_sum || is_fused)))) {
    return false;
  }
  floating_operands(in, decoder, out, form.type);
  out.flags = form.flags;
  out.run = arithmetic(in.opcode, is_f64, form.has(kSaturate)).choose(form.flags);
  return true;
}

// rsqrt sin cos lg2 ex2 tanh: there is nothing but .approx.
bool decode_elementary(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  FloatingForm form;
  return floating_form(in, form) && form.approx &&
         decode_approximate(in, form, decoder, out, options().approximation, options().seed);
}

bool decode_extreme(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  FloatingForm form;
  if (!floating_form(in, form) || form.rounded || form.approx || form.full || (form.flags & ~kFlush) != 0 ||
      (form.xorsign && !form.abs))
    return false;
  if (is_half(form.type)) return decode_half(in, form, decoder, out);
  const bool max = in.opcode == "max";
  const bool three = in.operands.size() == 4;
  if (form.type == ptx::Type::f64) {
    if (form.flags != 0 || form.nan || form.abs || three) return false;
    floating_operands(in, decoder, out, form.type);
    out.run = max ? extreme_f64<true> : extreme_f64<false>;
    return true;
  }
  if (form.type != ptx::Type::f32 || (three && form.xorsign) || (form.abs && !form.xorsign && !three)) return false;
  floating_operands(in, decoder, out, form.type);
  out.flags = static_cast<std::uint8_t>(form.flags | (form.xorsign ? kXorsignAbs : form.abs ? kAbs : 0));
  if (out.flags == 0 && !three && !form.nan) {
    out.run = max ? extreme_f32<true> : extreme_f32<false>;
  } else if (form.nan) {
    out.run = max ? extreme_f32_modified<true, true> : extreme_f32_modified<false, true>;
  } else {
    out.run = max ? extreme_f32_modified<true, false> : extreme_f32_modified<false, false>;
  }
  return true;
}

bool decode_sign(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  FloatingForm form;
  if (!floating_form(in, form) || form.rounded || form.approx || form.nan || form.abs || (form.flags & ~kFlush) != 0)
    return false;
  if (is_half(form.type)) return decode_half(in, form, decoder, out);
  const bool is_f64 = form.type == ptx::Type::f64;
  if ((!is_f64 && form.type != ptx::Type::f32) || (is_f64 && form.flags != 0)) return false;
  floating_operands(in, decoder, out, form.type);
  out.flags = form.flags;
  if (in.opcode == "neg") {
    out.run = is_f64 ? sign_f64<true> : sign_f32<true>;
  } else {
    out.run = is_f64 ? sign_f64<false> : sign_f32<false>;
  }
  return true;
}

bool decode_copysign(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  if (in.modifiers.size() != 1) return false;
  const ptx::Type type = ptx::type_named(in.modifiers[0]);
  if (type != ptx::Type::f32 && type != ptx::Type::f64) return false;
  floating_operands(in, decoder, out, type);
  out.run = type == ptx::Type::f32 ? copy_sign<U32x8, std::uint32_t> : copy_sign<U64x4, unsigned long long>;
  return true;
}

bool decode_testp(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  if (in.modifiers.size() != 2 || in.operands.size() != 2) return false;
  const auto property = std::find(kProperties.begin(), kProperties.end(), in.modifiers[0]);
  const ptx::Type type = ptx::type_named(in.modifiers[1]);
  if (property == kProperties.end() || (type != ptx::Type::f32 && type != ptx::Type::f64)) return false;
  const Width own = decoder.width(in.operands[1]);
  if (own != Width::none && own != width_of(type)) decoder.fail(in, "an operand is a register of another width");
  out.flags = static_cast<std::uint8_t>(property - kProperties.begin());
  out.d = decoder.write(in.operands[0], Width::pred);
  out.a = decoder.read(in.operands[1], width_of(type), type);
  out.run = type == ptx::Type::f32 ? test_property<std::uint32_t> : test_property<std::uint64_t>;
  return true;
}

}  // namespace

bool floating_form(const ptx::Instruction& in, FloatingForm& form) {
  if (in.modifiers.empty()) return false;
  // ptxas takes fma.rn.f16x2.relu for fma.rn.relu.f16x2, and CUTLASS writes it.
  const std::size_t count = in.modifiers.size();
  const std::size_t type = in.opcode == "fma" && count > 1 && in.modifiers[count - 1] == "relu" ? count - 2 : count - 1;
  form.type = ptx::type_named(in.modifiers[type]);
  if (form.type == ptx::Type::none) return false;
  for (std::size_t n = 0; n < count; ++n) {
    if (n == type) continue;
    const std::string_view modifier = in.modifiers[n];
    auto rounding = [&](Rounding to) {
      form.rounded = true;
      form.flags |= static_cast<std::uint8_t>(to);
    };
    if (modifier == "rn")
      rounding(Rounding::nearest);
    else if (modifier == "rz")
      rounding(Rounding::zero);
    else if (modifier == "rm")
      rounding(Rounding::down);
    else if (modifier == "rp")
      rounding(Rounding::up);
    else if (modifier == "ftz")
      form.flags |= kFlush;
    else if (modifier == "sat")
      form.flags |= kSaturate;
    else if (modifier == "relu")
      form.flags |= kRelu;
    else if (modifier == "satfinite")
      form.flags |= kSaturateFinite;
    else if (modifier == "approx")
      form.approx = true;
    else if (modifier == "full")
      form.full = true;
    else if (modifier == "NaN")
      form.nan = true;
    else if (modifier == "xorsign")
      form.xorsign = true;
    else if (modifier == "abs")
      form.abs = true;
    else
      return false;
  }
  return true;
}

void floating_operands(const ptx::Instruction& in, Decoder& decoder, Instruction& out, ptx::Type type) {
  static constexpr std::array<Location Instruction::*, 3> kSources = {&Instruction::a, &Instruction::b, &Instruction::c};
  const Width width = width_of(type);
  const std::size_t count = in.operands.size();
  std::size_t expected = in.opcode == "fma" || in.opcode == "mad" ? 4 : 3;
  static constexpr std::array<std::string_view, 10> kUnary = {"rcp", "sqrt", "rsqrt", "sin", "cos",
                                                              "lg2", "ex2",  "tanh",  "abs", "neg"};
  if (std::find(kUnary.begin(), kUnary.end(), in.opcode) != kUnary.end()) expected = 2;
  const bool may_have_three = in.opcode == "min" || in.opcode == "max";
  if (count != expected && !(may_have_three && count == 4)) decoder.fail(in, "the number of operands is wrong");
  for (std::size_t n = 0; n < count; ++n) {
    const Width own = decoder.width(in.operands[n]);
    if (own != Width::none && own != width) decoder.fail(in, "an operand is a register of another width");
    if (n == 0) {
      out.d = decoder.write(in.operands[n], width);
    } else {
      out.*kSources[n - 1] = decoder.read(in.operands[n], width, type);
    }
  }
}

std::vector<OpcodeEntry> floating_opcodes() {
  return {
      {"add", decode_arithmetic},   {"sub", decode_arithmetic},  {"mul", decode_arithmetic},    {"fma", decode_arithmetic},
      {"mad", decode_arithmetic},   {"div", decode_arithmetic},  {"rcp", decode_arithmetic},    {"sqrt", decode_arithmetic},
      {"rsqrt", decode_elementary}, {"sin", decode_elementary},  {"cos", decode_elementary},    {"lg2", decode_elementary},
      {"ex2", decode_elementary},   {"tanh", decode_elementary}, {"min", decode_extreme},       {"max", decode_extreme},
      {"abs", decode_sign},         {"neg", decode_sign},        {"copysign", decode_copysign}, {"testp", decode_testp},
  };
}

}  // namespace sim

// Integer arithmetic: add sub mul mad mul24 mad24 sad abs neg min max, with the packed 16-bit forms.
#include "isa/integer.h"

#include "isa/form.h"

namespace sim {
namespace {

using ptx::Type;

struct Add {
  template <class T>
  static T f(T a, T b) {
    return wrapping_add(a, b);
  }
};

struct Subtract {
  template <class T>
  static T f(T a, T b) {
    return wrapping_subtract(a, b);
  }
};

std::int32_t add_saturated(std::int32_t a, std::int32_t b) {
  const std::int32_t sum = wrapping_add(a, b);
  return ((a ^ sum) & (b ^ sum)) < 0 ? (a >> 31) ^ std::numeric_limits<std::int32_t>::max() : sum;
}

std::int32_t subtract_saturated(std::int32_t a, std::int32_t b) {
  const std::int32_t difference = wrapping_subtract(a, b);
  return ((a ^ b) & (a ^ difference)) < 0 ? (a >> 31) ^ std::numeric_limits<std::int32_t>::max() : difference;
}

// Both halves at once: without their top bits they can not carry into each other.
std::uint32_t add_packed(std::uint32_t a, std::uint32_t b) {
  return ((a & 0x7fff7fffu) + (b & 0x7fff7fffu)) ^ ((a ^ b) & 0x80008000u);
}

bool decode_add(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool saturated = form.take("sat");
  const Type type = form.type();
  if (!form.complete()) return false;
  const Width width = width_of(type);
  if (type == Type::u16x2 || type == Type::s16x2) {
    if (saturated) return false;
    return decode_operands(in, decoder, out, lanewise<&add_packed>, width, {width, width});
  }
  if (!is_integer(type) || (saturated && type != Type::s32)) return false;
  return decode_operands(in, decoder, out, saturated ? lanewise<&add_saturated> : bits_handler<Add>(type), width,
                         {width, width});
}

bool decode_sub(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool saturated = form.take("sat");
  const Type type = form.type();
  if (!form.complete() || !is_integer(type) || (saturated && type != Type::s32)) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, saturated ? lanewise<&subtract_saturated> : bits_handler<Subtract>(type), width,
                         {width, width});
}

struct MultiplyLow {
  template <class T>
  static T f(T a, T b) {
    return low_product(a, b);
  }
};
struct MultiplyHigh {
  template <class T>
  static T f(T a, T b) {
    return high_product(a, b);
  }
};
struct MultiplyAddLow {
  template <class T>
  static T f(T a, T b, T c) {
    return wrapping_add(low_product(a, b), c);
  }
};
struct MultiplyAddHigh {
  template <class T>
  static T f(T a, T b, T c) {
    return wrapping_add(high_product(a, b), c);
  }
};

std::int32_t multiply_add_high_saturated(std::int32_t a, std::int32_t b, std::int32_t c) {
  return add_saturated(high_product(a, b), c);
}

template <class Wide, class T>
Wide multiply_wide(T a, T b) {
  return static_cast<Wide>(a) * static_cast<Wide>(b);
}
template <class Wide, class T>
Wide multiply_add_wide(T a, T b, Wide c) {
  return wrapping_add(static_cast<Wide>(static_cast<Wide>(a) * static_cast<Wide>(b)), c);
}

Handler wide_product(Type type, bool adds) {
  switch (type) {
    case Type::u16:
      return adds ? lanewise<&multiply_add_wide<std::uint32_t, std::uint16_t>>
                  : lanewise<&multiply_wide<std::uint32_t, std::uint16_t>>;
    case Type::s16:
      return adds ? lanewise<&multiply_add_wide<std::int32_t, std::int16_t>>
                  : lanewise<&multiply_wide<std::int32_t, std::int16_t>>;
    case Type::u32:
      return adds ? lanewise<&multiply_add_wide<std::uint64_t, std::uint32_t>>
                  : lanewise<&multiply_wide<std::uint64_t, std::uint32_t>>;
    case Type::s32:
      return adds ? lanewise<&multiply_add_wide<std::int64_t, std::int32_t>>
                  : lanewise<&multiply_wide<std::int64_t, std::int32_t>>;
    default:
      return nullptr;
  }
}

bool decode_mul(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool low = form.take("lo"), high = form.take("hi"), wide = form.take("wide");
  const Type type = form.type();
  if (!form.complete() || !is_integer(type) || low + high + wide != 1) return false;
  const Width width = width_of(type);
  if (!wide)
    return decode_operands(in, decoder, out, low ? bits_handler<MultiplyLow>(type) : integer_handler<MultiplyHigh>(type), width,
                           {width, width});
  const Handler run = wide_product(type, false);
  if (run == nullptr) return false;
  return decode_operands(in, decoder, out, run, width == Width::b16 ? Width::b32 : Width::b64, {width, width});
}

bool decode_mad(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool low = form.take("lo"), high = form.take("hi"), wide = form.take("wide"), saturated = form.take("sat");
  const Type type = form.type();
  if (!form.complete() || !is_integer(type) || low + high + wide != 1) return false;
  if (saturated && !(high && type == Type::s32)) return false;
  const Width width = width_of(type);
  if (wide) {
    const Handler run = wide_product(type, true);
    if (run == nullptr) return false;
    const Width twice = width == Width::b16 ? Width::b32 : Width::b64;
    return decode_operands(in, decoder, out, run, twice, {width, width, twice});
  }
  const Handler run = saturated ? lanewise<&multiply_add_high_saturated>
                      : low     ? bits_handler<MultiplyAddLow>(type)
                                : integer_handler<MultiplyAddHigh>(type);
  return decode_operands(in, decoder, out, run, width, {width, width, width});
}

// The low 24 bits of an operand, as the type counts them.
template <class T>
std::int64_t low_24(T a) {
  if constexpr (std::is_signed_v<T>)
    return static_cast<std::int32_t>(static_cast<std::uint32_t>(a) << 8) >> 8;
  else
    return a & 0xffffff;
}
struct Multiply24Low {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>(low_24(a) * low_24(b));
  }
};
struct Multiply24High {
  template <class T>
  static T f(T a, T b) {
    return static_cast<T>((low_24(a) * low_24(b)) >> 16);
  }
};
struct MultiplyAdd24Low {
  template <class T>
  static T f(T a, T b, T c) {
    return wrapping_add(Multiply24Low::f(a, b), c);
  }
};
struct MultiplyAdd24High {
  template <class T>
  static T f(T a, T b, T c) {
    return wrapping_add(Multiply24High::f(a, b), c);
  }
};
std::int32_t multiply_add_24_high_saturated(std::int32_t a, std::int32_t b, std::int32_t c) {
  return add_saturated(Multiply24High::f(a, b), c);
}

template <class Op>
Handler handler_32(Type type) {
  return type == Type::u32 ? lanewise<&Op::template f<std::uint32_t>> : lanewise<&Op::template f<std::int32_t>>;
}

bool decode_24(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool adds = in.opcode == "mad24";
  const bool low = form.take("lo"), high = form.take("hi"), saturated = form.take("sat");
  const Type type = form.type();
  if (!form.complete() || low == high || (type != Type::u32 && type != Type::s32)) return false;
  if (saturated && !(adds && high && type == Type::s32)) return false;
  if (!adds)
    return decode_operands(in, decoder, out, low ? handler_32<Multiply24Low>(type) : handler_32<Multiply24High>(type),
                           Width::b32, {Width::b32, Width::b32});
  const Handler run = saturated ? lanewise<&multiply_add_24_high_saturated>
                      : low     ? handler_32<MultiplyAdd24Low>(type)
                                : handler_32<MultiplyAdd24High>(type);
  return decode_operands(in, decoder, out, run, Width::b32, {Width::b32, Width::b32, Width::b32});
}

struct SumOfAbsoluteDifferences {
  template <class T>
  static T f(T a, T b, T c) {
    return wrapping_add(a < b ? wrapping_subtract(b, a) : wrapping_subtract(a, b), c);
  }
};

bool decode_sad(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  const Handler run = integer_handler<SumOfAbsoluteDifferences>(type);
  if (!form.complete() || run == nullptr) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, run, width, {width, width, width});
}

struct Absolute {
  template <class T>
  static T f(T a) {
    return a < 0 ? wrapping_subtract(T{0}, a) : a;
  }
};
struct Negate {
  template <class T>
  static T f(T a) {
    return wrapping_subtract(T{0}, a);
  }
};

template <class Op>
bool decode_signed_unary(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete() || !is_signed(type)) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, integer_handler<Op>(type), width, {width});
}

template <class T>
constexpr T smaller(T a, T b) {
  return a < b ? a : b;
}
template <class T>
constexpr T larger(T a, T b) {
  return a < b ? b : a;
}

struct Minimum {
  template <class T>
  static T f(T a, T b) {
    return smaller(a, b);
  }
};
struct Maximum {
  template <class T>
  static T f(T a, T b) {
    return larger(a, b);
  }
};

template <class Op>
std::int32_t rectified(std::int32_t a, std::int32_t b) {
  return larger(Op::f(a, b), 0);
}

// Halves compare as they do at the top of a word with nothing below.
template <class Op, class T, bool Rectify>
std::uint32_t packed(std::uint32_t a, std::uint32_t b) {
  T high = Op::f(static_cast<T>(a & 0xffff0000u), static_cast<T>(b & 0xffff0000u));
  T low = Op::f(static_cast<T>(a << 16), static_cast<T>(b << 16));
  if constexpr (Rectify) {
    high = larger(high, T{0});
    low = larger(low, T{0});
  }
  return static_cast<std::uint32_t>(high) | static_cast<std::uint32_t>(low) >> 16;
}

template <class Op>
bool decode_extreme(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool rectify = form.take("relu");
  const Type type = form.type();
  if (!form.complete() || (rectify && type != Type::s32 && type != Type::s16x2)) return false;
  Handler run = nullptr;
  if (type == Type::u16x2)
    run = lanewise<&packed<Op, std::uint32_t, false>>;
  else if (type == Type::s16x2)
    run = rectify ? lanewise<&packed<Op, std::int32_t, true>> : lanewise<&packed<Op, std::int32_t, false>>;
  else if (rectify)
    run = lanewise<&rectified<Op>>;
  else
    run = integer_handler<Op>(type);
  if (run == nullptr) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, run, width, {width, width});
}

}  // namespace

std::vector<OpcodeEntry> integer_opcodes() {
  std::vector<OpcodeEntry> entries{{"add", decode_add},
                                   {"sub", decode_sub},
                                   {"mul", decode_mul},
                                   {"mad", decode_mad},
                                   {"mul24", decode_24},
                                   {"mad24", decode_24},
                                   {"sad", decode_sad},
                                   {"abs", decode_signed_unary<Absolute>},
                                   {"neg", decode_signed_unary<Negate>},
                                   {"min", decode_extreme<Minimum>},
                                   {"max", decode_extreme<Maximum>}};
  for (auto part : {division_opcodes, carry_opcodes, bit_opcodes, shift_opcodes, dot_opcodes, logic_opcodes, video_opcodes}) {
    const std::vector<OpcodeEntry> more = part();
    entries.insert(entries.end(), more.begin(), more.end());
  }
  return entries;
}

}  // namespace sim

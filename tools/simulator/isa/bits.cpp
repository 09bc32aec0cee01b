// Bits of integers: popc clz bfind brev bfe bfi fns bmsk szext.
#include <bit>

#include "isa/form.h"
#include "isa/integer.h"

namespace sim {
namespace {

using ptx::Type;

template <class T>
constexpr std::uint32_t kBitsOf = sizeof(T) * 8;

template <class T>
std::uint32_t population(T a) {
  return static_cast<std::uint32_t>(std::popcount(a));
}
template <class T>
std::uint32_t leading_zeros(T a) {
  return static_cast<std::uint32_t>(std::countl_zero(a));
}

// Position of the first bit from the top that differs from the sign, or all ones.
template <class T, bool ShiftAmount>
std::uint32_t find_bit(T a) {
  const Bits<T> bits = static_cast<Bits<T>>(a < 0 ? ~a : a);
  const auto zeros = static_cast<std::uint32_t>(std::countl_zero(bits));
  if (bits == 0) return ~0u;
  return ShiftAmount ? zeros : kBitsOf<T> - 1 - zeros;
}

std::uint32_t reverse_32(std::uint32_t a) {
  a = (a >> 1 & 0x55555555u) | (a & 0x55555555u) << 1;
  a = (a >> 2 & 0x33333333u) | (a & 0x33333333u) << 2;
  a = (a >> 4 & 0x0f0f0f0fu) | (a & 0x0f0f0f0fu) << 4;
  a = (a >> 8 & 0x00ff00ffu) | (a & 0x00ff00ffu) << 8;
  return a >> 16 | a << 16;
}
std::uint64_t reverse_64(std::uint64_t a) {
  a = (a >> 1 & 0x5555555555555555u) | (a & 0x5555555555555555u) << 1;
  a = (a >> 2 & 0x3333333333333333u) | (a & 0x3333333333333333u) << 2;
  a = (a >> 4 & 0x0f0f0f0f0f0f0f0fu) | (a & 0x0f0f0f0f0f0f0f0fu) << 4;
  a = (a >> 8 & 0x00ff00ff00ff00ffu) | (a & 0x00ff00ff00ff00ffu) << 8;
  a = (a >> 16 & 0x0000ffff0000ffffu) | (a & 0x0000ffff0000ffffu) << 16;
  return a >> 32 | a << 32;
}

// Arithmetic: AVX2 has none for 64 bits, so negative numbers are shifted as their complements.
template <class T>
constexpr T shift_right_signed(T a, T n) {
  const Bits<T> sign = a < 0 ? static_cast<Bits<T>>(~Bits<T>{0}) : Bits<T>{0};
  return static_cast<T>(((static_cast<Bits<T>>(a) ^ sign) >> static_cast<Bits<T>>(n)) ^ sign);
}

struct Extract {
  // Position and length are counted modulo 256. They are held in lanes as wide as T, else the loop is not vectorised.
  template <class T>
  static T f(T a, std::uint32_t position_operand, std::uint32_t length_operand) {
    constexpr T n = kBitsOf<T>;
    const T position = static_cast<T>(position_operand & 0xff), length = static_cast<T>(length_operand & 0xff);
    const T inside = position < n ? position : n - 1, cut = length < n ? n - length : T{0};
    if constexpr (std::is_unsigned_v<T>) {
      const T field = (a >> inside) << (cut & (n - 1)) >> (cut & (n - 1));
      return position < n && length != 0 ? field : T{0};
    } else {
      // What lies above the field, or above the number, is filled with the field's top bit.
      const T down = shift_right_signed(a, inside);
      const T up = static_cast<T>(static_cast<Bits<T>>(down) << (cut & (n - 1)));
      return length != 0 ? shift_right_signed(up, static_cast<T>(cut & (n - 1))) : T{0};
    }
  }
};

struct Insert {
  template <class T>
  static T f(T a, T b, std::uint32_t position_operand, std::uint32_t length_operand) {
    constexpr T n = kBitsOf<T>;
    const T position = static_cast<T>(position_operand & 0xff), length = static_cast<T>(length_operand & 0xff);
    const T field = length < n ? (T{1} << (length & (n - 1))) - 1 : ~T{0};
    const T mask = position < n ? field << (position & (n - 1)) : T{0};
    return (b & ~mask) | ((a << (position & (n - 1))) & mask);
  }
};

// Position of the n-th set bit from `base` upwards (offset > 0) or downwards.
std::uint32_t find_nth_set(std::uint32_t mask, std::uint32_t base, std::int32_t offset) {
  if (base > 31) return ~0u;
  if (offset == 0) return (mask >> base & 1) != 0 ? base : ~0u;
  const std::int32_t step = offset > 0 ? 1 : -1;
  std::uint32_t count = offset > 0 ? static_cast<std::uint32_t>(offset) : 0u - static_cast<std::uint32_t>(offset);
  for (auto at = static_cast<std::int32_t>(base); at >= 0 && at < 32; at += step) {
    if ((mask >> at & 1) != 0 && --count == 0) return static_cast<std::uint32_t>(at);
  }
  return ~0u;
}

template <bool Clamp>
std::uint32_t bit_mask(std::uint32_t a, std::uint32_t b) {
  if (!Clamp) {
    a &= 31;
    b &= 31;
  }
  const std::uint32_t end = b >= 32 ? 32 : a + b;  // no overflow: where a is huge the result is empty anyway
  const std::uint32_t below_end = end >= 32 ? ~0u : (1u << (end & 31)) - 1;
  const std::uint32_t below_begin = a >= 32 ? ~0u : (1u << (a & 31)) - 1;
  return below_end & ~below_begin;
}

template <class T, bool Clamp>
T extend(T a, std::uint32_t b) {
  const bool whole = Clamp && b >= 32;
  const std::uint32_t n = b & 31;
  const std::uint32_t above = whole ? 0 : ~0u << n;
  const auto bits = static_cast<std::uint32_t>(a);
  const bool negative = std::is_signed_v<T> && n != 0 && !whole && (bits >> ((n - 1) & 31) & 1) != 0;
  return static_cast<T>((bits & ~above) | (negative ? above : 0));
}

bool decode_count(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool population_count = in.opcode == "popc";
  const Type type = form.type();
  if (!form.complete() || (type != Type::b32 && type != Type::b64)) return false;
  Handler run = nullptr;
  if (type == Type::b32)
    run = population_count ? lanewise<&population<std::uint32_t>> : lanewise<&leading_zeros<std::uint32_t>>;
  else
    run = population_count ? lanewise<&population<std::uint64_t>> : lanewise<&leading_zeros<std::uint64_t>>;
  return decode_operands(in, decoder, out, run, Width::b32, {width_of(type)});
}

template <bool ShiftAmount>
Handler find_handler(Type type) {
  switch (type) {
    case Type::u32:
      return lanewise<&find_bit<std::uint32_t, ShiftAmount>>;
    case Type::s32:
      return lanewise<&find_bit<std::int32_t, ShiftAmount>>;
    case Type::u64:
      return lanewise<&find_bit<std::uint64_t, ShiftAmount>>;
    case Type::s64:
      return lanewise<&find_bit<std::int64_t, ShiftAmount>>;
    default:
      return nullptr;
  }
}

bool decode_find(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool shift_amount = form.take("shiftamt");
  const Type type = form.type();
  const Handler run = shift_amount ? find_handler<true>(type) : find_handler<false>(type);
  if (!form.complete() || run == nullptr) return false;
  return decode_operands(in, decoder, out, run, Width::b32, {width_of(type)});
}

bool decode_reverse(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete() || (type != Type::b32 && type != Type::b64)) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, type == Type::b32 ? lanewise<&reverse_32> : lanewise<&reverse_64>, width, {width});
}

bool decode_extract(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  const Handler run = wide_integer_handler<Extract>(type);
  if (!form.complete() || run == nullptr) return false;
  const Width width = width_of(type);
  return decode_operands(in, decoder, out, run, width, {width, Width::b32, Width::b32});
}

bool decode_insert(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete() || (type != Type::b32 && type != Type::b64)) return false;
  const Width width = width_of(type);
  const Handler run = type == Type::b32 ? lanewise<&Insert::f<std::uint32_t>> : lanewise<&Insert::f<std::uint64_t>>;
  return decode_operands(in, decoder, out, run, width, {width, width, Width::b32, Width::b32});
}

bool decode_find_nth(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  if (form.type() != Type::b32 || !form.complete()) return false;
  return decode_operands(in, decoder, out, lanewise<&find_nth_set>, Width::b32, {Width::b32, Width::b32, Width::b32});
}

bool decode_mask(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool clamp = form.take("clamp"), wrap = form.take("wrap");
  if (form.type() != Type::b32 || !form.complete() || clamp == wrap) return false;
  return decode_operands(in, decoder, out, clamp ? lanewise<&bit_mask<true>> : lanewise<&bit_mask<false>>, Width::b32,
                         {Width::b32, Width::b32});
}

bool decode_extend(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool clamp = form.take("clamp"), wrap = form.take("wrap");
  const Type type = form.type();
  if (!form.complete() || clamp == wrap) return false;
  Handler run = nullptr;
  if (type == Type::u32)
    run = clamp ? lanewise<&extend<std::uint32_t, true>> : lanewise<&extend<std::uint32_t, false>>;
  else if (type == Type::s32)
    run = clamp ? lanewise<&extend<std::int32_t, true>> : lanewise<&extend<std::int32_t, false>>;
  else
    return false;
  return decode_operands(in, decoder, out, run, Width::b32, {Width::b32, Width::b32});
}

}  // namespace

std::vector<OpcodeEntry> bit_opcodes() {
  return {{"popc", decode_count},   {"clz", decode_count},   {"bfind", decode_find},
          {"brev", decode_reverse}, {"bfe", decode_extract}, {"bfi", decode_insert},
          {"fns", decode_find_nth}, {"bmsk", decode_mask},   {"szext", decode_extend}};
}

}  // namespace sim

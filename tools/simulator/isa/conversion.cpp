// cvt: decoding, and the conversions between integers.
#include "isa/conversion.h"

#include <array>
#include <string_view>

#include "isa/lanes.h"

namespace sim {
namespace {

using ptx::Type;

int bytes_of(Width width) { return width == Width::b16 ? 2 : width == Width::b32 ? 4 : 8; }

// --- Integers. Without .sat a conversion keeps the low bits of the narrower type and extends them by its sign: T is that type,
// in a lane of From.

template <class T, class From, class To>
void extend(Warp& w, const Instruction& in) {
  const From* a = w.at<const From>(in.a);
  for_lanes(
      w.mask,
      w.at<To>(in.d), [=](int lane) __attribute__((always_inline)) { return static_cast<To>(static_cast<T>(a[lane])); });
}

template <class T, class From>
Handler extend_to(Width to) {
  switch (to) {
    case Width::b16:
      return extend<T, From, std::uint16_t>;
    case Width::b32:
      return extend<T, From, std::uint32_t>;
    default:
      return extend<T, From, std::uint64_t>;
  }
}

template <class T>
Handler extend_from(Width from, Width to) {
  switch (from) {
    case Width::b16:
      if constexpr (sizeof(T) <= 2) return extend_to<T, std::uint16_t>(to);
      return nullptr;
    case Width::b32:
      if constexpr (sizeof(T) <= 4) return extend_to<T, std::uint32_t>(to);
      return nullptr;
    default:
      return extend_to<T, std::uint64_t>(to);
  }
}

Handler extend_handler(Type narrow, Width from, Width to) {
  switch (narrow) {
    case Type::u8:
      return extend_from<std::uint8_t>(from, to);
    case Type::s8:
      return extend_from<std::int8_t>(from, to);
    case Type::u16:
      return extend_from<std::uint16_t>(from, to);
    case Type::s16:
      return extend_from<std::int16_t>(from, to);
    case Type::u32:
      return extend_from<std::uint32_t>(from, to);
    case Type::s32:
      return extend_from<std::int32_t>(from, to);
    case Type::u64:
      return extend_from<std::uint64_t>(from, to);
    default:
      return extend_from<std::int64_t>(from, to);
  }
}

// Calls f with a value of the unsigned type of so many bytes.
template <class F>
void with_lane_type(Location bytes, F f) {
  switch (bytes) {
    case 2:
      return f(std::uint16_t{});
    case 4:
      return f(std::uint32_t{});
    default:
      return f(std::uint64_t{});
  }
}

// Any integers in any registers, with .sat or without; list: types and bytes of source and destination.
void convert_integer(Warp& w, const Instruction& in) {
  const auto from = static_cast<Type>(in.list[0]), to = static_cast<Type>(in.list[1]);
  const int from_shift = 64 - 8 * ptx::size_of(from), to_shift = 64 - 8 * ptx::size_of(to);
  const bool from_signed = is_signed(from), to_signed = is_signed(to), saturate = (in.flags & kSaturate) != 0;
  auto extended = [](std::uint64_t bits, int shift, bool by_sign) __attribute__((always_inline)) {
    const auto arithmetic = static_cast<std::uint64_t>(static_cast<std::int64_t>(bits << shift) >> shift);
    return by_sign ? arithmetic : bits << shift >> shift;
  };
  const std::uint64_t most = ~std::uint64_t{0} >> (to_shift + (to_signed ? 1 : 0));
  const std::int64_t least = to_signed ? -static_cast<std::int64_t>(most) - 1 : 0;
  with_lane_type(in.list[2], [&](auto source) {
    with_lane_type(in.list[3], [&](auto destination) {
      using From = decltype(source);
      using To = decltype(destination);
      const From* a = w.at<const From>(in.a);
      for_lanes(
          w.mask, w.at<To>(in.d), [=](int lane) __attribute__((always_inline)) {
            std::uint64_t value = extended(a[lane], from_shift, from_signed);
            if (saturate) {
              const bool negative = from_signed && static_cast<std::int64_t>(value) < 0;
              const std::uint64_t above = value > most ? most : value;
              const auto below = static_cast<std::uint64_t>(
                  static_cast<std::int64_t>(value) < least ? least : static_cast<std::int64_t>(value));
              value = negative ? below : above;
            }
            return static_cast<To>(extended(value, to_shift, to_signed));
          });
    });
  });
}

bool decode_integer(const ConversionForm& form, Width from, Width to, Decoder& decoder, Instruction& out) {
  if ((form.flags & ~kSaturate) != 0 || form.rounded) return false;
  const int from_size = ptx::size_of(form.from), to_size = ptx::size_of(form.to);
  // In a register wider than itself, a type is extended by its own sign, which is not always that of the narrower type.
  const bool extends_once = to_size <= from_size || !is_signed(form.from) || is_signed(form.to) || bytes_of(to) == to_size;
  if (form.has(kSaturate) || !extends_once) {
    out.list = decoder.list({static_cast<Location>(form.from), static_cast<Location>(form.to),
                             static_cast<Location>(bytes_of(from)), static_cast<Location>(bytes_of(to))});
    out.run = convert_integer;
  } else {
    out.run = extend_handler(to_size <= from_size ? form.to : form.from, from, to);
  }
  return out.run != nullptr;
}

// --- Registers wider than their types: the source is cut into a scratch register, the result extended out of another.

// The low bits of `from`'s lanes, extended by their sign where `by_sign`, in `to`'s.
void copy_lanes(Warp& w, Location to, Location to_bytes, Location from, Location from_bytes, bool by_sign) {
  with_lane_type(from_bytes, [&](auto source) {
    with_lane_type(to_bytes, [&](auto destination) {
      using From = decltype(source);
      using To = decltype(destination);
      const From* a = w.at<const From>(from);
      if (by_sign) {
        for_lanes(
            w.mask, w.at<To>(to), [=](int lane) __attribute__((always_inline)) {
              return static_cast<To>(static_cast<std::make_signed_t<From>>(a[lane]));
            });
      } else {
        for_lanes(
            w.mask, w.at<To>(to), [=](int lane) __attribute__((always_inline)) { return static_cast<To>(a[lane]); });
      }
    });
  });
}

// list: place and bytes of the real source, place and bytes of the real destination, the bytes of a and d, whether the result
// is signed.
void through_narrow_registers(Warp& w, const Instruction& in) {
  const Location* list = in.list;
  if (list[0] != in.a) copy_lanes(w, in.a, list[4], list[0], list[1], false);
  reinterpret_cast<Handler>(static_cast<std::uintptr_t>(in.immediate))(w, in);
  if (list[2] != in.d) copy_lanes(w, list[2], list[3], in.d, list[5], list[6] != 0);
}

Width own_width(Decoder& decoder, const ptx::Operand& operand, Type type) {
  const Width width = decoder.width(operand);
  return width == Width::none ? width_of(type) : width;
}

bool parse(const ptx::Instruction& in, ConversionForm& form) {
  if (in.modifiers.size() < 2) return false;
  form.from = ptx::type_named(in.modifiers.back());
  form.to = ptx::type_named(in.modifiers[in.modifiers.size() - 2]);
  if (form.from == Type::none || form.to == Type::none) return false;
  static constexpr std::array<std::string_view, 4> kRoundings = {"rn", "rm", "rp", "rz"};  // in the order of Rounding
  static constexpr std::array<std::string_view, 4> kIntegerRoundings = {"rni", "rmi", "rpi", "rzi"};
  for (std::size_t n = 0; n + 2 < in.modifiers.size(); ++n) {
    const std::string_view modifier = in.modifiers[n];
    bool known = false;
    for (std::size_t r = 0; r < kRoundings.size(); ++r) {
      if (modifier != kRoundings[r] && modifier != kIntegerRoundings[r]) continue;
      if (form.rounded || form.has(kToInteger)) return false;
      form.flags |= static_cast<std::uint8_t>(r);
      if (modifier == kIntegerRoundings[r])
        form.flags |= kToInteger;
      else
        form.rounded = true;
      known = true;
    }
    if (modifier == "ftz")
      form.flags |= kFlush;
    else if (modifier == "sat")
      form.flags |= kSaturate;
    else if (modifier == "relu")
      form.flags |= kRelu;
    else if (modifier == "satfinite")
      form.flags |= kSaturateFinite;
    else if (modifier == "rna")
      form.away = true;
    else if (!known)
      return false;
  }
  return true;
}

bool is_scalar_floating(Type type) { return type == Type::f16 || type == Type::bf16 || type == Type::f32 || type == Type::f64; }

bool decode_cvt(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  if (!in.modifiers.empty() && in.modifiers[0] == "pack") return decode_pack(in, decoder, out);
  ConversionForm form;
  if (!parse(in, form)) return false;
  const bool from_integer = is_integer(form.from), to_integer = is_integer(form.to);
  if ((!from_integer && !is_scalar_floating(form.from)) || (!to_integer && !is_scalar_floating(form.to)) ||
      in.operands.size() != 2) {
    return decode_packed(in, form, decoder, out);
  }
  if (form.away) return false;
  if (form.has(kFlush) && form.from != Type::f32 && form.to != Type::f32) return false;
  const Width from = own_width(decoder, in.operands[1], form.from), to = own_width(decoder, in.operands[0], form.to);
  if (from < width_of(form.from) || from > Width::b64 || to < width_of(form.to) || to > Width::b64) {
    decoder.fail(in, "a register is narrower than its type");
  }
  out.flags = form.flags;
  if (from_integer && to_integer) {
    if (!decode_integer(form, from, to, decoder, out)) return false;
  } else {
    out.run = from_integer ? integer_to_floating(form) : to_integer ? floating_to_integer(form) : floating_to_floating(form);
    if (out.run == nullptr) return false;
  }
  const Location source = decoder.read(in.operands[1], from, form.from);
  const Location destination = decoder.write(in.operands[0], to);
  out.a = source;
  out.d = destination;
  const Width a_width = width_of(form.from), d_width = width_of(form.to);
  if ((from_integer && to_integer) || (from == a_width && to == d_width)) return true;
  const ptx::Operand scratch;  // a sink
  if (from != a_width) out.a = decoder.write(scratch, a_width);
  if (to != d_width) out.d = decoder.write(scratch, d_width);
  out.list = decoder.list({source, static_cast<Location>(bytes_of(from)), destination, static_cast<Location>(bytes_of(to)),
                           static_cast<Location>(bytes_of(a_width)), static_cast<Location>(bytes_of(d_width)),
                           static_cast<Location>(to_integer && is_signed(form.to) ? 1 : 0)});
  out.immediate = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(out.run));
  out.run = through_narrow_registers;
  return true;
}

}  // namespace

bool is_integer(Type type) {
  switch (type) {
    case Type::u8:
    case Type::s8:
    case Type::u16:
    case Type::s16:
    case Type::u32:
    case Type::s32:
    case Type::u64:
    case Type::s64:
      return true;
    default:
      return false;
  }
}

bool is_signed(Type type) { return type == Type::s8 || type == Type::s16 || type == Type::s32 || type == Type::s64; }

std::vector<OpcodeEntry> conversion_opcodes() { return {{"cvt", decode_cvt}}; }

}  // namespace sim

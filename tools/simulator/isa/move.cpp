// Moves: mov, of registers, constants, addresses and vectors, and the conversions of addresses cvta and isspacep.
#include <array>

#include "isa/form.h"
#include "machine/memory.h"

namespace sim {
namespace {

using ptx::Type;

template <class T>
T copy(T a) {
  return a;
}

void copy_predicate(Warp& w, const Instruction& in) {
  store_predicate(w.mask, w.at<Mask>(in.d), *w.at<Mask>(in.a) ^ static_cast<Mask>(in.immediate));
}

// list: d and source of each element. All are read before any is written: a vector may be permuted in place.
constexpr int kMostElements = 4;
template <class T>
void copy_vector(Warp& w, const Instruction& in) {
  alignas(64) T values[kMostElements][kLanes];
  for (int n = 0; n < in.more; ++n) {
    const T* source = w.at<T>(in.list[2 * n + 1]);
    for (int lane = 0; lane < kLanes; ++lane) values[n][lane] = source[lane];
  }
  for (int n = 0; n < in.more; ++n) store_lanes<T>(w.mask, w.at<T>(in.list[2 * n]), values[n]);
}

// Parts of `PartBits` bits, the first lowest. 8-bit parts have registers of 16.
template <class Whole, class Part, int PartBits, int Count>
void pack(Warp& w, const Instruction& in) {
  std::array<const Part*, Count> parts;
  for (int n = 0; n < Count; ++n) parts[n] = w.at<Part>(in.list[n]);
  for_lanes(w.mask, w.at<Whole>(in.d), [=](int lane) {
    Whole whole = 0;
    for (int n = 0; n < Count; ++n) {
      whole = static_cast<Whole>(
          whole |
          static_cast<Whole>(static_cast<Whole>(parts[n][lane] & ((std::uint64_t{1} << PartBits) - 1)) << (PartBits * n)));
    }
    return whole;
  });
}

template <class Whole, class Part, int PartBits, int Count>
void unpack(Warp& w, const Instruction& in) {
  const Whole* whole = w.at<Whole>(in.a);
  alignas(64) Whole aside[kLanes];
  if constexpr (sizeof(Whole) == sizeof(Part)) {  // the source may be a destination
    for (int lane = 0; lane < kLanes; ++lane) aside[lane] = whole[lane];
    whole = aside;
  }
  for (int n = 0; n < Count; ++n) {
    if (in.list[n] == kNowhere) continue;
    const int shift = PartBits * n;
    for_lanes(w.mask, w.at<Part>(in.list[n]),
              [=](int lane) { return static_cast<Part>(whole[lane] >> shift & ((std::uint64_t{1} << PartBits) - 1)); });
  }
}

// The high 64 bits of a b128.
constexpr Location high_half(Location location) { return location + kLanes * 8; }

struct Packing {
  Type type;
  std::size_t count;
  Width part;
  Handler pack, unpack;
};
constexpr Packing kPackings[] = {
    {Type::b16, 2, Width::b16, pack<std::uint16_t, std::uint16_t, 8, 2>, unpack<std::uint16_t, std::uint16_t, 8, 2>},
    {Type::b32, 2, Width::b16, pack<std::uint32_t, std::uint16_t, 16, 2>, unpack<std::uint32_t, std::uint16_t, 16, 2>},
    {Type::b32, 4, Width::b16, pack<std::uint32_t, std::uint16_t, 8, 4>, unpack<std::uint32_t, std::uint16_t, 8, 4>},
    {Type::b64, 2, Width::b32, pack<std::uint64_t, std::uint32_t, 32, 2>, unpack<std::uint64_t, std::uint32_t, 32, 2>},
    {Type::b64, 4, Width::b16, pack<std::uint64_t, std::uint16_t, 16, 4>, unpack<std::uint64_t, std::uint16_t, 16, 4>}};

const Packing* packing_of(Type type, std::size_t count) {
  for (const Packing& packing : kPackings) {
    if (packing.type == type && packing.count == count) return &packing;
  }
  return nullptr;
}

Handler copy_handler(Width width) {
  switch (width) {
    case Width::b16:
      return lanewise<&copy<std::uint16_t>>;
    case Width::b32:
      return lanewise<&copy<std::uint32_t>>;
    case Width::b64:
      return lanewise<&copy<std::uint64_t>>;
    default:
      return nullptr;
  }
}

Handler copy_vector_handler(Width width) {
  switch (width) {
    case Width::b16:
      return copy_vector<std::uint16_t>;
    case Width::b32:
      return copy_vector<std::uint32_t>;
    case Width::b64:
      return copy_vector<std::uint64_t>;
    default:
      return nullptr;
  }
}

using Kind = ptx::Operand::Kind;

bool decode_pack(const ptx::Instruction& in, Decoder& decoder, Instruction& out, Type type) {
  const auto& elements = in.operands[1].elements;
  const Packing* packing = packing_of(type, elements.size());
  if (packing == nullptr) decoder.fail(in, "the vector does not make up the type");
  std::vector<Location> parts;
  for (const ptx::Operand& element : elements) parts.push_back(read_source(in, decoder, element, packing->part));
  out.list = decoder.list(std::move(parts));
  out.d = write_destination(in, decoder, in.operands[0], width_of(type));
  out.run = packing->pack;
  return true;
}

bool decode_unpack(const ptx::Instruction& in, Decoder& decoder, Instruction& out, Type type) {
  const auto& elements = in.operands[0].elements;
  const Packing* packing = packing_of(type, elements.size());
  if (packing == nullptr) decoder.fail(in, "the vector does not make up the type");
  out.a = read_source(in, decoder, in.operands[1], width_of(type));
  std::vector<Location> parts;
  for (const ptx::Operand& element : elements) {
    parts.push_back(element.kind == Kind::sink ? kNowhere : write_destination(in, decoder, element, packing->part));
  }
  out.list = decoder.list(std::move(parts));
  out.run = packing->unpack;
  return true;
}

// The halves of a b128 out of words and back; list holds the words, the first lowest, a or d the b128.
void pack_words(Warp& w, const Instruction& in) {
  for (int half = 0; half < 2; ++half) {
    const std::uint32_t* low = w.at<std::uint32_t>(in.list[2 * half]);
    const std::uint32_t* high = w.at<std::uint32_t>(in.list[2 * half + 1]);
    for_lanes(w.mask, w.at<std::uint64_t>(half == 0 ? in.d : high_half(in.d)),
              [=](int lane) { return low[lane] | static_cast<std::uint64_t>(high[lane]) << 32; });
  }
}
void unpack_words(Warp& w, const Instruction& in) {
  for (int n = 0; n < 4; ++n) {
    if (in.list[n] == kNowhere) continue;
    const std::uint64_t* half = w.at<std::uint64_t>(n < 2 ? in.a : high_half(in.a));
    const int shift = n % 2 * 32;
    for_lanes(w.mask, w.at<std::uint32_t>(in.list[n]),
              [=](int lane) { return static_cast<std::uint32_t>(half[lane] >> shift); });
  }
}

bool decode_words(const ptx::Instruction& in, Decoder& decoder, Instruction& out, bool packs) {
  std::vector<Location> words;
  for (const ptx::Operand& element : in.operands[packs ? 1 : 0].elements) {
    if (packs)
      words.push_back(read_source(in, decoder, element, Width::b32));
    else
      words.push_back(element.kind == Kind::sink ? kNowhere : write_destination(in, decoder, element, Width::b32));
  }
  if (packs)
    out.d = write_destination(in, decoder, in.operands[0], Width::b128);
  else
    out.a = read_source(in, decoder, in.operands[1], Width::b128);
  out.list = decoder.list(std::move(words));
  out.run = packs ? pack_words : unpack_words;
  return true;
}

// mov.b128 between 128-bit registers and pairs of 64-bit ones, on either side, or four of 32 bits.
bool decode_128(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  for (std::size_t n = 0; n < 2; ++n) {
    if (in.operands[n].kind == Kind::vector && in.operands[n].elements.size() == 4)
      return decode_words(in, decoder, out, n == 1);
  }
  auto halves = [&](const ptx::Operand& operand, bool writes) {
    std::array<Location, 2> result;
    if (operand.kind == Kind::vector) {
      if (operand.elements.size() != 2) decoder.fail(in, "the vector does not make up the type");
      for (int n = 0; n < 2; ++n) {
        result[n] = writes ? write_destination(in, decoder, operand.elements[n], Width::b64)
                           : read_source(in, decoder, operand.elements[n], Width::b64);
      }
    } else {
      result[0] =
          writes ? write_destination(in, decoder, operand, Width::b128) : read_source(in, decoder, operand, Width::b128);
      result[1] = high_half(result[0]);
    }
    return result;
  };
  const std::array<Location, 2> source = halves(in.operands[1], false), d = halves(in.operands[0], true);
  out.list = decoder.list({d[0], source[0], d[1], source[1]});
  out.more = 2;
  out.run = copy_vector<std::uint64_t>;
  return true;
}

// The components of a special register that is a vector.
std::array<std::string_view, 4> components(std::string_view special) {
  if (special == "tid") return {"tid.x", "tid.y", "tid.z", ""};
  if (special == "ntid") return {"ntid.x", "ntid.y", "ntid.z", ""};
  if (special == "ctaid") return {"ctaid.x", "ctaid.y", "ctaid.z", ""};
  if (special == "nctaid") return {"nctaid.x", "nctaid.y", "nctaid.z", ""};
  return {};
}

// mov.v2 and mov.v4: element by element.
bool decode_vector(const ptx::Instruction& in, Decoder& decoder, Instruction& out, Type type, std::size_t count) {
  const ptx::Operand& d = in.operands[0];
  const ptx::Operand& source = in.operands[1];
  const Width width = width_of(type);
  const Handler run = copy_vector_handler(width);
  if (run == nullptr) return false;
  if (d.kind != Kind::vector || d.elements.size() != count) decoder.fail(in, "the destination is not such a vector");
  std::vector<Location> list(2 * count);
  for (std::size_t n = 0; n < count; ++n) {
    if (source.kind == Kind::vector && source.elements.size() == count) {
      list[2 * n + 1] = read_source(in, decoder, source.elements[n], width, type);
    } else if (source.kind == Kind::special) {
      const auto names = components(source.name);
      if (names[0].empty()) decoder.fail(in, "the special register is not a vector");
      ptx::Operand component;
      component.kind = Kind::special;
      component.name = names[n];
      list[2 * n + 1] = component.name.empty() ? decoder.constant(0, width) : decoder.read(component, width);
    } else {
      decoder.fail(in, "the source is not such a vector");
    }
  }
  for (std::size_t n = 0; n < count; ++n) list[2 * n] = write_destination(in, decoder, d.elements[n], width);
  out.list = decoder.list(std::move(list));
  out.more = static_cast<std::uint8_t>(count);
  out.run = run;
  return true;
}

bool decode_mov(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool two = form.take("v2"), four = form.take("v4");
  const Type type = form.type();
  if (!form.complete() || (two && four)) return false;
  if (in.operands.size() != 2) decoder.fail(in, "the number of operands is wrong");
  if (two || four) return decode_vector(in, decoder, out, type, two ? 2 : 4);
  if (type == Type::pred) {
    Mask flip = 0;
    out.a = read_predicate(in, decoder, in.operands[1], flip);
    out.d = write_destination(in, decoder, in.operands[0], Width::pred);
    out.immediate = flip;
    out.run = copy_predicate;
    return true;
  }
  if (type == Type::b128) return decode_128(in, decoder, out);
  if (is_bits(type) && in.operands[1].kind == Kind::vector) return decode_pack(in, decoder, out, type);
  if (is_bits(type) && in.operands[0].kind == Kind::vector) return decode_unpack(in, decoder, out, type);
  if (!is_bits(type) && !is_integer(type) && type != Type::f32 && type != Type::f64) return false;
  const Width width = width_of(type);
  out.a = read_source(in, decoder, in.operands[1], width, type);
  out.d = write_destination(in, decoder, in.operands[0], width);
  out.run = copy_handler(width);
  return true;
}

enum class Window : std::uint8_t { none, shared, local, parameter, global, constant };

// The space of cvta or isspacep. A block is a cluster of its own: both windows of shared memory are one.
Window take_window(Form& form) {
  if (form.take("shared") || form.take("shared::cta") || form.take("shared::cluster")) return Window::shared;
  if (form.take("local")) return Window::local;
  if (form.take("param") || form.take("param::entry")) return Window::parameter;
  if (form.take("global")) return Window::global;
  if (form.take("const")) return Window::constant;
  return Window::none;
}

// Addresses in the global and constant spaces are generic ones.
Address base_of(Window window) {
  switch (window) {
    case Window::shared:
      return kSharedWindow;
    case Window::local:
      return kLocalWindow;
    case Window::parameter:
      return kParameterWindow;
    default:
      return 0;
  }
}

void add_base(Warp& w, const Instruction& in) {
  const std::uint64_t* a = w.at<std::uint64_t>(in.a);
  const auto base = static_cast<std::uint64_t>(in.immediate);
  for_lanes(w.mask, w.at<std::uint64_t>(in.d), [=](int lane) { return a[lane] + base; });
}

bool decode_cvta(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool to = form.take("to");
  const Window window = take_window(form);
  if (window == Window::none || form.type() != Type::u64 || !form.complete()) return false;
  const Address base = base_of(window);
  out.immediate = static_cast<std::int64_t>(to ? 0 - base : base);
  return decode_operands(in, decoder, out, base == 0 ? lanewise<&copy<std::uint64_t>> : add_base, Width::b64, {Width::b64});
}

void is_in_window(Warp& w, const Instruction& in) {
  const std::uint64_t* a = w.at<std::uint64_t>(in.a);
  const auto base = static_cast<std::uint64_t>(in.immediate);
  store_predicate(w.mask, w.at<Mask>(in.d), lanes_where<std::uint64_t>([=](int lane) { return a[lane] - base < kWindowSpan; }));
}

// The global space is what is neither shared, local nor constant: it holds the kernel's parameters, and addresses where nothing
// is.
template <bool Constant>
void is_global_or_constant(Warp& w, const Instruction& in) {
  const std::uint64_t* a = w.at<std::uint64_t>(in.a);
  Mask result = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((w.mask >> lane & 1) == 0) continue;
    const bool local_or_shared = a[lane] - kSharedWindow < kWindowSpan || a[lane] - kLocalWindow < kWindowSpan;
    const Allocation* allocation = local_or_shared ? nullptr : Memory::instance().find(a[lane]);
    const bool constant = allocation != nullptr && allocation->kind == MemoryKind::constant;
    if (Constant ? constant : !constant && !local_or_shared) result |= Mask{1} << lane;
  }
  store_predicate(w.mask, w.at<Mask>(in.d), result);
}

bool decode_isspacep(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Window window = take_window(form);
  if (window == Window::none || !form.complete()) return false;
  out.immediate = static_cast<std::int64_t>(base_of(window));
  const Handler run = window == Window::global     ? is_global_or_constant<false>
                      : window == Window::constant ? is_global_or_constant<true>
                                                   : is_in_window;
  return decode_operands(in, decoder, out, run, Width::pred, {Width::b64});
}

}  // namespace

std::vector<OpcodeEntry> move_opcodes() { return {{"mov", decode_mov}, {"cvta", decode_cvta}, {"isspacep", decode_isspacep}}; }

}  // namespace sim

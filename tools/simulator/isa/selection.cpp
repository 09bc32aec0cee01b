// Selections: selp by a predicate, slct by a sign.
#include "isa/comparison.h"
#include "isa/form.h"

namespace sim {
namespace {

using ptx::Type;

template <class T>
void select(Warp& w, const Instruction& in) {
  const T* a = w.at<T>(in.a);
  const T* b = w.at<T>(in.b);
  T* d = w.at<T>(in.d);
  const Mask c = *w.at<Mask>(in.c) ^ static_cast<Mask>(in.immediate);
  const auto yes = [=](int lane) { return a[lane]; };
  const auto no = [=](int lane) { return b[lane]; };
  if (w.mask == kAllLanes) [[likely]] {
    select_lanes<T>(c, d, yes, no);
  } else {
    alignas(64) T result[kLanes];
    select_lanes<T>(c, result, yes, no);
    store_lanes(w.mask, d, result);
  }
}

bool is_selectable(Type type) { return is_bits(type) || is_integer(type) || type == Type::f32 || type == Type::f64; }

bool decode_selp(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const Type type = form.type();
  if (!form.complete() || !is_selectable(type)) return false;
  if (in.operands.size() != 4) decoder.fail(in, "the number of operands is wrong");
  const Width width = width_of(type);
  out.a = read_source(in, decoder, in.operands[1], width, type);
  out.b = read_source(in, decoder, in.operands[2], width, type);
  Mask flip = 0;
  out.c = read_predicate(in, decoder, in.operands[3], flip);
  out.immediate = flip;
  out.d = write_destination(in, decoder, in.operands[0], width);
  out.run = width == Width::b16 ? select<std::uint16_t> : width == Width::b32 ? select<std::uint32_t> : select<std::uint64_t>;
  return true;
}

// -0 is not negative; NaN selects b.
template <bool Flush>
bool is_not_negative(std::uint32_t c) {
  return single<Flush>(c) >= 0.0f;
}

struct SelectBySign {
  template <class T>
  static T f(T a, T b, std::int32_t c) {
    return c >= 0 ? a : b;
  }
};
template <bool Flush>
struct SelectByFloat {
  template <class T>
  static T f(T a, T b, std::uint32_t c) {
    return is_not_negative<Flush>(c) ? a : b;
  }
};

bool decode_slct(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool flush = form.take("ftz");
  const Type type = form.type(), condition = form.type();
  if (!form.complete() || !is_selectable(type) || (condition != Type::s32 && condition != Type::f32) ||
      (flush && condition != Type::f32))
    return false;
  if (in.operands.size() != 4) decoder.fail(in, "the number of operands is wrong");
  const Width width = width_of(type);
  out.a = read_source(in, decoder, in.operands[1], width, type);
  out.b = read_source(in, decoder, in.operands[2], width, type);
  out.c = read_source(in, decoder, in.operands[3], Width::b32, condition);
  out.d = write_destination(in, decoder, in.operands[0], width);
  out.run = condition == Type::s32 ? bits_handler<SelectBySign>(type)
            : flush                ? bits_handler<SelectByFloat<true>>(type)
                                   : bits_handler<SelectByFloat<false>>(type);
  return true;
}

}  // namespace

std::vector<OpcodeEntry> selection_opcodes() { return {{"selp", decode_selp}, {"slct", decode_slct}}; }

}  // namespace sim

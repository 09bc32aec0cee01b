// SIMD video instructions, of which compilers emit vabsdiff4: vadd vsub vavrg vabsdiff vmin vmax vset of two half-words or four
// bytes. The selectors that pick and mask parts of a register are not simulated.
#include <limits>

#include "isa/form.h"
#include "isa/integer.h"

namespace sim {
namespace {

using ptx::Type;

// Instruction::flags.
enum : std::uint8_t { kSignedA = 1, kSignedB = 2, kSaturate = 4, kSignedResult = 8 };

struct VideoAdd {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x + y; }
};
struct VideoSubtract {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x - y; }
};
struct VideoAverage {  // halves are rounded away from zero
  static std::int32_t f(std::int32_t x, std::int32_t y) { return (x + y + (x + y >= 0 ? 1 : 0)) >> 1; }
};
struct VideoAbsoluteDifference {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x < y ? y - x : x - y; }
};
struct VideoMinimum {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x < y ? x : y; }
};
struct VideoMaximum {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x < y ? y : x; }
};
struct VideoEqual {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x == y ? 1 : 0; }
};
struct VideoNotEqual {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x != y ? 1 : 0; }
};
struct VideoLess {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x < y ? 1 : 0; }
};
struct VideoLessEqual {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x <= y ? 1 : 0; }
};
struct VideoGreater {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x > y ? 1 : 0; }
};
struct VideoGreaterEqual {
  static std::int32_t f(std::int32_t x, std::int32_t y) { return x >= y ? 1 : 0; }
};

// Adds the parts' results to c, or packs them.
template <class Op, int Parts, bool Accumulate>
void video(Warp& w, const Instruction& in) {
  constexpr int kBits = 32 / Parts;
  constexpr std::uint32_t kPart = (1u << kBits) - 1;
  const std::uint32_t* a = w.at<std::uint32_t>(in.a);
  const std::uint32_t* b = w.at<std::uint32_t>(in.b);
  const std::uint32_t* c = w.at<std::uint32_t>(in.c);
  // A part is extended by turning its sign bit over and subtracting it.
  const std::int32_t sign_a = (in.flags & kSignedA) != 0 ? 1 << (kBits - 1) : 0,
                     sign_b = (in.flags & kSignedB) != 0 ? 1 << (kBits - 1) : 0;
  std::int32_t least = std::numeric_limits<std::int32_t>::min(), most = std::numeric_limits<std::int32_t>::max();
  if ((in.flags & kSaturate) != 0) {
    const bool is_signed = (in.flags & kSignedResult) != 0;
    least = is_signed ? -(1 << (kBits - 1)) : 0;
    most = static_cast<std::int32_t>(is_signed ? kPart >> 1 : kPart);
  }
  for_lanes(w.mask, w.at<std::uint32_t>(in.d), [=](int lane) {
    std::uint32_t result = Accumulate ? c[lane] : 0;
    for (int n = 0; n < Parts; ++n) {
      const std::int32_t x = (static_cast<std::int32_t>(a[lane] >> kBits * n & kPart) ^ sign_a) - sign_a;
      const std::int32_t y = (static_cast<std::int32_t>(b[lane] >> kBits * n & kPart) ^ sign_b) - sign_b;
      std::int32_t value = Op::f(x, y);
      value = value < least ? least : value > most ? most : value;
      if (Accumulate)
        result += static_cast<std::uint32_t>(value);
      else
        result |= (static_cast<std::uint32_t>(value) & kPart) << kBits * n;
    }
    return result;
  });
}

template <class Op>
Handler video_handler(bool four, bool accumulate) {
  if (four) return accumulate ? video<Op, 4, true> : video<Op, 4, false>;
  return accumulate ? video<Op, 2, true> : video<Op, 2, false>;
}

bool is_word(Type type) { return type == Type::u32 || type == Type::s32; }

// .atype.btype and the rest, with the types' signs in the flags.
bool decode_rest(const ptx::Instruction& in, Decoder& decoder, Instruction& out, Form& form, Handler run) {
  const Type a = form.type(), b = form.type();
  if (!is_word(a) || !is_word(b) || !form.complete()) return false;
  if (a == Type::s32) out.flags |= kSignedA;
  if (b == Type::s32) out.flags |= kSignedB;
  for (const ptx::Operand& operand : in.operands) {
    if (operand.kind == ptx::Operand::Kind::register_ && !operand.name.empty())
      decoder.fail(in, "selectors of parts of a register are not simulated");
  }
  return decode_operands(in, decoder, out, run, Width::b32, {Width::b32, Width::b32, Width::b32});
}

template <class Op>
bool decode_arithmetic(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool accumulate = form.take("add"), saturate = form.take("sat");
  const Type d = form.type();
  if (!is_word(d) || (accumulate && saturate)) return false;
  if (saturate) out.flags |= kSaturate;
  if (d == Type::s32) out.flags |= kSignedResult;
  return decode_rest(in, decoder, out, form, video_handler<Op>(in.opcode.back() == '4', accumulate));
}

bool decode_set(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool four = in.opcode.back() == '4', accumulate = form.take("add");
  Handler run = nullptr;
  if (form.take("eq"))
    run = video_handler<VideoEqual>(four, accumulate);
  else if (form.take("ne"))
    run = video_handler<VideoNotEqual>(four, accumulate);
  else if (form.take("lt"))
    run = video_handler<VideoLess>(four, accumulate);
  else if (form.take("le"))
    run = video_handler<VideoLessEqual>(four, accumulate);
  else if (form.take("gt"))
    run = video_handler<VideoGreater>(four, accumulate);
  else if (form.take("ge"))
    run = video_handler<VideoGreaterEqual>(four, accumulate);
  else
    return false;
  return decode_rest(in, decoder, out, form, run);
}

}  // namespace

std::vector<OpcodeEntry> video_opcodes() {
  return {{"vadd2", decode_arithmetic<VideoAdd>},
          {"vadd4", decode_arithmetic<VideoAdd>},
          {"vsub2", decode_arithmetic<VideoSubtract>},
          {"vsub4", decode_arithmetic<VideoSubtract>},
          {"vavrg2", decode_arithmetic<VideoAverage>},
          {"vavrg4", decode_arithmetic<VideoAverage>},
          {"vabsdiff2", decode_arithmetic<VideoAbsoluteDifference>},
          {"vabsdiff4", decode_arithmetic<VideoAbsoluteDifference>},
          {"vmin2", decode_arithmetic<VideoMinimum>},
          {"vmin4", decode_arithmetic<VideoMinimum>},
          {"vmax2", decode_arithmetic<VideoMaximum>},
          {"vmax4", decode_arithmetic<VideoMaximum>},
          {"vset2", decode_set},
          {"vset4", decode_set}};
}

}  // namespace sim

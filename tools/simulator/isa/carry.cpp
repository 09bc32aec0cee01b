// Extended-precision arithmetic: add, sub and mad with .cc, addc, subc and madc. The condition code is a hidden predicate: the
// carry of an addition, the borrow of a subtraction.
#include <cstring>

#include "isa/form.h"
#include "isa/integer.h"

namespace sim {
namespace {

using ptx::Type;

// d = x(l) + y(l) + carry; In and Out say whether the condition code is read and written, First is the carry where it is not
// read.
template <class T, bool In, bool Out, bool First, class X, class Y>
[[gnu::always_inline]] inline void extended(Warp& w, const Instruction& in, X x, Y y) {
  Mask* const code = w.at<Mask>(in.e);
  const T incoming = In ? static_cast<T>(*code) : T{0};
  constexpr auto& kBits = lanes_detail::kLaneBits<T>;
  alignas(64) T result[kLanes];
  alignas(64) T flags[kLanes];
#pragma GCC ivdep
  for (int lane = 0; lane < kLanes; ++lane) {
    const bool carry = In ? (incoming & kBits[lane]) != 0 : First;
    const T first = x(lane), partial = first + y(lane), sum = partial + (carry ? 1 : 0);
    result[lane] = sum;
    flags[lane] = (partial < first) | (sum < partial) ? ~T{0} : T{0};
  }
  if constexpr (Out) store_predicate(w.mask, code, mask_of(flags));
  T* const d = w.at<T>(in.d);
  if (w.mask == kAllLanes) [[likely]]
    std::memcpy(d, result, sizeof result);
  else
    store_lanes<T>(w.mask, d, result);
}

template <bool Subtract, class T, bool In, bool Out>
void add_extended(Warp& w, const Instruction& in) {
  const T* a = w.at<T>(in.a);
  const T* b = w.at<T>(in.b);
  extended<T, In, Out, Subtract>(
      w, in, [=](int lane) { return a[lane]; }, [=](int lane) { return Subtract ? ~b[lane] : b[lane]; });
}

template <class T, bool High, bool In, bool Out>
void multiply_add_extended(Warp& w, const Instruction& in) {
  using U = Bits<T>;
  const U* a = w.at<U>(in.a);
  const U* b = w.at<U>(in.b);
  const U* c = w.at<U>(in.c);
  extended<U, In, Out, false>(
      w, in,
      [=](int lane) {
        const T x = static_cast<T>(a[lane]), y = static_cast<T>(b[lane]);
        return static_cast<U>(High ? high_product(x, y) : low_product(x, y));
      },
      [=](int lane) { return c[lane]; });
}

template <bool Subtract, class T>
Handler add_handler(bool reads, bool writes) {
  if (reads) return writes ? add_extended<Subtract, T, true, true> : add_extended<Subtract, T, true, false>;
  return add_extended<Subtract, T, false, true>;
}

template <class T, bool High>
Handler multiply_handler(bool reads, bool writes) {
  if (reads) return writes ? multiply_add_extended<T, High, true, true> : multiply_add_extended<T, High, true, false>;
  return multiply_add_extended<T, High, false, true>;
}

bool is_extended(Type type) { return type == Type::u32 || type == Type::s32 || type == Type::u64 || type == Type::s64; }

template <bool Subtract>
bool decode_add(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool reads = in.opcode.back() == 'c', writes = form.take("cc");
  const Type type = form.type();
  if (!form.complete() || !is_extended(type) || !(reads || writes)) return false;
  const Width width = width_of(type);
  out.e = decoder.carry();
  return decode_operands(in, decoder, out,
                         width == Width::b32 ? add_handler<Subtract, std::uint32_t>(reads, writes)
                                             : add_handler<Subtract, std::uint64_t>(reads, writes),
                         width, {width, width});
}

bool decode_mad(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  Form form(in);
  const bool reads = in.opcode == "madc", low = form.take("lo"), high = form.take("hi"), writes = form.take("cc");
  const Type type = form.type();
  if (!form.complete() || !is_extended(type) || low == high || !(reads || writes)) return false;
  const Width width = width_of(type);
  Handler run = nullptr;
  if (low)
    run = width == Width::b32 ? multiply_handler<std::uint32_t, false>(reads, writes)
                              : multiply_handler<std::uint64_t, false>(reads, writes);
  else if (type == Type::u32)
    run = multiply_handler<std::uint32_t, true>(reads, writes);
  else if (type == Type::s32)
    run = multiply_handler<std::int32_t, true>(reads, writes);
  else if (type == Type::u64)
    run = multiply_handler<std::uint64_t, true>(reads, writes);
  else
    run = multiply_handler<std::int64_t, true>(reads, writes);
  out.e = decoder.carry();
  return decode_operands(in, decoder, out, run, width, {width, width, width});
}

}  // namespace

std::vector<OpcodeEntry> carry_opcodes() {
  return {{"add", decode_add<false>}, {"addc", decode_add<false>}, {"sub", decode_add<true>},
          {"subc", decode_add<true>}, {"mad", decode_mad},         {"madc", decode_mad}};
}

}  // namespace sim

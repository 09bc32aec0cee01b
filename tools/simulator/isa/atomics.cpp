#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <concepts>

#include "error.h"
#include "isa/memory_decoding.h"
#include "isa/memory_lanes.h"

// atom and red: lane by lane, in their order. Blocks may run on several host threads, so each operation on global memory is one
// of the host's atomics.
namespace sim::access {
namespace {

using ptx::Operand;
using ptx::Space;
using ptx::Type;

// Results that are no number are PTX's canonical ones.
constexpr std::uint32_t kNan32 = 0x7fffffff;
constexpr std::uint64_t kNan64 = 0x7fffffffffffffff;
constexpr std::uint16_t kNan16 = 0x7fff;

std::uint16_t add_half(std::uint16_t a, std::uint16_t b) {
  // Exact enough in single precision: 24 bits are more than twice 11.
  const float sum = _cvtsh_ss(a) + _cvtsh_ss(b);
  return std::isnan(sum) ? kNan16 : _cvtss_sh(sum, _MM_FROUND_TO_NEAREST_INT);
}

float from_bfloat(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t add_bfloat(std::uint16_t a, std::uint16_t b) {
  const float sum = from_bfloat(a) + from_bfloat(b);
  if (std::isnan(sum)) return kNan16;
  const auto bits = std::bit_cast<std::uint32_t>(sum);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <std::uint16_t (*add)(std::uint16_t, std::uint16_t)>
std::uint32_t add_pair(std::uint32_t a, std::uint32_t b) {
  const std::uint16_t low = add(static_cast<std::uint16_t>(a), static_cast<std::uint16_t>(b));
  const std::uint16_t high = add(static_cast<std::uint16_t>(a >> 16), static_cast<std::uint16_t>(b >> 16));
  return low | static_cast<std::uint32_t>(high) << 16;
}

std::uint32_t flush(std::uint32_t bits) { return (bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits; }

std::uint32_t add_single(std::uint32_t a, std::uint32_t b) {
  const float sum = std::bit_cast<float>(a) + std::bit_cast<float>(b);
  return std::isnan(sum) ? kNan32 : std::bit_cast<std::uint32_t>(sum);
}

std::uint64_t add_double(std::uint64_t a, std::uint64_t b) {
  const double sum = std::bit_cast<double>(a) + std::bit_cast<double>(b);
  return std::isnan(sum) ? kNan64 : std::bit_cast<std::uint64_t>(sum);
}

// Each operation: the new value from the old one, b and c. `flushes`: single precision in global memory has no subnormal
// numbers.
template <class T_>
struct Add {
  using T = T_;
  static constexpr bool kSums = true;
  static T apply(T old, T b, T, bool) { return old + b; }
};
struct AddSingle {
  using T = std::uint32_t;
  static T apply(T old, T b, T, bool flushes) { return flushes ? flush(add_single(flush(old), flush(b))) : add_single(old, b); }
};
struct AddDouble {
  using T = std::uint64_t;
  static T apply(T old, T b, T, bool) { return add_double(old, b); }
};
struct AddHalf {
  using T = std::uint16_t;
  static T apply(T old, T b, T, bool) { return add_half(old, b); }
};
struct AddBfloat {
  using T = std::uint16_t;
  static T apply(T old, T b, T, bool) { return add_bfloat(old, b); }
};
struct AddHalves {
  using T = std::uint32_t;
  static T apply(T old, T b, T, bool) { return add_pair<add_half>(old, b); }
};
struct AddBfloats {
  using T = std::uint32_t;
  static T apply(T old, T b, T, bool) { return add_pair<add_bfloat>(old, b); }
};
template <class T_>
struct And {
  using T = T_;
  static T apply(T old, T b, T, bool) { return old & b; }
};
template <class T_>
struct Or {
  using T = T_;
  static T apply(T old, T b, T, bool) { return old | b; }
};
template <class T_>
struct Xor {
  using T = T_;
  static T apply(T old, T b, T, bool) { return old ^ b; }
};
template <class S>
struct Min {
  using T = std::make_unsigned_t<S>;
  static T apply(T old, T b, T, bool) { return static_cast<T>(std::min(static_cast<S>(old), static_cast<S>(b))); }
};
template <class S>
struct Max {
  using T = std::make_unsigned_t<S>;
  static T apply(T old, T b, T, bool) { return static_cast<T>(std::max(static_cast<S>(old), static_cast<S>(b))); }
};
struct Increment {
  using T = std::uint32_t;
  static T apply(T old, T b, T, bool) { return old >= b ? 0 : old + 1; }
};
struct Decrement {
  using T = std::uint32_t;
  static T apply(T old, T b, T, bool) { return old == 0 || old > b ? b : old - 1; }
};
template <class T_>
struct Exchange {
  using T = T_;
  static T apply(T, T b, T, bool) { return b; }
};
template <class T_>
struct CompareAndSwap {
  using T = T_;
  static T apply(T old, T b, T c, bool) { return old == b ? c : old; }
};

template <class Op>
concept Sums = Op::kSums;

template <class Op>
typename Op::T once(typename Op::T* at, typename Op::T b, typename Op::T c, bool flushes) {
  using T = typename Op::T;
  if constexpr (Sums<Op>) return __atomic_fetch_add(at, b, __ATOMIC_RELAXED);
  T old = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(at, &old, Op::apply(old, b, c, flushes), true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
  }
  return old;
}

// The fields of the instruction: d the result (kNowhere: none), b and c the operands.
template <class Op, bool checked>
struct Atomic {
  using T = typename Op::T;
  static constexpr unsigned kBytes = sizeof(T);
  static constexpr Use kUse{kBytes, kBytes, AccessKind::atomic};

  static void global(Warp& warp, const Instruction& in) {
    alignas(64) Addresses address;
    read_addresses(warp, in, address);
    if (is_counted(warp)) count_conflicts(warp, in, address, warp.mask);
    const std::ptrdiff_t delta = resolve_global<checked>(warp, in, address, kUse);
    const T* b = warp.at<T>(in.b);
    const T* c = in.c == kNowhere ? b : warp.at<T>(in.c);
    T* d = in.d == kNowhere ? nullptr : warp.at<T>(in.d);
    auto pointer = [&](int lane) { return reinterpret_cast<T*>(address[lane] + static_cast<std::uint64_t>(delta)); };
    if constexpr (Sums<Op>) {
      // A warp that adds to one place, as counters do, adds its sum.
      std::uint64_t differs = 0;
      for (int lane = 0; lane < kLanes; ++lane) differs |= address[lane] ^ address[0];
      if (d == nullptr && differs == 0) {
        T sum = 0;
        for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) sum += b[std::countr_zero(rest)];
        __atomic_fetch_add(pointer(0), sum, __ATOMIC_RELAXED);
        return;
      }
    }
    const auto shared = reinterpret_cast<std::uintptr_t>(warp.block->shared);
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      T* at = pointer(lane);
      const bool flushes = reinterpret_cast<std::uintptr_t>(at) - shared >=
                           warp.block->shared_bytes;  // a generic address may be one of shared memory
      const T old = once<Op>(at, b[lane], c[lane], flushes);
      if (d != nullptr) d[lane] = old;
    }
  }

  static void shared(Warp& warp, const Instruction& in) {
    alignas(64) Offsets offset;
    read_offsets(warp, in, offset);
    resolve_shared<checked>(warp, in, offset, kUse);
    if (is_counted(warp)) {
      Addresses address;
      std::copy(offset, offset + kLanes, address);
      count_conflicts(warp, in, address, warp.mask);
    }
    const T* b = warp.at<T>(in.b);
    const T* c = in.c == kNowhere ? b : warp.at<T>(in.c);
    T* d = in.d == kNowhere ? nullptr : warp.at<T>(in.d);
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      auto* at = reinterpret_cast<T*>(warp.block->shared + offset[lane]);
      const T old = *at;
      *at = Op::apply(old, b[lane], c[lane], false);
      if (d != nullptr) d[lane] = old;
    }
  }
};

struct Handlers {
  Handler plain[2], checked[2];  // global (and generic), shared
  Handler of(bool shared) const { return is_checked() ? checked[shared] : plain[shared]; }
};

template <class Op>
Handlers handlers() {
  return {{Atomic<Op, false>::global, Atomic<Op, false>::shared}, {Atomic<Op, true>::global, Atomic<Op, true>::shared}};
}

bool handlers_of(std::string_view operation, Type type, Handlers& result) {
  const bool is32 = type == Type::b32 || type == Type::u32 || type == Type::s32,
             is64 = type == Type::b64 || type == Type::u64 || type == Type::s64;
  if (operation == "add") {
    switch (type) {
      case Type::u32:
      case Type::s32:
        result = handlers<Add<std::uint32_t>>();
        return true;
      case Type::u64:
      case Type::s64:
        result = handlers<Add<std::uint64_t>>();
        return true;
      case Type::f32:
        result = handlers<AddSingle>();
        return true;
      case Type::f64:
        result = handlers<AddDouble>();
        return true;
      case Type::f16:
        result = handlers<AddHalf>();
        return true;
      case Type::bf16:
        result = handlers<AddBfloat>();
        return true;
      case Type::f16x2:
        result = handlers<AddHalves>();
        return true;
      case Type::bf16x2:
        result = handlers<AddBfloats>();
        return true;
      default:
        return false;
    }
  }
  if (operation == "min" || operation == "max") {
    const bool is_min = operation == "min";
    switch (type) {
      case Type::u32:
        result = is_min ? handlers<Min<std::uint32_t>>() : handlers<Max<std::uint32_t>>();
        return true;
      case Type::s32:
        result = is_min ? handlers<Min<std::int32_t>>() : handlers<Max<std::int32_t>>();
        return true;
      case Type::u64:
        result = is_min ? handlers<Min<std::uint64_t>>() : handlers<Max<std::uint64_t>>();
        return true;
      case Type::s64:
        result = is_min ? handlers<Min<std::int64_t>>() : handlers<Max<std::int64_t>>();
        return true;
      default:
        return false;
    }
  }
  if (operation == "inc" || operation == "dec") {
    if (type != Type::u32) return false;
    result = operation == "inc" ? handlers<Increment>() : handlers<Decrement>();
    return true;
  }
  if (operation == "cas" && type == Type::b16) {
    result = handlers<CompareAndSwap<std::uint16_t>>();
    return true;
  }
  auto choose = [&]<template <class> class Op>() {
    if (is32) result = handlers<Op<std::uint32_t>>();
    if (is64) result = handlers<Op<std::uint64_t>>();
    return is32 || is64;
  };
  if (operation == "and") return choose.operator()<And>();
  if (operation == "or") return choose.operator()<Or>();
  if (operation == "xor") return choose.operator()<Xor>();
  if (operation == "exch") return choose.operator()<Exchange>();
  if (operation == "cas") return choose.operator()<CompareAndSwap>();
  return false;
}

bool is_floating(Type type) {
  return type == Type::f32 || type == Type::f64 || type == Type::f16 || type == Type::bf16 || type == Type::f16x2 ||
         type == Type::bf16x2;
}

}  // namespace

bool decode_atomic(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  static constexpr std::string_view kOperations[] = {"add", "and", "or", "xor", "min", "max", "exch", "cas", "inc", "dec"};
  static constexpr std::string_view kIgnored[] = {"relaxed", "acquire", "cluster", "gpu", "sys", "noftz"};
  Space space = Space::none;
  Type type = Type::none;
  std::string_view operation;
  for (std::string_view modifier : in.modifiers) {
    if (const Space named = space_named(modifier); named != Space::none) {
      space = named;
    } else if (const Type named_type = ptx::type_named(modifier); named_type != Type::none) {
      type = named_type;
    } else if (std::find(std::begin(kOperations), std::end(kOperations), modifier) != std::end(kOperations)) {
      operation = modifier;
    } else if (modifier == "release" || modifier == "acq_rel") {
      out.flags |= kFences;
    } else if (modifier == "cta") {
      out.more |= kOfBlock;
    } else if (std::find(std::begin(kIgnored), std::end(kIgnored), modifier) == std::end(kIgnored) &&
               !is_cache_hint(modifier)) {
      return false;
    }
  }
  Handlers handlers{};
  if (!handlers_of(operation, type, handlers)) return false;
  const bool is_atom = in.opcode == "atom";
  const std::size_t first = is_atom ? 1 : 0, operands = first + (operation == "cas" ? 3 : 2);
  if (in.operands.size() < operands || (!is_atom && (operation == "cas" || operation == "exch"))) return false;
  const Operand& address = in.operands[first];
  const Width width = width_of(type);
  auto read = [&](const Operand& operand) {
    if (const Width own = decoder.width(operand); own != Width::none && own != width)
      decoder.fail(in, "the operands do not have the instruction's type");
    return decoder.read(operand, width, type);
  };
  out.b = read(in.operands[first + 1]);
  if (operation == "cas") out.c = read(in.operands[first + 2]);
  bool has_result = false;
  if (is_atom && in.operands[0].kind != Operand::Kind::sink) {
    if (const Width own = decoder.width(in.operands[0]); own != width)
      decoder.fail(in, "the result does not have the instruction's type");
    has_result = decoder.is_read(in.operands[0]);
    out.d = decoder.write(in.operands[0], width);
  }
  const Address place = decode_address(in, address, space, decoder);
  out.a = place.base;
  out.immediate = place.offset;
  if (place.wide) out.flags |= kWide;
  if (has_result) out.flags |= kResult;
  if (operation == "exch" || operation == "cas") out.flags |= kUnlocks;
  switch (place.space) {
    case Space::shared:
      out.run = handlers.of(true);
      return true;
    case Space::none:
      out.flags |= kGeneric;
      [[fallthrough]];
    case Space::global:
      // The order of additions shows in a floating sum, that of all in what each returns; of exch and cas in what stays.
      if (has_result || is_floating(type) || operation == "exch" || operation == "cas") decoder.order_dependent();
      out.run = handlers.of(false);
      return true;
    default:
      return false;
  }
}

}  // namespace sim::access

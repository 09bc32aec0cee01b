#include "isa/mbarrier.h"

#include <cstring>

#include "error.h"
#include "isa/memory_decoding.h"
#include "machine/checks.h"
#include "machine/copies.h"
#include "machine/races.h"
#include "machine/shared_bits.h"

// mbarrier operations, lane by lane in their order (PTX ISA, "Parallel Synchronization and Communication Instructions:
// mbarrier").
namespace sim::access {
namespace mbarrier {
namespace {

using ptx::Operand;
using ptx::Space;

constexpr std::uint32_t kMostArrivals = (1u << 20) - 1;

// The object: a mark that tells it from arbitrary bytes, the phase's parity, arrivals of each phase, those that are still to
// come, bytes still to come.
struct State {
  bool valid = false, parity = false;
  std::uint32_t expected = 0, pending = 0;
  std::int32_t bytes = 0;

  static State of(std::uint64_t bits) {
    State s;
    s.valid = bits >> 62 == 1;
    s.parity = (bits >> 61 & 1) != 0;
    s.expected = static_cast<std::uint32_t>(bits >> 41) & kMostArrivals;
    s.pending = static_cast<std::uint32_t>(bits >> 21) & kMostArrivals;
    s.bytes = static_cast<std::int32_t>(static_cast<std::uint32_t>(bits) << 11) >> 11;
    return s;
  }
  std::uint64_t bits() const {
    return std::uint64_t{valid} << 62 | std::uint64_t{parity} << 61 | std::uint64_t{expected} << 41 |
           std::uint64_t{pending} << 21 | (static_cast<std::uint32_t>(bytes) & 0x1fffff);
  }
  void complete_phase() {
    if (pending != 0 || bytes != 0) return;
    parity = !parity;
    pending = expected;
  }
};

State load(const Warp& warp, std::uint32_t offset) {
  std::uint64_t bits;
  std::memcpy(&bits, warp.block->shared + offset, sizeof bits);
  return State::of(bits);
}

void save(const Warp& warp, std::uint32_t offset, const State& state) {
  const std::uint64_t bits = state.bits();
  std::memcpy(warp.block->shared + offset, &bits, sizeof bits);
}

[[noreturn]] void invalid(const Warp& warp, const Instruction& in, int lane, std::string message) {
  checks::report(warp, in, lane, Fault::invalid_barrier, std::move(message));
  throw LaunchAbort{719};
}

State load_valid(const Warp& warp, const Instruction& in, int lane, std::uint32_t offset) {
  const State state = load(warp, offset);
  if (!state.valid)
    invalid(warp, in, lane, fmt::format("at {:#x} in shared memory there is no mbarrier that has been initialised", offset));
  return state;
}

void arrive(const Warp& warp, const Instruction& in, int lane, std::uint32_t offset, std::uint32_t count, bool drop) {
  State state = load_valid(warp, in, lane, offset);
  if (count == 0 || count > state.pending) {
    invalid(warp, in, lane,
            fmt::format("{} arrivals at the mbarrier at {:#x}, which waits for {}", count, offset, state.pending));
  }
  state.pending -= count;
  if (drop) state.expected -= std::min(state.expected, count);
  state.complete_phase();
  save(warp, offset, state);
}

void release(const Warp& warp, std::uint32_t offset) {
  if (warp.block->races != nullptr) warp.block->races->release(warp.index, offset, false);
}

// a: the place; d: result; b, c: operands.
void initialize(Warp& warp, const Instruction& in) {
  Offsets offset;
  offsets(warp, in, offset);
  const auto* count = warp.at<std::uint32_t>(in.b);
  if (warp.block->races != nullptr) warp.block->races->access(warp, in, offset, warp.mask, 8, AccessKind::write, nullptr);
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    if (count[lane] == 0 || count[lane] > kMostArrivals)
      invalid(warp, in, lane, fmt::format("an mbarrier for {} arrivals", count[lane]));
    State state;
    state.valid = true;
    state.expected = state.pending = count[lane];
    save(warp, offset[lane], state);
    if (warp.block->shared_initialized != nullptr) set_bits(warp.block->shared_initialized, offset[lane], 8);
  }
}

void invalidate(Warp& warp, const Instruction& in) {
  Offsets offset;
  offsets(warp, in, offset);
  if (warp.block->races != nullptr) warp.block->races->access(warp, in, offset, warp.mask, 8, AccessKind::write, nullptr);
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    load_valid(warp, in, lane, offset[lane]);
    save(warp, offset[lane], State{});
  }
}

enum : std::uint8_t { kDrop = 1, kExpectsBytes = 2, kNoComplete = 4 };  // Instruction::more

void arrive_lanes(Warp& warp, const Instruction& in) {
  Offsets offset;
  offsets(warp, in, offset);
  const std::uint32_t* count = in.b == kNowhere ? nullptr : warp.at<std::uint32_t>(in.b);
  const std::uint32_t* bytes = in.c == kNowhere ? nullptr : warp.at<std::uint32_t>(in.c);
  std::uint64_t* result = in.d == kNowhere ? nullptr : warp.at<std::uint64_t>(in.d);
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    release(warp, offset[lane]);
    State state = load_valid(warp, in, lane, offset[lane]);
    if (bytes != nullptr) {
      state.bytes += static_cast<std::int32_t>(bytes[lane]);
      save(warp, offset[lane], state);
    }
    const std::uint64_t before = state.bits();
    const std::uint32_t arrivals = count == nullptr ? 1 : count[lane];
    if ((in.more & kNoComplete) != 0 && arrivals >= state.pending) {
      invalid(warp, in, lane,
              fmt::format("an arrival without completion completes the phase of the mbarrier at {:#x}", offset[lane]));
    }
    arrive(warp, in, lane, offset[lane], arrivals, (in.more & kDrop) != 0);
    if (result != nullptr) result[lane] = before;
  }
}

void expect_bytes(Warp& warp, const Instruction& in) {
  Offsets offset;
  offsets(warp, in, offset);
  const auto* bytes = warp.at<std::uint32_t>(in.b);
  const bool completes = (in.more & kExpectsBytes) == 0;
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    State state = load_valid(warp, in, lane, offset[lane]);
    state.bytes += completes ? -static_cast<std::int32_t>(bytes[lane]) : static_cast<std::int32_t>(bytes[lane]);
    if (completes) state.complete_phase();
    save(warp, offset[lane], state);
  }
}

// b: the state an arrival gave (b64), or the parity of a phase (b32).
template <bool by_parity>
void test(Warp& warp, const Instruction& in) {
  Offsets offset;
  offsets(warp, in, offset);
  Mask complete = 0;
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    load_valid(warp, in, lane, offset[lane]);
    for (std::uint32_t due = warp.block->copies->complete_arrivals(*warp.block, offset[lane]); due != 0; --due) {
      arrive(warp, in, lane, offset[lane], 1, false);
    }
    const State state = load(warp, offset[lane]);
    const bool waited =
        by_parity ? (warp.at<std::uint32_t>(in.b)[lane] & 1) != 0 : State::of(warp.at<std::uint64_t>(in.b)[lane]).parity;
    if (state.parity == waited) continue;
    complete |= 1u << lane;
    if (warp.block->races != nullptr) warp.block->races->acquire(warp.index, 1u << lane, offset[lane]);
  }
  Mask& d = *warp.at<Mask>(in.d);
  d = (d & ~warp.mask) | complete;
}

void pending_count(Warp& warp, const Instruction& in) {
  const auto* state = warp.at<std::uint64_t>(in.b);
  auto* d = warp.at<std::uint32_t>(in.d);
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1)
    d[std::countr_zero(rest)] = State::of(state[std::countr_zero(rest)]).pending;
}

}  // namespace

void decode_place(const ptx::Instruction& in, const Operand& operand, Decoder& decoder, Instruction& out) {
  Space space = Space::none;
  for (std::string_view modifier : in.modifiers) {
    if (space_named(modifier) == Space::shared) space = Space::shared;
  }
  const Address place = decode_address(in, operand, space, decoder);
  out.a = place.base;
  out.immediate = place.offset;
  if (place.wide) out.flags |= kWide;
  if (place.space == Space::none) out.flags |= kGeneric;
}

void offsets(Warp& warp, const Instruction& in, std::uint32_t* offset) {
  Addresses address;
  read_addresses(warp, in, address);
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    if ((in.flags & kGeneric) != 0) address[lane] -= kSharedWindow;
    offset[lane] = address[lane] > 0xffffffff ? kOutside : static_cast<std::uint32_t>(address[lane]);
    if (offset[lane] % 8 != 0 || std::uint64_t{offset[lane]} + 8 > warp.block->shared_bytes) {
      for (int other = 0; other < kLanes; ++other) offset[other] = offset[lane];
      shared_fault(warp, in, offset, 1u << lane, {8, 8, AccessKind::atomic}, {});
    }
  }
}

void expect_arrival(Warp& warp, const Instruction& in, int lane, std::uint32_t offset) {
  State state = load_valid(warp, in, lane, offset);
  if (state.pending == kMostArrivals)
    invalid(warp, in, lane, fmt::format("too many arrivals at the mbarrier at {:#x}", offset));
  ++state.pending;
  save(warp, offset, state);
}

}  // namespace mbarrier

bool decode_mbarrier(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  using namespace mbarrier;
  if (in.modifiers.empty()) return false;
  for (std::string_view modifier : in.modifiers) {
    if (modifier == "shared::cluster" || modifier == "cluster") decoder.fail(in, "clusters are not simulated");
  }
  const std::string_view operation = in.modifiers[0];
  const auto& operands = in.operands;
  auto read32 = [&](const Operand& operand) { return decoder.read(operand, Width::b32); };
  if (operation == "pending_count") {
    if (operands.size() != 2) return false;
    out.d = decoder.write(operands[0], Width::b32);
    out.b = decoder.read(operands[1], Width::b64);
    out.run = pending_count;
    return true;
  }
  if (operation == "init" || operation == "inval" || operation == "expect_tx" || operation == "complete_tx") {
    if (operands.size() != (operation == "inval" ? 1u : 2u)) return false;
    decode_place(in, operands[0], decoder, out);
    if (operation != "inval") out.b = read32(operands[1]);
    if (operation == "expect_tx") out.more = kExpectsBytes;
    out.run = operation == "init" ? initialize : operation == "inval" ? invalidate : expect_bytes;
    return true;
  }
  if (operation == "arrive" || operation == "arrive_drop") {
    if (operands.size() < 2) return false;
    if (operands[0].kind != Operand::Kind::sink) out.d = decoder.write(operands[0], Width::b64);
    decode_place(in, operands[1], decoder, out);
    if (operation == "arrive_drop") out.more |= kDrop;
    if (in.has("noComplete")) out.more |= kNoComplete;
    const bool expects = in.has("expect_tx");
    if (operands.size() > 3 || (expects && operands.size() != 3)) return false;
    if (operands.size() == 3) (expects ? out.c : out.b) = read32(operands[2]);
    out.run = arrive_lanes;
    return true;
  }
  if (operation == "test_wait" || operation == "try_wait") {
    if (operands.size() < 3) return false;
    const bool by_parity = in.has("parity");
    out.d = decoder.write(operands[0], Width::pred);
    decode_place(in, operands[1], decoder, out);
    out.b = decoder.read(operands[2], by_parity ? Width::b32 : Width::b64);
    out.run = by_parity ? test<true> : test<false>;
    return true;
  }
  return false;
}

}  // namespace sim::access

#include "machine/copies.h"

#include <algorithm>

#include "error.h"
#include "isa/mbarrier.h"
#include "isa/memory_decoding.h"
#include "isa/memory_lanes.h"
#include "machine/races.h"
#include "machine/shared_bits.h"

// cp.async. A copy reads and writes when it is waited for; its addresses are checked when it is issued.
namespace sim::access {
namespace {

using ptx::Operand;
using ptx::Space;
using ptx::Type;

// a: destination, with `e` (a constant) added; b: source, with `immediate` added; c: bytes to read (kNowhere: all); d:
// predicate to read nothing; more: bytes to write. kWide is the source's, kWideDestination the destination's.
constexpr std::uint8_t kWideDestination = kResult;

template <bool checked>
void copy(Warp& warp, const Instruction& in) {
  const unsigned bytes = in.more;
  alignas(64) Offsets to;
  const std::uint32_t offset = warp.at<std::uint32_t>(in.e)[0];
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((in.flags & kWideDestination) != 0) {
      const std::uint64_t sum =
          warp.at<std::uint64_t>(in.a)[lane] + static_cast<std::uint64_t>(static_cast<std::int32_t>(offset));
      to[lane] = sum > 0xffffffff ? kOutside : static_cast<std::uint32_t>(sum);
    } else {
      to[lane] = warp.at<std::uint32_t>(in.a)[lane] + offset;
    }
  }
  Instruction source = in;
  source.a = in.b;
  alignas(64) Addresses from;
  read_addresses(warp, source, from);

  PendingCopies::Copy copy;
  copy.mask = warp.mask;
  copy.bytes = bytes;
  const Mask ignored = in.d == kNowhere ? 0 : *warp.at<Mask>(in.d);
  const std::uint32_t* given = in.c == kNowhere ? nullptr : warp.at<std::uint32_t>(in.c);
  Mask whole = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    const std::uint32_t count = (ignored >> lane & 1) != 0 ? 0 : given == nullptr ? bytes : std::min(given[lane], bytes);
    copy.from_bytes[lane] = static_cast<std::uint8_t>(count);
    whole |= static_cast<Mask>(count == bytes) << lane;
  }
  whole &= warp.mask;

  // Shared memory: bounds only; who else touches the bytes is asked below.
  const Mask all = warp.mask;
  {
    const Block& block = *warp.block;
    for (Mask rest = all; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      if (to[lane] % bytes != 0 || std::uint64_t{to[lane]} + bytes > block.shared_bytes) {
        shared_fault(warp, in, to, all, {bytes, bytes, AccessKind::write}, {});
      }
    }
    if constexpr (checked) check_shared_layout(warp, in, to, all, {bytes, bytes, AccessKind::write});
    if (is_counted(warp)) count_wavefronts(warp, in, to, all, bytes);  // its bytes are those that it reads
  }
  auto resolve = [&](Mask lanes, unsigned count) {
    alignas(64) Addresses address;
    std::copy(from, from + kLanes, address);
    warp.mask = lanes;
    const std::ptrdiff_t delta = resolve_global<checked>(warp, in, address, {count, bytes, AccessKind::read});
    warp.mask = all;
    for (Mask rest = lanes; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      copy.from[lane] = reinterpret_cast<const std::byte*>(address[lane] + static_cast<std::uint64_t>(delta));
    }
  };
  if (whole != 0) resolve(whole, bytes);
  for (Mask rest = all & ~whole; rest != 0;) {
    const unsigned count = copy.from_bytes[std::countr_zero(rest)];
    Mask same = 0;
    for (int lane = 0; lane < kLanes; ++lane) same |= static_cast<Mask>(copy.from_bytes[lane] == count) << lane;
    same &= rest;
    if (count != 0) resolve(same, count);
    rest &= ~same;
  }
  std::copy(to, to + kLanes, copy.to.begin());
  if constexpr (checked) {
    if (warp.block->races != nullptr) {
      warp.block->races->begin_copy(warp, in, to, all, bytes);
      // Reading before the wait is the race check's finding, not one of reading what was never written.
      if (warp.block->shared_initialized != nullptr) {
        for (Mask rest = all; rest != 0; rest &= rest - 1)
          set_bits(warp.block->shared_initialized, to[std::countr_zero(rest)], bytes);
      }
    }
  }
  warp.block->copies->issue(warp, copy);
}

void commit(Warp& warp, const Instruction&) { warp.block->copies->commit(warp); }
void wait_group(Warp& warp, const Instruction& in) {
  warp.block->copies->wait_group(warp, static_cast<std::uint32_t>(in.immediate));
}
void wait_all(Warp& warp, const Instruction&) { warp.block->copies->wait_all(warp); }

template <bool increments>
void arrive(Warp& warp, const Instruction& in) {
  Offsets offset;
  mbarrier::offsets(warp, in, offset);
  if (increments) {
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1)
      mbarrier::expect_arrival(warp, in, std::countr_zero(rest), offset[std::countr_zero(rest)]);
  }
  warp.block->copies->arrive_when_done(warp, offset);
}

bool decode_bytes(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  for (std::string_view modifier : in.modifiers) {
    if (modifier != "async" && modifier != "ca" && modifier != "cg" && space_named(modifier) == Space::none &&
        !is_cache_hint(modifier))
      return false;
  }
  std::size_t operands = in.operands.size();
  if (in.has("L2::cache_hint") && operands > 0) --operands;
  if (operands < 3 || operands > 4 || in.operands[2].kind != Operand::Kind::integer) return false;
  const std::int64_t bytes = in.operands[2].value;
  if (bytes != 16 && (in.has("cg") || (bytes != 4 && bytes != 8)))
    decoder.fail(in, "cp.async copies 4, 8 or 16 bytes; with .cg 16");
  const Address to = decode_address(in, in.operands[0], Space::shared, decoder);
  const Address from = decode_address(in, in.operands[1], Space::global, decoder);
  out.a = to.base;
  out.e = decoder.constant(static_cast<std::uint32_t>(to.offset), Width::b32);
  if (to.wide) out.flags |= kWideDestination;
  out.b = from.base;
  out.immediate = from.offset;
  if (from.wide) out.flags |= kWide;
  out.more = static_cast<std::uint8_t>(bytes);
  if (operands == 4) {
    const Operand& size = in.operands[3];
    if (decoder.width(size) == Width::pred) {
      out.d = decoder.read(size, Width::pred);
    } else {
      out.c = decoder.read(size, Width::b32);
    }
  }
  out.run = is_checked() ? copy<true> : copy<false>;
  return true;
}

}  // namespace

bool decode_copy(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  if (!in.has("async") || in.has("bulk") || in.has("tensor") || in.has("reduce") || in.has("shared::cluster")) {
    decoder.fail(in, "bulk and tensor copies are not simulated");
  }
  if (in.has("commit_group")) {
    out.run = commit;
  } else if (in.has("wait_group")) {
    if (in.operands.size() != 1 || in.operands[0].kind != Operand::Kind::integer || in.operands[0].value < 0) return false;
    out.immediate = in.operands[0].value;
    out.run = wait_group;
  } else if (in.has("wait_all")) {
    out.run = wait_all;
  } else if (in.has("mbarrier")) {
    if (!in.has("arrive") || in.operands.size() != 1) return false;
    mbarrier::decode_place(in, in.operands[0], decoder, out);
    out.run = in.has("noinc") ? arrive<false> : arrive<true>;
  } else {
    return decode_bytes(in, decoder, out);
  }
  return true;
}

}  // namespace sim::access

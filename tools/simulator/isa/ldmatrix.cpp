#include <immintrin.h>

#include <array>
#include <cstring>

#include "error.h"
#include "isa/memory_decoding.h"
#include "machine/checks.h"

// ldmatrix, stmatrix, movmatrix: 8x8 matrices of 16-bit elements. Lane l holds elements 2(l % 4) and 2(l % 4) + 1 of row l / 4;
// a row is 16 bytes in shared memory, and lanes 8m to 8m + 7 give the rows of matrix m.
namespace sim::access {
namespace {

using ptx::Operand;
using ptx::Space;

using Matrix = std::array<std::array<std::uint16_t, 8>, 8>;

constexpr unsigned kRow = 16;  // bytes

// list: a register for each matrix; more: how many. The rows' lanes take part even when the result of a lane is not wanted.
template <bool checked>
void rows(Warp& warp, const Instruction& in, bool write, std::uint32_t* offset) {
  const Mask all = warp.mask;
  const unsigned lanes = in.more * 8u;
  const Mask wanted = lanes == 32 ? kAllLanes : (1u << lanes) - 1;
  if ((wanted & ~all) != 0) {
    checks::report(warp, in, std::countr_zero(all), Fault::exited_lanes,
                   "lanes whose addresses a matrix instruction needs do not take part in it");
    throw LaunchAbort{719};
  }
  Addresses address;
  read_addresses(warp, in, address);
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((in.flags & kGeneric) != 0) address[lane] -= kSharedWindow;
    offset[lane] = address[lane] > 0xffffffff ? kOutside : static_cast<std::uint32_t>(address[lane]);
  }
  warp.mask = wanted;
  resolve_shared<checked>(warp, in, offset, {kRow, kRow, write ? AccessKind::write : AccessKind::read});
  warp.mask = all;
}

// The rows of a matrix are its lanes' registers side by side, so is each row of the transposed one.
void load_rows(const std::byte* shared, const std::uint32_t* offset, bool transposed, std::uint32_t* d) {
  __m128i r[8];
  for (int row = 0; row < 8; ++row) r[row] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(shared + offset[row]));
  if (transposed) {
    __m128i a[8], b[8];
    for (int n = 0; n < 4; ++n) {
      a[2 * n] = _mm_unpacklo_epi16(r[2 * n], r[2 * n + 1]);
      a[2 * n + 1] = _mm_unpackhi_epi16(r[2 * n], r[2 * n + 1]);
    }
    for (int half = 0; half < 2; ++half) {
      for (int n = 0; n < 2; ++n) {
        b[4 * half + 2 * n] = _mm_unpacklo_epi32(a[4 * half + n], a[4 * half + 2 + n]);
        b[4 * half + 2 * n + 1] = _mm_unpackhi_epi32(a[4 * half + n], a[4 * half + 2 + n]);
      }
    }
    for (int n = 0; n < 4; ++n) {
      r[2 * n] = _mm_unpacklo_epi64(b[n], b[4 + n]);
      r[2 * n + 1] = _mm_unpackhi_epi64(b[n], b[4 + n]);
    }
  }
  for (int row = 0; row < 8; ++row) _mm_storeu_si128(reinterpret_cast<__m128i*>(d + 4 * row), r[row]);
}

template <bool checked, bool transposed>
void load(Warp& warp, const Instruction& in) {
  Offsets offset;
  rows<checked>(warp, in, false, offset);
  for (unsigned m = 0; m < in.more; ++m) {
    auto* d = warp.at<std::uint32_t>(in.list[m]);
    if (warp.mask == kAllLanes) {
      load_rows(warp.block->shared, offset + std::size_t{m} * 8, transposed, d);
      continue;
    }
    Matrix matrix;
    for (unsigned row = 0; row < 8; ++row) std::memcpy(matrix[row].data(), warp.block->shared + offset[m * 8 + row], kRow);
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
      const auto lane = static_cast<unsigned>(std::countr_zero(rest));
      const unsigned row = lane / 4, column = lane % 4 * 2;
      d[lane] = transposed ? matrix[column][row] | static_cast<std::uint32_t>(matrix[column + 1][row]) << 16
                           : matrix[row][column] | static_cast<std::uint32_t>(matrix[row][column + 1]) << 16;
    }
  }
}

template <bool checked, bool transposed>
void store(Warp& warp, const Instruction& in) {
  Offsets offset;
  rows<checked>(warp, in, true, offset);
  for (unsigned m = 0; m < in.more; ++m) {
    Matrix matrix;
    for (unsigned row = 0; row < 8; ++row) std::memcpy(matrix[row].data(), warp.block->shared + offset[m * 8 + row], kRow);
    const auto* s = warp.at<std::uint32_t>(in.list[m]);
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
      const auto lane = static_cast<unsigned>(std::countr_zero(rest));
      const unsigned row = lane / 4, column = lane % 4 * 2;
      (transposed ? matrix[column][row] : matrix[row][column]) = static_cast<std::uint16_t>(s[lane]);
      (transposed ? matrix[column + 1][row] : matrix[row][column + 1]) = static_cast<std::uint16_t>(s[lane] >> 16);
    }
    for (unsigned row = 0; row < 8; ++row) std::memcpy(warp.block->shared + offset[m * 8 + row], matrix[row].data(), kRow);
  }
}

void transpose(Warp& warp, const Instruction& in) {
  Matrix matrix{};
  const auto* a = warp.at<std::uint32_t>(in.a);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    matrix[lane / 4][lane % 4 * 2] = static_cast<std::uint16_t>(a[lane]);
    matrix[lane / 4][lane % 4 * 2 + 1] = static_cast<std::uint16_t>(a[lane] >> 16);
  }
  auto* d = warp.at<std::uint32_t>(in.d);
  for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<unsigned>(std::countr_zero(rest));
    const unsigned row = lane / 4, column = lane % 4 * 2;
    d[lane] = matrix[column][row] | static_cast<std::uint32_t>(matrix[column + 1][row]) << 16;
  }
}

// `registers` and `place` are the operands; true for m8n8 matrices of b16.
bool decode_rows(const ptx::Instruction& in, const Operand& registers, const Operand& place, bool load, Decoder& decoder,
                 Instruction& out, bool& transposed) {
  unsigned count = 0;
  Space space = Space::none;
  transposed = false;
  bool is_m8n8 = false, is_b16 = false;
  for (std::string_view modifier : in.modifiers) {
    if (modifier == "x1" || modifier == "x2" || modifier == "x4") {
      count = static_cast<unsigned>(modifier[1] - '0');
    } else if (modifier == "trans") {
      transposed = true;
    } else if (modifier == "m8n8") {
      is_m8n8 = true;
    } else if (modifier == "b16") {
      is_b16 = true;
    } else if (space_named(modifier) == Space::shared) {
      space = Space::shared;
    } else if (modifier != "sync" && modifier != "aligned") {
      return false;
    }
  }
  if (count == 0 || !is_m8n8 || !is_b16) return false;
  std::vector<Location> locations;
  auto add = [&](const Operand& operand) {
    locations.push_back(load ? decoder.write(operand, Width::b32) : decoder.read(operand, Width::b32));
  };
  if (registers.kind == Operand::Kind::vector) {
    for (const Operand& element : registers.elements) add(element);
  } else {
    add(registers);
  }
  if (locations.size() != count) return false;
  const Address address = decode_address(in, place, space, decoder);
  out.list = decoder.list(std::move(locations));
  out.more = static_cast<std::uint8_t>(count);
  out.a = address.base;
  out.immediate = address.offset;
  if (address.wide) out.flags |= kWide;
  if (address.space == Space::none) out.flags |= kGeneric;
  out.kind = Kind::warp_sync;
  return true;
}

}  // namespace

bool decode_load_matrix(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  bool transposed = false;
  if (in.operands.size() != 2 || !decode_rows(in, in.operands[0], in.operands[1], true, decoder, out, transposed)) return false;
  if (is_checked()) {
    out.run = transposed ? load<true, true> : load<true, false>;
  } else {
    out.run = transposed ? load<false, true> : load<false, false>;
  }
  return true;
}

bool decode_store_matrix(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  bool transposed = false;
  if (in.operands.size() != 2 || !decode_rows(in, in.operands[1], in.operands[0], false, decoder, out, transposed))
    return false;
  if (is_checked()) {
    out.run = transposed ? store<true, true> : store<true, false>;
  } else {
    out.run = transposed ? store<false, true> : store<false, false>;
  }
  return true;
}

bool decode_move_matrix(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  if (in.operands.size() != 2 || !in.has("m8n8") || !in.has("trans") || !in.has("b16")) return false;
  out.d = decoder.write(in.operands[0], Width::b32);
  out.a = decoder.read(in.operands[1], Width::b32);
  out.kind = Kind::warp_sync;
  out.run = transpose;
  return true;
}

}  // namespace sim::access

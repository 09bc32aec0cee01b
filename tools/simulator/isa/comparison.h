// What the files of the comparison family share.
#pragma once
#include <bit>
#include <cstdint>
#include <vector>

#include "isa/decoder.h"

namespace sim {

std::vector<OpcodeEntry> selection_opcodes();  // selp slct; part of comparison_opcodes()

/// The number that a lane's bits are; with .ftz subnormal ones are zeros of their sign.
template <bool Flush>
float single(std::uint32_t bits) {
  return std::bit_cast<float>(Flush && (bits & 0x7f800000u) == 0 ? bits & 0x80000000u : bits);
}

}  // namespace sim

// mbarrier objects: 64 bits of shared memory.
#pragma once
#include <cstdint>

#include "isa/access.h"
#include "isa/decoder.h"

namespace sim::access::mbarrier {

/// An operand that is the address of one: in shared memory, by an offset or a generic address.
void decode_place(const ptx::Instruction& in, const ptx::Operand& operand, Decoder& decoder, Instruction& out);
/// The active lanes' offsets in shared memory, in bounds. Throws LaunchAbort.
void offsets(Warp& warp, const Instruction& in, std::uint32_t* offset);
/// One more arrival is waited for in the phase under way.
void expect_arrival(Warp& warp, const Instruction& in, int lane, std::uint32_t offset);

}  // namespace sim::access::mbarrier

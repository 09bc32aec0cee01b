// Pointwise chains. About a flop per byte and less: the time is that of memory.
#include "kernels/cpu/simd/chain_tile.h"

namespace gannet::kernels::cpu::GANNET_VECTOR_SET {

void run_chain(const Chain& chain, const void* const* inputs, void* const* outputs, std::int64_t begin, std::int64_t end) {
  ChainTile tile(chain, inputs, outputs);
  for (std::int64_t p = begin; p < end; p += chain.tile) tile.evaluate(p, end - p < chain.tile ? end - p : chain.tile);
}

}  // namespace gannet::kernels::cpu::GANNET_VECTOR_SET

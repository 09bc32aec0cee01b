// Sums over the ranks, in the order of the ranks: the same bits wherever they are made and however tensors are cut.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/tensor.h"

namespace gannet {

// out[i] = scale * (parts[0][i] + parts[1][i] + ...), in f32; bf16 is rounded once, to nearest even. f32 or bf16; `out` may be
// one of the parts.
void sum_of_ranks(DType type, std::span<const void* const> parts, float scale, void* out, std::size_t elements);

}  // namespace gannet

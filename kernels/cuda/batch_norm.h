// Batch normalisation: what its two kernels are given, and how they are chosen.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/batch_norm.h"

namespace gannet::kernels::cuda::batch_norm {

constexpr int threads = 512;
constexpr std::uint32_t tile_bytes = 128;  // of a row of pixels: a whole line of the cache
constexpr std::uint32_t max_tile_channels = tile_bytes / 2;

// x as rows of `channels` numbers, `rows` of them in each group. Work items are (group, tile, chunk), chunk fastest; block b
// takes items b, b + blocks, …
struct Task {
  const void *x, *dy;
  void* y;  // or dx
  const float *gamma, *beta;
  float *mean, *variance;  // outputs of forward, inputs of backward
  const float *running_mean, *running_variance;
  float *new_running_mean, *new_running_variance;
  float momentum;  // 0: there are no running statistics
  float *dgamma, *dbeta;
  float* partial;  // (groups, chunks, 2, channels): mean and squares about it; or sums of dy and of dy times x - mean
  std::uint32_t rows, channels;
  std::uint32_t groups, tiles, chunks, items;
  std::uint32_t chunk_rows;
  std::uint32_t width;        // packets of a tile's row
  std::uint32_t cached_rows;  // of a block
  float epsilon;
  Activation::Kind activation;
  float slope;  // of the activation below 0; 1 where there is none
};

// curved: the activation is not made of lines, and takes registers.
inline bool is_curved(const Activation& activation) {
  return activation.kind == Activation::Kind::tanh || activation.kind == Activation::Kind::sigmoid;
}

// The kernel of a spec. packets: of 16 bytes, or of four numbers where the activation is curved; otherwise single numbers.
const void* forward_kernel(const BatchNorm& spec, bool packets);
const void* backward_kernel(const BatchNorm& spec, bool packets);

}  // namespace gannet::kernels::cuda::batch_norm

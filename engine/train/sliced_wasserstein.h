// Sliced Wasserstein distance between the local structure of two sets of pictures (Karras et al. 2018, section 5). It needs no
// network.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace gannet {

// A Laplacian pyramid of each picture, halved while the side stays at least 16; from every level and picture `patches` patches
// of 7x7; each channel of a set's patches normalised to mean 0 and deviation 1; the mean over `projections` random directions
// of the Wasserstein-1 distance of the projected patches.
struct SlicedWassersteinOptions {
  std::int64_t patches = 128;
  std::int64_t projections = 512;
  std::uint64_t seed = 1;
  int threads = 1;  // the result does not depend on it
};

struct SlicedWasserstein {
  std::vector<std::int64_t> sides;  // height of each level, finest first
  std::vector<double> distances;    // of each level, times 1000
  double mean = 0;
};

// Two sets of the same shape (N,H,W,C), N, H and W alike. InputError when they differ or pictures are smaller than 7x7.
SlicedWasserstein sliced_wasserstein(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, const Shape& shape,
                                     const SlicedWassersteinOptions& options = {});

// A line that says how the figure was computed.
std::string protocol_of(const SlicedWassersteinOptions& options, std::int64_t pictures);

}  // namespace gannet

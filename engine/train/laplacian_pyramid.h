// The Laplacian pyramid of a picture (Burt & Adelson 1983).
#pragma once

#include <cstdint>
#include <vector>

namespace gannet {

struct PyramidLevel {
  std::int64_t height, width, channels;
  std::vector<float> values;  // (H,W,C)
};

// Finest first: each level is what its half-sized successor does not say of it; the last is the remaining picture. Adding the
// expanded successors back gives the picture. Halves while the smaller side stays at least `smallest_side` (2 or more).
std::vector<PyramidLevel> laplacian_pyramid(PyramidLevel image, std::int64_t smallest_side);

PyramidLevel reduce(const PyramidLevel& image);
PyramidLevel expand(const PyramidLevel& image, std::int64_t height, std::int64_t width);

}  // namespace gannet

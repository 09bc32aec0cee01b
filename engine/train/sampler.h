// Draws from a trained (or training) generator.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/data/image.h"
#include "engine/run/program.h"
#include "engine/train/model.h"

namespace gannet {

// Latent vectors (count, latent…). Vector i depends on (seed, i) alone.
std::vector<float> draw_latents(kernels::Backend& backend, const Latent& latent, std::int64_t count, std::uint64_t seed);

// The vectors on the great arc from `a` to `b`, both included (Shoemake 1985; White 2016): where noise is normal, points
// between have a norm that it has. (steps, size of a).
std::vector<float> interpolate(std::span<const float> a, std::span<const float> b, std::int64_t steps);

class Sampler {
 public:
  // Plans the generator in inference mode for `batch` vectors at a time; with averaged weights where the model has them.
  Sampler(const Model& model, State& state, std::int64_t batch);

  // z (count, latent…) -> samples (count, …) in [-1,1].
  std::vector<float> draw(std::span<const float> z);
  // Of one sample: (H,W,C), or (1) on a line.
  const Shape& shape() const { return shape_; }
  const Program& program() const { return program_; }

 private:
  std::int64_t batch_;
  std::int64_t latent_;
  Shape shape_;
  Program program_;
};

// A grid of `count` samples, whose noise depends on the state's seed alone: the same at every step, and after resuming.
Drawing grid_drawing(const Model& model, State& state, std::int64_t count);

// Samples in [-1,1] as bytes, (N,H,W,C) both.
std::vector<std::uint8_t> to_bytes(std::span<const float> samples);

// Pictures (H,W,C) in a grid that is about square.
Image sample_grid(std::span<const float> samples, const Shape& hwc);

// The deviation across samples, averaged over their elements: near zero when all samples are alike.
double spread(std::span<const float> samples, std::int64_t count);

}  // namespace gannet

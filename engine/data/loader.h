// Batches of a dataset in an endless, reproducible order, read ahead by a thread of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/data/dataset.h"
#include "kernels/tensor.h"

namespace gannet {

// The sample stream: epoch after epoch, each a permutation of the whole dataset keyed by (seed, epoch); nothing is dropped at
// an epoch's end. Its value at any position depends on (seed, position) alone, so a run resumes from a position.
class SampleStream {
 public:
  SampleStream(std::int64_t size, std::uint64_t seed);
  // The sample at a position. Shuffles (O(size)) when the position is in another epoch than the last one asked for.
  std::int64_t index(std::uint64_t position);
  // Whether the sample at a position is mirrored, when flips are on: a fair coin.
  bool flipped(std::uint64_t position) const;

 private:
  std::uint64_t seed_;
  std::uint64_t epoch_;
  std::vector<std::uint32_t> order_;
};

struct Batch {
  std::span<const std::uint8_t> images;  // (N,H,W,C)
  std::span<const std::int32_t> labels;  // (N); empty when the dataset has none
  std::uint64_t position = 0;            // of the stream after this batch, over all ranks: what a checkpoint keeps
};

struct LoaderOptions {
  std::int64_t batch = 1;  // of this rank
  std::uint64_t seed = 0;
  bool flips = false;          // mirror half of the pictures left to right
  std::uint64_t position = 0;  // samples drawn before, over all ranks
  int rank = 0;                // each global batch of world * batch samples of the one stream
  int world = 1;               // is cut in `world` runs; this loader draws run `rank`
};

class Loader {
 public:
  Loader(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  // The next batch, valid until the next call. Rethrows what went wrong while reading ahead (RuntimeError: the dataset file
  // was cut short meanwhile).
  const Batch& next();
  // Samples drawn by the batches that next() has returned, over all ranks.
  std::uint64_t position() const { return position_; }

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
  std::uint64_t position_;
};

}  // namespace gannet

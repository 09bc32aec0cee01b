// What a family is to the trainer: programs to run in order each step, what they draw, and how to sample.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/data/image.h"
#include "engine/graph/graph.h"
#include "engine/graph/ops.h"
#include "engine/train/config.h"

namespace gannet {

class Program;
class State;

// One program of a step, run `repeats` times in a row (n_critic). Run r of step s is the phase's run s * repeats + r
// (steps counted from 0): that number is fed to the input "step" and is the entry that --replay takes.
struct Phase {
  std::string name;  // "step", "critic", "generator"
  int repeats = 1;
  std::unique_ptr<Graph> graph;
};

struct Latent {
  Shape shape;  // of one sample: (latent)
  kernels::Random::Distribution distribution = kernels::Random::Distribution::normal;
};

// What draws the picture of a step, planned before the first one, so that the memory of a run is known.
struct Drawing {
  struct Result {
    Image picture;
    std::vector<std::byte> png;
    std::vector<std::pair<std::string, double>> figures;  // for the metrics, TensorBoard and the log
  };
  std::vector<std::shared_ptr<const Program>> programs;  // that it runs
  std::size_t staging_bytes = 0;                         // on the host while it draws
  // step: steps made. Writes the picture to `file`, and whatever belongs beside it.
  std::function<Result(std::int64_t step, const std::filesystem::path& file)> draw;
};

// Inputs that the trainer feeds, by name, where a graph has them:
//   step                    i32 ()         see Phase
//   learning_rate.PLAYER    f32 ()         PLAYER: generator, discriminator
//   real                    u8 (N,H,W,C) from the loader; f32 (N,H,W,C) in [-1,1] when replaying
//   labels                  i32 (N)
//   any draw's name         f32, when replaying
// Outputs that it reports: loss_d, loss_g, d_real, d_fake, and any other of rank 0 under its own name;
//   nonfinite.PLAYER        i32 ()         of optimizer_update: which gradient of the player is not finite
//   fake                    the generator's samples of this run, for the collapse warning (optional)
struct Model {
  std::vector<Phase> phases;
  Latent latent;
  // Parameter names of a player in the order of its optimizer (to name a non-finite gradient).
  std::vector<std::string> generator_parameters, discriminator_parameters;
  // Traces the generator in inference mode: z (N, latent…) f32 -> samples f32 (N,H,W,C) in [-1,1] (or (N,1) on a line).
  // ema: with the averaged weights.
  std::function<Value(Graph&, Value z, bool ema)> sample;
  // Traces the discriminator in inference mode: samples -> logits (N,1); null where the family has none.
  std::function<Value(Graph&, Value samples)> discriminate;
  // Where samples are not pictures: what to draw in place of a grid of them.
  std::function<Drawing(State&)> plan_drawing;
  bool has_ema = false;
  bool uses_images = true;  // false: real samples are drawn inside the graph (gaussian1d)
};

// What a trace depends on beside the configuration.
struct TraceOptions {
  bool replay = false;      // samples and noise come from a file
  int rank = 0, ranks = 1;  // each batch is cut in `ranks` equal runs; the programs compute run `rank`

  // Samples of a batch of the configuration that the programs compute. InputError where it can not be cut.
  std::int64_t batch(const Config& config) const;
};

// Gives a family's trace its outside: data, noise and rates, from the loader and Philox or from a replay file. Shapes begin
// with the samples that this rank computes; it gets its run of the one global stream.
class Tracer {
 public:
  Tracer(Graph& graph, std::uint64_t seed, const TraceOptions& options) : graph_(graph), seed_(seed), options_(options) {}

  Graph& graph() const { return graph_; }
  Value step();
  Value learning_rate(const std::string& player);
  // Pictures in [-1,1], f32 (N,H,W,C).
  Value real(const Shape& nhwc);
  // Noise: a random operator whose stream is a hash of the name, or an input of that name when replaying.
  Value normal(const std::string& name, const Shape& shape, float mean = 0, float deviation = 1);
  Value uniform(const std::string& name, const Shape& shape, float low, float high);

 private:
  Graph& graph_;
  std::uint64_t seed_;
  TraceOptions options_;
  Value step_;
};

// A family: its keys beside the common ones, its ready configurations (JSON texts by name), and its trace.
struct Family {
  std::string name;
  std::string summary;  // a line for `gannet train --help`
  std::vector<Key> keys;
  // Refuses combinations that make no sense (InputError with the reason), then traces.
  std::function<Model(const Config&, const TraceOptions&)> trace;
};

}  // namespace gannet

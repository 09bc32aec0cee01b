#include "engine/train/sampler.h"

#include <algorithm>
#include <cmath>

#include "engine/data/file.h"
#include "kernels/check.h"

namespace gannet {
namespace {

constexpr std::int64_t chunk = 64;  // latent vectors drawn at a time: fixed, so that vector i does not depend on their number

Shape with_count(std::int64_t count, const Shape& shape) {
  std::vector<std::int64_t> extents = {count};
  extents.insert(extents.end(), shape.begin(), shape.end());
  return Shape(extents);
}

// Traces and plans; `shape` gets the sample's.
Program plan(const Model& model, State& state, std::int64_t batch, Shape& shape) {
  Graph graph;
  const Value z = graph.input("z", {DType::f32, with_count(batch, model.latent.shape)});
  const Value samples = model.sample(graph, z, model.has_ema);
  shape = Shape(std::span(samples.shape().begin() + 1, samples.shape().end()));
  graph.output("samples", samples);
  return {graph, state};
}

}  // namespace

std::vector<float> draw_latents(kernels::Backend& backend, const Latent& latent, std::int64_t count, std::uint64_t seed) {
  constexpr std::uint32_t stream = 0x73616d70;  // none that a training step draws from
  Graph graph;
  const Value step = graph.input("step", {DType::i32, {}});
  const Shape shape = with_count(chunk, latent.shape);
  graph.output("z", latent.distribution == kernels::Random::Distribution::uniform
                        ? ops::random_uniform(step, shape, -1, 1, seed, stream)
                        : ops::random_normal(step, shape, 0, 1, seed, stream));
  State state(backend, seed);
  Program program(graph, state);
  std::vector<float> z, part(static_cast<std::size_t>(shape.elements()));
  for (std::int32_t index = 0; index * chunk < count; ++index) {
    program.write("step", &index, sizeof(index));
    program.run();
    program.read("z", part);
    z.insert(z.end(), part.begin(), part.end());
  }
  z.resize(static_cast<std::size_t>(count * latent.shape.elements()));
  return z;
}

std::vector<float> interpolate(std::span<const float> a, std::span<const float> b, std::int64_t steps) {
  double aa = 0, bb = 0, ab = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
    ab += double{a[i]} * b[i];
  }
  const double cosine = aa > 0 && bb > 0 ? std::clamp(ab / std::sqrt(aa * bb), -1.0, 1.0) : 1.0;
  const double angle = std::acos(cosine);
  std::vector<float> result;
  for (std::int64_t s = 0; s < steps; ++s) {
    const double t = steps > 1 ? static_cast<double>(s) / static_cast<double>(steps - 1) : 0;
    const bool straight = std::sin(angle) < 1e-6;  // along one line the arc is not defined
    const double from = straight ? 1 - t : std::sin((1 - t) * angle) / std::sin(angle);
    const double to = straight ? t : std::sin(t * angle) / std::sin(angle);
    for (std::size_t i = 0; i < a.size(); ++i) result.push_back(static_cast<float>(from * a[i] + to * b[i]));
  }
  return result;
}

Sampler::Sampler(const Model& model, State& state, std::int64_t batch)
    : batch_(batch), latent_(model.latent.shape.elements()), program_(plan(model, state, batch, shape_)) {}

std::vector<float> Sampler::draw(std::span<const float> z) {
  const auto latent = static_cast<std::size_t>(latent_), batch = static_cast<std::size_t>(batch_);
  const auto size = static_cast<std::size_t>(shape_.elements());
  GANNET_CHECK(z.size() % latent == 0, "latent vectors have {} elements each, not {} in all", latent, z.size());
  const std::size_t count = z.size() / latent;
  std::vector<float> samples(count * size), input(batch * latent), output(batch * size);
  for (std::size_t first = 0; first < count; first += batch) {
    const std::size_t present = std::min(batch, count - first);
    std::copy_n(z.begin() + static_cast<std::ptrdiff_t>(first * latent), present * latent, input.begin());
    program_.write("z", input.data(), input.size() * sizeof(float));
    program_.run();
    program_.read("samples", output);
    std::copy_n(output.begin(), present * size, samples.begin() + static_cast<std::ptrdiff_t>(first * size));
  }
  return samples;
}

Drawing grid_drawing(const Model& model, State& state, std::int64_t count) {
  const auto sampler = std::make_shared<Sampler>(model, state, std::min(count, chunk));
  const std::size_t elements = static_cast<std::size_t>(count) * static_cast<std::size_t>(sampler->shape().elements());
  Drawing drawing;
  drawing.programs = {{sampler, &sampler->program()}};
  drawing.staging_bytes = elements * (sizeof(float) + 2);  // samples, their bytes, the grid
  drawing.draw = [sampler, latents = draw_latents(state.backend(), model.latent, count, state.seed())](
                     std::int64_t, const std::filesystem::path& file) {
    Drawing::Result grid;
    grid.picture = sample_grid(sampler->draw(latents), sampler->shape());
    grid.png = encode_png(grid.picture);
    atomic_write(file, grid.png);
    return grid;
  };
  return drawing;
}

std::vector<std::uint8_t> to_bytes(std::span<const float> samples) {
  std::vector<std::uint8_t> bytes(samples.size());
  std::transform(samples.begin(), samples.end(), bytes.begin(), [](float value) {
    const float scaled = (value + 1) * 127.5f;
    return static_cast<std::uint8_t>(scaled > 0 ? std::lrint(std::min(scaled, 255.0f)) : 0);  // NaN is 0
  });
  return bytes;
}

Image sample_grid(std::span<const float> samples, const Shape& hwc) {
  const std::int64_t count = static_cast<std::int64_t>(samples.size()) / hwc.elements();
  const int columns = static_cast<int>(std::ceil(std::sqrt(static_cast<double>(count))));
  return make_grid(to_bytes(samples), with_count(count, hwc), columns);
}

double spread(std::span<const float> samples, std::int64_t count) {
  const std::size_t n = static_cast<std::size_t>(count), size = samples.size() / n;
  double deviations = 0;
  for (std::size_t i = 0; i < size; ++i) {
    double sum = 0, squares = 0;
    for (std::size_t s = 0; s < n; ++s) {
      const double value = samples[s * size + i];
      sum += value;
      squares += value * value;
    }
    const double mean = sum / static_cast<double>(n);
    deviations += std::sqrt(std::max(0.0, squares / static_cast<double>(n) - mean * mean));
  }
  return deviations / static_cast<double>(size);
}

}  // namespace gannet

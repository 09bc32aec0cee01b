// gannet sample
#include <fmt/format.h>

#include <charconv>

#include "engine/data/file.h"
#include "engine/data/safetensors.h"
#include "engine/train/sampler.h"
#include "tools/gannet/command.h"
#include "tools/gannet/configuration.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {
namespace {

namespace fs = std::filesystem;

struct Options {
  fs::path run, out = "samples.png", z;
  std::int64_t count = 64;
  std::uint64_t seed = 1;
  std::string interpolate;
  DeviceOptions device;
};

std::vector<float> latents_from(const fs::path& path, const Latent& latent) {
  const SafetensorsFile file(path);
  GANNET_CHECK(file.contains("z"), "{}: has no tensor 'z'", path.string());
  const auto& shape = file.entries().at("z").shape;
  const bool fits = shape.size() == static_cast<std::size_t>(latent.shape.rank()) + 1 && shape[0] > 0 &&
                    std::equal(latent.shape.begin(), latent.shape.end(), shape.begin() + 1);
  GANNET_CHECK(fits, "{}: tensor 'z' is ({}); this model's latent vectors are {}: it must be (N,{})", path.string(),
               fmt::join(shape, ","), to_string(latent.shape), fmt::join(latent.shape, ","));
  return file.values("z");
}

// The arc between latent vectors A and B of the seed.
std::vector<float> arc(const std::string& ends, kernels::Backend& backend, const Latent& latent, const Options& options) {
  std::int64_t a = -1, b = -1;
  const char* const last = ends.data() + ends.size();
  const auto [colon, first_error] = std::from_chars(ends.data(), last, a);
  const bool parsed = first_error == std::errc() && colon != last && *colon == ':';
  const auto [end, second_error] = std::from_chars(parsed ? colon + 1 : last, last, b);
  GANNET_CHECK(parsed && second_error == std::errc() && end == last && a >= 0 && b >= 0 && std::max(a, b) < 1000000,
               "--interpolate takes A:B, the numbers of two of the seed's samples, not '{}'", ends);
  const std::vector<float> z = draw_latents(backend, latent, std::max(a, b) + 1, options.seed);
  const auto size = static_cast<std::size_t>(latent.shape.elements());
  const std::span<const float> all(z);
  return interpolate(all.subspan(static_cast<std::size_t>(a) * size, size),
                     all.subspan(static_cast<std::size_t>(b) * size, size), options.count);
}

void write_tensors(const fs::path& path, std::span<const float> samples, std::span<const float> z, const Shape& sample,
                   const Latent& latent) {
  const std::int64_t count = static_cast<std::int64_t>(z.size()) / latent.shape.elements();
  std::vector<float> values(samples.begin(), samples.end());
  std::vector<std::int64_t> shape = {count}, z_shape = {count};
  if (sample.rank() == 3) {  // PyTorch's (N,C,H,W)
    const std::int64_t pixels = sample[0] * sample[1], channels = sample[2];
    for (std::int64_t n = 0; n < count; ++n)
      for (std::int64_t p = 0; p < pixels; ++p)
        for (std::int64_t c = 0; c < channels; ++c)
          values[static_cast<std::size_t>((n * channels + c) * pixels + p)] =
              samples[static_cast<std::size_t>((n * pixels + p) * channels + c)];
    shape.insert(shape.end(), {channels, sample[0], sample[1]});
  } else {
    shape.insert(shape.end(), sample.begin(), sample.end());
  }
  z_shape.insert(z_shape.end(), latent.shape.begin(), latent.shape.end());
  write_safetensors(path,
                    {{"samples", {DType::f32, Shape(shape), std::as_bytes(std::span(values))}},
                     {"z", {DType::f32, Shape(z_shape), std::as_bytes(z)}}},
                    {{"format", "pt"}});
}

void write_pictures(const fs::path& folder, std::span<const float> samples, const Shape& hwc) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw RuntimeError(fmt::format("cannot make folder {}: {}", folder.string(), error.message()));
  const std::vector<std::uint8_t> bytes = to_bytes(samples);
  const auto size = static_cast<std::size_t>(hwc.elements());
  Image image(static_cast<int>(hwc[0]), static_cast<int>(hwc[1]), static_cast<int>(hwc[2]));
  for (std::size_t n = 0; n * size < bytes.size(); ++n) {
    image.pixels.assign(bytes.begin() + static_cast<std::ptrdiff_t>(n * size),
                        bytes.begin() + static_cast<std::ptrdiff_t>((n + 1) * size));
    atomic_write(folder / fmt::format("{:06}.png", n), encode_png(image));
  }
}

int run(const Options& options) {
  const std::string extension = options.out.extension().string();
  GANNET_CHECK(extension.empty() || extension == ".png" || extension == ".safetensors",
               "--out {}: ends with neither .png nor .safetensors, and a folder's name has no extension", options.out.string());
  const fs::path folder = options.out.parent_path();
  GANNET_CHECK(extension.empty() || folder.empty() || fs::is_directory(folder), "{}: no such folder to write {} in",
               folder.string(), options.out.filename().string());
  const Trained trained(options.run);
  const auto backend = options.device.make_backend(trained.resolved.config);
  State state(*backend, options.seed);
  const Latent& latent = trained.model.latent;
  const std::vector<float> z = !options.z.empty()             ? latents_from(options.z, latent)
                               : !options.interpolate.empty() ? arc(options.interpolate, *backend, latent, options)
                                                              : draw_latents(*backend, latent, options.count, options.seed);
  const std::int64_t count = static_cast<std::int64_t>(z.size()) / latent.shape.elements();
  Sampler sampler(trained.model, state, std::min<std::int64_t>(count, 64));
  trained.checkpoint.restore(state, false);
  const bool pictures = sampler.shape().rank() == 3;
  GANNET_CHECK(pictures || extension == ".safetensors", "samples of family {} are no pictures: give --out FILE.safetensors",
               trained.resolved.family->name);
  const std::vector<float> samples = sampler.draw(z);
  if (extension == ".safetensors")
    write_tensors(options.out, samples, z, sampler.shape(), latent);
  else if (extension == ".png")
    atomic_write(options.out, encode_png(sample_grid(samples, sampler.shape())));
  else
    write_pictures(options.out, samples, sampler.shape());
  fmt::print("{}: {} samples of step {}{}\n", options.out.string(), count, trained.checkpoint.info().step,
             trained.model.has_ema ? ", averaged weights" : "");
  return 0;
}

}  // namespace

void add_sample(CLI::App& app, Chosen& chosen) {
  CLI::App* command =
      app.add_subcommand("sample", "Draw samples from a trained generator (its averaged weights where it has them)");
  auto options = std::make_shared<Options>();
  path(command->add_option("RUN", options->run, "A run folder (its newest checkpoint) or a checkpoint file"), "")->required();
  whole_number(command->add_option("--count", options->count, "Number of samples"), 1, 1000000)->capture_default_str();
  whole_number(command->add_option("--seed", options->seed, "Of the latent vectors; sample i depends on seed and i alone"), 0)
      ->capture_default_str();
  path(command->add_option(
           "--out", options->out,
           "FILE.png: a grid; FILE.safetensors: 'samples' float32 (N,C,H,W) in [-1,1] and 'z'; a folder: a PNG each"),
       "FILE|DIR")
      ->capture_default_str();
  CLI::Option* z = path(
      command->add_option("--z", options->z, "Latent vectors: tensor 'z' float32 (N,latent) of a safetensors file"), "FILE");
  command
      ->add_option(
          "--interpolate", options->interpolate,
          "--count samples along the great arc between latent vectors A and B of the seed (counted from 0); not with --z")
      ->type_name("A:B")
      ->excludes(z);
  options->device.add_to(*command);
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace gannet::tool

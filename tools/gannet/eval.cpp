// gannet eval
#include <fmt/format.h>

#include "engine/data/dataset.h"
#include "engine/data/loader.h"
#include "engine/train/sampler.h"
#include "engine/train/sliced_wasserstein.h"
#include "tools/gannet/command.h"
#include "tools/gannet/configuration.h"
#include "tools/gannet/usage.h"

namespace gannet::tool {
namespace {

namespace fs = std::filesystem;

struct Options {
  fs::path run, data;
  std::vector<std::string> metrics = {"swd"};
  std::int64_t count = 2048;
  std::uint64_t seed = 1;
  bool floor = false, json = false;
  SlicedWassersteinOptions swd;
  DeviceOptions device;
};

// `count` pictures of the dataset, from position `first` of the order that the seed gives it.
std::vector<std::uint8_t> real_pictures(const Dataset& dataset, std::int64_t count, std::uint64_t seed, std::int64_t first) {
  std::vector<std::uint8_t> pictures;
  pictures.reserve(static_cast<std::size_t>(count) * dataset.image_bytes());
  SampleStream stream(dataset.size(), seed);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto image = dataset.image(stream.index(static_cast<std::uint64_t>(first + i)));
    pictures.insert(pictures.end(), image.begin(), image.end());
  }
  return pictures;
}

nlohmann::json to_json(const SlicedWasserstein& result) {
  return {{"mean", result.mean}, {"sides", result.sides}, {"levels", result.distances}};
}

void print(const char* title, const SlicedWasserstein& result) {
  fmt::print("{:<22}", title);
  for (std::size_t i = 0; i < result.sides.size(); ++i) fmt::print("  {}: {:.2f}", result.sides[i], result.distances[i]);
  fmt::print("  mean: {:.2f}\n", result.mean);
}

int run(Options options) {
  const Dataset dataset(options.data);
  const Trained trained(options.run);
  const auto backend = options.device.make_backend(trained.resolved.config);
  State state(*backend, options.seed);
  Sampler sampler(trained.model, state, 64);
  GANNET_CHECK(sampler.shape().rank() == 3, "samples of family {} are no pictures: it has no metrics here",
               trained.resolved.family->name);
  trained.checkpoint.restore(state, false);
  const Shape &real = dataset.shape(), &fake = sampler.shape();
  GANNET_CHECK(real[1] == fake[0] && real[2] == fake[1] && real[3] == fake[2],
               "{}: its pictures are {}x{} with {} channels; the model draws {}x{} with {}", options.data.string(), real[1],
               real[2], real[3], fake[0], fake[1], fake[2]);
  const std::int64_t sets = options.floor ? 2 : 1;
  const std::int64_t count = std::min(options.count, dataset.size() / sets);
  GANNET_CHECK(count > 0, "{}: {} pictures are too few", options.data.string(), dataset.size());

  options.swd.seed = options.seed;
  options.swd.threads = options.device.threads > 0 ? options.device.threads : available_threads();
  const Shape shape{count, fake[0], fake[1], fake[2]};
  const std::vector<std::uint8_t> pictures = real_pictures(dataset, count, options.seed, 0);
  const std::vector<std::uint8_t> drawn =
      to_bytes(sampler.draw(draw_latents(*backend, trained.model.latent, count, options.seed)));
  const SlicedWasserstein distance = sliced_wasserstein(drawn, pictures, shape, options.swd);
  std::optional<SlicedWasserstein> floor;
  if (options.floor)
    floor = sliced_wasserstein(real_pictures(dataset, count, options.seed, count), pictures, shape, options.swd);

  const std::string protocol = protocol_of(options.swd, count);
  const CheckpointInfo& info = trained.checkpoint.info();
  if (options.json) {
    nlohmann::json report = {{"run", options.run.string()}, {"data", options.data.string()},
                             {"step", info.step},           {"averaged_weights", trained.model.has_ema},
                             {"protocol", protocol},        {"swd", to_json(distance)}};
    if (floor) report["swd_real"] = to_json(*floor);
    fmt::print("{}\n", report.dump(2));
    return 0;
  }
  fmt::print("{}: {}, step {}{}\n{}\n", trained.checkpoint.file().path().string(), info.family, info.step,
             trained.model.has_ema ? ", averaged weights" : "", protocol);
  print("generated and real", distance);
  if (floor) print("real and other real", *floor);
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Chosen& chosen) {
  CLI::App* command = app.add_subcommand("eval", "Measure the quality of a trained generator");
  auto options = std::make_shared<Options>();
  path(command->add_option("RUN", options->run, "A run folder (its newest checkpoint) or a checkpoint file"), "")->required();
  path(command->add_option("--data", options->data, "Dataset file to compare with (always needed)"), "FILE")->required();
  one_of(command->add_option("--metrics", options->metrics, "swd: sliced Wasserstein distance, which needs no network"),
         {"swd"})
      ->delimiter(',')
      ->capture_default_str();
  whole_number(command->add_option("--count", options->count, "Pictures of each set (at most the dataset's)"), 1, 1000000)
      ->capture_default_str();
  whole_number(
      command->add_option("--seed", options->seed, "Of latent vectors, choice of real pictures, patches and projections"), 0)
      ->capture_default_str();
  whole_number(command->add_option("--patches", options->swd.patches, "swd: patches of each picture and level"), 1, 4096)
      ->capture_default_str();
  whole_number(command->add_option("--projections", options->swd.projections, "swd: random directions"), 1, 65536)
      ->capture_default_str();
  command->add_flag("--floor", options->floor,
                    "Also compare real pictures with other real ones: the distance of a perfect generator");
  command->add_flag("--json", options->json, "Print JSON");
  options->device.add_to(*command);
  command->callback([options, &chosen] { chosen = [options] { return run(*options); }; });
}

}  // namespace gannet::tool

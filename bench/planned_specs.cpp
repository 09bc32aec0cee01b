#include "bench/planned_specs.h"

#include <cstdlib>
#include <cstring>
#include <memory>

#include "engine/train/sampler.h"
#include "engine/train/step.h"
#include "kernels/operands.h"
#include "models/models.h"

namespace gannet::bench {
namespace {

using namespace kernels;

class NoKernel final : public Kernel {
 public:
  void run(const Arguments&) override {}  // the numbers that weights start from are not needed
};

class ListingBackend final : public Backend {
 public:
  explicit ListingBackend(Together together) : together_(std::move(together)) {}
  std::vector<KernelSpec> specs;

  std::string name() const override { return "listing"; }
  std::unique_ptr<Kernel> create(const KernelSpec& spec) override {
    check_preconditions(spec);
    specs.push_back(spec);
    return std::make_unique<NoKernel>();
  }
  Layout picture_layout(const Shape&, DType) const override { return Layout::plain; }
  Layout filter_layout(const Shape&, DType) const override { return Layout::plain; }
  bool supports(DType) const override { return true; }
  bool ends_with_slopes() const override { return true; }
  bool computes_together(const ConvolutionBackward& spec) const override { return together_ && together_(spec); }
  void* allocate(std::size_t bytes) override { return std::aligned_alloc(64, (bytes + 64) / 64 * 64); }
  void release(void* memory) noexcept override { std::free(memory); }
  void upload(void* device, const void* host, std::size_t bytes) override { std::memcpy(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) override { std::memcpy(host, device, bytes); }
  void synchronize() override {}

 private:
  Together together_;
};

}  // namespace

Config resolved_configuration(const std::string& name_or_file, const std::vector<std::string>& settings) {
  const std::string_view ready = models::ready_configuration(name_or_file);
  nlohmann::json given = ready.empty() ? read_json(name_or_file) : parse_json(ready, name_or_file);
  for (const std::string& setting : settings) set_key(given, setting);
  const Family& family = models::family(given.at("model").at("family").get<std::string>());
  return Config(given, all_keys(family.keys));
}

std::vector<KernelSpec> planned_specs(const Config& config, std::int64_t samples, const Together& together) {
  ListingBackend backend(together);
  Step step(models::family(config.text("model.family")), config, backend, false);
  if (samples > 0) {
    Graph graph;
    Shape shape{samples};
    for (const std::int64_t extent : step.model().latent.shape) {
      std::vector<std::int64_t> extents(shape.begin(), shape.end());
      extents.push_back(extent);
      shape = Shape(extents);
    }
    const Value z = graph.input("z", {DType::f32, shape});
    graph.output("samples", step.model().sample(graph, z, step.model().has_ema));
    const Program program(graph, step.state());
  }
  return backend.specs;
}

}  // namespace gannet::bench

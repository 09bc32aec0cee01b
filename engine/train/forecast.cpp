#include "engine/train/forecast.h"

#include <algorithm>
#include <cmath>

#include "engine/data/file.h"
#include "engine/train/process_memory.h"

namespace gannet {
namespace {

constexpr std::size_t loader_slots = 3;      // being read, ready, being filled
constexpr std::size_t fault_around = 65536;  // a page fault maps the cached pages around it, too
constexpr std::size_t first_run = 4 << 20;   // code and stacks that are touched when programs, loader and files first run

// How much of a mapped dataset is resident after so many draws of samples.
std::size_t touched_bytes(std::size_t dataset_bytes, double draws, std::size_t sample_bytes) {
  if (dataset_bytes == 0) return 0;
  const auto bytes = static_cast<double>(dataset_bytes);
  return static_cast<std::size_t>(bytes * -std::expm1(-draws * static_cast<double>(sample_bytes + fault_around) / bytes));
}

std::int64_t count_parameters(const State& state, const std::vector<std::string>& names) {
  std::int64_t count = 0;
  for (const std::string& name : names) count += state.desc(name).elements();
  return count;
}

std::string grouped(std::int64_t number) {
  std::string digits = std::to_string(number);
  for (std::ptrdiff_t i = static_cast<std::ptrdiff_t>(digits.size()) - 3; i > 0; i -= 3)
    digits.insert(static_cast<std::size_t>(i), ",");
  return digits;
}

}  // namespace

MemoryForecast forecast_memory(const Step& step, const Drawing& drawing, std::size_t dataset_bytes, std::int64_t steps) {
  MemoryForecast memory;
  memory.on_device = !step.state().backend().host_memory();
  memory.state = step.state().bytes();
  const std::size_t planned = memory.on_device ? 0 : memory.state;
  memory.process = std::max(resident_bytes(), planned) - planned + first_run;
  for (const Step::Part& part : step.parts()) {
    memory.arena += part.program.report().arena_bytes;
    memory.inputs += part.program.report().input_bytes;
    if (!part.program.has_input("real")) continue;
    const Shape& real = part.program.input_type("real").shape;
    const auto batch_bytes = static_cast<std::size_t>(real.elements());
    memory.data = loader_slots * batch_bytes;
    const double draws = static_cast<double>(steps) * part.repeats * static_cast<double>(real[0]);
    memory.data += touched_bytes(dataset_bytes, draws, batch_bytes / static_cast<std::size_t>(real[0]));
  }
  // A checkpoint copies a tensor at a time, once as it lies and once in PyTorch's order.
  for (const Variable& variable : step.state().variables())
    memory.staging = std::max(memory.staging, 2 * sizeof(float) * static_cast<std::size_t>(variable.type.shape.elements()));
  for (const auto& program : drawing.programs) {
    memory.arena += program->report().arena_bytes;
    memory.inputs += program->report().input_bytes;
  }
  memory.staging = std::max(memory.staging, drawing.staging_bytes);
  return memory;
}

std::vector<std::string> describe_plan(const Step& step, const Drawing& drawing, const MemoryForecast& memory) {
  const Model& model = step.model();
  std::vector<std::string> lines;
  lines.push_back(fmt::format("parameters   generator {}, discriminator {}",
                              grouped(count_parameters(step.state(), model.generator_parameters)),
                              grouped(count_parameters(step.state(), model.discriminator_parameters))));
  double flops = 0, bytes = 0;
  for (const Step::Part& part : step.parts()) {
    const PlanReport& report = part.program.report();
    lines.push_back(
        fmt::format("program      {}: {} operators traced, {} pruned; {} kernels after fusion; reorders: {} of pictures, {} of "
                    "filters; {} a step",
                    part.name, report.operators_traced, report.operators_pruned, report.kernels, report.picture_reorders,
                    report.filter_reorders, part.repeats == 1 ? "once" : fmt::format("{} times", part.repeats)));
    flops += report.flops * part.repeats;
    bytes += report.bytes * part.repeats;
  }
  const auto batch = static_cast<double>(step.config().integer("train.batch"));
  lines.push_back(fmt::format("a step       {:.4g} GFLOP ({:.3g} an image), {} moved", flops / 1e9, flops / 1e9 / batch,
                              format_bytes(bytes)));
  int kernels = 0;
  for (const auto& program : drawing.programs) kernels += program->report().kernels;
  lines.push_back(fmt::format("sampling     {} kernels", kernels));
  const auto size = [](std::size_t bytes) { return format_bytes(static_cast<double>(bytes)); };
  const std::string values =
      fmt::format("state {}, intermediate values {}, inputs {}", size(memory.state), size(memory.arena), size(memory.inputs));
  if (memory.on_device) {
    lines.push_back(fmt::format("on device    {} forecast: {}", size(memory.device()), values));
    lines.push_back(fmt::format("memory       {} forecast: process {}, inputs {}, data {}, staging {}", size(memory.total()),
                                size(memory.process), size(memory.inputs), size(memory.data), size(memory.staging)));
  } else {
    lines.push_back(fmt::format("memory       {} forecast: process {}, {}, data {}, staging {}", size(memory.total()),
                                size(memory.process), values, size(memory.data), size(memory.staging)));
  }
  const std::size_t available = available_bytes();
  if (available > 0 && memory.total() > resident_bytes() + available)
    lines.push_back(fmt::format("warning: only {} of memory are available; a smaller train.batch takes less", size(available)));
  return lines;
}

}  // namespace gannet

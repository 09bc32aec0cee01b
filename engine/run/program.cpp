#include "engine/run/program.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "engine/parallel/communicator.h"
#include "engine/run/host_tensor.h"
#include "engine/run/plan.h"
#include "kernels/operands.h"

namespace gannet {
namespace {

constexpr std::byte sentinel{0xA5};

bool is_product(const kernels::KernelSpec& spec) {
  return std::holds_alternative<kernels::Convolution>(spec) || std::holds_alternative<kernels::ConvolutionBackward>(spec) ||
         std::holds_alternative<kernels::Matmul>(spec);
}

struct Instruction {
  std::unique_ptr<kernels::Kernel> kernel;
  std::vector<std::vector<const void*>> inputs;  // of each launch
  std::vector<void*> outputs;
  void* workspace = nullptr;
  std::vector<kernels::Kernel*> reads_of;  // reductions whose results it is the first to read
};

// One of the launches that may be under way at once, with inputs of its own.
struct Launch {
  std::unique_ptr<BackendMemory> inputs;
  std::unique_ptr<kernels::Run> run;
};

// An input, and the launch that was given its present value last.
struct Input {
  int value = -1;
  std::size_t newest = 0;
  std::vector<bool> present;  // of each launch: does it hold the present value?
};

}  // namespace

struct Program::Implementation {
  State& state;
  kernels::Backend& backend;
  plan::Plan plan;
  PlanReport report;
  std::unique_ptr<BackendMemory> arena, results, constants;
  std::vector<Instruction> instructions;
  std::vector<std::pair<std::size_t, std::size_t>> workspaces;  // in the arena: offset, bytes; also of what runs once
  std::vector<kernels::Kernel*> unread;                         // reductions that only the host reads
  std::vector<Launch> launches;                                 // by turns
  std::size_t next = 0;                                         // the launch of the next run
  bool claimed = false;                                         // may its inputs be written?
  std::map<std::string, Input, std::less<>> input_values;
  std::map<std::string, int, std::less<>> output_values;
  std::map<std::string, TensorType> input_types, output_types;
  std::size_t guard = 0;

  explicit Implementation(State& s) : state(s), backend(s.backend()) {}

  void* address(int value, std::size_t launch) const {
    const plan::Value& v = plan.values[static_cast<std::size_t>(plan.root(value))];
    return static_cast<std::byte*>(block(v, launch)) + first_byte(value);
  }

  std::unique_ptr<kernels::Kernel> create(const kernels::KernelSpec& spec, Communicator* communicator) {
    const auto* reduce = std::get_if<kernels::AllReduce>(&spec);
    if (reduce == nullptr || communicator == nullptr) return backend.create(spec);
    std::size_t& bytes = report.reductions.emplace_back(0);
    for (const TensorDesc& tensor : reduce->tensors) bytes += tensor.bytes();
    return communicator->create(*reduce);
  }

  // Of a value in the one that it is a view of.
  std::size_t first_byte(int value) const {
    return static_cast<std::size_t>(plan.first_in_root(value)) * size_of(backend.storage(desc(value).type));
  }

  void* block(const plan::Value& v, std::size_t launch) const {
    switch (v.home) {
      case plan::Value::Home::arena:
        return static_cast<std::byte*>(arena->data()) + v.offset;
      case plan::Value::Home::input:
        return static_cast<std::byte*>(launches[launch].inputs->data()) + v.offset;
      case plan::Value::Home::result:
        return static_cast<std::byte*>(results->data()) + v.offset;
      case plan::Value::Home::constant:
        return static_cast<std::byte*>(constants->data()) + v.offset;
      case plan::Value::Home::variable:
        return state.data(v.home_name);
    }
    return nullptr;
  }

  const TensorDesc& desc(int value) const { return plan.values[static_cast<std::size_t>(value)].desc; }

  std::size_t last(int runs_ago = 0) const {
    return (next + 2 * launches.size() - 1 - static_cast<std::size_t>(runs_ago)) % launches.size();
  }

  void run(std::size_t i, std::size_t launch) const {
    const Instruction& instruction = instructions[i];
    for (kernels::Kernel* reduction : instruction.reads_of) reduction->await();
    const kernels::Range range(backend, plan.steps[i].label);
    instruction.kernel->run({instruction.inputs[launch].data(), instruction.outputs.data(), instruction.workspace});
  }

  // Each turn of a player is a range; operators of none are in that of the one before.
  void run_all(std::size_t launch) const {
    std::optional<kernels::Range> range;
    std::string_view present;
    for (std::size_t i = 0; i < instructions.size(); ++i) {
      const std::string& player = plan.steps[i].player;
      if (!player.empty() && player != present) {
        range.emplace(backend, player);
        present = player;
      }
      run(i, launch);
    }
    for (kernels::Kernel* reduction : unread) reduction->await();
  }

  bool reduces(std::size_t i) const { return std::holds_alternative<kernels::AllReduce>(plan.steps[i].spec); }

  // Each reduction goes on until its result is read, by a kernel or by the host after the run.
  void place_waits() {
    std::map<int, kernels::Kernel*> pending;  // by result
    for (std::size_t i = 0; i < instructions.size(); ++i) {
      for (int value : plan.steps[i].inputs) {
        const auto found = pending.find(plan.root(value));
        if (found == pending.end()) continue;
        instructions[i].reads_of.push_back(found->second);
        pending.erase(found);
      }
      if (!reduces(i)) continue;
      for (int value : plan.steps[i].outputs) pending[plan.root(value)] = instructions[i].kernel.get();
    }
    for (const auto& [value, kernel] : pending) unread.push_back(kernel);
  }

  // The host's side of an input of the next run.
  std::byte* claim(int value) {
    kernels::Run& run = *launches[next].run;
    if (!claimed) run.wait();
    claimed = true;
    return static_cast<std::byte*>(run.inputs()) + plan.values[static_cast<std::size_t>(value)].offset;
  }

  // What never changes is made now.
  void run_once() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < plan.steps.size(); ++i) {
      if (plan.steps[i].once) {
        run(i, 0);
        continue;
      }
      if (kept != i) {
        plan.steps[kept] = std::move(plan.steps[i]);
        instructions[kept] = std::move(instructions[i]);
      }
      ++kept;
    }
    backend.synchronize();
    plan.steps.resize(kept);
    instructions.resize(kept);
  }

  // The bytes of arena, results, constants and inputs that belong to no buffer at any time.
  template <typename F>
  void for_each_guard(F f) const {
    const auto gaps = [&](std::size_t total, std::vector<std::pair<std::size_t, std::size_t>> used, BackendMemory& memory) {
      std::sort(used.begin(), used.end());
      std::size_t at = 0;
      for (const auto& [offset, bytes] : used) {
        if (offset > at) f(static_cast<std::byte*>(memory.data()) + at, offset - at);
        at = std::max(at, offset + bytes);
      }
      if (total > at) f(static_cast<std::byte*>(memory.data()) + at, total - at);
    };
    const auto used = [&](plan::Value::Home home) {
      std::vector<std::pair<std::size_t, std::size_t>> places;
      for (const plan::Value& value : plan.values)
        if (value.view_of < 0 && value.home == home) places.emplace_back(value.offset, bytes_on(value.desc, backend));
      return places;
    };
    auto in_arena = used(plan::Value::Home::arena);
    in_arena.insert(in_arena.end(), workspaces.begin(), workspaces.end());
    gaps(plan.arena_bytes, std::move(in_arena), *arena);
    gaps(plan.result_bytes, used(plan::Value::Home::result), *results);
    gaps(plan.constant_bytes, used(plan::Value::Home::constant), *constants);
    for (const Launch& launch : launches) gaps(plan.input_bytes, used(plan::Value::Home::input), *launch.inputs);
  }
};

Program::Program(const Graph& graph, State& state, const PlanOptions& options)
    : implementation_(std::make_unique<Implementation>(state)) {
  Implementation& self = *implementation_;
  kernels::Backend& backend = self.backend;
  plan::Plan& plan = self.plan;
  plan = plan::lower(graph);
  if (options.fuse) {
    plan::fuse(plan, backend);
    plan::store_as_read(plan);
  }
  if (options.layouts) plan::assign_layouts(plan, backend, state);
  if (options.fuse) {
    plan::join_gradients(plan, backend);
    plan::gather_copies(plan);
    plan::share_parts(plan);
  }
  plan::fill_buckets(plan, options.bucket_bytes);
  plan::split_updates(plan);
  for (const plan::Value& value : plan.values)
    if (value.home == plan::Value::Home::variable) {
      for (const Variable& variable : plan.reads)
        if (variable.name == value.home_name) state.add(variable, value.desc.layout);
    }
  for (const plan::Write& write : plan.writes) {
    const plan::Value& value = plan.values[static_cast<std::size_t>(write.value)];
    state.add(write.variable, value.view_of < 0 ? value.desc.layout : Layout::plain);
  }
  plan::assign_updates(plan, state);
  if (options.fuse) plan::find_constants(plan);
  for (const plan::Value& value : plan.values)
    if (value.home == plan::Value::Home::variable && value.view_of < 0)
      GANNET_CHECK(state.desc(value.home_name) == value.desc, "variable '{}' lies as {} but is planned as {}", value.home_name,
                   to_string(state.desc(value.home_name)), to_string(value.desc));

  self.report.operators_traced = plan.traced;
  self.report.operators_pruned = plan.pruned;
  self.report.picture_reorders = plan.picture_reorders;
  for (plan::Step& step : plan.steps) {
    try {
      self.instructions.push_back({self.create(step.spec, options.communicator), {}, {}, nullptr, {}});
    } catch (const InputError& error) {
      throw InputError(fmt::format("{} ({})", error.what(), step.label));
    }
    step.workspace_bytes = self.instructions.back().kernel->workspace_bytes();
    const auto reorders = self.instructions.back().kernel->reorders();
    self.report.picture_reorders += reorders.pictures;
    self.report.filter_reorders += reorders.filters;
    if (step.once) continue;
    ++self.report.kernels;
    const kernels::Cost cost = kernels::cost_of(step.spec);
    self.report.flops += cost.flops;
    if (is_product(step.spec)) self.report.product_flops += cost.flops;
    self.report.bytes += cost.bytes;
  }
  self.guard = options.guard_bytes;
  plan::assign_memory(plan, backend, options.guard_bytes);
  self.report.arena_bytes = plan.arena_bytes + plan.constant_bytes;
  const auto ahead = static_cast<std::size_t>(backend.launches_ahead());
  self.report.input_bytes = plan.input_bytes * ahead;
  self.arena = std::make_unique<BackendMemory>(backend, plan.arena_bytes);
  self.results = std::make_unique<BackendMemory>(backend, plan.result_bytes);
  self.constants = std::make_unique<BackendMemory>(backend, plan.constant_bytes);
  const std::vector<std::byte> nothing(plan.result_bytes);
  if (!nothing.empty())  // what lies between them is copied, too
    backend.upload(self.results->data(), nothing.data(), nothing.size());
  self.launches.resize(ahead);
  for (Launch& launch : self.launches) launch.inputs = std::make_unique<BackendMemory>(backend, plan.input_bytes);
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const plan::Step& step = plan.steps[i];
    Instruction& instruction = self.instructions[i];
    instruction.inputs.resize(ahead);
    for (std::size_t launch = 0; launch < ahead; ++launch)
      for (int value : step.inputs) instruction.inputs[launch].push_back(self.address(value, launch));
    for (int value : step.outputs) instruction.outputs.push_back(self.address(value, 0));
    instruction.workspace = static_cast<std::byte*>(self.arena->data()) + step.workspace_offset;
    if (step.workspace_bytes > 0) self.workspaces.emplace_back(step.workspace_offset, step.workspace_bytes);
  }
  for (std::size_t v = 0; v < plan.values.size(); ++v) {
    const plan::Value& value = plan.values[v];
    if (value.home != plan::Value::Home::input || value.view_of >= 0) continue;
    self.input_values[value.home_name] = {static_cast<int>(v), 0, std::vector<bool>(ahead, true)};
    self.input_types[value.home_name] = {value.desc.type, value.desc.shape};
  }
  for (const auto& [name, value] : plan.outputs) {
    self.output_values[name] = value;
    self.output_types[name] = {self.desc(value).type, self.desc(value).shape};
  }
  if (self.guard) {
    std::vector<std::byte> pattern;
    self.for_each_guard([&](std::byte* at, std::size_t bytes) {
      pattern.assign(bytes, sentinel);
      backend.upload(at, pattern.data(), bytes);
    });
  }
  self.run_once();
  self.place_waits();
  for (std::size_t launch = 0; launch < ahead; ++launch)
    self.launches[launch].run =
        backend.record([&self, launch] { self.run_all(launch); }, {self.launches[launch].inputs->data(), plan.input_bytes},
                       {self.results->data(), plan.result_bytes});
  if (self.guard)
    for (Launch& launch : self.launches) std::memset(launch.run->inputs(), std::to_integer<int>(sentinel), plan.input_bytes);
}

Program::~Program() = default;
Program::Program(Program&&) noexcept = default;

void Program::write(const std::string& input, const void* values, std::size_t bytes) {
  Implementation& self = *implementation_;
  const auto found = self.input_values.find(input);
  GANNET_CHECK(found != self.input_values.end(), "the program has no input '{}'", input);
  Input& written = found->second;
  const TensorDesc& desc = self.desc(written.value);
  const bool is_float = desc.type == DType::f32 || desc.type == DType::bf16;
  const std::size_t expected = static_cast<std::size_t>(desc.elements()) * (is_float ? sizeof(float) : size_of(desc.type));
  GANNET_CHECK(bytes == expected, "input '{}' {} takes {} bytes, not {}", input, to_string(desc), expected, bytes);
  std::byte* const host = self.claim(written.value);
  if (is_float)
    encode(self.backend, desc, {static_cast<const float*>(values), bytes / sizeof(float)}, host);
  else
    std::memcpy(host, values, bytes);
  written.newest = self.next;
  written.present.assign(written.present.size(), false);
  written.present[self.next] = true;
}

bool Program::has_input(const std::string& input) const { return implementation_->input_values.contains(input); }
bool Program::has_output(const std::string& output) const { return implementation_->output_values.contains(output); }

const TensorType& Program::input_type(const std::string& input) const {
  GANNET_CHECK(has_input(input), "the program has no input '{}'", input);
  return implementation_->input_types.at(input);
}

const TensorType& Program::output_type(const std::string& output) const {
  GANNET_CHECK(has_output(output), "the program has no output '{}'", output);
  return implementation_->output_types.at(output);
}

std::vector<std::string> Program::inputs() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : implementation_->input_values) names.push_back(name);
  return names;
}

void Program::run() {
  Implementation& self = *implementation_;
  for (auto& [name, input] : self.input_values) {
    if (input.present[self.next]) continue;
    const plan::Value& value = self.plan.values[static_cast<std::size_t>(input.value)];
    const auto* newest = static_cast<const std::byte*>(self.launches[input.newest].run->inputs()) + value.offset;
    std::memcpy(self.claim(input.value), newest, bytes_on(value.desc, self.backend));
    input.present[self.next] = true;
  }
  self.launches[self.next].run->launch();
  self.next = (self.next + 1) % self.launches.size();
  self.claimed = false;
}

void Program::read(const std::string& output, std::span<float> values) const {
  const Implementation& self = *implementation_;
  const auto found = self.output_values.find(output);
  GANNET_CHECK(found != self.output_values.end(), "the program has no output '{}'", output);
  self.backend.synchronize();
  download(self.backend, self.desc(found->second), self.address(found->second, self.last()), values);
}

float Program::read_scalar(const std::string& output, int runs_ago) const {
  const Implementation& self = *implementation_;
  const auto found = self.output_values.find(output);
  GANNET_CHECK(found != self.output_values.end(), "the program has no output '{}'", output);
  const plan::Value& value = self.plan.values[static_cast<std::size_t>(self.plan.root(found->second))];
  const TensorDesc& desc = self.desc(found->second);
  GANNET_CHECK(value.home == plan::Value::Home::result && desc.elements() == 1 && runs_ago >= 0 &&
                   runs_ago < static_cast<int>(self.launches.size()),
               "output '{}' {} is not one value that is kept for {} runs", output, to_string(desc), runs_ago);
  kernels::Run& run = *self.launches[self.last(runs_ago)].run;
  run.wait();
  float scalar = 0;
  const auto* results = static_cast<const std::byte*>(run.results());
  decode(self.backend, desc, results + value.offset + self.first_byte(found->second), {&scalar, 1});
  return scalar;
}

Program::Fault Program::find_nonfinite(int runs_ago) {
  Implementation& self = *implementation_;
  const std::size_t launch = self.last(runs_ago);
  const bool to_the_end = !self.report.reductions.empty();
  const auto finite = [&](int value) {
    const TensorDesc& desc = self.desc(value);
    if (desc.type != DType::f32 && desc.type != DType::bf16) return true;
    const std::vector<float> elements = download(self.backend, desc, self.address(value, launch));
    return std::all_of(elements.begin(), elements.end(), [](float element) { return std::isfinite(element); });
  };
  Fault fault;
  for (std::size_t i = 0; i < self.instructions.size() && (fault.kernel < 0 || to_the_end); ++i) {
    self.run(i, launch);
    if (self.reduces(i)) self.instructions[i].kernel->await();
    if (fault.kernel >= 0 || self.reduces(i)) continue;  // what a rank reduces it has made before, or another rank has
    self.backend.synchronize();
    const std::vector<int>& outputs = self.plan.steps[i].outputs;
    if (!std::all_of(outputs.begin(), outputs.end(), finite)) fault = {static_cast<int>(i), self.plan.steps[i].label};
  }
  self.backend.synchronize();
  return fault;
}

const PlanReport& Program::report() const { return implementation_->report; }

std::string Program::describe() const {
  const Implementation& self = *implementation_;
  std::string text;
  for (const plan::Step& step : self.plan.steps) {
    text += fmt::format("{} {}:", name_of(step.spec), step.label);
    for (int value : step.inputs) text += " " + to_string(self.desc(value));
    text += " ->";
    for (int value : step.outputs) text += " " + to_string(self.desc(value));
    text += "\n";
  }
  return text;
}

std::vector<Program::KernelTime> Program::profile(int repeats) {
  Implementation& self = *implementation_;
  std::vector<std::vector<double>> seconds(self.instructions.size());
  for (int repeat = 0; repeat < repeats; ++repeat)
    for (std::size_t i = 0; i < self.instructions.size(); ++i) {
      const auto begin = std::chrono::steady_clock::now();
      self.run(i, self.last());
      if (self.reduces(i)) self.instructions[i].kernel->await();
      self.backend.synchronize();
      seconds[i].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
  std::vector<KernelTime> times;
  for (std::size_t i = 0; i < self.instructions.size(); ++i) {
    std::nth_element(seconds[i].begin(), seconds[i].begin() + repeats / 2, seconds[i].end());
    const kernels::Cost cost = kernels::cost_of(self.plan.steps[i].spec);
    times.push_back({self.plan.steps[i].label, name_of(self.plan.steps[i].spec),
                     seconds[i][static_cast<std::size_t>(repeats / 2)], cost.flops, cost.bytes});
  }
  return times;
}

bool Program::guards_intact() const {
  bool intact = true;
  const Implementation& self = *implementation_;
  std::vector<std::byte> found;
  self.for_each_guard([&](std::byte* at, std::size_t bytes) {
    found.resize(bytes);
    self.backend.download(found.data(), at, bytes);
    intact = intact && std::all_of(found.begin(), found.end(), [](std::byte byte) { return byte == sentinel; });
  });
  return intact;
}

}  // namespace gannet

// Runs operators of a table on the CUDA backend: times them on a device, or runs each once for a simulator or a profiler to
// count. Prints a JSON object a line. bench/operators.py drives it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>

#include "bench/planned_specs.h"
#include "bench/problem.h"
#include "kernels/check.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/roofline.h"
#include "kernels/operands.h"

namespace gannet::bench {
namespace {

using namespace kernels;
using nlohmann::json;

class Buffer {
 public:
  Buffer(Backend& backend, std::size_t bytes) : backend_(backend), data_(backend.allocate(bytes)) {}
  ~Buffer() { backend_.release(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void* data() const { return data_; }

 private:
  Backend& backend_;
  void* data_;
};

template <typename T>
void put(std::vector<std::byte>& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at * sizeof(T), &value, sizeof(T));
}

// Between 0.1 and 1.1, so that roots and logarithms are numbers; small integers.
std::vector<std::byte> drawn(const TensorDesc& desc, std::mt19937& random) {
  std::vector<std::byte> bytes(desc.bytes());
  for (std::size_t i = 0; i < static_cast<std::size_t>(desc.elements()); ++i) {
    const std::uint32_t word = static_cast<std::uint32_t>(random());
    const float real = 0.1f + static_cast<float>(word >> 8) * 0x1p-24f;
    switch (desc.type) {
      case DType::f32:
        put(bytes, i, real);
        break;
      case DType::bf16: {
        std::uint32_t bits;
        std::memcpy(&bits, &real, sizeof bits);
        put(bytes, i, static_cast<std::uint16_t>(bits >> 16));
        break;
      }
      case DType::i32:
        put(bytes, i, static_cast<std::int32_t>(word % 100));
        break;
      case DType::u8:
        put(bytes, i, static_cast<std::uint8_t>(word));
        break;
      case DType::f64:
        throw InputError("the CUDA backend has no f64");
    }
  }
  return bytes;
}

// A problem with its operands in device memory.
class Prepared {
 public:
  Prepared(const Problem& problem, Backend& backend) : kernel_(backend.create(problem.spec)) {
    const Operands operands = operands_of(problem.spec);
    std::mt19937 random(1);
    for (const TensorDesc& desc : operands.inputs) {
      buffers_.push_back(std::make_unique<Buffer>(backend, desc.bytes()));
      const std::vector<std::byte> bytes = drawn(desc, random);
      backend.upload(buffers_.back()->data(), bytes.data(), bytes.size());
      inputs_.push_back(buffers_.back()->data());
    }
    for (const TensorDesc& desc : operands.outputs) {
      buffers_.push_back(std::make_unique<Buffer>(backend, desc.bytes()));
      outputs_.push_back(buffers_.back()->data());
    }
    buffers_.push_back(std::make_unique<Buffer>(backend, kernel_->workspace_bytes()));
  }
  void run() { kernel_->run({inputs_.data(), outputs_.data(), buffers_.back()->data()}); }
  std::size_t workspace_bytes() const { return kernel_->workspace_bytes(); }

 private:
  std::unique_ptr<Kernel> kernel_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  std::vector<const void*> inputs_;
  std::vector<void*> outputs_;
};

// Takes down the sequence, to be started again and again.
template <typename B>
auto recorded(B& backend, const std::function<void()>& sequence) {
  if constexpr (requires { backend.record(sequence, {}, {}); }) {
    return backend.record(sequence, {}, {});
  } else {
    return backend.record(sequence);
  }
}

// Least seconds of `attempts` that a recorded sequence takes.
double seconds_of(Backend& backend, int attempts, const std::function<void()>& sequence) {
  using Clock = std::chrono::steady_clock;
  const auto run = recorded(backend, sequence);
  double least = 1e300;
  for (int i = 0; i <= attempts; ++i) {  // the first one is not counted
    backend.synchronize();
    const Clock::time_point start = Clock::now();
    run->launch();
    backend.synchronize();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (i > 0) least = std::min(least, seconds);
  }
  return least;
}

struct Times {
  double cold = 0, warm = 0;  // seconds a run, with nothing and with everything that fits in the last cache
};

// Many runs are one graph, and a graph of half as many is taken off it: what starting and waiting cost is in both.
Times time_of(Prepared& problem, Prepared& flush, Backend& backend) {
  constexpr int attempts = 7;
  const auto runs = [&](int count, bool flushed, bool running) {
    return seconds_of(backend, attempts, [&] {
      for (int i = 0; i < count; ++i) {
        if (flushed) flush.run();
        if (running) problem.run();
      }
    });
  };
  const double first = runs(1, false, true);
  const int count = std::clamp(static_cast<int>(4e-3 / first), 4, 400) / 2 * 2;
  Times times;
  times.warm = (runs(2 * count, false, true) - runs(count, false, true)) / count;
  const int flushed = std::min(count, 20);
  times.cold = (runs(flushed, true, true) - runs(flushed, true, false)) / flushed;
  return times;
}

// The sum of all of a tensor several times as large as the cache, which drives out what is in it.
Problem flush_problem(std::size_t cache_bytes) {
  const auto elements = static_cast<std::int64_t>(std::max<std::size_t>(cache_bytes, 32 << 20));
  return parse_problem(fmt::format("flush pointwise inputs=f32({0}) steps=affine:0@2,1 outputs=f32({0}) results=1", elements),
                       1);
}

struct Options {
  std::string table, only, list, kernels = "native";
  std::vector<std::string> settings;
  std::int64_t batch = 128;
  bool once = false, tf32 = false;
};

json row_of(const Problem& problem, const Options& options) {
  const Cost cost = cost_of(problem.spec);
  return {{"name", problem.name},
          {"operator", name_of(problem.spec)},
          {"problem", to_text(problem.spec, options.batch)},
          {"flops", cost.flops},
          {"least_bytes", cost.bytes}};
}

json device_row(const Roofline& roofline, const Options& options) {
  return {{"device", roofline.device},
          {"architecture", roofline.architecture},
          {"simulated", roofline.simulated},
          {"multiprocessors", roofline.multiprocessors},
          {"bytes_per_s", roofline.bytes_per_s},
          {"fp32_per_s", roofline.fp32_per_s},
          {"tf32_per_s", roofline.tf32_per_s},
          {"bf16_per_s", roofline.bf16_per_s},
          {"batch", options.batch},
          {"tf32", options.tf32},
          {"kernels", options.kernels}};
}

int list(const Options& options) {
  std::vector<std::string> settings = options.settings;
  settings.push_back(fmt::format("train.batch={}", options.batch));
  int at = 0;
  CudaOptions cuda;
  cuda.tf32 = options.tf32;
  const auto together = [&](const ConvolutionBackward& spec) { return cuda_computes_together(spec, cuda); };
  for (const KernelSpec& spec : planned_specs(resolved_configuration(options.list, settings), 0, together)) {
    fmt::print("{} {}\n", at++, to_text(spec, options.batch));
  }
  return 0;
}

int run(const Options& options) {
  if (!options.list.empty()) return list(options);
  const std::vector<Problem> problems = read_problems(options.table, options.batch);
  const auto chosen = [&](const Problem& problem) { return options.only.empty() || problem.name == options.only; };
  GANNET_CHECK(std::any_of(problems.begin(), problems.end(), chosen), "{} has no operator named {}", options.table,
               options.only);
  CudaOptions cuda;
  cuda.tf32 = options.tf32;
  cuda.kernels = options.kernels == "vendor" ? CudaKernels::vendor : CudaKernels::native;
  const std::unique_ptr<Backend> backend = make_cuda_backend(cuda);
  const Roofline roofline = cuda_roofline();
  const bool counts = options.once || roofline.simulated;
  fmt::print("{}\n", device_row(roofline, options).dump());
  std::unique_ptr<Prepared> flush;
  if (!counts) flush = std::make_unique<Prepared>(flush_problem(roofline.cache_bytes), *backend);
  for (const Problem& problem : problems) {
    if (!chosen(problem)) continue;
    Prepared prepared(problem, *backend);
    json row = row_of(problem, options);
    row["workspace_bytes"] = prepared.workspace_bytes();
    if (counts) {
      prepared.run();
      backend->synchronize();
    } else {
      const Times times = time_of(prepared, *flush, *backend);
      row["cold_s"] = times.cold, row["warm_s"] = times.warm;
    }
    fmt::print("{}\n", row.dump());
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace gannet::bench

int main(int argc, char** argv) {
  using namespace gannet;
  bench::Options options;
  CLI::App app("Runs operators of a table on the CUDA backend and prints a JSON object for each.");
  app.add_option("TABLE", options.table, "Problems, one a line (see bench/problem.h)");
  app.add_option("--only", options.only, "The problem of this name");
  app.add_option("--batch", options.batch, "What N stands for in the table")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_flag("--once", options.once, "Run each once and do not time, for a profiler");
  app.add_flag("--tf32", options.tf32, "fp32 products may be of tf32");
  app.add_option("--kernels", options.kernels, "Whose: native, or vendor (cuDNN's and cuBLASLt's)")
      ->capture_default_str()
      ->check(CLI::IsMember({"native", "vendor"}));
  app.add_option("--list", options.list, "Instead: print the problems of a training step of this configuration");
  app.add_option("--set", options.settings, "Set a key of that configuration")->allow_extra_args(false);
  CLI11_PARSE(app, argc, argv);
  try {
    GANNET_CHECK(!options.table.empty() || !options.list.empty(), "give a table, or --list CONFIG");
    return bench::run(options);
  } catch (const InputError& error) {
    fmt::print(stderr, "cuda_operators: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "cuda_operators: {}\n", error.what());
    return 1;
  }
}

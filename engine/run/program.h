// A planned program: a graph compiled for a backend, run again and again without allocating.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/graph/graph.h"

namespace gannet {

class Communicator;

// The values of variables, shared by the programs of a model. Kept in the backend's memory and layouts.
class State {
 public:
  State(kernels::Backend& backend, std::uint64_t seed);
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // Adds the variable (initialised) unless it is there. `layout` is what a new one is kept in.
  void add(const Variable& variable, Layout layout = Layout::plain);
  bool contains(const std::string& name) const;
  std::vector<Variable> variables() const;  // by name
  const TensorDesc& desc(const std::string& name) const;
  void* data(const std::string& name) const;  // backend memory, stable
  std::size_t bytes() const;
  std::uint64_t seed() const;
  kernels::Backend& backend() const;

  // Host values, row-major over the logical shape, as f32 (i32 variables exactly representable). Converts layouts.
  std::vector<float> get(const std::string& name) const;
  void set(const std::string& name, std::span<const float> values);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

struct PlanOptions {
  bool fuse = true;
  bool layouts = true;          // let convolutions choose how pictures and filters lie in memory
  std::size_t guard_bytes = 0;  // sentinels around every buffer, for tests
  // Who reduces over the ranks, in programs that do, and how many bytes at a time. Outlives the program.
  Communicator* communicator = nullptr;
  std::size_t bucket_bytes = std::size_t{4} << 20;
};

// What a plan decided: for `--dry-run`, benchmarks and tests.
struct PlanReport {
  int operators_traced = 0;             // nodes in the graph
  int operators_pruned = 0;             // of them not needed by any output or variable
  int kernels = 0;                      // launches per run
  int picture_reorders = 0;             // layout changes of pictures per run
  int filter_reorders = 0;              // and of filters (dgrad wants them transposed)
  double flops = 0, bytes = 0;          // per run
  double product_flops = 0;             // of them, of convolutions and products of matrices
  std::size_t arena_bytes = 0;          // intermediate values and constants
  std::vector<std::size_t> reductions;  // over the ranks, per run: bytes of each
  std::size_t input_bytes = 0;
};

class Program {
 public:
  // Every named output and variable assignment of the graph is computed; nothing else. Variables are added to the state.
  Program(const Graph& graph, State& state, const PlanOptions& options = {});
  ~Program();
  Program(Program&&) noexcept;

  // Inputs of the next run, row-major over the logical shape, of the traced type (f32 for bf16 inputs); they stay for the runs
  // after it. Waits where that would overwrite what a run still reads.
  void write(const std::string& input, const void* values, std::size_t bytes);
  bool has_input(const std::string& input) const;
  const TensorType& input_type(const std::string& input) const;
  std::vector<std::string> inputs() const;
  // Starts the kernels; what reads their outputs waits for them.
  void run();
  // Outputs of the last run as f32, row-major.
  void read(const std::string& output, std::span<float> values) const;
  // Of one element; `runs_ago` (less than the backend's launches_ahead()): of a run before the last, waiting for no later one.
  float read_scalar(const std::string& output, int runs_ago = 0) const;
  bool has_output(const std::string& output) const;
  const TensorType& output_type(const std::string& output) const;

  // Runs kernel by kernel, on the inputs of the last run or one before, and returns the first whose output is not finite. A
  // program that reduces over ranks runs to its end, as those of the other ranks do at the same time.
  struct Fault {
    int kernel = -1;  // in the order of the program, -1: all are finite
    std::string label;
  };
  Fault find_nonfinite(int runs_ago = 0);

  const PlanReport& report() const;
  // The planned kernels and their operands, a line each.
  std::string describe() const;
  struct KernelTime {
    std::string label, kind;
    double seconds = 0, flops = 0, bytes = 0;
  };
  std::vector<KernelTime> profile(int repeats);  // runs `repeats` times and times each kernel (median)
  bool guards_intact() const;

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace gannet

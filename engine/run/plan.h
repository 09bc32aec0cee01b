// The planned form of a graph: steps over numbered values, in order. Each pass rewrites it:
//   lower (graph -> plan), fuse, store_as_read, assign_layouts, join_gradients, gather_copies, share_parts, fill_buckets,
//   split_updates, assign_updates, find_constants, assign_memory.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "engine/graph/graph.h"
#include "engine/run/program.h"
#include "kernels/backend.h"

namespace gannet::plan {

struct Value {
  TensorDesc desc;
  std::string label;
  // result: few elements that the host reads after every run; constant: made once, before the first
  enum class Home { arena, input, variable, result, constant };
  Home home = Home::arena;
  std::string home_name;   // of the input or variable
  int view_of = -1;        // the value among whose elements these are, under another shape (both plain) or a part; -1: its own
  std::int64_t first = 0;  // of that value's elements
  bool kept = false;       // read by the host after the run
  // Where assign_memory put it: bytes from the start of the arena, the inputs, the results or the constants.
  std::size_t offset = 0;
};

struct Step {
  kernels::KernelSpec spec;
  std::vector<int> inputs, outputs;  // values, in the order of the spec
  std::string label;
  std::string player = {};  // "discriminator": the first word of its operator's scope; empty where there is none
  std::size_t workspace_bytes = 0, workspace_offset = 0;
  bool once = false;  // run before the first run only
};

struct Write {  // a variable's value after the run
  Variable variable;
  int value = -1;
};

struct Plan {
  std::vector<Value> values;
  std::vector<Step> steps;
  std::vector<std::pair<std::string, int>> outputs;
  std::vector<Variable> reads;
  std::vector<Write> writes;
  int traced = 0, pruned = 0, picture_reorders = 0;
  std::size_t arena_bytes = 0, input_bytes = 0, result_bytes = 0, constant_bytes = 0;

  int root(int value) const;                    // follows views
  std::int64_t first_in_root(int value) const;  // element
};

// Steps for the nodes that outputs and variables need; everything plain.
Plan lower(const Graph& graph);

// Pointwise chains into single passes, chains into the sums that end them, bias and activation into convolutions, and for
// backends that gain by it the slopes of activations.
void fuse(Plan& plan, const kernels::Backend& backend);

// Kernels round to bf16 and scale as they store what is only read that way.
void store_as_read(Plan& plan);

// Chooses how each value lies in memory and inserts the copies that remain. Variables in the state keep their layout.
void assign_layouts(Plan& plan, const kernels::Backend& backend, const State& state);

// One kernel for both gradients of a convolution, where the backend has one.
void join_gradients(Plan& plan, const kernels::Backend& backend);

// One kernel for the bf16 copies of a player's weights.
void gather_copies(Plan& plan);

// Has the parts of a concatenation made where they end up, and slices read where they lie, if those are runs of whole
// samples: neither needs a copy.
void share_parts(Plan& plan);

// Has the tensors of each reduction over ranks made in flat buckets of about so many bytes, in the order in which they become
// ready, and each bucket reduced as soon as it is full.
void fill_buckets(Plan& plan, std::size_t bucket_bytes);

// An optimizer's update of the tensors of several buckets becomes one of each, so that it waits for no other. A gradient that
// is not finite stops those after it.
void split_updates(Plan& plan);

// Makes variables be updated in place where no later step needs the old value; inserts copies elsewhere. The state has
// them all by now.
void assign_updates(Plan& plan, const State& state);

// Steps that depend on nothing that a run changes are marked: what they make stays.
void find_constants(Plan& plan);

// Liveness, in-place reuse, offsets in one arena. guard: bytes left free around every buffer.
void assign_memory(Plan& plan, const kernels::Backend& backend, std::size_t guard);

inline constexpr std::int64_t alignment = 64;  // of a kernel's operands, in bytes
inline std::size_t index(int i) { return static_cast<std::size_t>(i); }

// Steps i with gone[i] leave the plan.
void drop_steps(Plan& plan, const std::vector<bool>& gone);

// Copies all of one value to another of its shape.
Step copy_step(const Plan& plan, int from, int to, std::string label);

// The descs of a spec's operands replaced by these.
void set_operands(kernels::KernelSpec& spec, const std::vector<TensorDesc>& inputs, const std::vector<TensorDesc>& outputs);

}  // namespace gannet::plan

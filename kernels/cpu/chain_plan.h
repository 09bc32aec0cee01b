// Prepares a chain to run tile by tile: which registers need a buffer, how broadcast inputs are walked, how long a tile is.
#pragma once

#include <vector>

#include "kernels/cpu/chain.h"

namespace gannet::kernels::cpu {

// An axis of the elements in memory order, with an operand's step along it.
struct WalkedAxis {
  std::int64_t extent;
  std::int64_t step;
};

// The axes of `shape` in `layout`, as a plain operand of extents equal or 1 is walked along them; extents of 1 left out and
// neighbours merged.
std::vector<WalkedAxis> walk(const Shape& shape, Layout layout, const Shape& operand);

class ChainPlan {
 public:
  // InputError, with `name` in front, when the chain is longer than what a tile's registers hold.
  ChainPlan(const Pointwise& spec, const char* name);
  ChainPlan(const ChainPlan&) = delete;
  ChainPlan& operator=(const ChainPlan&) = delete;

  const Chain& chain() const { return chain_; }
  // Makes tiles hold whole rows of `columns` elements where a row fits; called once, before the first run.
  void hold_rows(std::int64_t columns);

 private:
  void plan_inputs(const Pointwise& spec);
  void plan_steps(const Pointwise& spec);

  std::vector<ChainInput> inputs_;
  std::vector<ChainStep> steps_;
  std::vector<ChainOutput> outputs_;
  int longest_tile_ = 0;
  Chain chain_{};
};

}  // namespace gannet::kernels::cpu

// A pointwise chain as a kernel's parameter: where its inputs lie, what is done to them, where the results go.
#pragma once

#include <cstdint>

#include "kernels/cuda/division.h"
#include "kernels/pointwise.h"

namespace gannet::kernels::cuda {

inline constexpr int max_chain_inputs = 16;
inline constexpr int max_chain_steps = 64;
inline constexpr int max_chain_outputs = 8;

// How an input meets neighbouring elements of the chain, a packet at a time.
enum class Reading : std::uint8_t {
  flat,    // the element of the same index
  row,     // broadcast; the elements of a packet are neighbours
  one,     // broadcast; all elements of a packet meet the same one
  gather,  // broadcast; each element on its own
};

struct ChainInput {
  const void* data = nullptr;
  DType type = DType::f32;
  Reading reading = Reading::flat;
  std::uint8_t axes = 0;
  // Axes of the elements in memory order, outermost first, and the input's step along each (0: broadcast). The outermost is
  // what is left of an index after all others.
  Divider extent[max_rank];
  std::uint32_t step[max_rank] = {};
};

// Operands are slots: places for one value of each element. An instruction's result is always at hand for the next.
inline constexpr std::uint8_t last_result = 0xFF;
inline constexpr std::uint8_t no_slot = 0xFE;

struct ChainStep {
  PointwiseOp op;
  std::uint8_t a, b;  // slots, or last_result
  std::uint8_t keep;  // slot that takes the result, or no_slot
  float alpha, beta;
};

struct ChainOutput {
  void* data = nullptr;
  DType type = DType::f32;
  std::uint8_t slot = 0;  // or last_result
};

struct Chain {
  std::uint32_t elements = 0;
  std::uint8_t inputs = 0, steps = 0, outputs = 0, slots = 0;
  ChainInput input[max_chain_inputs];
  ChainStep step[max_chain_steps];
  ChainOutput output[max_chain_outputs];
};

// Input i starts in slot i. InputError, with `name` in front, when the chain is longer than the above. `packet`: elements that
// a thread takes at once.
Chain plan_chain(const Pointwise& spec, int packet, const char* name);

}  // namespace gannet::kernels::cuda

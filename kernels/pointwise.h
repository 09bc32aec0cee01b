// Pointwise chains: any number of elementwise operations with broadcasting, in a single pass over memory, stored or summed.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/tensor.h"

namespace gannet::kernels {

// Arithmetic is fp32 whatever the storage (the reference backend computes in double).
enum class PointwiseOp : std::uint8_t {
  constant,  // alpha (no operand)
  affine,    // alpha * a + beta
  add,
  subtract,
  multiply,
  divide,
  maximum,
  minimum,
  greater,  // a > b ? 1 : 0
  exp,
  log,
  sqrt,
  tanh,
  sigmoid,
  abs,
  sign,
  reciprocal,
  softplus,    // log(1 + e^a), stable for any a
  leaky_relu,  // a > 0 ? a : alpha * a
  leaky_step,  // a > 0 ? 1 : alpha   (the slope of leaky_relu; equal at a and at leaky_relu(a))
};
int operands_of(PointwiseOp op);  // 0, 1 or 2
const char* name_of(PointwiseOp op);

// Registers 0 … inputs-1 hold the inputs; instruction i writes register inputs+i (single assignment).
struct PointwiseInstruction {
  PointwiseOp op;
  int a = 0;
  int b = 0;
  float alpha = 0;
  float beta = 0;
  bool operator==(const PointwiseInstruction&) const = default;
};

// Inputs have the rank of `shape`, every extent equal to it or 1 (broadcast); f32, bf16, u8 or i32. An input of the full
// shape has `layout`; a broadcast one is plain. Outputs have the full shape and `layout`, f32 or bf16 (u8 and i32 too: rounded
// to nearest even and saturated). An output may be the same memory as an input of the full shape and the same element size.
struct Pointwise {
  Shape shape;
  Layout layout = Layout::plain;
  std::vector<TensorDesc> inputs;
  std::vector<PointwiseInstruction> instructions;
  std::vector<TensorDesc> outputs;
  std::vector<int> results;  // the register that each output stores
};

// Sums a chain over some axes: inputs as the chain's (which has one result and no output of its own) -> output, f32 plain,
// with extent 1 where `summed`. Accumulates in fp32 or better, in an order that does not depend on the number of threads.
struct Reduction {
  Pointwise chain;
  std::array<bool, max_rank> summed{};
  float scale = 1;  // applied to the sum
  TensorDesc output;
};

}  // namespace gannet::kernels

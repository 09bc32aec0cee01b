#include "tests/refusals.h"

#include <limits>
#include <utility>

namespace gannet::tests {
namespace {

using namespace kernels;

TensorDesc f32(Shape shape, Layout layout = Layout::plain) { return {DType::f32, shape, layout}; }
TensorDesc bf16(Shape shape) { return {DType::bf16, shape, Layout::plain}; }

// A valid spec with one thing changed.
template <typename Spec, typename Change>
Spec with(Spec spec, Change change) {
  change(spec);
  return spec;
}

Convolution convolution(ConvolutionKind kind) {
  return {kind, f32({2, 8, 8, 16}), f32({8, 4, 4, 16}), f32({2, 4, 4, 8}), 2, 1, false, {}, {}};
}

void add_convolutions(std::vector<Refusal>& all) {
  using enum ConvolutionKind;
  for (const ConvolutionKind kind : {fprop, dgrad, wgrad}) {
    const auto add = [&](const char* rule, auto change) { all.push_back({rule, with(convolution(kind), change)}); };
    add("pictures have rank 4", [](Convolution& s) { s.x.shape = {2, 8, 16}; });
    add("filters have rank 4", [](Convolution& s) { s.w.shape = {8, 16}; });
    add("slopes come without bias", [](Convolution& s) {
      s.slope_of = {Activation::Kind::tanh, 0};
      s.bias = true;
    });
    add("batches agree", [](Convolution& s) { s.y.shape[0] = 3; });
    add("C agrees", [](Convolution& s) { s.w.shape[3] = 8; });
    add("K agrees", [](Convolution& s) { s.w.shape[0] = 16; });
    add("P follows from H", [](Convolution& s) { s.y.shape[1] = 5; });
    add("Q follows from W", [](Convolution& s) { s.y.shape[2] = 3; });
    add("a filter fits the padded picture", [](Convolution& s) { s.w.shape[1] = 11; });
    add("stride is positive", [](Convolution& s) { s.stride = 0; });
    add("pad is not negative", [](Convolution& s) { s.pad = -1; });
    add("no operand is empty", [](Convolution& s) { s.x.shape[0] = s.y.shape[0] = 0; });
    add("inputs have one type", [](Convolution& s) { (s.kind == wgrad ? s.y : s.w).type = DType::bf16; });
    add("operands are floating", [](Convolution& s) { s.x.type = s.w.type = s.y.type = DType::i32; });
    add("a picture's layout is a picture's", [](Convolution& s) { s.x.layout = Layout::filter8; });
    add("a filter's layout is a filter's", [](Convolution& s) { s.w.layout = Layout::blocked8; });
    add("blocks divide channels", [](Convolution& s) { s.y.layout = Layout::blocked16; });
    add("blocks divide K and C", [](Convolution& s) { s.w.layout = Layout::filter16; });
  }
  all.push_back({"wgrad has no bias", with(convolution(wgrad), [](Convolution& s) { s.bias = true; })});
  all.push_back({"wgrad has no activation",
                 with(convolution(wgrad), [](Convolution& s) { s.activation.kind = Activation::Kind::tanh; })});
  all.push_back({"wgrad is f32", with(convolution(wgrad), [](Convolution& s) { s.w.type = DType::bf16; })});
  for (const ConvolutionKind kind : {fprop, dgrad}) {
    const auto add = [&](const char* rule, auto change) {
      all.push_back({rule, with(ConvolutionBackward{convolution(kind), convolution(wgrad)}, change)});
    };
    add("data is not wgrad", [](ConvolutionBackward& s) { s.data.kind = wgrad; });
    add("weights are wgrad", [](ConvolutionBackward& s) { s.weights.kind = s.data.kind; });
    add("both are of one shape", [](ConvolutionBackward& s) { s.weights.x.shape[0] = s.weights.y.shape[0] = 3; });
    add("both have one stride", [](ConvolutionBackward& s) { s.weights.stride = 3, s.weights.x.shape = {2, 11, 11, 16}; });
    add("both read one gradient", [](ConvolutionBackward& s) { s.weights.x.type = s.weights.y.type = DType::bf16; });
    add("each keeps its own rules", [](ConvolutionBackward& s) { s.weights.w.type = DType::bf16; });
  }
}

void add_matmuls(std::vector<Refusal>& all) {
  const auto add = [&](const char* rule, auto change) {
    all.push_back({rule, with(Matmul{f32({3, 4}), f32({4, 5}), f32({3, 5}), false, false, false, {}}, change)});
  };
  add("matrices have rank 2", [](Matmul& s) { s.a.shape = {3, 4, 1}; });
  add("inner extents agree", [](Matmul& s) { s.b.shape = {3, 5}; });
  add("M agrees", [](Matmul& s) { s.c.shape = {4, 5}; });
  add("N agrees", [](Matmul& s) { s.c.shape = {3, 4}; });
  add("extents agree with the transposition", [](Matmul& s) { s.transpose_a = true; });
  add("inputs have one type", [](Matmul& s) { s.a.type = DType::bf16; });
  add("operands are floating", [](Matmul& s) { s.c.type = DType::i32; });
}

Pointwise sum_of_two() {
  const TensorDesc full = f32({2, 3, 3, 8}, Layout::blocked8);
  return {full.shape, full.layout, {full, f32({1, 1, 1, 8})}, {{PointwiseOp::add, 0, 1, 0, 0}}, {full}, {2}};
}

void add_pointwise(std::vector<Refusal>& all) {
  const auto add = [&](const char* rule, auto change) { all.push_back({rule, with(sum_of_two(), change)}); };
  add("inputs have the chain's rank", [](Pointwise& s) { s.inputs[1].shape = {8}; });
  add("inputs broadcast", [](Pointwise& s) { s.inputs[1].shape = {1, 1, 1, 4}; });
  add("a full input has the chain's layout", [](Pointwise& s) { s.inputs[0].layout = Layout::plain; });
  add("a broadcast input is plain", [](Pointwise& s) { s.inputs[1].layout = Layout::blocked8; });
  add("inputs are stored types", [](Pointwise& s) { s.inputs[1].type = static_cast<DType>(99); });
  add("registers are read after they are written", [](Pointwise& s) { s.instructions[0].b = 2; });
  add("registers are not negative", [](Pointwise& s) { s.instructions[0].a = -1; });
  add("results are registers", [](Pointwise& s) { s.results[0] = 3; });
  add("there are as many outputs as results", [](Pointwise& s) { s.results.push_back(0); });
  add("something is stored", [](Pointwise& s) { s.results.clear(), s.outputs.clear(); });
  add("outputs have the full shape", [](Pointwise& s) { s.outputs[0] = f32({1, 1, 1, 8}); });
  add("outputs have the chain's layout", [](Pointwise& s) { s.outputs[0].layout = Layout::plain; });

  Reduction reduction;
  reduction.chain = sum_of_two();
  reduction.chain.outputs.clear();
  reduction.summed = {true, true, true};
  reduction.output = f32({1, 1, 1, 8});
  const auto refuse = [&](const char* rule, auto change) { all.push_back({rule, with(reduction, change)}); };
  refuse("the output has extent 1 where summed", [](Reduction& s) { s.summed[3] = true; });
  refuse("the output has the chain's extents elsewhere", [](Reduction& s) { s.summed[0] = false; });
  refuse("the output is f32", [](Reduction& s) { s.output.type = DType::bf16; });
  refuse("the output is plain", [](Reduction& s) { s.output.layout = Layout::blocked8; });
  refuse("the chain stores nothing", [](Reduction& s) { s.chain.outputs.push_back(s.chain.inputs[0]); });
  refuse("the chain has one result", [](Reduction& s) { s.chain.results = {0, 2}; });
  refuse("only axes that exist are summed", [](Reduction& s) { s.summed[4] = true; });
}

void add_training(std::vector<Refusal>& all) {
  for (const auto kind : {BatchNorm::Kind::forward, BatchNorm::Kind::backward}) {
    const auto add = [&](const char* rule, auto change) {
      all.push_back({rule, with(BatchNorm{kind, f32({4, 3, 3, 8}), 2, 1e-5f, {}}, change)});
    };
    add("x has rank 2 or 4", [](BatchNorm& s) { s.x.shape = {4, 3, 8}; });
    add("groups divide the batch", [](BatchNorm& s) { s.groups = 3; });
    add("there is a group", [](BatchNorm& s) { s.groups = 0; });
    add("x is floating", [](BatchNorm& s) { s.x.type = DType::u8; });
    add("epsilon is not negative", [](BatchNorm& s) { s.epsilon = -1; });
    add("momentum is at most 1", [](BatchNorm& s) { s.momentum = 1.5f; });
    add("epsilon is a number", [](BatchNorm& s) { s.epsilon = std::numeric_limits<float>::quiet_NaN(); });
    add("blocks divide channels", [](BatchNorm& s) { s.x.layout = Layout::blocked16; });
  }
  const SigmoidBce bce{f32({6, 1}), {0, 1}, {1, 1}};
  all.push_back({"runs divide the logits", with(bce, [](SigmoidBce& s) { s.targets = s.weights = {0, 1, 0, 1}; })});
  all.push_back({"a weight for each target", with(bce, [](SigmoidBce& s) { s.weights = {1}; })});
  all.push_back({"there is a target", with(bce, [](SigmoidBce& s) { s.targets = s.weights = {}; })});
  all.push_back({"logits are f32", with(bce, [](SigmoidBce& s) { s.logits.type = DType::bf16; })});
  all.push_back({"the gradient is floating", with(bce, [](SigmoidBce& s) { s.gradient = DType::i32; })});

  OptimizerUpdate adam;
  adam.parameters = {f32({3, 5})};
  all.push_back({"there is a parameter", with(adam, [](OptimizerUpdate& s) { s.parameters.clear(); })});
  all.push_back({"parameters are f32", with(adam, [](OptimizerUpdate& s) { s.parameters[0].type = DType::bf16; })});
  all.push_back({"beta1 is below 1", with(adam, [](OptimizerUpdate& s) { s.beta1 = 1; })});
  all.push_back({"beta2 is not negative", with(adam, [](OptimizerUpdate& s) { s.beta2 = -0.1f; })});
  all.push_back({"momentum is not negative", with(adam, [](OptimizerUpdate& s) { s.momentum = -0.9f; })});
  all.push_back({"parameters are f32", EmaUpdate{{bf16({3, 5})}, 0.9f}});
  all.push_back({"parameters are f32", Bf16Copies{{bf16({3, 5})}}});
  all.push_back({"decay is at most 1", EmaUpdate{{f32({3, 5})}, 1.5f}});
  Random random;
  random.output = {DType::i32, {7}, Layout::plain};
  all.push_back({"the output is floating", random});
  random.output = f32({2, 2, 2, 8}, Layout::blocked8);
  all.push_back({"the output is plain", random});
}

void add_movement(std::vector<Refusal>& all) {
  const auto add = [&](const char* rule, auto change) {
    all.push_back({rule, with(Copy{f32({4, 5}), f32({5, 4}), {1, 0}, {0, 0}, {0, 0}, {5, 4}}, change)});
  };
  add("the box stays in the input", [](Copy& s) { s.input_start = {1, 0}; });
  add("the box stays in the output", [](Copy& s) { s.output_start = {0, 1}; });
  add("starts are not negative", [](Copy& s) { s.input_start = {0, -1}; });
  add("the box is not empty", [](Copy& s) { s.extent = {0, 4}; });
  add("the permutation is one", [](Copy& s) { s.permutation = {0, 0}; });
  add("the permutation has the rank", [](Copy& s) { s.permutation = {0}; });
  add("the permutation's axes exist", [](Copy& s) { s.permutation = {1, 2}; });
  add("ranks agree", [](Copy& s) { s.output.shape = {5, 4, 1}; });
  add("integers stay what they are", [](Copy& s) { s.input.type = DType::i32; });

  const auto refuse = [&](const char* rule, auto change) {
    all.push_back({rule, with(Concatenate{{f32({2, 3}), f32({2, 4})}, f32({2, 7}), 1}, change)});
  };
  refuse("there is an input", [](Concatenate& s) { s.inputs.clear(); });
  refuse("the axis exists", [](Concatenate& s) { s.axis = 2; });
  refuse("the axis is not negative", [](Concatenate& s) { s.axis = -1; });
  refuse("extents add up", [](Concatenate& s) { s.output.shape = {2, 8}; });
  refuse("other extents agree", [](Concatenate& s) { s.inputs[1].shape = {3, 4}; });
  refuse("types agree", [](Concatenate& s) { s.inputs[1].type = DType::bf16; });
  all.push_back({"only a communicator has ranks", AllReduce{AllReduce::Combine::sum, {f32({3})}}});
}

}  // namespace

std::vector<Refusal> refusals() {
  std::vector<Refusal> all;
  add_convolutions(all);
  add_matmuls(all);
  add_pointwise(all);
  add_training(all);
  add_movement(all);
  return all;
}

}  // namespace gannet::tests

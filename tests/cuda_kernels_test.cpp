// Judges the CUDA backend by the reference backend on the table of cases, in plain layouts; on a device or under gannet-sim.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "kernels/check.h"
#include "kernels/cuda/backend.h"
#include "tests/kernel_judging.h"

namespace gannet::tests {
namespace {

using namespace kernels;

std::vector<Case> in_plain_layouts(std::vector<Case> cases) {
  for (Case& test : cases) test.spec = with_plain_layouts(test.spec);
  return cases;
}

void judge_cuda(const std::vector<Case>& cases) { judge(*make_cuda_backend(), in_plain_layouts(cases)); }

// Products of fp32 that may run on tensor cores with 10-bit mantissas; small integers stay exact.
void judge_tf32(std::vector<Case> cases) {
  for (Case& test : cases) test.tolerance = test.tolerance == 0 ? 0 : 2e-3;
  CudaOptions options;
  options.tf32 = true;
  judge(*make_cuda_backend(options), in_plain_layouts(cases));
}

TEST(Cuda, Convolution) { judge_cuda(convolution_cases()); }
TEST(Cuda, ConvolutionTf32) { judge_tf32(convolution_cases()); }
TEST(Cuda, ConvolutionBackward) { judge_cuda(backward_cases()); }
TEST(Cuda, Matmul) { judge_cuda(matmul_cases()); }
TEST(Cuda, MatmulTf32) { judge_tf32(matmul_cases()); }
// As on devices of few multiprocessors, where the largest tiles are the fastest already for small problems.
void judge_tiles(const std::vector<Case>& cases) {
  for (const int multiprocessors : {1, 4}) {
    CudaOptions options;
    options.tf32 = true, options.multiprocessors = multiprocessors;
    judge(*make_cuda_backend(options), in_plain_layouts(cases));
  }
}
TEST(Cuda, Tiles) { judge_tiles(tile_cases()); }
TEST(Cuda, BackwardTiles) { judge_tiles(backward_tile_cases()); }

// A product of many tiles, as the large layers of a DCGAN have them: the tiles chosen for it have blocks that the device can
// hold. Devices of 8.6 hold less than those of 8.0.
TEST(Cuda, TilesFitTheDevice) {
  const std::unique_ptr<Backend> backend = make_cuda_backend();
  const TensorDesc x{DType::bf16, {256, 8, 8, 256}}, w{DType::bf16, {512, 4, 4, 256}}, y{DType::bf16, {256, 4, 4, 512}};
  ConvolutionBackward spec{{ConvolutionKind::dgrad, x, w, y, 2, 1, false, {}, {}},
                           {ConvolutionKind::wgrad, x, w, y, 2, 1, false, {}, {}}};
  spec.weights.w.type = DType::f32;
  EXPECT_NO_THROW(backend->create(spec));
  EXPECT_NO_THROW(backend->create(spec.data));
  EXPECT_NO_THROW(backend->create(spec.weights));
}

// What the planner is told to join is one kernel, for either way back and in both precisions of the tensor cores.
TEST(Cuda, BothGradientsInOneLaunch) {
  for (const bool tf32 : {false, true}) {
    CudaOptions options;
    options.tf32 = tf32, options.multiprocessors = 4;
    const std::unique_ptr<Backend> backend = make_cuda_backend(options);
    for (const ConvolutionKind kind : {ConvolutionKind::dgrad, ConvolutionKind::fprop}) {
      for (const DType type : {DType::f32, DType::bf16}) {
        const TensorDesc x{type, {8, 16, 16, 64}}, w{type, {128, 4, 4, 64}}, y{type, {8, 8, 8, 128}};
        ConvolutionBackward spec{{kind, x, w, y, 2, 1, false, {}, {}}, {ConvolutionKind::wgrad, x, w, y, 2, 1, false, {}, {}}};
        spec.weights.w.type = DType::f32;
        EXPECT_EQ(backend->computes_together(spec), tf32 || type == DType::bf16) << "tensor cores only";
        // One channel: a kernel of its own that shares no launch.
        for (Convolution* part : {&spec.data, &spec.weights}) part->x.shape[3] = part->w.shape[3] = 1;
        EXPECT_FALSE(backend->computes_together(spec));
      }
    }
  }
}
TEST(Cuda, Pointwise) { judge_cuda(pointwise_cases()); }
TEST(Cuda, Reduction) { judge_cuda(reduction_cases()); }
TEST(Cuda, BatchNorm) { judge_cuda(batch_norm_cases()); }
TEST(Cuda, SigmoidBce) { judge_cuda(sigmoid_bce_cases()); }
TEST(Cuda, Optimizer) { judge_cuda(optimizer_cases()); }
TEST(Cuda, Random) { judge_cuda(random_cases()); }
TEST(Cuda, Copy) { judge_cuda(copy_cases()); }
TEST(Cuda, Concatenate) { judge_cuda(concatenate_cases()); }

TEST(Cuda, Adjoints) { judge_adjoints(*make_cuda_backend(), in_plain_layouts(convolution_cases())); }
TEST(Cuda, Refusals) { judge_refusals(*make_cuda_backend()); }

TEST(Cuda, RefusesLayoutsOfTheCpu) {
  Pointwise spec;
  spec.shape = {1, 2, 2, 8}, spec.layout = Layout::blocked8;
  spec.inputs = spec.outputs = {{DType::f32, spec.shape, spec.layout}};
  spec.results = {0};
  EXPECT_THROW(make_cuda_backend()->create(spec), InputError);
}

// What was taken down is run by each launch, on what memory holds then, and not before.
TEST(Cuda, Records) {
  const std::unique_ptr<Backend> backend = make_cuda_backend();
  Pointwise spec;
  spec.shape = {1000};
  spec.inputs = spec.outputs = {{DType::f32, spec.shape, Layout::plain}};
  spec.instructions = {{PointwiseOp::affine, 0, 0, 2, 1}};
  spec.results = {1};
  const std::unique_ptr<Kernel> kernel = backend->create(spec);
  auto* memory = static_cast<float*>(backend->allocate(1000 * sizeof(float)));
  std::vector<float> values(1000, 1), result(1000);
  backend->upload(memory, values.data(), values.size() * sizeof(float));
  const void* inputs[] = {memory};
  void* outputs[] = {memory};
  const std::unique_ptr<kernels::Run> run = backend->record(
      [&] {
        for (int i = 0; i < 2; ++i) kernel->run({inputs, outputs, memory});
      },
      {}, {memory + 999, sizeof(float)});
  for (const float expected : {1.0f, 7.0f, 31.0f}) {  // x -> 4 x + 3
    backend->download(result.data(), memory, result.size() * sizeof(float));
    EXPECT_EQ(result, std::vector<float>(1000, expected));
    run->launch();
    run->wait();
    EXPECT_EQ(*static_cast<const float*>(run->results()), 4 * expected + 3);
  }
  EXPECT_THROW(backend->record([] { throw InputError("stop"); }, {}, {}), InputError);
  backend->synchronize();
  backend->release(memory);
}

// The host may write the inputs of one run while another, started before, still reads its own.
TEST(Cuda, TakesTheInputsOfEachLaunch) {
  const std::unique_ptr<Backend> backend = make_cuda_backend();
  constexpr int count = 1000, launches = 7;
  Pointwise spec;  // sum = sum + input
  spec.shape = {count};
  spec.inputs = std::vector<TensorDesc>(2, {DType::f32, spec.shape, Layout::plain});
  spec.outputs = {spec.inputs[0]};
  spec.instructions = {{PointwiseOp::add, 0, 1, 0, 0}};
  spec.results = {2};
  const std::unique_ptr<Kernel> kernel = backend->create(spec);
  constexpr std::size_t bytes = count * sizeof(float);
  const std::vector<float> zeros(count);
  void* sum = backend->allocate(bytes);
  backend->upload(sum, zeros.data(), bytes);
  std::vector<void*> inputs;
  std::vector<std::unique_ptr<kernels::Run>> runs;
  for (int i = 0; i < backend->launches_ahead(); ++i) {
    inputs.push_back(backend->allocate(bytes));
    const void* operands[] = {sum, inputs.back()};
    runs.push_back(backend->record([&] { kernel->run({operands, &sum, sum}); }, {inputs.back(), bytes}, {sum, bytes}));
  }
  float expected = 0;
  for (int launch = 0; launch < launches; ++launch) {
    kernels::Run& run = *runs[static_cast<std::size_t>(launch) % runs.size()];
    run.wait();
    if (launch >= static_cast<int>(runs.size())) {  // what the last launch of this run left
      expected = 0;
      for (int i = 0; i <= launch - static_cast<int>(runs.size()); ++i) expected += static_cast<float>(i + 1);
      EXPECT_EQ(static_cast<const float*>(run.results())[count - 1], expected);
    }
    std::fill_n(static_cast<float*>(run.inputs()), count, static_cast<float>(launch + 1));
    run.launch();
  }
  std::vector<float> result(count);
  backend->download(result.data(), sum, bytes);
  EXPECT_EQ(result, std::vector<float>(count, launches * (launches + 1) / 2));
  for (void* memory : inputs) backend->release(memory);
  backend->release(sum);
}

}  // namespace
}  // namespace gannet::tests

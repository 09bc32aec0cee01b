// Judges the kernels of cuDNN and cuBLASLt by the reference backend on the table of cases: theirs on a device, those of their
// doubles (vendor_double.h) under gannet-sim.
#include <dlfcn.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "kernels/check.h"
#include "kernels/cuda/backend.h"
#include "kernels/cuda/factories.h"
#include "kernels/vendor/choice.h"
#include "kernels/vendor/vendor.h"
#include "tests/judging.h"
#include "tests/kernel_judging.h"

namespace gannet::tests {
namespace {

using namespace kernels;

std::unique_ptr<Backend> vendor_backend(bool tf32 = false) {
  CudaOptions options;
  options.tf32 = tf32, options.kernels = CudaKernels::vendor;
  return make_cuda_backend(options);
}

std::vector<Case> prepared(std::vector<Case> cases, bool tf32 = false) {
  for (Case& test : cases) {
    test.spec = with_plain_layouts(test.spec);
    if (tf32 && test.tolerance > 0) test.tolerance = 2e-3;
  }
  return cases;
}

// How many products a double has computed; -1 where it is not the double that is loaded.
int executions(const char* library) {
  void* const handle = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
  if (handle == nullptr) return -1;
  auto* const count = reinterpret_cast<int (*)()>(dlsym(handle, "vendor_double_executions"));
  const int result = count == nullptr ? -1 : count();
  dlclose(handle);
  return result;
}

TEST(Vendor, Convolution) { judge(*vendor_backend(), prepared(convolution_cases())); }
TEST(Vendor, ConvolutionTf32) { judge(*vendor_backend(true), prepared(convolution_cases(), true)); }
TEST(Vendor, Tiles) { judge(*vendor_backend(true), prepared(tile_cases(), true)); }
TEST(Vendor, Matmul) { judge(*vendor_backend(), prepared(matmul_cases())); }
TEST(Vendor, MatmulTf32) { judge(*vendor_backend(true), prepared(matmul_cases(), true)); }
TEST(Vendor, Adjoints) { judge_adjoints(*vendor_backend(), prepared(convolution_cases())); }
TEST(Vendor, Refusals) { judge_refusals(*vendor_backend()); }
// What the libraries have no kernels for is ours.
TEST(Vendor, Pointwise) { judge(*vendor_backend(), prepared(pointwise_cases())); }

// Both kinds of products, captured with what goes before and after them, on what memory holds at each launch.
TEST(Vendor, Records) {
  const std::unique_ptr<Backend> backend = vendor_backend();
  const Shape x{2, 5, 5, 8}, w{8, 3, 3, 8}, y{2, 5, 5, 8};
  Convolution convolution{};
  convolution.kind = ConvolutionKind::fprop, convolution.pad = 1, convolution.bias = true;
  convolution.x = {DType::f32, x}, convolution.w = {DType::f32, w}, convolution.y = {DType::f32, y};
  Matmul product;  // of the pictures as rows of 8
  product.a = product.c = {DType::f32, {50, 8}}, product.b = {DType::f32, {8, 8}};
  product.activation = {Activation::Kind::leaky_relu, 0};
  const auto first = backend->create(convolution), second = backend->create(product);
  const auto upload = [&](std::size_t count, float value) {
    auto* memory = static_cast<float*>(backend->allocate(count * sizeof(float)));
    const std::vector<float> values(count, value);
    backend->upload(memory, values.data(), count * sizeof(float));
    return memory;
  };
  float* const pictures = upload(400, 0);
  float* const filters = upload(576, 1);
  float* const bias = upload(8, -3);
  float* const between = upload(400, 0);
  float* const matrix = upload(64, 0.125f);
  float* const result = upload(400, 0);
  void* const workspace = backend->allocate(std::max(first->workspace_bytes(), second->workspace_bytes()));
  const auto run = backend->record(
      [&] {
        const void* const convolved[] = {pictures, filters, bias};
        void* into[] = {between};
        first->run({convolved, into, workspace});
        const void* const multiplied[] = {between, matrix};
        void* out[] = {result};
        second->run({multiplied, out, workspace});
      },
      {}, {result, 400 * sizeof(float)});
  for (const float value : {1.0f, 2.0f, -1.0f}) {
    const std::vector<float> values(400, value);
    backend->upload(pictures, values.data(), 400 * sizeof(float));
    run->launch();
    run->wait();
    const auto* const results = static_cast<const float*>(run->results());
    EXPECT_EQ(results[12 * 8], std::max(0.0f, 72 * value - 3)) << "in the middle";
    EXPECT_EQ(results[0], std::max(0.0f, 32 * value - 3)) << "in the corner";
  }
  backend->synchronize();
  for (void* memory : std::initializer_list<void*>{pictures, filters, bias, between, matrix, result, workspace})
    backend->release(memory);
}

// Times mean nothing under gannet-sim; elsewhere auto works, and gives what either gives.
TEST(Vendor, Automatic) {
  CudaOptions options;
  options.kernels = CudaKernels::automatic;
  if (make_cuda_backend()->name().find("Simulated") != std::string::npos) {
    EXPECT_THROW(make_cuda_backend(options), InputError);
    return;
  }
  judge(*make_cuda_backend(options), prepared(tile_cases()));
}

// What auto chooses by: a time for each of both, of kernels that go into a graph.
TEST(Vendor, Timing) {
  cuda::Device device;
  GANNET_CUDA(cudaStreamCreateWithFlags(&device.stream, cudaStreamNonBlocking));
  {
    const vendor::Libraries libraries(device);
    Matmul spec;
    spec.a = spec.b = spec.c = {DType::f32, {16, 16}};
    const auto own = cuda::make_matmul(spec, device), theirs = vendor::make_kernel(spec, libraries);
    ASSERT_NE(theirs, nullptr);
    EXPECT_GT(vendor::seconds_of(*own, spec, device), 0);
    EXPECT_GT(vendor::seconds_of(*theirs, spec, device), 0);
  }
  GANNET_CUDA(cudaStreamDestroy(device.stream));
}

TEST(Vendor, WasAsked) {
  const int convolutions = executions("libcudnn.so.9"), products = executions("libcublasLt.so.13");
  fmt::print("computed by the doubles: {} convolutions, {} products\n", convolutions, products);
  if (make_cuda_backend()->name().find("Simulated") == std::string::npos) return;
  EXPECT_GT(convolutions, 0);
  EXPECT_GT(products, 0);
}

}  // namespace
}  // namespace gannet::tests

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  ::testing::AddGlobalTestEnvironment(new gannet::tests::CaseCount);
  if (const std::string reason = gannet::kernels::cuda_unavailable(); !reason.empty()) {
    fmt::print("skipped: {}\n", reason);
    return 77;
  }
  try {
    const auto backend = gannet::tests::vendor_backend();  // keeps the libraries loaded, and with them the counts of doubles
    fmt::print("{}\n", backend->name());
    return RUN_ALL_TESTS();
  } catch (const gannet::InputError& error) {
    fmt::print("skipped: {}\n", error.what());
    return 77;
  }
}

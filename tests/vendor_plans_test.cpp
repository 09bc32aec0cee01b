// The real cuDNN, which plans convolutions for devices that are only described: does it take our descriptors, and has it
// engines that give the same bits in every run? It needs no GPU; skipped where cuDNN is not installed, or is older than 9.11.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "kernels/check.h"
#include "kernels/operands.h"
#include "kernels/vendor/libraries.h"
#include "kernels/vendor/plan.h"
#include "tests/cases.h"

namespace gannet::tests {
namespace {

using namespace kernels;
using namespace kernels::vendor;

struct Described {
  const char* name;
  int capability, multiprocessors, shared_bytes, cache_bytes, clock_khz, memory_khz, blocks;
};
const Described devices[] = {
    {"NVIDIA A100-SXM4-80GB", 800, 108, 166912, 41943040, 1410000, 1593000, 32},
    {"NVIDIA H100 80GB HBM3", 900, 132, 232448, 52428800, 1980000, 2619000, 32},
    {"NVIDIA B200", 1000, 148, 232448, 132644864, 1965000, 3996000, 32},
};

cudnn::Descriptor described(const cudnn::Calls& calls, const Described& device) {
  const std::string json = fmt::format(
      R"({{"cudaDeviceId": 0, "deviceVer": {}, "driverVer": 13000, "multiProcessorCount": {}, )"
      R"("maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536, )"
      R"("smClockRateKHz": {}, "memClockRateKHz": {}, "l2CacheSize": {}, "warpSize": 32, "maxSharedMemoryPerBlock": 49152, )"
      R"("maxSharedMemoryPerBlockOptin": {}, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, )"
      R"("pciDeviceId": 0, "maxCtasPerSM": {}, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "isTccDriver": 0, )"
      R"("supportCoopLaunch": 1, "deviceName": "{}", "totalGlobalMem": 85899345920}})",
      device.capability, device.multiprocessors, device.clock_khz, device.memory_khz, device.cache_bytes, device.shared_bytes,
      device.blocks, device.name);
  cudnn::Descriptor result(calls, cudnn::Kind::device);
  result.set(cudnn::Attribute::device_json, cudnn::Type::text, std::span<const char>(json.c_str(), json.size() + 1)).finalize();
  return result;
}

class Plans : public ::testing::TestWithParam<Described> {
 protected:
  std::optional<cudnn::Plan> plan(const Convolution& spec, bool tf32) {
    return cudnn::plan_convolution(calls_, {nullptr, &device_}, spec, tf32);
  }

 private:
  const Library library_ = open_cudnn();
  const cudnn::Calls calls_ = cudnn::calls_of(library_);
  const cudnn::Descriptor device_ = described(calls_, GetParam());
};

Convolution plain_of(const KernelSpec& spec) {
  auto plain = std::get<Convolution>(with_plain_layouts(spec));
  plain.bias = false, plain.activation = {}, plain.slope_of = {};
  return plain;
}

// Every case of the table, in every arithmetic.
TEST_P(Plans, OfTheTable) {
  std::map<std::string, int> found;
  Selection selection;
  std::vector<Case> cases = convolution_cases();
  for (const Case& test : tile_cases()) cases.push_back(test);
  for (const Case& test : cases) {
    if (!selection.takes(test.name)) continue;
    const Convolution spec = plain_of(test.spec);
    for (const bool tf32 : {false, true}) {
      const auto planned = plan(spec, tf32);
      EXPECT_TRUE(planned) << to_string(test);
      ++found[!planned ? "none" : planned->widened ? "from bf16 as f32" : "as they are"];
    }
  }
  for (const auto& [how, count] : found) fmt::print("{}: {} plans {}\n", GetParam().name, count, how);
}

// The layers of a DCGAN at 64x64 with 64 features, batch 128; types that the library must have as they are.
TEST_P(Plans, OfTheDcgan) {
  struct Layer {
    std::int64_t side, c, k;
  };
  for (const Layer& layer : {Layer{64, 3, 64}, Layer{32, 64, 128}, Layer{16, 128, 256}, Layer{8, 256, 512}})
    for (const auto kind : {ConvolutionKind::fprop, ConvolutionKind::dgrad, ConvolutionKind::wgrad})
      for (const DType type : {DType::f32, DType::bf16})
        for (const bool tf32 : {false, true}) {
          Convolution spec{};
          spec.kind = kind, spec.stride = 2, spec.pad = 1;
          spec.x = {type, {128, layer.side, layer.side, layer.c}};
          spec.w = {type, {layer.k, 4, 4, layer.c}};
          spec.y = {type, {128, layer.side / 2, layer.side / 2, layer.k}};
          const auto planned = plan(spec, tf32);
          ASSERT_TRUE(planned) << layer.side;
          EXPECT_FALSE(planned->widened);
          EXPECT_LE(planned->workspace_bytes, std::size_t{256} << 20);
        }
}

INSTANTIATE_TEST_SUITE_P(Devices, Plans, ::testing::ValuesIn(devices),
                         [](const auto& info) { return fmt::format("sm_{}", info.param.capability / 10); });

// What cuBLASLt does not need a device for.
TEST(Descriptors, OfMatrices) {
  const Library library = open_cublaslt();
  const cublaslt::Calls calls = cublaslt::calls_of(library);
  cublaslt::Layout layout = nullptr;
  GANNET_CUBLASLT(calls, create_layout(&layout, cublaslt::DataType::bf16, 100, 64, 100));
  GANNET_CUBLASLT(calls, destroy_layout(layout));
  cublaslt::Operation operation = nullptr;
  GANNET_CUBLASLT(calls, create_operation(&operation, cublaslt::ComputeType::fast_tf32, cublaslt::DataType::f32));
  const auto transposed = cublaslt::Transpose::yes;
  for (const auto of : {cublaslt::OperationAttribute::transpose_a, cublaslt::OperationAttribute::transpose_b})
    GANNET_CUBLASLT(calls, set_operation(operation, of, &transposed, sizeof transposed));
  EXPECT_NE(calls.set_operation(operation, cublaslt::OperationAttribute::transpose_a, &transposed, 1), cublaslt::success);
  GANNET_CUBLASLT(calls, destroy_operation(operation));
  cublaslt::Preference preference = nullptr;
  GANNET_CUBLASLT(calls, create_preference(&preference));
  const std::uint64_t bytes = 1 << 20;
  GANNET_CUBLASLT(calls, set_preference(preference, cublaslt::PreferenceAttribute::most_workspace_bytes, &bytes, sizeof bytes));
  const std::uint32_t word = 64, schemes = cublaslt::reduction_in_compute_type;
  GANNET_CUBLASLT(calls,
                  set_preference(preference, cublaslt::PreferenceAttribute::reduction_schemes, &schemes, sizeof schemes));
  for (const auto of : {cublaslt::PreferenceAttribute::alignment_a, cublaslt::PreferenceAttribute::alignment_b,
                        cublaslt::PreferenceAttribute::alignment_c, cublaslt::PreferenceAttribute::alignment_d})
    GANNET_CUBLASLT(calls, set_preference(preference, of, &word, sizeof word));
  GANNET_CUBLASLT(calls, destroy_preference(preference));
}

}  // namespace
}  // namespace gannet::tests

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  try {
    const gannet::kernels::vendor::Library cudnn = gannet::kernels::vendor::open_cudnn();
    gannet::kernels::vendor::open_cublaslt();
    const std::size_t version = gannet::kernels::vendor::cudnn::calls_of(cudnn).version();
    if (version < 91100) {
      fmt::print("skipped: cuDNN {} plans for no device that is only described\n", version);
      return 77;
    }
  } catch (const gannet::InputError& error) {
    fmt::print("skipped: {}\n", error.what());
    return 77;
  }
  return RUN_ALL_TESTS();
}

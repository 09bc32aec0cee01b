// Reductions between GPUs, on a machine that has several or under `gannet-sim --devices 4`: jobs of 2, 3 and 4 ranks, each
// this program in a process of its own.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>

#include "engine/parallel/communicator.h"
#include "kernels/cuda/backend.h"
#include "tests/all_reduce_values.h"
#include "tests/rank_processes.h"

namespace gannet {
namespace {

using kernels::AllReduce;
using kernels::Backend;
using kernels::Block;
using kernels::Kernel;
using Combine = AllReduce::Combine;

class Job : public testing::TestWithParam<int> {};

TEST_P(Job, PassesTheTestsOfARank) {
  const std::size_t devices = kernels::cuda_machine().devices.size();
  if (devices < static_cast<std::size_t>(GetParam())) GTEST_SKIP() << "there are " << devices << " devices";
  expect_success(run_programs(GetParam(), {"/proc/self/exe"}, 600));
}

INSTANTIATE_TEST_SUITE_P(Ranks, Job, testing::Values(2, 3, 4));

// Tests of one rank, which all ranks of a job run at the same time, in the same order.

// Device memory for as long as it lives.
class Memory {
 public:
  Memory(Backend& backend, std::size_t bytes) : backend_(backend), block_{backend.allocate(bytes), bytes} {}
  ~Memory() { backend_.release(block_.data); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  Block block() const { return block_; }
  void* data() const { return block_.data; }
  void upload(const void* host) { backend_.upload(block_.data, host, block_.bytes); }
  std::string download() const {
    std::string bytes(block_.bytes, '\0');
    backend_.download(bytes.data(), block_.data, block_.bytes);
    return bytes;
  }

 private:
  Backend& backend_;
  Block block_;
};

// What a rank has, for all its tests.
std::unique_ptr<Backend> backend;
std::unique_ptr<Group> group;
std::unique_ptr<Communicator> communicator;

class Meeting : public testing::Environment {
  void SetUp() override {
    const World world = world_from_environment();
    kernels::CudaOptions options;
    options.device = world.local_rank;
    backend = kernels::make_cuda_backend(options);
    group = std::make_unique<Group>(world);
    communicator = make_nccl_communicator(*group, *backend);
  }
  void TearDown() override {
    communicator.reset();
    group.reset();
    backend.reset();
  }
};

void expect_same_on_all_ranks(const std::string& bytes) {
  for (const std::string& other : group->gather(bytes)) EXPECT_TRUE(other == bytes);
}

std::unique_ptr<Kernel> reduction(DType type, std::size_t elements, Combine combine) {
  return communicator->create({combine, {{type, {static_cast<std::int64_t>(elements)}}}});
}

std::unique_ptr<Kernel> affine(std::size_t elements, float alpha, float beta) {
  const TensorDesc desc{DType::f32, {static_cast<std::int64_t>(elements)}};
  return backend->create(
      kernels::Pointwise{desc.shape, Layout::plain, {desc}, {{kernels::PointwiseOp::affine, 0, 0, alpha, beta}}, {desc}, {1}});
}

void run(Kernel& kernel, const void* input, void* output) { kernel.run({&input, &output, nullptr}); }

template <typename T>
std::vector<T> as(const std::string& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

int small(int rank, std::size_t index) { return static_cast<int>((index * 7 + static_cast<std::size_t>(rank) * 5) % 17) - 8; }

// Sums of small whole numbers are exact in any order; a mean is what one multiplication makes of them.
TEST(Rank, SumsAndMeansOfWholeNumbersAreRight) {
  EXPECT_TRUE(communicator->name().starts_with("NCCL 2.")) << communicator->name();
  const int ranks = group->size();
  for (const DType type : {DType::f32, DType::bf16}) {
    for (const Combine combine : {Combine::sum, Combine::mean}) {
      for (const std::size_t elements : {1u, 5u, 1000u, 40007u}) {
        std::vector<float> mine(elements);
        std::vector<std::uint16_t> mine_bf16(elements);
        for (std::size_t i = 0; i < elements; ++i) {
          mine[i] = static_cast<float>(small(group->rank(), i));
          mine_bf16[i] = nearest_bf16(mine[i]);
        }
        const auto kernel = reduction(type, elements, combine);
        for (const bool in_place : {false, true}) {
          Memory in(*backend, elements * size_of(type)), out(*backend, elements * size_of(type));
          in.upload(type == DType::bf16 ? static_cast<const void*>(mine_bf16.data()) : mine.data());
          const Memory& result = in_place ? in : out;
          run(*kernel, in.data(), result.data());
          kernel->await();
          const std::string bytes = result.download();
          std::size_t wrong = 0;
          for (std::size_t i = 0; i < elements; ++i) {
            float expected = 0;
            for (int rank = 0; rank < ranks; ++rank) expected += static_cast<float>(small(rank, i));
            if (combine == Combine::mean) expected *= 1.0f / static_cast<float>(ranks);
            if (type == DType::bf16)
              wrong += as<std::uint16_t>(bytes)[i] != nearest_bf16(expected);
            else  // where each number is divided before
              wrong += std::abs(as<float>(bytes)[i] - expected) > (combine == Combine::mean && ranks == 3 ? 4e-6f : 0);
            if (i > 100 && i < elements - 100) i += 37;
          }
          EXPECT_EQ(wrong, 0u) << fmt::format("{} elements of {}, in place: {}", elements, name_of(type), in_place);
        }
      }
    }
  }
}

TEST(Rank, HaveTheSameBitsOnAllRanksAndAgain) {
  constexpr std::size_t elements = 30011;
  std::vector<float> values(elements);
  for (std::size_t i = 0; i < elements; ++i) values[i] = value_of(group->rank(), i);
  Memory in(*backend, elements * sizeof(float)), out(*backend, elements * sizeof(float));
  in.upload(values.data());
  const auto kernel = reduction(DType::f32, elements, Combine::mean);
  std::string before;
  for (int i = 0; i < 3; ++i) {
    run(*kernel, in.data(), out.data());
    kernel->await();
    const std::string bytes = out.download();
    expect_same_on_all_ranks(bytes);
    EXPECT_TRUE(i == 0 || bytes == before);
    before = bytes;
  }
}

TEST(Rank, SeveralTensorsAreOneReduction) {
  const std::vector<std::size_t> sizes{3, 5000, 1};
  AllReduce spec{Combine::sum, {}};
  std::vector<std::unique_ptr<Memory>> memory;
  std::vector<const void*> inputs;
  std::vector<void*> outputs;
  for (const std::size_t size : sizes) {
    spec.tensors.push_back({DType::f32, {static_cast<std::int64_t>(size)}});
    memory.push_back(std::make_unique<Memory>(*backend, size * sizeof(float)));
    memory.back()->upload(std::vector<float>(size, static_cast<float>(size) + static_cast<float>(group->rank())).data());
    inputs.push_back(memory.back()->data());
    outputs.push_back(memory.back()->data());
  }
  const auto kernel = communicator->create(spec);
  kernel->run({inputs.data(), outputs.data(), nullptr});
  kernel->await();
  const auto ranks = static_cast<float>(group->size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const float expected = ranks * static_cast<float>(sizes[i]) + ranks * (ranks - 1) / 2;
    EXPECT_EQ(as<float>(memory[i]->download()), std::vector<float>(sizes[i], expected));
  }
}

// As in a backward pass: each of two buckets is written, its reduction starts, the other kernels go on beside it, and what
// needs the bucket waits for it alone. Once as kernels that are started one by one, once as a graph.
class Buckets : public testing::Test {
 protected:
  static constexpr std::size_t elements = 6000;
  static constexpr std::size_t bytes = elements * sizeof(float);

  void start() {
    run(*plus_one, input.data(), first.data());
    run(*reduce_first, first.data(), first.data());
    run(*times_three, input.data(), second.data());  // beside the reduction
    run(*reduce_second, second.data(), second.data());
    run(*times_three, input.data(), other.data());  // beside both
    reduce_first->await();
    run(*plus_one, first.data(), result.data());
    reduce_second->await();
    run(*plus_one, second.data(), second.data());  // in the place of what was reduced
    run(*times_three, second.data(), other.data());
  }
  // For inputs 10 * rank + step.
  void expect_results(int step, const float* results) {
    float sum = 0;
    for (int rank = 0; rank < group->size(); ++rank) sum += 10.0f * static_cast<float>(rank) + static_cast<float>(step);
    const auto ranks = static_cast<float>(group->size());
    for (std::size_t i = 0; i < elements; i += 61) ASSERT_EQ(results[i], sum + ranks + 1) << i;
    const std::vector<float> others = as<float>(other.download());
    for (std::size_t i = 0; i < elements; i += 61) ASSERT_EQ(others[i], 3 * (3 * sum + 1)) << i;
  }
  std::vector<float> inputs(int step) const {
    return std::vector<float>(elements, 10.0f * static_cast<float>(group->rank()) + static_cast<float>(step));
  }

  Memory input{*backend, bytes}, first{*backend, bytes}, second{*backend, bytes}, other{*backend, bytes},
      result{*backend, bytes};
  std::unique_ptr<Kernel> plus_one = affine(elements, 1, 1), times_three = affine(elements, 3, 0);
  std::unique_ptr<Kernel> reduce_first = reduction(DType::f32, elements, Combine::sum),
                          reduce_second = reduction(DType::f32, elements, Combine::sum);
};

TEST_F(Buckets, AreReducedBesideOtherKernels) {
  for (int step = 0; step < 3; ++step) {
    input.upload(inputs(step).data());
    start();
    expect_results(step, as<float>(result.download()).data());
  }
}

TEST_F(Buckets, AreReducedWithinAGraph) {
  const auto graph = backend->record([&] { start(); }, input.block(), result.block());
  for (int step = 0; step < 4; ++step) {
    std::memcpy(graph->inputs(), inputs(step).data(), bytes);
    graph->launch();
    graph->wait();
    expect_results(step, static_cast<const float*>(graph->results()));
  }
}

// Two graphs of one communicator, one launched while the other works, as those of a training that runs ahead.
TEST_F(Buckets, OfTwoGraphsDoNotCross) {
  const auto a = backend->record([&] { start(); }, input.block(), result.block());
  Memory second_input(*backend, bytes), second_result(*backend, bytes);
  const auto b =
      backend->record([&] { run(*reduce_second, second_input.data(), second_result.data()), reduce_second->await(); },
                      second_input.block(), second_result.block());
  for (int step = 0; step < 3; ++step) {
    std::memcpy(a->inputs(), inputs(step).data(), bytes);
    std::memcpy(b->inputs(), inputs(step + 100).data(), bytes);
    a->launch();
    b->launch();
    a->wait();
    b->wait();
    expect_results(step, static_cast<const float*>(a->results()));
    float sum = 0;
    for (int rank = 0; rank < group->size(); ++rank) sum += 10.0f * static_cast<float>(rank) + static_cast<float>(step + 100);
    EXPECT_EQ(static_cast<const float*>(b->results())[elements - 1], sum);
  }
}

}  // namespace
}  // namespace gannet

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const std::string reason = gannet::kernels::cuda_unavailable(); !reason.empty()) {
    fmt::print("skipped: {}\n", reason);
    return 77;
  }
  const bool rank = std::getenv("RANK") != nullptr;
  if (rank) testing::AddGlobalTestEnvironment(new gannet::Meeting);  // which owns it
  if (!rank && gannet::kernels::cuda_machine().devices.size() < 2) {
    fmt::print("skipped: there are no two devices\n");
    return 77;
  }
  if (testing::GTEST_FLAG(filter) == "*") testing::GTEST_FLAG(filter) = rank ? "Rank.*:Buckets.*" : "Ranks/Job.*";
  return RUN_ALL_TESTS();
}

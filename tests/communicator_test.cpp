// Reductions between CPUs: 2 to 5 ranks, each a process.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <thread>

#include "engine/parallel/communicator.h"
#include "kernels/check.h"
#include "tests/all_reduce_values.h"
#include "tests/rank_processes.h"

namespace gannet {
namespace {

using kernels::AllReduce;
using kernels::Kernel;
using Combine = AllReduce::Combine;

constexpr int most_ranks = 5;

// A tensor of a rank: its values, what they become, and sentinels on both sides.
class Tensor {
 public:
  Tensor(DType type, std::size_t elements) : desc_{type, {static_cast<std::int64_t>(elements)}}, memory_(2 * guard + bytes()) {
    std::fill(memory_.begin(), memory_.end(), sentinel);
  }
  const TensorDesc& desc() const { return desc_; }
  std::size_t bytes() const { return desc_.bytes(); }
  std::byte* data() { return memory_.data() + guard; }

  void fill(int rank, std::uint32_t salt) {
    for (std::size_t i = 0; i < count(); ++i) {
      if (desc_.type == DType::bf16)
        put(i, nearest_bf16(value_of(rank, i, salt)));
      else
        put(i, value_of(rank, i, salt));
    }
  }
  // Added up rank by rank in f32, as the communicator says that it does: the same bits.
  void expect_combined(int ranks, Combine combine, std::uint32_t salt) {
    std::size_t wrong = 0, at = 0;
    for (std::size_t i = 0; i < count(); ++i) {
      float sum = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const float value = value_of(rank, i, salt);
        sum += desc_.type == DType::bf16 ? float_of(nearest_bf16(value)) : value;
      }
      if (combine == Combine::mean) sum *= 1.0f / static_cast<float>(ranks);
      const bool same = desc_.type == DType::bf16 ? get<std::uint16_t>(i) == nearest_bf16(sum) : get<float>(i) == sum;
      if (!same && wrong++ == 0) at = i;
    }
    EXPECT_EQ(wrong, 0u) << to_string(desc_) << ": element " << at << " is the first";
    const auto is_sentinel = [](std::byte value) { return value == sentinel; };
    EXPECT_TRUE(std::all_of(memory_.begin(), memory_.begin() + guard, is_sentinel) &&
                std::all_of(memory_.end() - guard, memory_.end(), is_sentinel));
  }

 private:
  static constexpr std::ptrdiff_t guard = 64;
  static constexpr std::byte sentinel{0xa5};
  std::size_t count() const { return static_cast<std::size_t>(desc_.elements()); }
  template <typename T>
  void put(std::size_t i, T value) {
    std::memcpy(data() + i * sizeof value, &value, sizeof value);
  }
  template <typename T>
  T get(std::size_t i) {
    T value;
    std::memcpy(&value, data() + i * sizeof value, sizeof value);
    return value;
  }

  TensorDesc desc_;
  std::vector<std::byte> memory_;
};

void run(Kernel& kernel, const void* input, void* output) { kernel.run({&input, &output, nullptr}); }

// A rank with its communicator, made from the start.
struct Rank {
  explicit Rank(const World& world) : rank(world.rank), size(world.size), group(std::in_place, world) {
    communicator = make_gloo_communicator(*group);
  }
  int rank, size;
  std::optional<Group> group;
  std::unique_ptr<Communicator> communicator;
};

class Sums : public testing::TestWithParam<int> {};

TEST_P(Sums, HaveTheBitsOfAddingUpInTheOrderOfRanks) {
  const auto rank = [](const World& world) {
    Rank self(world);
    EXPECT_EQ(self.communicator->name(), "Gloo over TCP");
    for (const DType type : {DType::f32, DType::bf16}) {
      for (const Combine combine : {Combine::sum, Combine::mean}) {
        // One element; less than ranks; around what goes whole; parts that are not equal; several pieces of each part.
        for (const std::size_t elements : {1u, 3u, 2047u, 2048u, 2049u, 4097u, 70001u, 600011u}) {
          Tensor in(type, elements), out(type, elements);
          const auto kernel = self.communicator->create({combine, {in.desc()}});
          for (const bool in_place : {false, true}) {
            const auto salt = static_cast<std::uint32_t>(elements + (in_place ? 1 : 0));
            in.fill(self.rank, salt);
            run(*kernel, in.data(), in_place ? in.data() : out.data());
            kernel->await();
            (in_place ? in : out).expect_combined(self.size, combine, salt);
          }
        }
      }
    }
  };
  expect_success(run_ranks(GetParam(), rank));
}

TEST_P(Sums, OfSeveralTensorsAreOneReduction) {
  const auto rank = [](const World& world) {
    Rank self(world);
    std::vector<Tensor> tensors;
    for (const std::size_t elements : {5u, 300000u, 1u, 4096u}) tensors.emplace_back(DType::f32, elements);
    tensors.emplace_back(DType::bf16, 9001);
    AllReduce spec{Combine::sum, {}};
    std::vector<const void*> inputs;
    std::vector<void*> outputs;
    for (Tensor& tensor : tensors) {
      spec.tensors.push_back(tensor.desc());
      tensor.fill(self.rank, 7);
      inputs.push_back(tensor.data());
      outputs.push_back(tensor.data());
    }
    const auto kernel = self.communicator->create(spec);
    kernel->run({inputs.data(), outputs.data(), nullptr});
    kernel->await();
    for (Tensor& tensor : tensors) tensor.expect_combined(self.size, Combine::sum, 7);
  };
  expect_success(run_ranks(GetParam(), rank));
}

TEST_P(Sums, ComeInOrderHoweverManyAreUnderWay) {
  const auto rank = [](const World& world) {
    Rank self(world);
    std::vector<Tensor> tensors;
    std::vector<std::unique_ptr<Kernel>> kernels;
    for (std::size_t i = 0; i < 40; ++i) {
      tensors.emplace_back(i % 3 == 0 ? DType::bf16 : DType::f32, 1 + i * i * 23);
      kernels.push_back(self.communicator->create({Combine::mean, {tensors.back().desc()}}));
    }
    for (std::uint32_t step = 0; step < 8; ++step) {
      for (Tensor& tensor : tensors) tensor.fill(self.rank, step);
      for (std::size_t i = 0; i < kernels.size(); ++i) {
        // Each rank is late at a place of its own.
        if ((i + step) % 7 == static_cast<std::size_t>(self.rank)) std::this_thread::sleep_for(std::chrono::milliseconds(2));
        run(*kernels[i], tensors[i].data(), tensors[i].data());
      }
      for (std::size_t i = kernels.size(); i-- > 0;) kernels[i]->await();
      for (Tensor& tensor : tensors) tensor.expect_combined(self.size, Combine::mean, step);
    }
    kernels[0]->await();  // of nothing
  };
  expect_success(run_ranks(GetParam(), rank));
}

TEST_P(Sums, OfOneSmallTensorFollowEachOther) {
  const auto rank = [](const World& world) {
    Rank self(world);
    Tensor tensor(DType::f32, 300);
    const auto kernel = self.communicator->create({Combine::sum, {tensor.desc()}});
    for (std::uint32_t step = 0; step < 1500; ++step) {
      tensor.fill(self.rank, step);
      run(*kernel, tensor.data(), tensor.data());
      kernel->await();
      tensor.expect_combined(self.size, Combine::sum, step);
    }
  };
  expect_success(run_ranks(GetParam(), rank));
}

INSTANTIATE_TEST_SUITE_P(Ranks, Sums, testing::Values(1, 2, 3, 4, most_ranks));

TEST(CommunicatorTest, WorksWhileTheHostDoes) {
  const SharedMemory shared(sizeof(std::atomic<int>));
  const auto rank = [&](const World& world) {
    std::atomic<int>& given = shared.of<std::atomic<int>>()[0];
    Rank self(world);
    Tensor tensor(DType::f32, 100000);
    tensor.fill(self.rank, 0);
    const auto kernel = self.communicator->create({Combine::sum, {tensor.desc()}});
    // Rank 1 takes part only after rank 0's run() has returned.
    while (self.rank == 1 && given == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    run(*kernel, tensor.data(), tensor.data());
    given = 1;
    kernel->await();
    tensor.expect_combined(self.size, Combine::sum, 0);
  };
  expect_success(run_ranks(2, rank, {}, 20));
}

TEST(CommunicatorTest, RefusesWhatItCanNotReduce) {
  const auto rank = [](const World& world) {
    Rank self(world);
    EXPECT_THROW(self.communicator->create({Combine::sum, {}}), InputError);
    EXPECT_THROW(self.communicator->create({Combine::sum, {{DType::i32, {4}}}}), InputError);
  };
  expect_success(run_ranks(1, rank));
}

// What a rank says of another one that is killed; the group, which would end the process, has left before.
void expect_error_of_killed_rank(std::size_t elements, int milliseconds) {
  const SharedMemory shared(sizeof(std::atomic<int>));
  std::atomic<int>& under_way = shared.of<std::atomic<int>>()[0];
  const auto rank = [&](const World& world) {
    Rank self(world);
    Tensor tensor(DType::f32, elements);
    tensor.fill(self.rank, 0);
    const auto kernel = self.communicator->create({Combine::sum, {tensor.desc()}});
    self.group->gather("ready");
    self.group.reset();
    std::string message;
    std::chrono::steady_clock::time_point killed;
    try {
      for (;;) {
        run(*kernel, tensor.data(), tensor.data());
        killed = std::chrono::steady_clock::now();
        kernel->await();
        ++under_way;
      }
    } catch (const RuntimeError& error) {
      message = error.what();
    }
    EXPECT_LT(std::chrono::steady_clock::now() - killed, std::chrono::seconds(10));
    // Whichever it noticed first: the one that was killed, or one that ended because of it.
    EXPECT_NE(message.find("over all ranks failed: the connection to rank "), message.npos) << message;
    EXPECT_THROW(run(*kernel, tensor.data(), tensor.data()), RuntimeError);
    EXPECT_THROW(kernel->await(), RuntimeError);
  };
  const auto kill_last = [&](std::span<const pid_t> processes) {
    while (under_way < 6) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    kill(processes.back(), SIGKILL);
  };
  const std::vector<EndOfProcess> ends = run_ranks(3, rank, kill_last, 30);
  EXPECT_EQ(ends[0].code, 0);
  EXPECT_EQ(ends[1].code, 0);
  EXPECT_EQ(ends[2].signal, SIGKILL);
}

TEST(CommunicatorTest, SaysThatARankIsGone) {
  for (int trial = 0; trial < 5; ++trial) {
    expect_error_of_killed_rank(100, trial);
    expect_error_of_killed_rank(4 << 20, 7 * trial);  // in the middle of a message, for the most part
  }
}

// Also to a rank that was not running when the others had all they needed and ended.
TEST(CommunicatorTest, EndsWhenAllRanksHaveWhatTheyWereSent) {
  const SharedMemory shared(2 * sizeof(std::atomic<int>));
  std::atomic<int>&given = shared.of<std::atomic<int>>()[0], &stopped = shared.of<std::atomic<int>>()[1];
  const auto rank = [&](const World& world) {
    Rank self(world);
    Tensor tensor(DType::f32, 1000);
    tensor.fill(self.rank, 0);
    const auto kernel = self.communicator->create({Combine::sum, {tensor.desc()}});
    while (self.rank > 0 && stopped == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    run(*kernel, tensor.data(), tensor.data());
    if (self.rank == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));  // until it has sent all
      given = 1;
    }
    kernel->await();
    tensor.expect_combined(self.size, Combine::sum, 0);
  };
  const auto stop_first = [&](std::span<const pid_t> processes) {
    while (given == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    kill(processes[0], SIGSTOP);
    stopped = 1;
    std::this_thread::sleep_for(std::chrono::milliseconds(500));
    kill(processes[0], SIGCONT);
  };
  expect_success(run_ranks(4, rank, stop_first, 30));
}

TEST(CommunicatorTest, GivesUpWhatIsDestroyed) {
  const SharedMemory shared(sizeof(std::atomic<int>));
  std::atomic<int>& given_up = shared.of<std::atomic<int>>()[0];
  const auto rank = [&](const World& world) {
    Rank self(world);
    Tensor tensor(DType::f32, 100000);
    auto kernel = self.communicator->create({Combine::sum, {tensor.desc()}});
    auto other = self.communicator->create({Combine::sum, {tensor.desc()}});
    self.group->gather("ready");
    self.group.reset();
    if (self.rank == 0) {  // rank 1 never takes part
      run(*kernel, tensor.data(), tensor.data());
      run(*other, tensor.data(), tensor.data());
      kernel.reset();
      EXPECT_THROW(other->await(), RuntimeError);
      given_up = 1;
    }
    while (given_up == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  expect_success(run_ranks(2, rank, {}, 20));
}

TEST(CommunicatorTest, HasTheSameBitsInEveryRun) {
  constexpr std::size_t elements = 200003;
  const SharedMemory shared(2 * most_ranks * elements * sizeof(float));
  for (int trial = 0; trial < 2; ++trial) {
    const auto rank = [&](const World& world) {
      Rank self(world);
      Tensor tensor(DType::f32, elements);
      tensor.fill(self.rank, 3);
      const auto kernel = self.communicator->create({Combine::mean, {tensor.desc()}});
      run(*kernel, tensor.data(), tensor.data());
      kernel->await();
      const auto place = static_cast<std::size_t>(trial) * most_ranks + static_cast<std::size_t>(self.rank);
      std::memcpy(shared.of<std::byte>().data() + place * tensor.bytes(), tensor.data(), tensor.bytes());
    };
    expect_success(run_ranks(most_ranks, rank));
  }
  const std::byte* const all = shared.of<std::byte>().data();
  for (std::size_t i = 1; i < 2 * most_ranks; ++i)
    EXPECT_EQ(std::memcmp(all, all + i * elements * sizeof(float), elements * sizeof(float)), 0) << "copy " << i;
}

}  // namespace
}  // namespace gannet

// racecheck between blocks and between operations: every kind of race and its corrected twin.
#include <gtest/gtest.h>

#include <deque>
#include <memory>

#include "machine/operations.h"
#include "machine/stream_ordered.h"
#include "tests/memory_world.h"

namespace sim::test {
namespace {

// Global memory.
class Global : public testing::Test {
 protected:
  Global() : checks_("racecheck"), world_(3000), a_(world_, 0), b_(world_, 1), c_(world_, 2) {
    memory_ = Memory::instance().allocate(MemoryKind::device, 0, 1 << 20);
  }

  void run(Op& op, TestBlock& block, std::uint64_t offset, std::uint64_t step = 4, Mask mask = kAllLanes,
           std::uint32_t warp = 0) {
    op.set("%rd99", lanes(memory_->base + offset, step));
    op.run_in(block, mask, warp);
  }
  std::uint64_t races() { return count_of(Fault::global_race); }

  Checks checks_;
  World world_;
  TestBlock a_, b_, c_;
  const Allocation* memory_;
  Op load_{"ld.global.b32 %r1, [%rd99];"}, store_{"st.global.b32 [%rd99], %r1;"}, store_again_{"st.global.b32 [%rd99], %r1;"};
  Op fence_{"membar.gl;"}, increment_{"atom.global.inc.u32 %r1, [%rd98], 1000;"}, reduce_{"red.global.add.u32 [%rd98], 1;"};
  void counter(Op& op, TestBlock& block, std::uint64_t offset = 4096) {
    op.set("%rd98", memory_->base + offset);
    op.run_in(block, 1);
  }
};

TEST_F(Global, BlocksWriteAndRead) {
  run(store_, a_, 0);
  run(load_, a_, 0);
  EXPECT_TRUE(findings().empty());
  run(load_, b_, 0);
  ASSERT_EQ(races(), 1u);
  const Finding finding = findings()[0];
  EXPECT_EQ(finding.count, 32u);
  EXPECT_EQ(finding.place.block[0], 1u);
  EXPECT_EQ(finding.other.block[0], 0u);
  EXPECT_EQ(finding.other.thread[0], 0u);
}
TEST_F(Global, BlocksReadTheSame) {
  for (TestBlock* block : {&a_, &b_, &c_}) {
    run(load_, *block, 0);
    run(load_, *block, 0, 0);
  }
  EXPECT_TRUE(findings().empty());
}
TEST_F(Global, EachReaderCounts) {
  // Whoever of the readers writes races with another one.
  for (TestBlock* writer : {&a_, &b_, &c_}) {
    const std::uint64_t offset = 512 * (1 + writer->block.linear);
    for (TestBlock* block : {&a_, &b_, &c_}) run(load_, *block, offset);
    Report::instance().clear();
    run(store_, *writer, offset);
    EXPECT_EQ(races(), 1u) << writer->block.linear;
  }
}
TEST_F(Global, BlocksWrite) {
  store_.set("%r1", lanes(0, 1));
  run(store_, a_, 0);
  store_again_.set("%r1", lanes(100, 1));
  run(store_again_, b_, 128);
  EXPECT_TRUE(findings().empty());
  run(store_again_, b_, 0);
  EXPECT_EQ(races(), 1u);
  EXPECT_EQ(Report::instance().errors(), 1u);
}
TEST_F(Global, BlocksWriteTheSameValue) {
  store_.set("%r1", 1);
  run(store_, a_, 0, 0, 1);
  store_again_.set("%r1", 1);
  run(store_again_, b_, 0, 0, 1);
  EXPECT_EQ(races(), 1u);
  EXPECT_EQ(Report::instance().errors(), 0u) << "a warning";
}
TEST_F(Global, NeighbouringBytes) {
  Op bytes("st.global.u8 [%rd99], %rs1;"), halves("st.global.b16 [%rd99], %rs1;");
  run(bytes, a_, 0, 2);
  run(bytes, b_, 1, 2);
  run(halves, a_, 256, 4);
  run(halves, b_, 258, 4);
  EXPECT_TRUE(findings().empty());
  run(bytes, c_, 259, 4, 1);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Global, VectorsAcrossPages) {
  Op vector("st.global.v4.b32 [%rd99], {%r1, %r2, %r3, %r4};");
  run(vector, a_, 4096 - 256, 16);
  run(store_, b_, 4096 + 256, 4, 1);
  EXPECT_TRUE(findings().empty());
  run(store_, b_, 4096 + 252, 4, 1);
  ASSERT_EQ(races(), 1u);
  EXPECT_EQ(findings()[0].other.thread[0], 31u);
}
TEST_F(Global, AtomicsDoNotRace) {
  for (TestBlock* block : {&a_, &b_, &c_}) {
    counter(increment_, *block);
    counter(reduce_, *block);
  }
  EXPECT_TRUE(findings().empty());
  run(load_, a_, 4096, 4, 1);
  EXPECT_EQ(races(), 1u);
}
// Strong for the threads of their own block only.
TEST_F(Global, AccessesOfBlockScope) {
  Op of_block("atom.global.cta.add.u32 %r1, [%rd98], 1;"), releases("red.release.cta.global.add.u32 [%rd98], 1;");
  Op load("ld.relaxed.cta.global.b32 %r1, [%rd98];");
  counter(of_block, a_);
  counter(of_block, a_);
  counter(load, a_);
  EXPECT_TRUE(findings().empty());
  counter(increment_, b_);
  EXPECT_EQ(races(), 2u) << "with the atomics and with the read";
  counter(increment_, a_, 8192);
  counter(load, b_, 8192);
  EXPECT_EQ(races(), 3u);
  // Nor do they hand anything on.
  run(store_, a_, 0);
  counter(releases, a_, 16384);
  Op take("atom.acquire.gpu.global.add.u32 %r1, [%rd98], 1;");
  counter(take, b_, 16384);
  run(load_, b_, 0);
  EXPECT_EQ(races(), 5u);
}
TEST_F(Global, LastBlockReadsWhatTheOthersWrote) {
  // threadFenceReduction: write, fence, count; the last reads.
  for (TestBlock* block : {&a_, &b_, &c_}) {
    run(store_, *block, 128 * block->block.linear);
    fence_.run_in(*block);
    counter(increment_, *block);
  }
  for (std::uint64_t n = 0; n < 3; ++n) run(load_, c_, 128 * n);
  EXPECT_TRUE(findings().empty());
  run(load_, a_, 128);  // a was not the last
  EXPECT_EQ(races(), 1u);
}
TEST_F(Global, LastBlockWithoutTheFence) {
  for (TestBlock* block : {&a_, &b_}) {
    run(store_, *block, 128 * block->block.linear);
    counter(increment_, *block);
  }
  run(load_, b_, 0);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Global, WriteAfterTheFence) {
  fence_.run_in(a_);
  run(store_, a_, 0);
  counter(increment_, a_);
  counter(increment_, b_);
  run(load_, b_, 0);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Global, FenceOfOneBlockIsNone) {
  Op fence("membar.cta;");
  run(store_, a_, 0);
  fence.run_in(a_);
  counter(increment_, a_);
  counter(increment_, b_);
  run(load_, b_, 0);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Global, FlagsAreHandedOnFromBlockToBlock) {
  // Decoupled look-back: each block waits for its predecessor's flag and raises its own.
  Op raise("st.volatile.global.b32 [%rd98], 1;"), poll("ld.volatile.global.b32 %r1, [%rd98];");
  TestBlock* const blocks[] = {&a_, &b_, &c_};
  for (std::uint64_t n = 0; n < 3; ++n) {
    if (n > 0) counter(poll, *blocks[n], 4096 + 64 * (n - 1));
    if (n > 0) run(load_, *blocks[n], 0);
    if (n == 0) run(store_, *blocks[n], 0);
    fence_.run_in(*blocks[n]);
    counter(raise, *blocks[n], 4096 + 64 * n);
  }
  EXPECT_TRUE(findings().empty()) << "c knows of a through b";
}
TEST_F(Global, FlagsWithoutTheHandOver) {
  Op raise("st.release.gpu.global.b32 [%rd98], 1;"), poll("ld.acquire.gpu.global.b32 %r1, [%rd98];");
  run(store_, a_, 0);
  counter(raise, a_);
  counter(poll, b_);
  run(load_, b_, 0);
  EXPECT_TRUE(findings().empty());
  counter(poll, c_, 8192);  // another flag
  run(load_, c_, 0);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Global, BarrierOfTheGrid) {
  // Twice: write, all blocks meet, read the neighbour's.
  Op arrive("atom.add.release.gpu.global.u32 %r1, [%rd98], 1;"), wait("ld.acquire.gpu.global.u32 %r1, [%rd98];");
  TestBlock* const blocks[] = {&a_, &b_, &c_};
  for (int round = 0; round < 3; ++round) {
    for (TestBlock* block : blocks) run(store_, *block, 128 * block->block.linear);
    for (int meeting = 0; meeting < 2; ++meeting) {
      for (TestBlock* block : blocks) counter(arrive, *block);
      for (TestBlock* block : blocks) counter(wait, *block);
      if (meeting == 0) {
        for (TestBlock* block : blocks) run(load_, *block, 128 * ((block->block.linear + 1) % 3));
      }
    }
  }
  EXPECT_TRUE(findings().empty());
  run(store_, a_, 0);
  run(load_, b_, 0);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Global, ManyBlocksCountAndTheLastReadsAll) {
  std::vector<std::unique_ptr<TestBlock>> blocks;
  for (std::uint64_t n = 0; n < 2000; ++n) {
    auto block = std::make_unique<TestBlock>(world_, n, 64);
    run(store_, *block, 128 * n);
    fence_.run_in(*block);
    counter(increment_, *block, 1 << 19);
    if (n == 1999) {
      for (std::uint64_t m = 0; m < 2000; ++m) run(load_, *block, 128 * m);
    }
  }
  EXPECT_TRUE(findings().empty());
}

// Operations.
class Streams : public Global {
 protected:
  // An operation of a stream that knows of others up to the given places.
  static void order(World& world, std::uint32_t lane, std::uint64_t at, std::vector<std::uint64_t> after) {
    world.launch.operation = next_operation();
    world.launch.order = {lane, at, std::move(after)};
  }
};

TEST_F(Streams, KernelsOfOneStream) {
  for (std::uint64_t n = 1; n < 4; ++n) {
    World world;
    order(world, 5, n, {0, 0, 0, 0, 0, n - 1});
    TestBlock block(world);
    run(load_, block, 0);
    run(store_, block, 0);
  }
  EXPECT_TRUE(findings().empty());
}
TEST_F(Streams, KernelsOfTwoStreamsWithoutAnEvent) {
  World first, second;
  order(first, 6, 1, {});
  order(second, 7, 1, {});
  first.kernel.demangled = "writer()";
  second.kernel.demangled = "reader()";
  {
    TestBlock block(first);
    run(store_, block, 0);
  }
  TestBlock block(second);
  run(load_, block, 0);
  ASSERT_EQ(count_of(Fault::stream_race), 1u);
  const Finding finding = findings()[0];
  EXPECT_EQ(finding.place.kernel, "reader()");
  EXPECT_EQ(finding.other.kernel, "writer()");
  EXPECT_EQ(races(), 0u);
}
TEST_F(Streams, KernelsOfTwoStreamsWithAnEvent) {
  World first, second;
  order(first, 8, 1, {});
  order(second, 9, 1, {0, 0, 0, 0, 0, 0, 0, 0, 1});
  {
    TestBlock block(first);
    run(store_, block, 0);
  }
  TestBlock block(second);
  run(load_, block, 0);
  run(store_, block, 0);
  EXPECT_TRUE(findings().empty());
}
TEST_F(Streams, CopyBesideAKernel) {
  World kernel;
  order(kernel, 10, 1, {});
  {
    TestBlock block(kernel);
    run(store_, block, 0);
    run(load_, block, 65536);
  }
  // Reads elsewhere, and reads what the kernel read: no race.
  EXPECT_TRUE(host_access({11, 1, {}}, next_operation(), "cudaMemcpyAsync", memory_->base + 128, 4096, false, 0));
  EXPECT_TRUE(host_access({11, 2, {}}, next_operation(), "cudaMemcpyAsync", memory_->base + 65536, 8192, false, 0));
  EXPECT_TRUE(findings().empty());
  EXPECT_TRUE(host_access({11, 3, {}}, next_operation(), "cudaMemcpyAsync", memory_->base, 64, false, 0));
  EXPECT_EQ(count_of(Fault::stream_race), 1u);
  EXPECT_TRUE(host_access({11, 4, {}}, next_operation(), "cudaMemsetAsync", memory_->base + 65536, 8192, true, 0));
  EXPECT_EQ(count_of(Fault::stream_race), 2u);
  Report::instance().clear();
  const Order after{11, 5, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 4}};
  EXPECT_TRUE(host_access(after, next_operation(), "cudaMemcpy", memory_->base, 1 << 17, true, 0));
  EXPECT_TRUE(findings().empty());
}
TEST_F(Streams, KernelBesideACopy) {
  World first, second, third;
  EXPECT_TRUE(host_access({12, 1, {}}, next_operation(), "cudaMemcpyAsync", memory_->base, 1 << 16, true, 0));
  order(first, 13, 1, {});
  {
    TestBlock block(first);
    run(load_, block, 40'000);
  }
  ASSERT_EQ(count_of(Fault::stream_race), 1u);
  EXPECT_EQ(findings()[0].other.kernel, "cudaMemcpyAsync");
  Report::instance().clear();
  order(second, 14, 1, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1});
  {
    TestBlock block(second);
    run(load_, block, 40'000);
    run(store_, block, 40'000);
  }
  EXPECT_TRUE(findings().empty());
  EXPECT_TRUE(host_access({12, 2, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1}}, next_operation(), "cudaMemcpyAsync",
                          memory_->base, 1 << 16, false, 0));
  order(third, 15, 1, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1});
  TestBlock block(third);
  run(load_, block, 40'000);
  EXPECT_TRUE(findings().empty()) << "both read";
  run(store_, block, 40'000);
  EXPECT_EQ(count_of(Fault::stream_race), 1u);
}

// Lane 16 allocates at 1; what lane 17 does has to come behind that, and lane 18's free behind both.
TEST_F(Streams, MemoryOfAStream) {
  const Allocation& a = *Memory::instance().allocate(MemoryKind::device, 0, 4096);
  order_by_stream(a, {16, 1, {}}, "cudaMallocAsync");
  const std::vector<std::uint64_t> knows_allocation(17, 1);
  std::vector<std::uint64_t> knows_use(18, 1);
  std::deque<World> worlds;
  auto use = [&](std::uint64_t at, std::vector<std::uint64_t> after) {
    World& world = worlds.emplace_back();  // findings name it later
    world.kernel.demangled = "user()";
    order(world, 17, at, std::move(after));
    TestBlock block(world);
    load_.set("%rd99", lanes(a.base, 4));
    load_.run_in(block);
    load_.run_in(block);
  };
  use(1, knows_allocation);
  a.stream_ordered->free(a, {18, 1, knows_use}, "cudaFreeAsync");
  EXPECT_TRUE(findings().empty());

  use(2, {});
  ASSERT_EQ(count_of(Fault::stream_race), 1u) << "the allocation is not known";
  EXPECT_EQ(findings()[0].place.kernel, "user()");
  EXPECT_EQ(findings()[0].other.kernel, "cudaMallocAsync");
  Report::instance().clear();
  a.stream_ordered->free(a, {18, 2, knows_use}, "cudaFreeAsync");
  ASSERT_EQ(count_of(Fault::stream_race), 1u) << "the second use is not known";
  EXPECT_EQ(findings()[0].place.kernel, "cudaFreeAsync");
  EXPECT_EQ(findings()[0].other.kernel, "user()");
  Report::instance().clear();
  EXPECT_TRUE(host_access({17, 3, {}}, next_operation(), "cudaMemsetAsync", a.base + 2048, 64, true, 0));
  EXPECT_EQ(count_of(Fault::stream_race), 1u) << "copies and sets are uses too";
}

// What is not checked any more is said, once.
TEST_F(Streams, NumbersOfSegmentsRunOut) {
  const std::uint32_t operation = next_operation();
  Operations::instance().add_access(operation, {19, 1, {}}, "cudaMemcpy");
  testing::internal::CaptureStderr();
  EXPECT_EQ(Operations::instance().take_segments(operation, Stamp::kSegments, 0, 0), 0u);
  EXPECT_EQ(Operations::instance().take_segments(operation, Stamp::kSegments, 0, 0), 0u);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("racecheck of global memory ends here"), std::string::npos) << said;
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1);
  EXPECT_NE(Operations::instance().take_segments(operation, 1, 0, 0), 0u);
}

}  // namespace
}  // namespace sim::test

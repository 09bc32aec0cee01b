// cp.async, mbarrier, ldmatrix, stmatrix, movmatrix.
#include <gtest/gtest.h>

#include <random>

#include "error.h"
#include "tests/memory_world.h"

namespace sim::test {
namespace {

class Copies : public testing::TestWithParam<const char*> {
 protected:
  Copies() : checks_(GetParam()), world_(1, 128), block_(world_, 0, 8192) {
    world_.launch.device = options().initcheck ? 1 : 0;
    source_ = Memory::instance().allocate(MemoryKind::device, world_.launch.device, 4096);
    Memory::instance().mark_initialized(*source_, source_->base, 4096);
    std::mt19937 random(3);
    for (Address at = source_->base; at < source_->end; ++at) *source_->working(at) = static_cast<std::byte>(random());
  }
  // "%r98" destination, "%rd99" source.
  void copy(Op& op, std::uint64_t to, std::uint64_t from, std::uint64_t step, std::uint32_t warp = 0, Mask mask = kAllLanes) {
    op.set("%r98", lanes(to, step));
    op.set("%rd99", lanes(source_->base + from, step));
    op.run_in(block_, mask, warp);
  }
  void run(std::string_view text, std::uint32_t warp = 0, Mask mask = kAllLanes) {
    Op op(text);
    op.run_in(block_, mask, warp);
  }
  bool arrived(std::uint64_t to, std::uint64_t from, std::size_t bytes) const {
    return std::memcmp(block_.block.shared + to, source_->working(source_->base + from), bytes) == 0;
  }
  bool untouched(std::uint64_t to, std::size_t bytes) const {
    return std::all_of(block_.block.shared + to, block_.block.shared + to + bytes,
                       [](std::byte b) { return b == std::byte{0xcb}; });
  }
  void barrier() { checks::block_barrier(block_.block, 0, std::vector<std::uint32_t>{0, 1, 2, 3}); }

  Checks checks_;
  World world_;
  TestBlock block_;
  const Allocation* source_;
  Op copy4_{"cp.async.ca.shared.global [%r98], [%rd99], 4;"},
      copy16_{"cp.async.cg.shared.global.L2::128B [%r98], [%rd99], 16;"};
};

TEST_P(Copies, TakeEffectWhenTheyAreWaitedFor) {
  copy(copy16_, 0, 64, 16);
  EXPECT_TRUE(untouched(0, 512));
  run("cp.async.commit_group;");
  EXPECT_TRUE(untouched(0, 512));
  run("cp.async.wait_group 1;");
  EXPECT_TRUE(untouched(0, 512));
  run("cp.async.wait_group 0;");
  EXPECT_TRUE(arrived(0, 64, 512));
}

TEST_P(Copies, ReadTheirSourceWhenTheyAreWaitedFor) {
  copy(copy4_, 0, 0, 4);
  *source_->working(source_->base) = std::byte{0x5a};
  run("cp.async.wait_all;");
  EXPECT_EQ(block_.block.shared[0], std::byte{0x5a});
}

TEST_P(Copies, GroupsAreWaitedForInTheirOrder) {
  for (std::uint64_t n = 0; n < 4; ++n) {
    copy(copy4_, 128 * n, 128 * n, 4);
    run("cp.async.commit_group;");
  }
  copy(copy4_, 512, 512, 4);  // of no group yet
  run("cp.async.wait_group 3;");
  EXPECT_TRUE(arrived(0, 0, 128) && untouched(128, 512));
  run("cp.async.wait_group 1;");
  EXPECT_TRUE(arrived(0, 0, 384) && untouched(384, 256));
  run("cp.async.wait_group 0;");
  EXPECT_TRUE(arrived(0, 0, 512) && untouched(512, 128));
  run("cp.async.wait_all;");
  EXPECT_TRUE(arrived(0, 0, 640));
}

TEST_P(Copies, GroupsAreEachThreadsOwn) {
  copy(copy4_, 0, 0, 4);
  run("cp.async.commit_group;", 0, 0x0000ffff);
  run("cp.async.wait_group 0;");
  EXPECT_TRUE(arrived(0, 0, 64) && untouched(64, 64));
  run("cp.async.commit_group;", 0, 0xffff0000);
  run("cp.async.wait_group 0;", 0, 0x00ff0000);
  EXPECT_TRUE(arrived(0, 0, 96) && untouched(96, 32));
  copy(copy4_, 256, 0, 4, 1);
  run("cp.async.wait_all;", 0);
  EXPECT_TRUE(arrived(0, 0, 128) && untouched(256, 128)) << "warp 1 has not waited";
}

TEST_P(Copies, FillTheRestWithZeros) {
  Op op("cp.async.cg.shared.global [%r98+1024], [%rd99+-256], 16, %r1;");
  Lanes sizes = lanes(0, 0);
  for (std::size_t lane = 0; lane < kLanes; ++lane) sizes[lane] = lane % 4 == 3 ? 16 : lane % 4 * 4;
  op.set("%r1", sizes);
  copy(op, 0, 256, 16);
  run("cp.async.wait_all;");
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    EXPECT_TRUE(arrived(1024 + lane * 16, lane * 16, sizes[lane])) << lane;
    for (std::size_t n = sizes[lane]; n < 16; ++n) EXPECT_EQ(block_.block.shared[1024 + lane * 16 + n], std::byte{0}) << lane;
  }
}

TEST_P(Copies, OfNothingMayHaveAnySource) {
  Op none("cp.async.ca.shared.global [%r98], [%rd99], 8, 0;"), ignored("cp.async.ca.shared.global [%r98], [%rd99], 8, %p1;");
  none.set("%r98", lanes(0, 8));
  none.set("%rd99", 0);
  none.run_in(block_);
  ignored.set("%r98", lanes(256, 8));
  Lanes from = lanes(source_->base, 8), skip = lanes(0, 0);
  for (std::size_t lane = 0; lane < kLanes; lane += 2) {
    from[lane] = 0;
    skip[lane] = 1;
  }
  ignored.set("%rd99", from);
  ignored.set("%p1", skip);
  ignored.run_in(block_);
  run("cp.async.wait_all;");
  for (std::size_t n = 0; n < 256; ++n) ASSERT_EQ(block_.block.shared[n], std::byte{0});
  for (std::size_t lane = 1; lane < kLanes; lane += 2) EXPECT_TRUE(arrived(256 + lane * 8, lane * 8, 8));
  EXPECT_EQ(Report::instance().errors(), 0u);
}

TEST_P(Copies, WrongAddressesEndTheLaunch) {
  Op outside("cp.async.ca.shared.global [%r98], [%rd99], 4;");
  outside.set("%r98", lanes(8192 - 124, 4));
  outside.set("%rd99", lanes(source_->base, 4));
  EXPECT_EQ(outside.error_in(block_), 700);
  outside.set("%r98", lanes(2, 4));
  EXPECT_EQ(outside.error_in(block_), 716);
  outside.set("%r98", lanes(0, 4));
  outside.set("%rd99", lanes(source_->base + 4096 - 124, 4));
  EXPECT_EQ(outside.error_in(block_), 700);
  copy16_.set("%r98", lanes(0, 16));
  copy16_.set("%rd99", lanes(source_->base + 8, 16));
  EXPECT_EQ(copy16_.error_in(block_), 716);
}

TEST_P(Copies, BulkAndTensorOnesAreNamed) {
  for (const char* text :
       {"cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r98], [%rd99], 16, [%r1];",
        "cp.async.bulk.commit_group;", "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd99], [%r98], 16;",
        "cp.async.ca.shared.global [%r98], [%rd99], 5;", "cp.async.cg.shared.global [%r98], [%rd99], 8;"}) {
    EXPECT_THROW(Op{text}, Error) << text;
  }
}

// mbarrier
TEST_P(Copies, MbarrierPhases) {
  run("mbarrier.init.shared.b64 [512], 3;", 0, 1);
  Op arrive("mbarrier.arrive.shared.b64 %rd1, [512];"), test("mbarrier.test_wait.shared.b64 %p1, [512], %rd1;");
  Op parity("mbarrier.try_wait.parity.shared::cta.b64 %p1, [512], %r1;"), count("mbarrier.pending_count.b64 %r1, %rd1;");
  auto waited_for = [&](std::uint64_t state) {
    test.set("%rd1", state);
    test.run_in(block_, 2);
    return test.get("%p1")[1] != 0;
  };
  auto phase_done = [&](std::uint64_t phase) {
    parity.set("%r1", phase);
    parity.run_in(block_, 4);
    return parity.get("%p1")[2] != 0;
  };
  for (std::uint64_t phase = 0; phase < 4; ++phase) {
    EXPECT_FALSE(phase_done(phase % 2)) << phase;
    EXPECT_TRUE(phase_done(1 - phase % 2)) << "the phase before";
    arrive.run_in(block_, 1);
    const std::uint64_t state = arrive.get("%rd1")[0];
    count.set("%rd1", state);
    count.run_in(block_, 1);
    EXPECT_EQ(count.get("%r1")[0], 3u);
    EXPECT_FALSE(waited_for(state));
    arrive.run_in(block_, 0x300);
    EXPECT_TRUE(waited_for(state));
    EXPECT_TRUE(phase_done(phase % 2));
  }
  EXPECT_EQ(Report::instance().errors(), 0u);
}

TEST_P(Copies, MbarrierCountsDropsAndBytes) {
  run("mbarrier.init.shared.b64 [512], 5;", 0, 1);
  Op parity("mbarrier.try_wait.parity.shared.b64 %p1, [512], %r1;");
  auto phase_done = [&](std::uint64_t phase) {
    parity.set("%r1", phase);
    parity.run_in(block_, 1);
    return parity.get("%p1")[0] != 0;
  };
  run("mbarrier.arrive.noComplete.release.cta.shared.b64 %rd1, [512], 2;", 0, 1);
  run("mbarrier.arrive.release.cta.shared.b64 _, [512], 2;", 0, 1);
  EXPECT_FALSE(phase_done(0));
  run("mbarrier.arrive_drop.shared.b64 _, [512];", 0, 1);
  EXPECT_TRUE(phase_done(0));
  run("mbarrier.arrive.shared.b64 _, [512], 4;", 0, 1);  // one has dropped out
  EXPECT_TRUE(phase_done(1));
  run("mbarrier.arrive.expect_tx.shared.b64 _, [512], 64;", 0, 1);
  run("mbarrier.arrive.shared.b64 _, [512], 3;", 0, 1);
  EXPECT_FALSE(phase_done(0)) << "64 bytes are to come";
  run("mbarrier.expect_tx.relaxed.cta.shared.b64 [512], 64;", 0, 1);
  run("mbarrier.complete_tx.relaxed.cta.shared.b64 [512], 96;", 0, 1);
  EXPECT_FALSE(phase_done(0));
  run("mbarrier.complete_tx.relaxed.cta.shared.b64 [512], 32;", 0, 1);
  EXPECT_TRUE(phase_done(0));
  Op generic("mbarrier.arrive.b64 _, [%rd1], 4;");
  generic.set("%rd1", kSharedWindow + 512);
  generic.run_in(block_, 1);
  EXPECT_TRUE(phase_done(1));
  run("mbarrier.inval.shared.b64 [512];", 0, 1);
  EXPECT_EQ(Op("mbarrier.arrive.shared.b64 _, [512];").error_in(block_, 1), 719);
}

TEST_P(Copies, MbarrierMisuse) {
  EXPECT_EQ(Op("mbarrier.arrive.shared.b64 _, [512];").error_in(block_, 1), 719) << "not initialised";
  EXPECT_EQ(Op("mbarrier.init.shared.b64 [512], 0;").error_in(block_, 1), 719);
  EXPECT_EQ(Op("mbarrier.init.shared.b64 [516], 1;").error_in(block_, 1), 716);
  EXPECT_EQ(Op("mbarrier.init.shared.b64 [8192], 1;").error_in(block_, 1), 700);
  run("mbarrier.init.shared.b64 [512], 2;", 0, 1);
  EXPECT_EQ(Op("mbarrier.arrive.shared.b64 _, [512], 3;").error_in(block_, 1), 719) << "more than are waited for";
  EXPECT_EQ(Op("mbarrier.arrive.noComplete.shared.b64 %rd1, [512], 2;").error_in(block_, 1), 719);
}

TEST_P(Copies, ArriveAtAnMbarrierWhenDone) {
  for (bool counted : {true, false}) {
    // With .noinc the arrivals are among those that the mbarrier was made for.
    Op init("mbarrier.init.shared.b64 [4096], %r1;");
    init.set("%r1", counted ? 64 : 32);
    barrier();
    init.run_in(block_, 1);
    barrier();
    const std::uint64_t to = counted ? 0 : 1024;
    copy(copy4_, to, 0, 4);
    if (counted) {
      run("cp.async.mbarrier.arrive.noinc.shared.b64 [4096];");
    } else {
      run("cp.async.mbarrier.arrive.shared.b64 [4096];");
    }
    copy(copy4_, to + 256, 0, 4);  // after the arrival: not waited for
    Op arrive("mbarrier.arrive.shared.b64 %rd1, [4096];"), test("mbarrier.test_wait.shared.b64 %p1, [4096], %rd1;");
    arrive.run_in(block_, kAllLanes, 1);
    EXPECT_TRUE(untouched(to, 128)) << "nobody has waited yet";
    test.set("%rd1", arrive.get("%rd1"));
    test.run_in(block_, kAllLanes, 1);
    EXPECT_EQ(test.get("%p1")[5], 1u);
    EXPECT_TRUE(arrived(to, 0, 128) && untouched(to + 256, 128));
    Op load("ld.shared.b32 %r1, [%r98];");
    load.set("%r98", lanes(to, 4));
    load.run_in(block_, kAllLanes, 1);  // another warp than the one that copied
    EXPECT_EQ(Report::instance().errors(), 0u);
    run("cp.async.wait_all;");
  }
}

// Matrices
class Matrices : public Copies {
 protected:
  static std::uint32_t pair(std::uint16_t low, std::uint16_t high) { return low | static_cast<std::uint32_t>(high) << 16; }
  // Fills rows at any 16-byte aligned places.
  Lanes make_rows(std::mt19937& random) {
    Lanes rows;
    std::vector<std::uint64_t> places(256);
    for (std::size_t n = 0; n < places.size(); ++n) places[n] = n * 16;
    std::shuffle(places.begin(), places.end(), random);
    for (std::size_t lane = 0; lane < kLanes; ++lane) rows[lane] = places[lane];
    for (std::size_t n = 0; n < 4096; ++n) block_.block.shared[n] = static_cast<std::byte>(random());
    std::fill(block_.shared_bits.begin(), block_.shared_bits.end(), 0xff);
    return rows;
  }
  std::uint16_t element(const Lanes& rows, unsigned matrix, unsigned row, unsigned column) const {
    std::uint16_t value;
    std::memcpy(&value, block_.block.shared + rows[matrix * 8 + row] + column * 2, 2);
    return value;
  }
};

TEST_P(Matrices, LoadAndStore) {
  std::mt19937 random(4);
  for (unsigned count : {1u, 2u, 4u}) {
    for (bool transposed : {false, true}) {
      for (const char* space : {".shared", ".shared::cta", ""}) {
        const std::string registers = count == 1 ? "{%r1}" : count == 2 ? "{%r1, %r2}" : "{%r1, %r2, %r3, %r4}";
        const std::string form = fmt::format("matrix.sync.aligned.m8n8.x{}{}{}.b16", count, transposed ? ".trans" : "", space);
        const bool generic = *space == '\0';
        const std::string reg = generic ? "%rd98" : "%r98";
        Op load(fmt::format("ld{} {}, [{}+16];", form, registers, reg)),
            store(fmt::format("st{} [{}], {};", form, reg, registers));
        EXPECT_EQ(load.decoded()[0].kind, Kind::warp_sync);
        const Lanes rows = make_rows(random);
        Lanes addresses = rows, above = rows;
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
          if (generic) addresses[lane] += kSharedWindow;
          above[lane] = addresses[lane] - 16;
        }
        load.set(reg, above);
        load.run_in(block_);
        for (unsigned m = 0; m < count; ++m) {
          const Lanes result = load.get(fmt::format("%r{}", m + 1));
          for (unsigned lane = 0; lane < kLanes; ++lane) {
            const unsigned row = lane / 4, column = lane % 4 * 2;
            ASSERT_EQ(result[lane], transposed ? pair(element(rows, m, column, row), element(rows, m, column + 1, row))
                                               : pair(element(rows, m, row, column), element(rows, m, row, column + 1)))
                << form << " lane " << lane;
          }
          store.set(fmt::format("%r{}", m + 1), result);
        }
        // What was loaded, stored again, is what was there.
        const std::vector<std::byte> before(block_.block.shared, block_.block.shared + 4096);
        for (std::size_t lane = 0; lane < count * 8; ++lane) std::memset(block_.block.shared + rows[lane], 0, 16);
        store.set(reg, addresses);
        checks::warp_sync(load.warp(), kAllLanes);
        store.run_in(block_);
        EXPECT_EQ(std::memcmp(before.data(), block_.block.shared, 4096), 0) << form;
        checks::warp_sync(load.warp(), kAllLanes);
      }
    }
  }
  EXPECT_EQ(Report::instance().errors(), 0u);
}

TEST_P(Matrices, Move) {
  Op op("movmatrix.sync.aligned.m8n8.trans.b16 %r1, %r2;");
  std::mt19937 random(5);
  std::array<std::array<std::uint16_t, 8>, 8> matrix;
  for (auto& row : matrix) {
    for (auto& value : row) value = static_cast<std::uint16_t>(random());
  }
  Lanes fragment{};
  for (unsigned lane = 0; lane < kLanes; ++lane)
    fragment[lane] = pair(matrix[lane / 4][lane % 4 * 2], matrix[lane / 4][lane % 4 * 2 + 1]);
  op.set("%r2", fragment);
  op.run_in(block_);
  for (unsigned lane = 0; lane < kLanes; ++lane) {
    EXPECT_EQ(op.get("%r1")[lane], pair(matrix[lane % 4 * 2][lane / 4], matrix[lane % 4 * 2 + 1][lane / 4]));
  }
}

TEST_P(Matrices, WrongAddresses) {
  Op load("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1, %r2}, [%r98];");
  Lanes rows = lanes(0, 16);
  rows[20] = 99'999;  // no row of a x2
  load.set("%r98", rows);
  EXPECT_EQ(load.error_in(block_), 0);
  rows[15] = 8192;
  load.set("%r98", rows);
  EXPECT_EQ(load.error_in(block_), 700);
  rows[15] = 8;
  load.set("%r98", rows);
  EXPECT_EQ(load.error_in(block_), 716);
  EXPECT_EQ(load.error_in(block_, 0xff), 719) << "lanes 8 to 15 have exited";
  EXPECT_THROW(Op("ldmatrix.sync.aligned.m16n16.x1.trans.shared.b8 {%r1, %r2}, [%r98];"), Error);
  EXPECT_THROW(Op("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2}, [%r98];"), Error);
}

std::string check_name(const testing::TestParamInfo<const char*>& info) { return *info.param == 'n' ? "Unchecked" : "Checked"; }
INSTANTIATE_TEST_SUITE_P(Handlers, Copies, testing::Values("none", "memcheck,initcheck,racecheck"), check_name);
INSTANTIATE_TEST_SUITE_P(Handlers, Matrices, testing::Values("none", "memcheck,initcheck,racecheck"), check_name);

// cp.async and the race check
class CopyRaces : public Copies {};
INSTANTIATE_TEST_SUITE_P(Handlers, CopyRaces, testing::Values("memcheck,initcheck,racecheck"), check_name);

TEST_P(CopyRaces, ReadingBeforeTheWait) {
  Op load("ld.shared.b32 %r1, [%r98];");
  load.set("%r98", lanes(0, 4));
  copy(copy4_, 0, 0, 4);
  run("cp.async.commit_group;");
  load.run_in(block_);
  ASSERT_EQ(findings().size(), 1u);
  EXPECT_EQ(findings()[0].fault, Fault::cp_async_race);
  EXPECT_TRUE(findings()[0].has_other);
}
TEST_P(CopyRaces, ReadingAfterTheWait) {
  Op load("ld.shared.b32 %r1, [%r98];");
  load.set("%r98", lanes(0, 4));
  copy(copy4_, 0, 0, 4);
  run("cp.async.commit_group;");
  run("cp.async.wait_group 0;");
  load.run_in(block_);
  EXPECT_TRUE(findings().empty());
  barrier();
  load.run_in(block_, kAllLanes, 2);
  EXPECT_TRUE(findings().empty());
}
TEST_P(CopyRaces, WaitWithoutTheBarrier) {
  Op load("ld.shared.b32 %r1, [%r98];");
  load.set("%r98", lanes(0, 4));
  copy(copy4_, 0, 0, 4);
  run("cp.async.wait_all;");
  load.run_in(block_, kAllLanes, 1);
  EXPECT_EQ(count_of(Fault::shared_race), 1u);
}
TEST_P(CopyRaces, BarrierWithoutTheWait) {
  Op load("ld.shared.b32 %r1, [%r98];");
  load.set("%r98", lanes(0, 4));
  copy(copy4_, 0, 0, 4);
  barrier();
  load.run_in(block_, kAllLanes, 1);
  EXPECT_EQ(count_of(Fault::cp_async_race), 1u);
}
TEST_P(CopyRaces, RefillingBeforeTheReadersAreDone) {
  Op load("ld.shared.b32 %r1, [%r98];");
  load.set("%r98", lanes(0, 4));
  for (bool correct : {true, false}) {
    copy(copy4_, 0, 0, 4);
    run("cp.async.wait_all;");
    barrier();
    load.run_in(block_, kAllLanes, 1);
    if (correct) barrier();
    copy(copy4_, 0, 0, 4);  // counts as a write already when it is issued
    EXPECT_EQ(count_of(Fault::shared_race), correct ? 0u : 1u);
    run("cp.async.wait_all;");
    barrier();
  }
}
TEST_P(CopyRaces, PipelineOfTwoStages) {
  Op load("ld.shared.b32 %r1, [%r98];");
  for (std::uint32_t warp = 0; warp < 4; ++warp) {
    copy(copy4_, warp * 128, 0, 4, warp);
    run("cp.async.commit_group;", warp);
  }
  for (std::uint64_t step = 1; step < 10; ++step) {
    for (std::uint32_t warp = 0; warp < 4; ++warp) {
      copy(copy4_, step % 2 * 512 + warp * 128, step * 64, 4, warp);
      run("cp.async.commit_group;", warp);
      run("cp.async.wait_group 1;", warp);
    }
    barrier();
    for (std::uint32_t warp = 0; warp < 4; ++warp) {
      load.set("%r98", lanes((step + 1) % 2 * 512 + (3 - warp) * 128, 4));
      load.run_in(block_, kAllLanes, warp);
    }
    barrier();
  }
  EXPECT_TRUE(findings().empty());
}
TEST_P(CopyRaces, NothingIsPendingInTheNextBlock) {
  for (bool with_bytes : {false, true}) {
    copy(copy4_, 0, 0, 4);
    copy(copy4_, 512, 0, 4, 1);
    Op bytes("st.shared.u8 [%r98], %rs1;");  // from now on bytes are told apart
    bytes.set("%r98", lanes(1024, 1));
    if (with_bytes) bytes.run_in(block_);
    run("cp.async.wait_all;", 1);
    checks::end(block_.block);
    checks::start(block_.block);
    Op store("st.shared.b32 [%r98], %r1;");
    store.set("%r98", lanes(0, 4));
    store.run_in(block_);
    EXPECT_TRUE(findings().empty());
    barrier();
  }
}

}  // namespace
}  // namespace sim::test

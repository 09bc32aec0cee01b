// racecheck in shared memory: every kind of race and its corrected twin.
#include <gtest/gtest.h>

#include <random>

#include "tests/memory_world.h"

namespace sim::test {
namespace {

// A block of several warps whose threads run instructions in a given order.
class Shared : public testing::Test {
 protected:
  Shared() : checks_("racecheck"), world_(1, 128), block_(world_) {}

  // `op` has its offset in %r99.
  void run(Op& op, std::uint32_t warp, const Lanes& offset, Mask mask = kAllLanes) {
    op.set("%r99", offset);
    op.run_in(block_, mask, warp);
  }
  void barrier(std::vector<std::uint32_t> warps = {0, 1, 2, 3}, std::uint32_t id = 0) {
    checks::block_barrier(block_.block, id, warps);
  }
  void sync(std::uint32_t warp, Mask mask = kAllLanes, Mask living = kAllLanes) {
    Warp w;
    block_.place(w, warp);
    w.living = living;
    checks::warp_sync(w, mask);
  }
  std::uint64_t races() { return count_of(Fault::shared_race); }

  Checks checks_;
  World world_;
  TestBlock block_;
  Op load_{"ld.shared.b32 %r1, [%r99];"}, load_again_{"ld.shared.b32 %r1, [%r99];"};
  Op store_{"st.shared.b32 [%r99], %r1;"}, store_again_{"st.shared.b32 [%r99], %r1;"};
};

TEST_F(Shared, ReadAfterWriteByAnotherWarp) {
  run(store_, 0, lanes(0, 4));
  run(load_, 1, lanes(0, 4));
  ASSERT_EQ(races(), 1u);
  const Finding finding = findings()[0];
  EXPECT_FALSE(finding.warning);
  EXPECT_EQ(finding.count, 32u);
  EXPECT_EQ(finding.place.thread[0], 32u);
  ASSERT_TRUE(finding.has_other);
  EXPECT_EQ(finding.other.thread[0], 0u);
  EXPECT_NE(finding.place.instruction, finding.other.instruction);
}
TEST_F(Shared, ReadAfterWriteBehindABarrier) {
  run(store_, 0, lanes(0, 4));
  barrier();
  run(load_, 1, lanes(0, 4));
  EXPECT_TRUE(findings().empty());
}
TEST_F(Shared, WriteAfterReadByAnotherWarp) {
  run(store_, 0, lanes(0, 4));
  barrier();
  run(load_, 1, lanes(0, 4));
  run(store_, 0, lanes(0, 4));
  ASSERT_EQ(races(), 1u);
  EXPECT_EQ(findings()[0].other.thread[0], 32u);
}
TEST_F(Shared, OneOfSeveralReadersOfAPlaceIsNamedWithItsInstruction) {
  run(load_, 0, lanes(64, 0));  // by all lanes, the writer among them
  run(store_, 0, lanes(64, 0), 1);
  ASSERT_EQ(races(), 1u);
  EXPECT_EQ(findings()[0].other.thread[0], 1u);
  EXPECT_NE(findings()[0].other.instruction, "an instruction");
}
TEST(Races, CopiesOfALineInAnUnrolledLoopAreOneFinding) {
  Report::instance().clear();
  for (int copy = 0; copy < 3; ++copy) {
    for (const char* line : {"k.cu:7", "k.cu:8"}) {
      Finding finding{Fault::shared_race, false, "", {}, true, {}};
      finding.place.source = {line};
      finding.place.instruction = "st.shared.f32 (PTX line " + std::to_string(copy) + ")";
      finding.other.source = {"k.cu:9"};
      finding.other.instruction = "ld.shared.f32 (PTX line " + std::to_string(copy + 10) + ")";
      Report::instance().add(finding);
    }
  }
  EXPECT_EQ(findings().size(), 2u);
  EXPECT_EQ(findings()[0].count, 3u);
  Report::instance().clear();
}
TEST_F(Shared, WriteAfterReadBehindABarrier) {
  run(store_, 0, lanes(0, 4));
  barrier();
  run(load_, 1, lanes(0, 4));
  barrier();
  run(store_, 0, lanes(0, 4));
  EXPECT_TRUE(findings().empty());
}
TEST_F(Shared, TwoWritesOfDifferentValues) {
  store_.set("%r1", lanes(0, 1));
  run(store_, 0, lanes(0, 4));
  store_again_.set("%r1", lanes(5, 1));
  run(store_again_, 2, lanes(0, 4));
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, TwoWritesOfTheSameValueAreAWarning) {
  for (Op* op : {&store_, &store_again_}) op->set("%r1", lanes(0, 1));
  run(store_, 0, lanes(0, 4));
  run(store_again_, 2, lanes(0, 4));
  ASSERT_EQ(count_of(Fault::shared_race_same_value), 1u);
  EXPECT_EQ(races(), 0u);
  EXPECT_EQ(Report::instance().errors(), 0u);
}
TEST_F(Shared, TwoLanesOfOneInstructionAtOneWord) {
  store_.set("%r1", lanes(0, 1));
  run(store_, 0, lanes(64, 0));
  EXPECT_EQ(races(), 1u);
  Report::instance().clear();
  barrier();
  store_again_.set("%r1", 9);
  run(store_again_, 0, lanes(64, 0));
  EXPECT_EQ(races(), 0u);
  EXPECT_EQ(count_of(Fault::shared_race_same_value), 1u);
}
TEST_F(Shared, LanesAtNeighbouringWordsOfOneInstruction) {
  store_.set("%r1", lanes(0, 1));
  run(store_, 0, lanes(124, static_cast<std::uint64_t>(-4)));
  EXPECT_TRUE(findings().empty());
}

// Within a warp.
TEST_F(Shared, MissingSyncwarp) {
  run(store_, 0, lanes(0, 4));
  Lanes other = lanes(0, 4);
  std::swap(other[3], other[4]);
  run(load_, 0, other);
  ASSERT_EQ(races(), 1u);
  EXPECT_EQ(findings()[0].count, 2u);
  EXPECT_EQ(findings()[0].place.thread[0], 3u);
  EXPECT_EQ(findings()[0].other.thread[0], 4u);
}
TEST_F(Shared, OwnWordsNeedNoSync) {
  run(store_, 0, lanes(0, 4));
  run(load_, 0, lanes(0, 4));
  run(store_again_, 0, lanes(0, 4));
  run(load_, 0, lanes(0, 4));
  EXPECT_TRUE(findings().empty());
}
TEST_F(Shared, SyncwarpOrdersTheWarpOnly) {
  run(store_, 0, lanes(0, 4));
  sync(0);
  run(load_, 0, lanes(124, static_cast<std::uint64_t>(-4)));
  EXPECT_TRUE(findings().empty());
  sync(1);
  run(load_, 1, lanes(0, 4));
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, MissingSyncwarpAfterReading) {
  run(store_, 0, lanes(0, 4));
  sync(0);
  run(load_, 0, lanes(124, static_cast<std::uint64_t>(-4)));
  run(store_, 0, lanes(0, 4));
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, ReductionWithSyncwarpIsQuietAndWithoutIsNot) {
  for (bool correct : {true, false}) {
    run(store_, 0, lanes(0, 4));
    for (std::uint32_t step = 16; step != 0; step /= 2) {
      const Mask mask = (1u << step) - 1;
      if (correct) sync(0);
      run(load_, 0, lanes(0, 4), mask);
      run(load_again_, 0, lanes(step * 4, 4), mask);
      run(store_again_, 0, lanes(0, 4), mask);
    }
    EXPECT_EQ(races() != 0, !correct);
    barrier();
  }
}
TEST_F(Shared, PartOfTheWarpSynchronises) {
  run(store_, 0, lanes(0, 4));
  sync(0, 0x0000ffff);
  run(load_, 0, lanes(60, static_cast<std::uint64_t>(-4)), 0x0000ffff);
  EXPECT_TRUE(findings().empty());
  run(load_, 0, lanes(64, 4), 0x0000ffff);  // what the other half wrote
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, PartsOfTheWarpSynchroniseInAChain) {
  run(store_, 0, lanes(0, 4), 0x000000ff);
  sync(0, 0x0000ffff);
  sync(0, 0x00ffff00);
  run(load_, 0, lanes(0, 0), 0x00100000);  // lane 20 knows of lane 0 through lanes 8 to 15
  EXPECT_TRUE(findings().empty());
  run(load_, 0, lanes(0, 0), 0x80000000);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, ExitedLanesDoNotHinderTheRest) {
  run(store_, 0, lanes(0, 4), 0x0000ffff);
  sync(0, 0x0000ffff, 0x0000ffff);
  run(load_, 0, lanes(60, static_cast<std::uint64_t>(-4)), 0x0000ffff);
  EXPECT_TRUE(findings().empty());
}
TEST_F(Shared, ExitedLanesWroteWithoutSync) {
  run(store_, 0, lanes(0, 4));
  sync(0, 0x0000ffff, 0x0000ffff);  // lanes 16 to 31 have exited
  run(load_, 0, lanes(64, 4), 0x0000ffff);
  EXPECT_EQ(races(), 1u);
}

// Named barriers.
TEST_F(Shared, BarrierOfTwoWarpsOrdersThemOnly) {
  run(store_, 0, lanes(0, 4));
  barrier({0, 1}, 1);
  run(load_, 1, lanes(0, 4));
  EXPECT_TRUE(findings().empty());
  run(load_, 2, lanes(0, 4));
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, BarriersChain) {
  run(store_, 0, lanes(0, 4));
  barrier({0, 1}, 1);
  barrier({1, 2}, 2);
  run(load_, 2, lanes(0, 4));
  EXPECT_TRUE(findings().empty());
  run(load_, 3, lanes(0, 4));
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, ArriveReleasesAndDoesNotAcquire) {
  // A producer that arrives and a consumer that waits.
  run(store_, 0, lanes(0, 4));
  checks::barrier_arrive(block_.block, 3, 0);
  barrier({1}, 3);
  run(load_, 1, lanes(0, 4));
  EXPECT_TRUE(findings().empty());
  // The producer knows nothing of the consumer.
  run(store_again_, 0, lanes(0, 4));
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, WhatFollowsAnArrivalIsNotReleased) {
  checks::barrier_arrive(block_.block, 3, 0);
  run(store_, 0, lanes(0, 4));
  barrier({1}, 3);
  run(load_, 1, lanes(0, 4));
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, ProducerAndTwoConsumersWithBarriersOfTheirOwn) {
  for (int round = 0; round < 5; ++round) {
    run(store_, 0, lanes(0, 4));
    checks::barrier_arrive(block_.block, 1, 0);
    barrier({1}, 1);
    run(load_, 1, lanes(0, 4));
    checks::barrier_arrive(block_.block, 2, 0);
    barrier({2}, 2);
    checks::barrier_arrive(block_.block, 3, 1);
    run(load_, 2, lanes(0, 4));
    checks::barrier_arrive(block_.block, 4, 2);
    barrier({0}, 3);
    barrier({0}, 4);
  }
  EXPECT_TRUE(findings().empty());
}

// Bytes.
TEST_F(Shared, NeighbouringBytesOfDifferentThreads) {
  Op bytes("st.shared.u8 [%r99], %rs1;"), halves("st.shared.b16 [%r99], %rs1;"), read("ld.shared.u8 %rs1, [%r99];");
  bytes.set("%rs1", lanes(0, 1));
  run(bytes, 0, lanes(0, 2));
  run(bytes, 1, lanes(1, 2));
  run(halves, 2, lanes(64, 4));
  run(halves, 3, lanes(66, 4));
  EXPECT_TRUE(findings().empty());
  run(read, 2, lanes(2, 0), 1);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, WordOverBytes) {
  Op bytes("st.shared.u8 [%r99], %rs1;");
  run(load_, 1, lanes(128, 4));  // before anything narrow was seen
  run(bytes, 0, lanes(129, 4));
  EXPECT_EQ(races(), 1u);
  barrier();
  run(bytes, 0, lanes(2, 0), 1);
  Report::instance().clear();
  run(load_, 1, lanes(0, 0), 1);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, VectorsOfFourWords) {
  Op store("st.shared.v4.b32 [%r99], {%r1, %r2, %r3, %r4};"), load("ld.shared.v4.b32 {%r1, %r2, %r3, %r4}, [%r99];");
  run(store, 0, lanes(0, 16));
  run(load, 0, lanes(0, 16));
  run(store_, 0, lanes(0, 0), 1);
  EXPECT_TRUE(findings().empty());
  run(store_, 1, lanes(15 * 4, 0), 1);  // the last word of lane 3
  ASSERT_EQ(races(), 2u) << "with the write and with the read";
  EXPECT_EQ(findings()[0].other.thread[0], 3u);
  EXPECT_EQ(findings()[1].other.thread[0], 3u);
}

// Atomics and flags.
TEST_F(Shared, AtomicsDoNotRaceWithEachOther) {
  Op add("atom.shared.add.u32 %r1, [%r99], 1;"), reduce("red.shared.add.u32 [%r99], 1;");
  for (std::uint32_t warp = 0; warp < 4; ++warp) {
    run(add, warp, lanes(0, 0));
    run(reduce, warp, lanes(0, 0));
  }
  EXPECT_TRUE(findings().empty());
}
TEST_F(Shared, AtomicAndPlainAccess) {
  Op reduce("red.shared.add.u32 [%r99], 1;");
  run(store_, 0, lanes(0, 4));
  run(reduce, 1, lanes(0, 0));
  EXPECT_EQ(races(), 1u);
  Report::instance().clear();
  barrier();
  run(reduce, 1, lanes(0, 0));
  run(load_, 2, lanes(0, 0));
  EXPECT_EQ(races(), 1u);
  Report::instance().clear();
  barrier();
  run(load_, 2, lanes(0, 0));
  barrier();
  run(reduce, 1, lanes(0, 0));
  barrier();
  run(load_, 2, lanes(0, 0));
  EXPECT_TRUE(findings().empty());
}
TEST_F(Shared, LockOrdersWhatItGuards) {
  Op lock("atom.shared.cas.b32 %r1, [%r99], 0, 1;"), unlock("atom.shared.exch.b32 _, [%r99], 0;");
  for (std::uint32_t warp = 0; warp < 4; ++warp) {
    for (int lane = 0; lane < 2; ++lane) {
      const Mask mask = 1u << lane;
      run(lock, warp, lanes(512, 0), mask);
      run(load_, warp, lanes(0, 0), mask);
      run(store_, warp, lanes(0, 0), mask);
      run(unlock, warp, lanes(512, 0), mask);
    }
  }
  EXPECT_TRUE(findings().empty());
  run(load_, 0, lanes(0, 0), 4);  // without the lock
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, FlagBehindAFence) {
  Op fence("membar.cta;"), raise("st.volatile.shared.b32 [%r99], 1;"), poll("ld.volatile.shared.b32 %r1, [%r99];");
  run(store_, 0, lanes(0, 4), 1);
  fence.run_in(block_, 1, 0);
  run(raise, 0, lanes(512, 0), 1);
  run(poll, 1, lanes(512, 0), 1);
  run(load_, 1, lanes(0, 4), 1);
  EXPECT_TRUE(findings().empty());
  run(load_, 2, lanes(0, 4), 1);  // did not look at the flag
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, FlagWithoutAFence) {
  Op raise("st.volatile.shared.b32 [%r99], 1;"), poll("ld.volatile.shared.b32 %r1, [%r99];");
  run(store_, 0, lanes(0, 4), 1);
  run(raise, 0, lanes(512, 0), 1);
  run(poll, 1, lanes(512, 0), 1);
  run(load_, 1, lanes(0, 4), 1);
  EXPECT_EQ(races(), 1u);
}
TEST_F(Shared, ReleaseAndAcquireNeedNoFence) {
  Op raise("st.release.cta.shared.b32 [%r99], 1;"), poll("ld.acquire.cta.shared.b32 %r1, [%r99];");
  run(store_, 0, lanes(0, 4), 1);
  run(raise, 0, lanes(512, 0), 1);
  run(poll, 1, lanes(512, 0), 1);
  run(load_, 1, lanes(0, 4), 1);
  EXPECT_TRUE(findings().empty());
}

TEST_F(Shared, NextBlockKnowsNothingOfTheLast) {
  run(store_, 0, lanes(0, 4));
  checks::end(block_.block);
  checks::start(block_.block);
  run(load_, 1, lanes(0, 4));
  run(store_, 2, lanes(2048, 4));
  EXPECT_TRUE(findings().empty());
}

// Random programs against a slow reference: every pair of accesses, with the order worked out by reachability.
TEST_F(Shared, RandomProgramsAgreeWithABruteForceReference) {
  struct Event {
    std::uint32_t thread;
    std::uint32_t word;
    bool write;
    std::uint64_t at;
  };
  std::mt19937_64 random(11);
  int with = 0, without = 0, missed = 0;
  for (int program = 0; program < 3000; ++program) {
    Report::instance().clear();
    checks::end(block_.block);
    checks::start(block_.block);
    // Each of 128 threads has a clock over all threads.
    std::vector<std::vector<std::uint64_t>> clock(128, std::vector<std::uint64_t>(128, 0));
    std::vector<Event> events;
    bool expected = false;
    auto join = [&](const std::vector<std::uint32_t>& threads, std::uint64_t now) {
      std::vector<std::uint64_t> joined(128, 0);
      for (std::uint32_t t : threads) {
        for (int n = 0; n < 128; ++n) joined[n] = std::max(joined[n], clock[t][n]);
      }
      for (std::uint32_t t : threads) joined[t] = now;
      for (std::uint32_t t : threads) clock[t] = joined;
    };
    const std::uint64_t steps = 4 + random() % 20;
    for (std::uint64_t now = 1; now < steps && !expected; ++now) {
      const auto warp = static_cast<std::uint32_t>(random() % 4);
      switch (random() % 4) {
        case 0: {
          std::vector<std::uint32_t> warps, threads;
          for (std::uint32_t w = 0; w < 4; ++w) {
            if (random() % 4 != 0) warps.push_back(w);
          }
          if (warps.empty()) break;
          for (std::uint32_t w : warps) {
            for (std::uint32_t l = 0; l < 32; ++l) threads.push_back(w * 32 + l);
          }
          barrier(warps, 1);
          join(threads, now);
          break;
        }
        case 1: {
          const Mask mask = random() % 2 == 0 ? kAllLanes : random() % 2 == 0 ? 0x0000ffff : 0xffff0000;
          std::vector<std::uint32_t> threads;
          for (std::uint32_t l = 0; l < 32; ++l) {
            if ((mask >> l & 1) != 0) threads.push_back(warp * 32 + l);
          }
          sync(warp, mask);
          join(threads, now);
          break;
        }
        default: {
          const bool write = random() % 2 == 0;
          const Mask mask = random() % 2 == 0 ? kAllLanes : static_cast<Mask>(random());
          const std::uint64_t first = random() % 8 * 128 + random() % 4 * 4, step = std::uint64_t{random() % 3 == 0 ? 8u : 4u};
          Lanes offset = lanes(first, step);
          if (!write && random() % 3 == 0) offset = lanes(first, 0);
          for (std::uint32_t l = 0; l < 32; ++l) {
            if ((mask >> l & 1) == 0) continue;
            const std::uint32_t thread = warp * 32 + l, word = static_cast<std::uint32_t>(offset[l] / 4);
            for (const Event& e : events) {
              if (e.word == word && e.thread != thread && (e.write || write) && clock[thread][e.thread] < e.at) expected = true;
            }
            events.push_back({thread, word, write, now});
          }
          Op& op = write ? store_ : load_;
          if (write) op.set("%r1", lanes(now * 1000 + warp * 32, 1));
          run(op, warp, offset, mask);
          break;
        }
      }
      // An access at `now` is known to those who synchronise later: their entry for it is at least now + 1.
      ASSERT_TRUE(expected || races() == 0) << "program " << program << " step " << now;
    }
    ++(expected ? with : without);
    missed += expected && races() == 0;
  }
  EXPECT_GT(with, 500);
  EXPECT_GT(without, 500);
  // Of several reads by lanes of one warp, parts of which have synchronised since, not all are told apart.
  EXPECT_LE(missed, with / 500);
}

}  // namespace
}  // namespace sim::test

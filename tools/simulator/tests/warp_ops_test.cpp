// Shuffles, votes, matches and reductions of a warp, each form against a reference for one lane at a time, with random member
// masks.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <random>

#include "error.h"
#include "isa/decoder.h"
#include "tests/memory_world.h"

namespace sim::test {
namespace {

// Options that the decode functions and handlers look at.
class Setting {
 public:
  Setting(std::string_view name, std::string_view value) : before_(options()) {
    const_cast<Options&>(options()).set(name, value);
  }
  ~Setting() { const_cast<Options&>(options()) = before_; }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;

 private:
  Options before_;
};

class WarpOps : public testing::Test {
 protected:
  Mask random_mask() {
    switch (random_() % 4) {
      case 0:
        return kAllLanes;
      case 1:
        return Mask{1} << random_() % 32;
      default:
        return std::max(static_cast<Mask>(random_()), Mask{1});
    }
  }
  std::uint32_t word() { return static_cast<std::uint32_t>(random_()); }
  Lanes words() {
    Lanes lanes;
    for (auto& lane : lanes) lane = word();
    return lanes;
  }
  /// Lanes of few different values.
  Lanes repeated(std::uint64_t bits) {
    const std::uint64_t values[] = {random_() & bits, random_() & bits, random_() & bits};
    const std::uint64_t kinds = 1 + random_() % 3;
    Lanes lanes;
    for (auto& lane : lanes) lane = values[random_() % kinds];
    return lanes;
  }

  std::mt19937_64 random_{42};
};

bool has(Mask mask, int lane) { return (mask >> lane & 1u) != 0; }

// The manual's description of shfl.sync, lane by lane.
struct Source {
  int lane;
  bool inside;
};
Source shuffle_source(std::string_view mode, int lane, std::uint32_t b, std::uint32_t c) {
  const int bval = static_cast<int>(b & 0x1f), cval = static_cast<int>(c & 0x1f), segmask = static_cast<int>(c >> 8 & 0x1f);
  const int max_lane = (lane & segmask) | (cval & ~segmask & 0x1f), min_lane = lane & segmask;
  int j = 0;
  bool p = false;
  if (mode == "up") {
    j = lane - bval;
    p = j >= max_lane;
  } else if (mode == "down") {
    j = lane + bval;
    p = j <= max_lane;
  } else if (mode == "bfly") {
    j = lane ^ bval;
    p = j <= max_lane;
  } else {
    j = min_lane | (bval & ~segmask & 0x1f);
    p = j <= max_lane;
  }
  return {p ? j : lane, p};
}

TEST_F(WarpOps, Shuffle) {
  for (const char* mode : {"up", "down", "bfly", "idx"}) {
    for (bool pair : {true, false}) {
      InstructionHarness harness(warp_opcodes(),
                                 fmt::format("shfl.sync.{}.b32 %r0{}, %r1, %r2, %r3, %r4;", mode, pair ? "|%p0" : ""));
      EXPECT_EQ(harness.decoded()[0].kind, Kind::warp_sync);
      EXPECT_NE(harness.decoded()[0].mask, kNowhere);
      for (int round = 0; round < 3000; ++round) {
        harness.scramble(random_);
        const Mask mask = random_mask();
        const Lanes a = words();
        Lanes b = words(), c = words();
        // Mostly what the intrinsics pass: one offset, and a segment of 1 to 32 lanes.
        if (round % 3 != 0) {
          const std::uint32_t width = 1u << random_() % 6, clamp = mode == std::string_view("up") ? 0 : 31;
          b.fill(random_() % 32);
          c.fill((32 - width) << 8 | clamp);
        }
        harness.set("%r1", a);
        harness.set("%r2", b);
        harness.set("%r3", c);
        harness.set("%r4", mask);
        harness.run(mask);
        const Lanes d = harness.get("%r0"), p = pair ? harness.get("%p0") : Lanes{};
        for (int lane = 0; lane < kLanes; ++lane) {
          if (!has(mask, lane)) continue;
          const Source source =
              shuffle_source(mode, lane, static_cast<std::uint32_t>(b[lane]), static_cast<std::uint32_t>(c[lane]));
          ASSERT_EQ(d[lane], has(mask, source.lane) ? a[source.lane] : 0) << mode << " lane " << lane;
          if (pair) {
            ASSERT_EQ(p[lane], source.inside ? 1u : 0u) << mode << " lane " << lane;
          }
        }
      }
    }
  }
}

TEST_F(WarpOps, ShuffleOfImmediatesIntoItsOwnOperand) {
  InstructionHarness harness(warp_opcodes(), "shfl.sync.bfly.b32 %r1|%p1, %r1, 1, 31, -1;");
  const Lanes a = words();
  harness.set("%r1", a);
  harness.run();
  for (int lane = 0; lane < kLanes; ++lane) EXPECT_EQ(harness.get("%r1")[lane], a[lane ^ 1]);
  InstructionHarness sink(warp_opcodes(),
                          "shfl.sync.idx.b32 _|%p1, %r1, 3, 7199, -1;");  // 7199: segments of four lanes, clamp 31
  sink.run();
  for (int lane = 0; lane < kLanes; ++lane) EXPECT_EQ(sink.get("%p1")[lane], 1u);
}

TEST_F(WarpOps, WhatAnAbsentLaneGives) {
  World world;
  const char* text = "shfl.sync.down.b32 %r0, %r1, 4, 31, %r2;";
  const auto run = [&](const char* check) {
    const Checks checks(check);
    TestBlock block(world);
    InstructionHarness harness(warp_opcodes(), text);
    harness.set("%r1", 7);
    harness.set("%r2", 0xff);
    block.place(harness.warp());
    harness.run(0xff);
    const Lanes d = harness.get("%r0");
    for (int lane = 0; lane < 4; ++lane) EXPECT_EQ(d[lane], 7u);
    const auto all = findings();
    const std::uint64_t errors = Report::instance().errors();
    EXPECT_EQ(errors, 0u);  // the values may be ones that nobody uses
    return std::pair(d[5], all);
  };
  const auto [value, none] = run("none");
  EXPECT_EQ(value, 0u);
  EXPECT_TRUE(none.empty());
  const auto [same, warned] = run("synccheck");
  ASSERT_EQ(warned.size(), 1u);
  EXPECT_EQ(warned[0].fault, Fault::missing_lanes);
  EXPECT_TRUE(warned[0].warning);
  EXPECT_EQ(warned[0].count, 4u);
  EXPECT_EQ(same, 0u);
  const Setting adversarial("schedule", "adversarial");
  const auto [poison, still_none] = run("none");
  EXPECT_NE(poison, 0u);
  EXPECT_NE(poison, 7u);
}

TEST_F(WarpOps, Vote) {
  for (const char* mode : {"all", "any", "uni", "ballot"}) {
    const bool ballot = mode == std::string_view("ballot");
    for (bool negated : {false, true}) {
      InstructionHarness harness(warp_opcodes(), fmt::format("vote.sync.{}.{} {}, {}%p1, %r1;", mode, ballot ? "b32" : "pred",
                                                             ballot ? "%r0" : "%p0", negated ? "!" : ""));
      EXPECT_EQ(harness.decoded()[0].kind, Kind::warp_sync);
      for (int round = 0; round < 3000; ++round) {
        harness.scramble(random_);
        const Mask mask = random_mask();
        Mask yes = word();
        if (round % 3 == 0) yes |= mask;
        if (round % 3 == 1) yes &= ~mask;
        Lanes lanes;
        for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = has(yes, lane);
        harness.set("%p1", lanes);
        harness.set("%r1", mask);
        harness.run(mask);
        Mask votes = 0;
        for (int lane = 0; lane < kLanes; ++lane) {
          if (has(mask, lane) && has(yes, lane) != negated) votes |= 1u << lane;
        }
        const std::uint64_t expected = mode == std::string_view("all")   ? votes == mask
                                       : mode == std::string_view("any") ? votes != 0
                                       : mode == std::string_view("uni") ? votes == 0 || votes == mask
                                                                         : votes;
        const Lanes d = harness.get(ballot ? "%r0" : "%p0");
        for (int lane = 0; lane < kLanes; ++lane) {
          if (has(mask, lane)) {
            ASSERT_EQ(d[lane], expected) << mode;
          }
        }
      }
    }
  }
}

TEST_F(WarpOps, Match) {
  for (bool wide : {false, true}) {
    const std::string a = wide ? "%rd1" : "%r1";
    const std::uint64_t bits = wide ? ~std::uint64_t{0} : 0xffffffff;
    InstructionHarness any(warp_opcodes(), fmt::format("match.any.sync.{} %r0, {}, %r2;", wide ? "b64" : "b32", a));
    InstructionHarness all(warp_opcodes(), fmt::format("match.all.sync.{} %r0|%p0, {}, %r2;", wide ? "b64" : "b32", a));
    InstructionHarness alone(warp_opcodes(), fmt::format("match.all.sync.{} %r0, {}, %r2;", wide ? "b64" : "b32", a));
    for (int round = 0; round < 2000; ++round) {
      const Mask mask = random_mask();
      Lanes lanes = repeated(bits);
      if (round % 5 == 0) {
        for (auto& lane : lanes) lane = random_() & bits;
      }
      if (wide && round % 7 == 0) lanes[random_() % 32] ^= std::uint64_t{1} << 40;  // only the upper half differs
      for (InstructionHarness* harness : {&any, &all, &alone}) {
        harness->scramble(random_);
        harness->set(a, lanes);
        harness->set("%r2", mask);
        harness->run(mask);
        const Lanes d = harness->get("%r0"), p = harness == &all ? harness->get("%p0") : Lanes{};
        for (int lane = 0; lane < kLanes; ++lane) {
          if (!has(mask, lane)) continue;
          Mask equal = 0;
          for (int other = 0; other < kLanes; ++other) {
            if (has(mask, other) && lanes[other] == lanes[lane]) equal |= 1u << other;
          }
          ASSERT_EQ(d[lane], harness == &any ? equal : equal == mask ? mask : 0);
          if (harness == &all) {
            ASSERT_EQ(p[lane], equal == mask ? 1u : 0u);
          }
        }
      }
    }
  }
}

TEST_F(WarpOps, ReduceOfIntegers) {
  for (const char* form : {"add.u32", "add.s32", "min.u32", "min.s32", "max.u32", "max.s32", "and.b32", "or.b32", "xor.b32"}) {
    const std::string_view name = form;
    InstructionHarness harness(warp_opcodes(), fmt::format("redux.sync.{} %r0, %r1, %r2;", form));
    for (int round = 0; round < 3000; ++round) {
      harness.scramble(random_);
      const Mask mask = random_mask();
      Lanes a = words();
      if (round % 4 == 0) {
        for (auto& lane : a) lane = std::array<std::uint64_t, 5>{0, 1, 0x7fffffff, 0x80000000, 0xffffffff}[random_() % 5];
      }
      harness.set("%r1", a);
      harness.set("%r2", mask);
      harness.run(mask);
      std::uint32_t sum = 0, conjunction = ~0u, disjunction = 0, parity = 0, low = ~0u, high = 0;
      std::int32_t lowest = INT32_MAX, highest = INT32_MIN;
      for (int lane = 0; lane < kLanes; ++lane) {
        if (!has(mask, lane)) continue;
        const auto x = static_cast<std::uint32_t>(a[lane]);
        sum += x;
        conjunction &= x;
        disjunction |= x;
        parity ^= x;
        low = std::min(low, x);
        high = std::max(high, x);
        lowest = std::min(lowest, static_cast<std::int32_t>(x));
        highest = std::max(highest, static_cast<std::int32_t>(x));
      }
      const std::uint32_t expected = name.starts_with("add")   ? sum
                                     : name == "min.u32"       ? low
                                     : name == "max.u32"       ? high
                                     : name == "min.s32"       ? static_cast<std::uint32_t>(lowest)
                                     : name == "max.s32"       ? static_cast<std::uint32_t>(highest)
                                     : name.starts_with("and") ? conjunction
                                     : name.starts_with("or")  ? disjunction
                                                               : parity;
      for (int lane = 0; lane < kLanes; ++lane) {
        if (has(mask, lane)) {
          ASSERT_EQ(harness.get("%r0")[lane], expected) << form;
        }
      }
    }
  }
}

TEST_F(WarpOps, ReduceOfFloats) {
  const Setting architecture("arch", "sm_100");
  for (bool maximum : {false, true}) {
    for (bool absolute : {false, true}) {
      for (bool propagates : {false, true}) {
        InstructionHarness harness(warp_opcodes(), fmt::format("redux.sync.{}{}{}.f32 %f0, %f1, %r2;", maximum ? "max" : "min",
                                                               absolute ? ".abs" : "", propagates ? ".NaN" : ""));
        for (int round = 0; round < 1000; ++round) {
          const Mask mask = random_mask();
          Lanes a = words();
          for (auto& lane : a) {
            if (random_() % 3 == 0)
              lane = std::array<std::uint64_t, 8>{0,          0x80000000, 0x3f800000, 0xbf800000,
                                                  0x7f800000, 0xff800000, 0x00000001, 0x80000001}[random_() % 8];
            if (round % 4 == 0 && random_() % 8 == 0) lane = 0x7fc00123;
          }
          harness.scramble(random_);
          harness.set("%f1", a);
          harness.set("%r2", mask);
          harness.run(mask);
          bool any = false, nan = false;
          float best = 0;
          for (int lane = 0; lane < kLanes; ++lane) {
            if (!has(mask, lane)) continue;
            float x = std::bit_cast<float>(static_cast<std::uint32_t>(a[lane]));
            if (absolute) x = std::fabs(x);
            if (std::isnan(x)) {
              nan = true;
            } else if (!any ||
                       (maximum ? x > best || (x == best && std::signbit(best)) : x < best || (x == best && std::signbit(x)))) {
              best = x;
              any = true;
            }
          }
          const std::uint32_t expected = !any || (nan && propagates) ? 0x7fffffff : std::bit_cast<std::uint32_t>(best);
          for (int lane = 0; lane < kLanes; ++lane) {
            if (has(mask, lane)) {
              ASSERT_EQ(harness.get("%f0")[lane], expected);
            }
          }
        }
      }
    }
  }
}

TEST_F(WarpOps, ActiveMaskAndElection) {
  const Setting architecture("arch", "sm_90");
  InstructionHarness active(warp_opcodes(), "activemask.b32 %r0;");
  EXPECT_EQ(active.decoded()[0].kind, Kind::plain);
  InstructionHarness elect(warp_opcodes(), "elect.sync %r0|%p0, %r1;");
  InstructionHarness quiet(warp_opcodes(), "elect.sync _|%p0, -1;");
  for (int round = 0; round < 2000; ++round) {
    const Mask mask = random_mask();
    active.scramble(random_);
    active.run(mask);
    elect.scramble(random_);
    elect.set("%r1", mask);
    elect.run(mask);
    quiet.run(mask);
    int leaders = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      if (!has(mask, lane)) continue;
      ASSERT_EQ(active.get("%r0")[lane], mask);
      const auto leader = static_cast<int>(elect.get("%r0")[lane]);
      ASSERT_TRUE(has(mask, leader));
      ASSERT_EQ(elect.get("%p0")[lane], lane == leader ? 1u : 0u);
      ASSERT_EQ(quiet.get("%p0")[lane], lane == leader ? 1u : 0u);
      leaders += elect.get("%p0")[lane] != 0;
    }
    ASSERT_EQ(leaders, 1);
  }
}

TEST_F(WarpOps, WhatIsNotThereIsNamed) {
  for (const char* text :
       {"shfl.up.b32 %r0, %r1, 1, 0;", "vote.all.pred %p0, %p1;", "vote.ballot.b32 %r0, %p1;",
        "shfl.sync.rotate.b32 %r0, %r1, 1, 31, -1;", "shfl.sync.up.b64 %rd0, %rd1, 1, 0, -1;",
        "shfl.sync.up.b32 %rd0, %r1, 1, 0, -1;", "shfl.sync.up.b32 %r0, %r1, 1, 0;", "vote.sync.most.pred %p0, %p1, -1;",
        "vote.sync.all.pred %r0, %p1, -1;", "match.any.sync.b32 %r0|%p0, %r1, -1;", "match.some.sync.b32 %r0, %r1, -1;",
        "redux.sync.add.u64 %rd0, %rd1, -1;", "redux.sync.and.u32 %r0, %r1, -1;", "redux.sync.min.f32 %f0, %f1, -1;",
        "elect.sync %r0|%p0, -1;", "activemask.b64 %rd0;"}) {
    EXPECT_THROW(InstructionHarness(warp_opcodes(), text), Error) << text;
  }
  const Setting turing("arch", "sm_75");
  EXPECT_THROW(InstructionHarness(warp_opcodes(), "redux.sync.add.u32 %r0, %r1, -1;"), Error);
}

}  // namespace
}  // namespace sim::test

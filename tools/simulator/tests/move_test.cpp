// mov, cvta and isspacep.
#include "error.h"
#include "isa/decoder.h"
#include "machine/memory.h"
#include "tests/form_sweep.h"

namespace sim::test {
namespace {

Lanes random_lanes(std::mt19937_64& random, std::uint64_t mask = ~std::uint64_t{0}) {
  Lanes lanes;
  for (std::uint64_t& lane : lanes) lane = random() & mask;
  return lanes;
}

class MoveTest : public testing::Test {
 protected:
  static void TearDownTestSuite() { SweepCounts::print(); }

  void check(const InstructionForm& form) { sweep_(form); }

  // Runs `text` with random registers under a full and a partial mask; `reference` gets the lane's values of `inputs`, in their
  // order, and gives those of `outputs`.
  void moves(const std::string& text, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
             const std::function<std::vector<std::uint64_t>(const std::vector<std::uint64_t>&)>& reference,
             const Environment& environment = {}) {
    ++SweepCounts::total().forms;
    ++SweepCounts::total().texts;
    InstructionHarness harness(move_opcodes(), text, environment);
    for (int round = 0; round < 40; ++round) {
      harness.scramble(random_);
      std::vector<Lanes> before, after;
      for (const std::string& input : inputs) before.push_back(harness.get(input));
      const Mask mask = round % 2 == 0 ? kAllLanes : static_cast<Mask>(random_());
      harness.run(mask);
      for (const std::string& output : outputs) after.push_back(harness.get(output));
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        ++SweepCounts::total().cases;
        std::vector<std::uint64_t> values;
        for (const Lanes& lanes : before) values.push_back(lanes[lane]);
        const std::vector<std::uint64_t> expected = reference(values);
        for (std::size_t n = 0; n < outputs.size(); ++n)
          ASSERT_EQ(after[n][lane], expected[n]) << text << " " << outputs[n] << " lane " << lane;
      }
    }
  }

  FormSweep sweep_{move_opcodes()};
  std::mt19937_64 random_{11};
};

using Values = std::vector<std::uint64_t>;

TEST_F(MoveTest, Registers) {
  const auto copy = [](const LaneValues& v) { return LaneResults{v.a}; };
  for (const char* type : {"b16", "u16", "s16"}) check({std::string("mov.") + type, {Sort::int16}, {Sort::int16}, copy});
  for (const char* type : {"b32", "u32", "s32"}) check({std::string("mov.") + type, {Sort::int32}, {Sort::int32}, copy});
  for (const char* type : {"b64", "u64", "s64"}) check({std::string("mov.") + type, {Sort::int64}, {Sort::int64}, copy});
  check({"mov.f32", {Sort::single}, {Sort::single}, copy});
  check({"mov.f64", {Sort::double_}, {Sort::double_}, copy});
  check({"mov.pred", {Sort::pred}, {Sort::pred}, copy});
  check({"mov.pred", {Sort::pred}, {Sort::not_pred}, copy});
}

TEST_F(MoveTest, Packing) {
  moves("mov.b32 %r1, {%rs1, %rs2};", {"%rs1", "%rs2"}, {"%r1"}, [](const Values& v) { return Values{v[0] | v[1] << 16}; });
  moves("mov.b32 %r1, {%rs1, %rs1};", {"%rs1"}, {"%r1"}, [](const Values& v) { return Values{v[0] | v[0] << 16}; });
  moves("mov.b32 %r1, {%rs1, 7};", {"%rs1"}, {"%r1"}, [](const Values& v) { return Values{v[0] | 7 << 16}; });
  moves("mov.b32 %f1, {%h1, %h2};", {"%h1", "%h2"}, {"%f1"}, [](const Values& v) { return Values{v[0] | v[1] << 16}; });
  moves("mov.b64 %rd1, {%r1, %r2};", {"%r1", "%r2"}, {"%rd1"}, [](const Values& v) { return Values{v[0] | v[1] << 32}; });
  moves("mov.b64 %fd1, {%f1, %r2};", {"%f1", "%r2"}, {"%fd1"}, [](const Values& v) { return Values{v[0] | v[1] << 32}; });
  moves("mov.b64 %rd1, {%rs1, %rs2, %rs3, %rs4};", {"%rs1", "%rs2", "%rs3", "%rs4"}, {"%rd1"},
        [](const Values& v) { return Values{v[0] | v[1] << 16 | v[2] << 32 | v[3] << 48}; });
  moves("mov.b16 %rs1, {%rs2, %rs3};", {"%rs2", "%rs3"}, {"%rs1"},
        [](const Values& v) { return Values{(v[0] & 0xff) | (v[1] & 0xff) << 8}; });
  moves("mov.b16 %rs3, {%rs2, %rs3};", {"%rs2", "%rs3"}, {"%rs3"},
        [](const Values& v) { return Values{(v[0] & 0xff) | (v[1] & 0xff) << 8}; });
  moves("mov.b32 %r1, {%rs1, %rs2, %rs3, %rs4};", {"%rs1", "%rs2", "%rs3", "%rs4"}, {"%r1"},
        [](const Values& v) { return Values{(v[0] & 0xff) | (v[1] & 0xff) << 8 | (v[2] & 0xff) << 16 | (v[3] & 0xff) << 24}; });
}

TEST_F(MoveTest, Unpacking) {
  moves("mov.b32 {%rs1, %rs2}, %r1;", {"%r1"}, {"%rs1", "%rs2"}, [](const Values& v) {
    return Values{v[0] & 0xffff, v[0] >> 16};
  });
  moves("mov.b32 {_, %rs2}, %r1;", {"%r1"}, {"%rs2"}, [](const Values& v) { return Values{v[0] >> 16}; });
  moves("mov.b32 {%rs1, _}, %r1;", {"%r1"}, {"%rs1"}, [](const Values& v) { return Values{v[0] & 0xffff}; });
  moves("mov.b64 {%r1, %r2}, %rd1;", {"%rd1"}, {"%r1", "%r2"}, [](const Values& v) {
    return Values{v[0] & 0xffffffff, v[0] >> 32};
  });
  moves("mov.b64 {%r1, %r2}, 0x123456789;", {}, {"%r1", "%r2"}, [](const Values&) { return Values{0x23456789, 1}; });
  moves("mov.b64 {%f1, %r2}, %fd1;", {"%fd1"}, {"%f1", "%r2"}, [](const Values& v) {
    return Values{v[0] & 0xffffffff, v[0] >> 32};
  });
  moves("mov.b64 {%rs1, %rs2, _, %rs4}, %rd1;", {"%rd1"}, {"%rs1", "%rs2", "%rs4"}, [](const Values& v) {
    return Values{v[0] & 0xffff, v[0] >> 16 & 0xffff, v[0] >> 48};
  });
  moves("mov.b16 {%rs1, %rs2}, %rs3;", {"%rs3"}, {"%rs1", "%rs2"}, [](const Values& v) {
    return Values{v[0] & 0xff, v[0] >> 8};
  });
  moves("mov.b16 {%rs3, %rs2}, %rs3;", {"%rs3"}, {"%rs3", "%rs2"}, [](const Values& v) {
    return Values{v[0] & 0xff, v[0] >> 8};
  });
  moves("mov.b32 {%rs1, %rs2, %rs3, %rs4}, %r1;", {"%r1"}, {"%rs1", "%rs2", "%rs3", "%rs4"}, [](const Values& v) {
    return Values{v[0] & 0xff, v[0] >> 8 & 0xff, v[0] >> 16 & 0xff, v[0] >> 24};
  });
}

TEST_F(MoveTest, Vectors) {
  moves("mov.v2.b32 {%r1, %r2}, {%r2, %r1};", {"%r1", "%r2"}, {"%r1", "%r2"}, [](const Values& v) {
    return Values{v[1], v[0]};
  });
  moves("mov.v4.u32 {%r1, %r2, %r3, %r4}, {%r4, %r1, 5, %r3};", {"%r1", "%r3", "%r4"}, {"%r1", "%r2", "%r3", "%r4"},
        [](const Values& v) {
          return Values{v[2], v[0], 5, v[1]};
        });
  moves("mov.v2.b64 {%rd1, _}, {%rd2, %rd3};", {"%rd2"}, {"%rd1"}, [](const Values& v) { return Values{v[0]}; });
  moves("mov.v2.b16 {%rs1, %rs2}, {%rs2, %rs3};", {"%rs2", "%rs3"}, {"%rs1", "%rs2"}, [](const Values& v) { return v; });
}

TEST_F(MoveTest, Wide) {
  InstructionHarness copy(move_opcodes(), "mov.b128 %rq1, %rq2;");
  InstructionHarness pack(move_opcodes(), "mov.b128 %rq1, {%rd1, %rd2};");
  InstructionHarness unpack(move_opcodes(), "mov.b128 {%rd1, %rd2}, %rq1;");
  InstructionHarness pack_words(move_opcodes(), "mov.b128 %rq1, {%r1, %r2, %r3, %r4};");
  InstructionHarness unpack_words(move_opcodes(), "mov.b128 {%r1, %r2, _, %r4}, %rq1;");
  SweepCounts::total().forms += 5;
  for (int round = 0; round < 40; ++round) {
    const Mask mask = round % 2 == 0 ? kAllLanes : static_cast<Mask>(random_());
    const Lanes low = random_lanes(random_), high = random_lanes(random_);
    copy.set("%rq2", low);
    copy.set_high("%rq2", high);
    pack.set("%rd1", low);
    pack.set("%rd2", high);
    unpack.set("%rq1", low);
    unpack.set_high("%rq1", high);
    unpack_words.set("%rq1", low);
    unpack_words.set_high("%rq1", high);
    Lanes words[4];
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      words[0][lane] = low[lane] & 0xffffffff;
      words[1][lane] = low[lane] >> 32;
      words[2][lane] = high[lane] & 0xffffffff;
      words[3][lane] = high[lane] >> 32;
    }
    for (int n = 0; n < 4; ++n) pack_words.set("%r" + std::to_string(n + 1), words[n]);
    pack_words.run(mask);
    unpack_words.run(mask);
    copy.run(mask);
    pack.run(mask);
    unpack.run(mask);
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      SweepCounts::total().cases += 5;
      ASSERT_EQ(pack_words.get("%rq1")[lane], low[lane]);
      ASSERT_EQ(pack_words.get_high("%rq1")[lane], high[lane]);
      ASSERT_EQ(unpack_words.get("%r1")[lane], words[0][lane]);
      ASSERT_EQ(unpack_words.get("%r2")[lane], words[1][lane]);
      ASSERT_EQ(unpack_words.get("%r4")[lane], words[3][lane]);
      ASSERT_EQ(copy.get("%rq1")[lane], low[lane]);
      ASSERT_EQ(copy.get_high("%rq1")[lane], high[lane]);
      ASSERT_EQ(pack.get("%rq1")[lane], low[lane]);
      ASSERT_EQ(pack.get_high("%rq1")[lane], high[lane]);
      ASSERT_EQ(unpack.get("%rd1")[lane], low[lane]);
      ASSERT_EQ(unpack.get("%rd2")[lane], high[lane]);
    }
  }
}

TEST_F(MoveTest, ConstantsAndSpecialRegisters) {
  Environment environment;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    environment.specials["tid.x"][lane] = lane + 100;
    environment.specials["tid.y"][lane] = lane * 3;
    environment.specials["tid.z"][lane] = lane * lane;
  }
  environment.symbols["table"] = {ptx::Space::global, kDeviceBase + 0x1230, 64};
  environment.symbols["tile"] = {ptx::Space::shared, 0x40, 64};
  const auto constant = [](std::uint64_t value) { return [=](const Values&) { return Values{value}; }; };
  moves("mov.f32 %f1, 0f3F800000;", {}, {"%f1"}, constant(0x3f800000));
  moves("mov.f32 %f1, 1.5;", {}, {"%f1"}, constant(0x3fc00000));
  moves("mov.f64 %fd1, 0d3FF8000000000000;", {}, {"%fd1"}, constant(0x3ff8000000000000));
  moves("mov.b32 %r1, 0f3F800000;", {}, {"%r1"}, constant(0x3f800000));
  moves("mov.u16 %rs1, -1;", {}, {"%rs1"}, constant(0xffff));
  moves("mov.b64 %rd1, -2;", {}, {"%rd1"}, constant(~std::uint64_t{1}));
  moves("mov.pred %p1, 1;", {}, {"%p1"}, constant(1));
  moves("mov.u64 %rd1, table;", {}, {"%rd1"}, constant(kDeviceBase + 0x1230), environment);
  moves("mov.b64 %rd1, table+12;", {}, {"%rd1"}, constant(kDeviceBase + 0x123c), environment);
  moves("mov.u32 %r1, tile;", {}, {"%r1"}, constant(0x40), environment);
  moves("cvta.shared.u64 %rd1, tile+4;", {}, {"%rd1"}, constant(kSharedWindow + 0x44), environment);
  moves("cvta.global.u64 %rd1, table;", {}, {"%rd1"}, constant(kDeviceBase + 0x1230), environment);

  InstructionHarness scalar(move_opcodes(), "mov.u32 %r1, %tid.x;", environment);
  scalar.run();
  EXPECT_EQ(scalar.get("%r1"), environment.specials["tid.x"]);
  InstructionHarness narrow(move_opcodes(), "mov.u16 %rs1, %tid.z;", environment);
  narrow.run();
  EXPECT_EQ(narrow.get("%rs1"), environment.specials["tid.z"]);
  InstructionHarness vector(move_opcodes(), "mov.v4.u32 {%r1, %r2, %r3, %r4}, %tid;", environment);
  vector.scramble(random_);
  vector.run();
  EXPECT_EQ(vector.get("%r1"), environment.specials["tid.x"]);
  EXPECT_EQ(vector.get("%r2"), environment.specials["tid.y"]);
  EXPECT_EQ(vector.get("%r3"), environment.specials["tid.z"]);
  EXPECT_EQ(vector.get("%r4"), Lanes{});
}

struct Window {
  const char* name;
  Address base;
};
constexpr Window kWindows[] = {{"shared", kSharedWindow},
                               {"shared::cta", kSharedWindow},
                               {"shared::cluster", kSharedWindow},
                               {"local", kLocalWindow},
                               {"param", kParameterWindow},
                               {"param::entry", kParameterWindow},
                               {"global", 0},
                               {"const", 0}};

TEST_F(MoveTest, Addresses) {
  for (const Window& window : kWindows) {
    check({std::string("cvta.") + window.name + ".u64", {Sort::int64}, {Sort::int64}, [&](const LaneValues& v) {
             return LaneResults{v.a + window.base};
           }});
    check({std::string("cvta.to.") + window.name + ".u64", {Sort::int64}, {Sort::int64}, [&](const LaneValues& v) {
             return LaneResults{v.a - window.base};
           }});
  }
}

TEST_F(MoveTest, Spaces) {
  const Allocation* device = Memory::instance().allocate(MemoryKind::device, 0, 4096);
  const Allocation* constant = Memory::instance().allocate(MemoryKind::constant, 0, 4096);
  ASSERT_NE(device, nullptr);
  ASSERT_NE(constant, nullptr);
  const Lanes addresses{kSharedWindow,
                        kSharedWindow + 100,
                        kSharedWindow + kWindowSpan - 1,
                        kLocalWindow,
                        kLocalWindow + kWindowSpan - 1,
                        kParameterWindow,
                        kParameterWindow + kWindowSpan - 1,
                        kWindowBase - 1,
                        device->base,
                        device->end - 1,
                        constant->base,
                        constant->end - 1,
                        0,
                        ~std::uint64_t{0},
                        kHostBase,
                        0x1234};
  const auto within = [](Address a, Address base) { return a >= base && a < base + kWindowSpan; };
  for (const Window& window : kWindows) {
    const std::string name = window.name;
    InstructionHarness harness(move_opcodes(), "isspacep." + name + " %p1, %rd1;");
    ++SweepCounts::total().forms;
    harness.set("%rd1", addresses);
    for (Mask mask : {kAllLanes, Mask{0x5a5a}}) {
      harness.scramble(random_);
      harness.set("%rd1", addresses);
      harness.run(mask);
      for (std::size_t lane = 0; lane < 16; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        ++SweepCounts::total().cases;
        const Address a = addresses[lane];
        const bool is_constant = a >= constant->base && a < constant->end;
        bool expected = within(a, window.base);
        if (name == "const") expected = is_constant;
        if (name == "global") expected = !is_constant && !within(a, kSharedWindow) && !within(a, kLocalWindow);
        EXPECT_EQ(harness.get("%p1")[lane], expected ? 1u : 0u) << name << " " << std::hex << a;
      }
    }
  }
}

TEST_F(MoveTest, RejectsWhatThereIsNot) {
  for (const char* text :
       {"mov.b32 %r1, %rs1;", "mov.b16 %rs1, %r1;", "mov.b32 %r1, %rd1;", "mov.f16 %rs1, %rs2;", "mov.b8 %rs1, %rs2;",
        "mov.u32 %r1, {%rs1, %rs2};", "mov.b32 %r1, {%rs1, %r2};", "mov.b64 %rd1, {%r1, %r2, %r3};", "mov.b32 {%r1, %r2}, %r3;",
        "mov.pred %p1, %r1;", "mov.b32 %r1, !%r2;", "mov.v2.b32 {%r1, %r2}, {%r1, %r2, %r3, %r4};",
        "mov.v4.u32 {%r1, %r2, %r3, %r4}, %laneid;", "cvta.shared.u32 %r1, %r2;", "cvta.u64 %rd1, %rd2;",
        "cvta.tex.u64 %rd1, %rd2;", "cvta.to.global.u64 %rd1, %r2;", "isspacep.tex %p1, %rd1;", "isspacep.shared %r1, %rd1;"}) {
    EXPECT_THROW(InstructionHarness(move_opcodes(), text), Error) << text;
  }
}

}  // namespace
}  // namespace sim::test

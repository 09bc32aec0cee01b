// mma.sync is bit-equal to golden/mma.txt, with the fragments where the PTX manual has them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "isa/matrix.h"
#include "tests/instruction_harness.h"
#include "tests/mma_golden.h"

namespace sim::test {
namespace {

int g_architecture = 80;

std::vector<OpcodeEntry> opcodes() {
  return {{"mma", [](const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
             return matrix::decode_mma(in, decoder, out, g_architecture);
           }}};
}

struct Place {
  int row, column;
};

// Where element i of a lane's fragment lies, as the sections "Matrix Fragments for mma.…" of the manual put it.
Place place_of_a(const Golden& form, int lane, int i) {
  const int g = lane >> 2, t = lane % 4;
  const std::string& s = form.shape;
  if (form.a == "f64") {
    if (s == "m8n8k4") return {g, t};
    if (s == "m16n8k4") return {i == 0 ? g : g + 8, t};
    if (s == "m16n8k8") return {i == 0 || i == 2 ? g : g + 8, i < 2 ? t : t + 4};
    return {i % 2 == 0 ? g : g + 8, i % 2 == 0 ? i * 2 + t : i * 2 - 2 + t};
  }
  if (form.a == "tf32") {
    if (s == "m16n8k4") return {i == 0 ? g : g + 8, t};
    return {i == 0 || i == 2 ? g : g + 8, i < 2 ? t : t + 4};
  }
  if (form.a == "f16" || form.a == "bf16") {
    if (s == "m16n8k8") return {i < 2 ? g : g + 8, t * 2 + (i & 1)};
    return {i < 2 || (4 <= i && i < 6) ? g : g + 8, i < 4 ? t * 2 + (i & 1) : t * 2 + (i & 1) + 8};
  }
  if (s == "m8n8k16") return {g, t * 4 + i};
  if (s == "m8n8k32") return {g, t * 8 + i};
  if (s == "m8n8k128") return {g, t * 32 + i};
  if (s == "m16n8k16") return {i < 4 ? g : g + 8, t * 4 + (i & 3)};
  if (s == "m16n8k32" && (form.a == "s4" || form.a == "u4")) return {i < 8 ? g : g + 8, t * 8 + (i & 7)};
  if (s == "m16n8k32") return {i < 4 || (8 <= i && i < 12) ? g : g + 8, i < 8 ? t * 4 + (i & 3) : t * 4 + (i & 3) + 16};
  if (s == "m16n8k64") return {i < 8 || (16 <= i && i < 24) ? g : g + 8, i < 16 ? t * 8 + (i & 7) : t * 8 + (i & 7) + 32};
  if (s == "m16n8k128") return {i < 32 ? g : g + 8, t * 32 + (i & 31)};
  return {i < 32 || (64 <= i && i < 96) ? g : g + 8, i < 64 ? t * 32 + (i & 31) : t * 32 + (i & 31) + 128};  // m16n8k256
}

Place place_of_b(const Golden& form, int lane, int i) {
  const int g = lane >> 2, t = lane % 4;
  const std::string& s = form.shape;
  if (form.b == "f64") return {t + i * 4, g};
  if (form.b == "tf32") return {i == 0 ? t : t + 4, g};
  if (form.b == "f16" || form.b == "bf16") return {i < 2 ? t * 2 + (i & 1) : t * 2 + (i & 1) + 8, g};
  if (s == "m8n8k32" || s == "m16n8k64" || (s == "m16n8k32" && (form.b == "s4" || form.b == "u4"))) {
    return {i < 8 ? t * 8 + (i & 7) : t * 8 + (i & 7) + 32, g};
  }
  if (form.b == "b1") return {i < 32 ? t * 32 + (i & 31) : t * 32 + (i & 31) + 128, g};
  return {i < 4 ? t * 4 + (i & 3) : t * 4 + (i & 3) + 16, g};
}

Place place_of_c(int lane, int i) { return {i < 2 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 2 + (i & 1)}; }

// m8n8k4 of f16: lanes of one quad pair. `by_rows` is the operand's layout.
Place place_of_quad_a(int lane, int i, bool by_rows) {
  const int high = lane < 16 ? 0 : 4;
  return by_rows ? Place{lane % 4 + high, i} : Place{i % 4 + high, lane % 4};
}
Place place_of_quad_b(int lane, int i, bool by_rows) {
  const int high = lane < 16 ? 0 : 4;
  return by_rows ? Place{lane % 4, i + high} : Place{i, lane % 4 + high};
}
Place place_of_quad_c(const std::string& element, int lane, int i) {
  const int high = lane < 16 ? 0 : 4;
  if (element == "f16") return {lane % 4 + high, i};
  return {(lane & 1) + (i & 2) + high, (i & 4) + (lane & 2) + (i & 1)};
}

std::string registers(const char* prefix, int first, int count) {
  std::string text = "{";
  for (int n = 0; n < count; ++n) text += fmt::format("{}%{}{}", n == 0 ? "" : ", ", prefix, first + n);
  return text + "}";
}

struct Fragment {
  int first = 0, count = 0, per_register = 1, width = 32;
  std::string prefix;
  std::vector<std::string> names;
  std::vector<Lanes> lanes;

  Fragment(int first_register, int elements, int bits) : first(first_register), width(bits) {
    prefix = bits == 64 ? "fd" : "r";
    per_register = bits == 64 ? 1 : 32 / bits;
    count = elements / per_register;
    for (int n = 0; n < count; ++n) names.push_back(fmt::format("%{}{}", prefix, first + n));
    lanes.resize(static_cast<std::size_t>(count));
  }
  std::string text() const { return registers(prefix.c_str(), first, count); }
  void clear() {
    for (Lanes& one : lanes) one.fill(0);
  }
  void put(int lane, int i, std::uint64_t bits) {
    lanes[static_cast<std::size_t>(i / per_register)][static_cast<std::size_t>(lane)] |= bits << (i % per_register * width);
  }
  std::uint64_t take(int lane, int i) const {
    const std::uint64_t word = lanes[static_cast<std::size_t>(i / per_register)][static_cast<std::size_t>(lane)];
    return width == 64 ? word : word >> (i % per_register * width) & ((std::uint64_t{1} << width) - 1);
  }
  int elements() const { return count * per_register; }
};

class Run {
 public:
  explicit Run(const Golden& golden)
      : golden_(golden),
        quads_(golden.a == "f16" && golden.m == 8),
        input_a_(golden, 'a'),
        input_b_(golden, 'b'),
        input_c_(golden, 'c'),
        d_(0, (quads_ ? 8 : golden.m * golden.n / 32),
           golden.d == "f16"   ? 16
           : golden.d == "f64" ? 64
                               : 32),
        a_(10, quads_ ? 4 : golden.m * golden.k / 32, input_a_.width()),
        b_(20, quads_ ? 4 : golden.k * golden.n / 32, input_b_.width()),
        c_(30, quads_ ? 8 : golden.m * golden.n / 32, input_c_.width()) {
    g_architecture = golden.architecture;
    for (int layout = 0; layout < (quads_ ? 4 : 1); ++layout) {
      const std::string text = fmt::format(
          "mma.sync.aligned.{}.{}.{}{}.{}.{}.{}.{}{} {}, {}, {}, {};", golden.shape, (layout & 1) == 0 ? "row" : "col",
          (layout & 2) == 0 ? "col" : "row", golden.saturate ? ".satfinite" : "", golden.d, golden.a, golden.b, golden.c,
          golden.operation.empty() ? "" : "." + golden.operation + ".popc", d_.text(), a_.text(), b_.text(), c_.text());
      harnesses_.push_back(std::make_unique<InstructionHarness>(opcodes(), text));
    }
  }

  void check() {
    const int results = golden_.m * golden_.n;
    std::vector<std::uint64_t> result(static_cast<std::size_t>(results));
    for (int block = 0; block < kGoldenBlocks; ++block) {
      std::uint64_t sum = 0;
      for (int n = 0; n < kGoldenBlock; ++n) {
        multiply(block, n, result);
        for (int i = 0; i < results; ++i)
          sum += golden_checksum(result[static_cast<std::size_t>(i)], static_cast<std::uint64_t>(n * results + i));
        if (block == 0 && n == 0) {
          for (std::size_t i = 0; i < golden_.first.size(); ++i)
            ASSERT_EQ(result[i], golden_.first[i]) << name() << " result " << i;
        }
      }
      ASSERT_EQ(sum, golden_.sums[static_cast<std::size_t>(block)]) << name() << " block " << block;
    }
  }

 private:
  std::string name() const {
    return fmt::format("sm_{} {} {}", golden_.architecture, golden_.form, golden_.extreme ? "extreme" : "random");
  }

  void multiply(int block, int n, std::vector<std::uint64_t>& result) {
    for (Fragment* fragment : {&a_, &b_, &c_}) fragment->clear();
    const int layout = quads_ ? n % 4 : 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      // Of the four multiplies of m8n8k4 each has a matrix of its own; the one that is looked at takes turns.
      const int matrix = block * kGoldenBlock + (quads_ ? (n + (lane / 4 - n % 4 + 4) % 4) % kGoldenBlock : n);
      for (int i = 0; i < a_.elements(); ++i) {
        const Place at = quads_ ? place_of_quad_a(lane, i, (layout & 1) == 0) : place_of_a(golden_, lane, i);
        a_.put(lane, i, input_a_(matrix, at.row, at.column));
      }
      for (int i = 0; i < b_.elements(); ++i) {
        const Place at = quads_ ? place_of_quad_b(lane, i, (layout & 2) != 0) : place_of_b(golden_, lane, i);
        b_.put(lane, i, input_b_(matrix, at.row, at.column));
      }
      for (int i = 0; i < c_.elements(); ++i) {
        const Place at = quads_ ? place_of_quad_c(golden_.c, lane, i) : place_of_c(lane, i);
        c_.put(lane, i, input_c_(matrix, at.row, at.column));
      }
    }
    InstructionHarness& harness = *harnesses_[static_cast<std::size_t>(layout)];
    for (const Fragment* fragment : {&a_, &b_, &c_}) {
      for (std::size_t r = 0; r < fragment->names.size(); ++r) harness.set(fragment->names[r], fragment->lanes[r]);
    }
    if (n < 4) {
      harness.run();  // which also looks for writes to other places
    } else {
      const Instruction& in = harness.decoded()[0];
      in.run(harness.warp(), in);
    }
    for (std::size_t r = 0; r < d_.names.size(); ++r) d_.lanes[r] = harness.get(d_.names[r]);
    for (int lane = 0; lane < kLanes; ++lane) {
      if (quads_ && lane / 4 % 4 != n % 4) continue;
      for (int i = 0; i < d_.elements(); ++i) {
        const Place at = quads_ ? place_of_quad_c(golden_.d, lane, i) : place_of_c(lane, i);
        result[static_cast<std::size_t>(at.row * golden_.n + at.column)] = d_.take(lane, i);
      }
    }
  }

  const Golden& golden_;
  bool quads_;
  GoldenInput input_a_, input_b_, input_c_;
  Fragment d_, a_, b_, c_;
  std::vector<std::unique_ptr<InstructionHarness>> harnesses_;
};

const std::vector<Golden>& golden() {
  static const std::vector<Golden> all = read_golden(SIMULATOR_TESTS "/golden/mma.txt");
  return all;
}

int check_all(bool (*chosen)(const Golden&)) {
  int count = 0;
  for (const Golden& line : golden()) {
    if (!chosen(line)) continue;
    ++count;
    Run(line).check();
    if (testing::Test::HasFatalFailure() && testing::Test::HasFailure()) return count;
  }
  return count;
}

bool is_float8(const Golden& line) { return line.a == "e4m3" || line.a == "e5m2"; }
bool is_narrow_float(const Golden& line) {
  return !is_float8(line) && line.a.back() != '8' && line.a != "f64" &&
         (line.a[0] == 'f' || line.a[0] == 't' || line.a == "bf16");
}

TEST(Mma, TuringIsBitEqual) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.architecture == 75; }), 10);
}
TEST(Mma, AmpereFloatsAreBitEqual) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.architecture == 80 && is_narrow_float(line); }), 22);
}
TEST(Mma, HopperFloatsAreBitEqual) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.architecture == 90 && is_narrow_float(line); }), 22);
}
TEST(Mma, AdaFloat8IsBitEqual) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.architecture == 89 && is_float8(line); }), 32);
}
TEST(Mma, HopperFloat8IsBitEqual) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.architecture == 90 && is_float8(line); }), 32);
}
TEST(Mma, BlackwellFloat8IsBitEqual) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.architecture == 120 && is_float8(line); }), 32);
}
TEST(Mma, DoubleIsBitEqual) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.a == "f64"; }), 10);
}
TEST(Mma, BytesAreExact) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.a == "s8" || line.a == "u8"; }), 48);
}
TEST(Mma, NibblesAreExact) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.a == "s4" || line.a == "u4"; }), 48);
}
TEST(Mma, BitsAreExact) {
  EXPECT_EQ(check_all([](const Golden& line) { return line.a == "b1"; }), 12);
}

// Every line belongs to one of the tests above.
TEST(Mma, EveryGoldenIsUsed) { EXPECT_EQ(golden().size(), 10u + 22 + 22 + 32 * 3 + 10 + 48 + 48 + 12); }

// The vector path meets the scalar definition also with fragments in which every kind of number is mixed.
TEST(Mma, VectorsMeetTheDefinition) {
  std::mt19937_64 random(7);
  for (const auto& [shape, types] : {std::pair<const char*, const char*>{"m16n8k16", "f32.bf16.bf16.f32"},
                                     {"m16n8k16", "f32.f16.f16.f32"},
                                     {"m16n8k16", "f16.f16.f16.f16"},
                                     {"m16n8k8", "f32.tf32.tf32.f32"},
                                     {"m16n8k4", "f32.tf32.tf32.f32"}}) {
    for (int architecture : {80, 90}) {
      const matrix::Form* form = matrix::find_form(shape, types, architecture, false, "");
      ASSERT_NE(form, nullptr);
      const int per_word = matrix::per_word(form->a), bits = 32 / per_word;
      for (int round = 0; round < 3000; ++round) {
        matrix::Tile tile;
        // A few exponents a round, so that terms meet at all distances.
        const std::uint32_t keep = round % 3 == 0 ? 0xffffffffu : static_cast<std::uint32_t>(random() | random());
        for (auto& line : tile.a)
          for (auto& word : line) word = static_cast<std::uint32_t>(random()) & keep;
        for (auto& line : tile.b)
          for (auto& word : line) word = static_cast<std::uint32_t>(random()) & keep;
        for (auto& line : tile.c)
          for (auto& word : line)
            word = static_cast<std::uint32_t>(random()) & (form->c == matrix::Element::f16 ? 0xffffu : ~0u);
        // Rows of zeros beside numbers of any size.
        if (round % 4 == 1) {
          for (int r = 0; r < 16; r += 2) {
            for (auto& line : tile.a) line[r] = 0;
            for (auto& column : tile.c) column[r] = 0;
          }
        }
        if (round % 8 == 1) {  // which are finite and not small
          for (auto& line : tile.b)
            for (auto& word : line) word = (word & 0xbfffbfff) | 0x20002000;
        }
        matrix::Tile result = tile;
        form->multiply(*form, result);
        for (int n = 0; n < 8; ++n) {
          for (int r = 0; r < 16; ++r) {
            std::uint32_t a[32], b[32];
            for (int k = 0; k < form->k; ++k) {
              const int shift = k % per_word * bits;
              a[k] = static_cast<std::uint32_t>(tile.a[k / per_word][r] >> shift & ((std::uint64_t{1} << bits) - 1));
              b[k] = static_cast<std::uint32_t>(tile.b[k / per_word][n] >> shift & ((std::uint64_t{1} << bits) - 1));
            }
            ASSERT_EQ(result.c[n][r], matrix::dot_product(*form, a, b, tile.c[n][r]))
                << types << " sm_" << architecture << " row " << r << " column " << n;
          }
        }
      }
    }
  }
}

// A row of zeros gives zeros beside numbers of every size.
TEST(Mma, ZerosTimesAnythingFiniteAreZero) {
  for (int architecture : {80, 90}) {
    const matrix::Form* form = matrix::find_form("m16n8k16", "f32.bf16.bf16.f32", architecture, false, "");
    for (std::uint32_t field = 0; field < 255; ++field) {
      matrix::Tile tile{};
      for (auto& line : tile.b) std::fill(std::begin(line), std::end(line), field << 23 | field << 7);
      form->multiply(*form, tile);
      for (const auto& column : tile.c) {
        for (std::uint32_t c : column) ASSERT_EQ(c, 0u) << field;
      }
    }
  }
}

// Only lanes that execute the instruction get results.
TEST(Mma, InactiveLanesKeepTheirRegisters) {
  g_architecture = 80;
  InstructionHarness harness(opcodes(),
                             "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%r0, %r1}, {%r2, %r3}, {%r4}, {%r5, %r6};");
  std::mt19937_64 random(3);
  for (int n = 0; n < 100; ++n) {
    harness.scramble(random);
    harness.run(static_cast<Mask>(random()));
  }
}

// Destinations may be the registers of the operands.
TEST(Mma, ResultsMayReplaceOperands) {
  g_architecture = 80;
  InstructionHarness apart(opcodes(),
                           "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f0, %f1, %f2, %f3}, {%r2, %r3, %r4, %r5}, "
                           "{%r6, %r7}, {%f4, %f5, %f6, %f7};");
  InstructionHarness same(opcodes(),
                          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r2, %r6, %f6, %f4}, {%r2, %r3, %r4, %r5}, "
                          "{%r6, %r7}, {%f4, %f5, %f6, %f7};");
  std::mt19937_64 random(5);
  apart.scramble(random);
  for (const char* name : {"%r2", "%r3", "%r4", "%r5", "%r6", "%r7", "%f4", "%f5", "%f6", "%f7"})
    same.set(name, apart.get(name));
  apart.run();
  same.run();
  EXPECT_EQ(same.get("%r2"), apart.get("%f0"));
  EXPECT_EQ(same.get("%r6"), apart.get("%f1"));
  EXPECT_EQ(same.get("%f6"), apart.get("%f2"));
  EXPECT_EQ(same.get("%f4"), apart.get("%f3"));
}

TEST(Mma, WhatIsNotThereIsNamed) {
  g_architecture = 80;
  const char* f64 =
      "mma.sync.aligned.m16n8k4.row.col.f64.f64.f64.f64 {%fd0, %fd1, %fd2, %fd3}, {%fd4, %fd5}, {%fd6}, {%fd7, %fd8, %fd9, "
      "%fd10};";
  EXPECT_THROW(InstructionHarness(opcodes(), f64), Error);  // of sm_90
  const char* float8 =
      "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32 {%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%r8, %r9}, {%r0, %r1, "
      "%r2, %r3};";
  EXPECT_THROW(InstructionHarness(opcodes(), float8), Error);  // of sm_89
  g_architecture = 90;
  EXPECT_NO_THROW(InstructionHarness(opcodes(), f64));
  EXPECT_NO_THROW(InstructionHarness(opcodes(), float8));
  for (const char* text :
       {"mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r0, %r1, %r2, %r3}, {%r4, %r5}, {%r6, %r7}, {%r0, %r1, %r2, "
        "%r3}, %r8, 0;",
        "mma.sync.aligned.m16n8k16.col.col.f32.f16.f16.f32 {%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%r8, %r9}, {%r0, %r1, "
        "%r2, %r3};",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.bf16.f32 {%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%r8, %r9}, {%r0, %r1, "
        "%r2, %r3};",
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%r0, %r1, %r2, %r3}, {%r4, %r5}, {%r8, %r9}, {%r0, %r1, %r2, %r3};",
        "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4.f32.e2m1.e2m1.f32 {%r0, %r1, %r2, %r3}, {%r4, %r5, %r6, %r7}, {%r8, "
        "%r9}, {%r0, %r1, %r2, %r3};"}) {
    EXPECT_THROW(InstructionHarness(opcodes(), text), Error) << text;
  }
}

}  // namespace
}  // namespace sim::test

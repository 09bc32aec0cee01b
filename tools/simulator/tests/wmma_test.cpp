// wmma.load, .mma and .store against sums over the matrices themselves: every shape, type, layout and place.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "error.h"
#include "isa/matrix.h"
#include "tests/memory_world.h"

namespace sim::test {
namespace {

int g_architecture = 80;

std::vector<OpcodeEntry> opcodes() {
  return {{"wmma", [](const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
             return matrix::decode_wmma(in, decoder, out, g_architecture);
           }}};
}

struct Shape {
  int m, n, k;
  std::string text() const { return fmt::format("m{}n{}k{}", m, n, k); }
};

struct Types {
  std::string a, c, d;  // b is as a
};

int bytes_of(const std::string& type) {
  return type == "f64" ? 8 : type == "s8" || type == "u8" ? 1 : type == "f16" || type == "bf16" ? 2 : 4;
}

// A matrix of elements as bits, and how it lies in memory.
struct Matrix {
  int rows, columns, bytes, stride;
  bool by_columns;
  std::vector<std::uint64_t> elements;

  Matrix(int rows_, int columns_, int bytes_, bool by_columns_, int padding)
      : rows(rows_),
        columns(columns_),
        bytes(bytes_),
        stride((by_columns_ ? rows_ : columns_) + padding),
        by_columns(by_columns_),
        elements(static_cast<std::size_t>(rows_ * columns_)) {}
  std::uint64_t& at(int row, int column) { return elements[static_cast<std::size_t>(row * columns + column)]; }
  std::size_t offset(int row, int column) const {
    return static_cast<std::size_t>((by_columns ? column * stride + row : row * stride + column) * bytes);
  }
  std::size_t size() const { return static_cast<std::size_t>((by_columns ? columns : rows) * stride * bytes); }
  void write(std::byte* memory) {
    for (int r = 0; r < rows; ++r) {
      for (int c = 0; c < columns; ++c) std::memcpy(memory + offset(r, c), &at(r, c), static_cast<std::size_t>(bytes));
    }
  }
};

std::string registers(const std::string& prefix, int first, int count) {
  std::string text = "{";
  for (int n = 0; n < count; ++n) text += fmt::format("{}%{}{}", n == 0 ? "" : ", ", prefix, first + n);
  return text + "}";
}

int count_of_registers(const std::string& type, int elements, bool is_multiplicand) {
  if (is_multiplicand && type == "f16") return 8;
  return elements * bytes_of(type) / (type == "f64" ? 256 : 128);
}

std::uint64_t random_element(std::mt19937_64& random, const std::string& type) {
  const std::uint64_t r = random();
  if (type == "f16") return (r & 0x8fff) | 0x2400 | (r & 0x1000);
  if (type == "bf16") return (r & 0x81ff) | 0x3e00;
  if (type == "tf32" || type == "f32") return (r & 0x81ffffff) | 0x3e000000;
  if (type == "f64") return (r & 0x803fffffffffffff) | 0x3fc0000000000000;
  return r & (bytes_of(type) == 1 ? 0xffu : 0xffffffffu);
}

std::uint32_t single_bits(float x) { return std::bit_cast<std::uint32_t>(x); }

// What element (i, j) of the result has to be.
std::uint64_t reference(const Shape& s, const Types& types, bool saturate, Matrix& a, Matrix& b, Matrix& c, int i, int j) {
  if (types.a == "f64") {
    double sum = std::bit_cast<double>(c.at(i, j));
    for (int k = 0; k < s.k; ++k) sum = std::fma(std::bit_cast<double>(a.at(i, k)), std::bit_cast<double>(b.at(k, j)), sum);
    return std::bit_cast<std::uint64_t>(sum);
  }
  if (types.c == "s32") {
    std::int64_t sum = static_cast<std::int32_t>(c.at(i, j));
    for (int k = 0; k < s.k; ++k) {
      const auto x = static_cast<std::uint8_t>(a.at(i, k)), y = static_cast<std::uint8_t>(b.at(k, j));
      sum += types.a == "s8" ? static_cast<std::int8_t>(x) * static_cast<std::int8_t>(y) : x * y;
    }
    if (saturate) sum = std::clamp<std::int64_t>(sum, INT32_MIN, INT32_MAX);
    return static_cast<std::uint32_t>(sum);
  }
  // The arithmetic of one result is mma's, which has tests of its own; mixed accumulators are fp32 inside.
  const bool half = types.c == "f16" && types.d == "f16";
  const matrix::Form* form = matrix::find_form(
      s.k == 8 ? "m16n8k8" : "m16n8k16",
      fmt::format("{}.{}.{}.{}", half ? "f16" : "f32", types.a, types.a, half ? "f16" : "f32"), g_architecture, false, "");
  std::uint32_t row[16], column[16];
  for (int k = 0; k < s.k; ++k) {
    row[k] = static_cast<std::uint32_t>(a.at(i, k));
    column[k] = static_cast<std::uint32_t>(b.at(k, j));
  }
  auto start = static_cast<std::uint32_t>(c.at(i, j));
  if (!half && types.c == "f16") start = single_bits(matrix::half_to_float(start));
  const std::uint32_t result = matrix::dot_product(*form, row, column, start);
  return !half && types.d == "f16" ? matrix::float_to_half(std::bit_cast<float>(result)) : result;
}

enum class Where { global, shared, generic_global, generic_shared };

class Wmma : public testing::TestWithParam<const char*> {
 protected:
  Wmma() : checks_(GetParam()), world_(1, 32), block_(world_, 0, 16384) {
    world_.launch.device = options().initcheck ? 1 : 0;
    device_ = Memory::instance().allocate(MemoryKind::device, world_.launch.device, 16384);
    if (device_->initialized != nullptr) Memory::instance().mark_initialized(*device_, device_->base, 16384);
    std::fill(block_.shared_bits.begin(), block_.shared_bits.end(), 0xff);
  }

  void run(const Shape& s, const Types& types, bool saturate, int layouts, Where where, bool with_stride) {
    const std::string what = fmt::format("sm_{} {} {} {} {} layouts {} place {}", g_architecture, s.text(), types.a, types.c,
                                         types.d, layouts, static_cast<int>(where));
    std::mt19937_64 random(static_cast<std::uint64_t>(layouts * 100 + s.m));
    const auto padding = [&](int bytes) { return with_stride ? 32 / bytes : 0; };
    const int ab = bytes_of(types.a), cb = bytes_of(types.c), db = bytes_of(types.d);
    Matrix a(s.m, s.k, ab, (layouts & 1) != 0, padding(ab)), b(s.k, s.n, ab, (layouts & 2) != 0, padding(ab)),
        c(s.m, s.n, cb, (layouts & 4) != 0, padding(cb)), d(s.m, s.n, db, (layouts & 8) != 0, padding(db));
    for (Matrix* matrix : {&a, &b, &c}) {
      const std::string& type = matrix == &c ? types.c : types.a;
      for (auto& element : matrix->elements) element = random_element(random, type);
      if (type == "s32" && saturate) {
        for (auto& element : matrix->elements) element = (random() & 1) != 0 ? 0x7fffff00u : 0x80000010u;
      }
    }
    const bool shared = where == Where::shared || where == Where::generic_shared;
    std::byte* memory = shared ? block_.block.shared : device_->working(device_->base);
    const std::uint64_t base = where == Where::shared ? 0 : where == Where::generic_shared ? kSharedWindow : device_->base;
    const std::string space = where == Where::global ? ".global" : where == Where::shared ? ".shared" : "";
    std::memset(memory, 0xa5, 16384);
    const std::size_t places[] = {0, 4096, 8192, 12288};
    a.write(memory);
    b.write(memory + places[1]);
    c.write(memory + places[2]);

    const std::string prefix = types.a == "f64" ? "fd" : "r";
    const int na = count_of_registers(types.a, s.m * s.k, true), nb = count_of_registers(types.a, s.k * s.n, true);
    const int nc = count_of_registers(types.c, s.m * s.n, false), nd = count_of_registers(types.d, s.m * s.n, false);
    const auto layout = [](const Matrix& matrix) { return matrix.by_columns ? "col" : "row"; };
    const auto stride = [&](int reg) { return with_stride ? fmt::format(", %r{}", reg) : std::string(); };
    const std::string multiply_types = types.a == "f16" ? fmt::format("{}.{}", types.d, types.c)
                                                        : fmt::format("{}.{}.{}.{}", types.d, types.a, types.a, types.c);
    const std::string text = fmt::format("wmma.load.a.sync.aligned.{}.{}{}.{} {}, [%rd90]{};\n", layout(a), s.text(), space,
                                         types.a, registers(prefix, 0, na), stride(90)) +
                             fmt::format("wmma.load.b.sync.aligned.{}.{}{}.{} {}, [%rd90+{}]{};\n", layout(b), s.text(), space,
                                         types.a, registers(prefix, 10, nb), places[1], stride(91)) +
                             fmt::format("wmma.load.c.sync.aligned.{}.{}{}.{} {}, [%rd90+{}]{};\n", layout(c), s.text(), space,
                                         types.c, registers(prefix, 20, nc), places[2], stride(92)) +
                             fmt::format("wmma.mma.sync.aligned.{}.{}.{}.{}{} {}, {}, {}, {};\n", layout(a), layout(b),
                                         s.text(), multiply_types, saturate ? ".satfinite" : "", registers(prefix, 30, nd),
                                         registers(prefix, 0, na), registers(prefix, 10, nb), registers(prefix, 20, nc)) +
                             fmt::format("wmma.store.d.sync.aligned.{}.{}{}.{} [%rd90+{}], {}{};\n", layout(d), s.text(), space,
                                         types.d, places[3], registers(prefix, 30, nd), stride(93));
    InstructionHarness harness(opcodes(), text);
    harness.set("%rd90", base);
    if (with_stride) {
      harness.set("%r90", static_cast<std::uint64_t>(a.stride));
      harness.set("%r91", static_cast<std::uint64_t>(b.stride));
      harness.set("%r92", static_cast<std::uint64_t>(c.stride));
      harness.set("%r93", static_cast<std::uint64_t>(d.stride));
    }
    block_.place(harness.warp());
    checks::warp_sync(harness.warp(), kAllLanes);  // earlier runs used the same memory
    harness.run();
    // Multiplicands of f16 fill eight registers in every shape: smaller ones are there several times.
    if (types.a == "f16") {
      for (const auto& [first, distinct] : {std::pair(0, s.m * s.k / 64), std::pair(10, s.k * s.n / 64)}) {
        for (int n = distinct; n < 8; ++n) {
          ASSERT_EQ(harness.get(fmt::format("%r{}", first + n)), harness.get(fmt::format("%r{}", first + n % distinct)))
              << what;
        }
      }
    }
    std::vector<bool> written(4096);
    for (int i = 0; i < s.m; ++i) {
      for (int j = 0; j < s.n; ++j) {
        std::uint64_t result = 0;
        std::memcpy(&result, memory + places[3] + d.offset(i, j), static_cast<std::size_t>(db));
        ASSERT_EQ(result, reference(s, types, saturate, a, b, c, i, j)) << what << " row " << i << " column " << j;
        for (int n = 0; n < db; ++n) written[d.offset(i, j) + static_cast<std::size_t>(n)] = true;
      }
    }
    for (std::size_t n = 0; n < written.size(); ++n) {
      if (!written[n]) {
        ASSERT_EQ(memory[places[3] + n], std::byte{0xa5}) << what << " byte " << n;
      }
    }
    EXPECT_TRUE(findings().empty()) << what << ": " << findings()[0].message;
    ++count_;
  }

  Checks checks_;
  World world_;
  TestBlock block_;
  const Allocation* device_ = nullptr;
  int count_ = 0;
};

TEST_P(Wmma, MeetsTheReference) {
  for (int architecture : {80, 90}) {
    g_architecture = architecture;
    for (int layouts = 0; layouts < 16; ++layouts) {
      for (Where where : {Where::global, Where::shared, Where::generic_global, Where::generic_shared}) {
        for (bool with_stride : {true, false}) {
          for (const Shape& s : {Shape{16, 16, 16}, Shape{32, 8, 16}, Shape{8, 32, 16}}) {
            for (const Types& types : {Types{"f16", "f32", "f32"}, Types{"f16", "f16", "f16"}, Types{"f16", "f16", "f32"},
                                       Types{"f16", "f32", "f16"}, Types{"bf16", "f32", "f32"}, Types{"s8", "s32", "s32"},
                                       Types{"u8", "s32", "s32"}}) {
              run(s, types, false, layouts, where, with_stride);
              if (types.c == "s32") run(s, types, true, layouts, where, with_stride);
              if (HasFatalFailure()) return;
            }
          }
          run({16, 16, 8}, {"tf32", "f32", "f32"}, false, layouts, where, with_stride);
          run({8, 8, 4}, {"f64", "f64", "f64"}, false, layouts, where, with_stride);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  EXPECT_EQ(count_, 2 * 16 * 4 * 2 * (3 * 9 + 2));
}

TEST_P(Wmma, AnAccessOutsideIsFound) {
  g_architecture = 80;
  InstructionHarness harness(
      opcodes(), "wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, [%rd0], %r8;");
  harness.set("%rd0", device_->base);
  harness.set("%r8", 16384);
  block_.place(harness.warp());
  EXPECT_THROW(harness.run(), LaunchAbort);
  EXPECT_EQ(count_of(Fault::out_of_bounds), options().memcheck ? 1u : 0u);
}

TEST_P(Wmma, AWarpWithoutAllLanesIsFound) {
  g_architecture = 80;
  InstructionHarness harness(
      opcodes(), "wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, [%rd0], %r8;");
  harness.set("%rd0", device_->base);
  harness.set("%r8", 16);
  block_.place(harness.warp());
  harness.run(0xffff);
  EXPECT_EQ(count_of(Fault::exited_lanes), options().synccheck ? 1u : 0u);
}

INSTANTIATE_TEST_SUITE_P(Checked, Wmma, testing::Values("none", "memcheck,initcheck,racecheck,synccheck"));

TEST(WmmaForms, WhatIsNotThereIsNamed) {
  g_architecture = 80;
  for (const char* text :
       {"wmma.load.a.sync.aligned.row.m8n8k32.global.s4 {%r0}, [%rd0], %r8;",
        "wmma.load.a.sync.aligned.row.m16n16k16.global.f32 {%r0}, [%rd0], %r8;",
        "wmma.load.a.sync.aligned.row.m16n16k16.global.bf16 {%r0, %r1}, [%rd0], %r8;",
        "wmma.mma.xor.popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32 {%r0, %r1}, {%r2}, {%r3}, {%r4, %r5};",
        "wmma.mma.sync.aligned.row.col.m16n16k16.s32.s8.u8.s32 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, {%r8, %r9}, {%r10, "
        "%r11}, "
        "{%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7};"}) {
    EXPECT_THROW(InstructionHarness(opcodes(), text), Error) << text;
  }
  g_architecture = 75;
  EXPECT_THROW(
      InstructionHarness(opcodes(), "wmma.load.a.sync.aligned.row.m16n16k16.global.bf16 {%r0, %r1, %r2, %r3}, [%rd0], %r8;"),
      Error);
}

}  // namespace
}  // namespace sim::test

// Every form of the exact floating-point instructions against floating_reference.h.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>

#include "error.h"
#include "tests/floating_reference.h"
#include "tests/form_check.h"

namespace sim::test {
namespace {

struct TypeInfo {
  const char* name;
  const Format& format;
  const char* prefix;  // of its registers
  bool packed = false;
};
const TypeInfo kF32Type{"f32", kF32, "%f"}, kF64Type{"f64", kF64, "%fd"}, kF16Type{"f16", kF16, "%h"},
    kBf16Type{"bf16", kBf16, "%h"}, kF16x2Type{"f16x2", kF16, "%r", true}, kBf16x2Type{"bf16x2", kBf16, "%r", true};
const std::vector<const TypeInfo*> kAllTypes = {&kF32Type, &kF64Type, &kF16Type, &kBf16Type, &kF16x2Type, &kBf16x2Type};

struct NamedDirection {
  const char* name;
  Direction direction;
};
const std::vector<NamedDirection> kDirections = {{"", Direction::nearest},
                                                 {".rn", Direction::nearest},
                                                 {".rz", Direction::zero},
                                                 {".rm", Direction::down},
                                                 {".rp", Direction::up}};

// All tuples of the edge values (triples of a part of them), and random ones; for packed types with another tuple in the upper
// half.
const Cases& cases_of(const TypeInfo& type, std::size_t arity) {
  static std::map<std::pair<const TypeInfo*, std::size_t>, Cases> all;
  Cases& cases = all[{&type, arity}];
  if (cases.size() != 0) return cases;
  cases.arity = arity;
  std::mt19937_64 random(7 * arity + static_cast<std::size_t>(type.format.bits));
  const std::vector<std::uint64_t> edges = edge_values(type.format);
  if (arity == 1) {
    if (type.format.bits == 16) {
      for (std::uint64_t bits = 0; bits < 65536; ++bits) cases.values.push_back(bits);
    } else {
      cases.values = edges;
    }
  } else if (arity == 2) {
    for (std::uint64_t a : edges) {
      for (std::uint64_t b : edges) cases.values.insert(cases.values.end(), {a, b});
    }
  } else {
    for (std::uint64_t a : edges) {
      for (std::uint64_t b : edges) {
        for (std::size_t n = 0; n < 12; ++n) cases.values.insert(cases.values.end(), {a, b, edges[random() % edges.size()]});
      }
    }
  }
  for (int n = 0; n < 3000; ++n) {
    const std::size_t first = cases.values.size();
    for (std::size_t k = 0; k < arity; ++k) cases.values.push_back(random_value(type.format, random));
    // An addend close to the product, or far below it: cancellation, and the ties that a second rounding would spoil.
    if (arity == 3 && n % 2 == 0) {
      const std::uint64_t product = multiply(cases.values[first], cases.values[first + 1], type.format, {});
      if (!type.format.is_nan(product) && !type.format.is_infinite(product)) {
        const std::uint64_t unit = std::uint64_t{1} << (type.format.digits - 1);
        std::uint64_t& addend = cases.values[first + 2];
        if (n % 4 == 0)
          addend = product ^ type.format.sign() ^ (random() % 3);
        else
          addend = (addend & (type.format.sign() | (unit - 1))) |
                   (std::max(product & (type.format.sign() - 1), 40 * unit) - (random() % 40) * unit) / unit * unit;
      }
    }
  }
  if (type.packed) {
    std::vector<std::uint64_t> packed;
    for (std::size_t n = 0; n < cases.size(); ++n) {
      const std::size_t other = random() % cases.size();
      for (std::size_t k = 0; k < arity; ++k)
        packed.push_back(cases.values[n * arity + k] | cases.values[other * arity + k] << 16);
    }
    cases.values = std::move(packed);
  }
  return cases;
}

class Floating : public ::testing::Test {
 protected:
  // Registers %x1 = op %x2, %x3, %x4; and once more with the destination as each source.
  void compare(const std::string& opcode, const TypeInfo& type, std::size_t arity, const FormCheck::Reference& reference) {
    FormCheck::Reference whole = reference;
    if (type.packed) {
      whole = [=](const std::uint64_t* operands) {
        std::array<std::uint64_t, 3> low{}, high{};
        for (std::size_t n = 0; n < arity; ++n) low[n] = operands[n] & 0xffff, high[n] = operands[n] >> 16;
        return reference(high.data()) << 16 | reference(low.data());
      };
    }
    const std::string mnemonic = fmt::format("{}.{}", opcode, type.name);
    for (std::size_t same = 0; same <= arity; ++same) {
      const std::string destination = fmt::format("{}{}", type.prefix, same == 0 ? 1 : same + 1);
      std::string text = mnemonic + " " + destination;
      std::vector<std::string> sources;
      for (std::size_t n = 0; n < arity; ++n) {
        sources.push_back(fmt::format("{}{}", type.prefix, n + 2));
        text += ", " + sources.back();
      }
      const Cases& cases = cases_of(type, arity);
      Cases some{arity, {}};
      if (same != 0)
        some.values.assign(cases.values.begin(), cases.values.begin() + static_cast<std::ptrdiff_t>(
                                                                            arity * std::min<std::size_t>(cases.size(), 256)));
      check_.check(text + ";", destination, sources, same == 0 ? cases : some, whole);
    }
    ++forms_;
  }

  void rejected(const std::string& text) { EXPECT_THROW(InstructionHarness(floating_opcodes(), text), Error) << text; }

  void TearDown() override { std::printf("%d distinct forms; with the destination as a source: ", forms_); }

  FormCheck check_{floating_opcodes()};
  int forms_ = 0;
};

bool is_half(const TypeInfo& type) { return type.format.bits == 16; }
bool is_bfloat(const TypeInfo& type) { return is_half(type) && type.format.digits == 8; }

// Each legal combination of rounding, .ftz and .sat or .relu.
template <class F>
void each_arithmetic(const TypeInfo& type, bool fused, bool relu, F f) {
  for (const NamedDirection& direction : kDirections) {
    if (is_half(type) && direction.direction != Direction::nearest) continue;
    if (fused && direction.name[0] == '\0') continue;
    for (const bool flush : {false, true}) {
      if (flush && (type.format.bits == 64 || is_bfloat(type))) continue;
      for (const int clamp : {0, 1, 2}) {
        if (clamp == 1 && (type.format.bits == 64 || is_bfloat(type))) continue;
        if (clamp == 2 && !relu) continue;
        f(fmt::format("{}{}{}", direction.name, flush ? ".ftz" : "",
                      clamp == 1   ? ".sat"
                      : clamp == 2 ? ".relu"
                                   : ""),
          Modifiers{direction.direction, flush, clamp == 1, clamp == 2});
      }
    }
  }
}

TEST_F(Floating, AddSubMul) {
  for (const TypeInfo* type : kAllTypes) {
    const Format& format = type->format;
    each_arithmetic(*type, false, false, [&](const std::string& modifiers, const Modifiers& how) {
      compare("add" + modifiers, *type, 2, [&](const std::uint64_t* x) { return add(x[0], x[1], format, how); });
      compare("sub" + modifiers, *type, 2, [&](const std::uint64_t* x) {
        // a - b has b's NaN as it is, not with its sign changed.
        return add(x[0], format.is_nan(x[1]) ? x[1] : x[1] ^ format.sign(), format, how);
      });
      compare("mul" + modifiers, *type, 2, [&](const std::uint64_t* x) { return multiply(x[0], x[1], format, how); });
    });
  }
}

TEST_F(Floating, Fused) {
  for (const TypeInfo* type : kAllTypes) {
    const Format& format = type->format;
    each_arithmetic(*type, true, is_half(*type), [&](const std::string& modifiers, const Modifiers& how) {
      auto reference = [&](const std::uint64_t* x) { return fused(x[0], x[1], x[2], format, how); };
      compare("fma" + modifiers, *type, 3, reference);
      if (!is_half(*type)) compare("mad" + modifiers, *type, 3, reference);
    });
  }
}

TEST_F(Floating, DivideReciprocalRoot) {
  for (const TypeInfo* type : {&kF32Type, &kF64Type}) {
    const Format& format = type->format;
    const std::uint64_t one = static_cast<std::uint64_t>(format.bias) << (format.digits - 1);
    for (const NamedDirection& direction : kDirections) {
      if (direction.name[0] == '\0') continue;
      for (const bool flush : {false, true}) {
        if (flush && format.bits == 64) continue;
        const Modifiers how{direction.direction, flush, false, false};
        const std::string modifiers = std::string(direction.name) + (flush ? ".ftz" : "");
        compare("div" + modifiers, *type, 2, [&](const std::uint64_t* x) { return divide(x[0], x[1], format, how); });
        compare("rcp" + modifiers, *type, 1, [&](const std::uint64_t* x) { return divide(one, x[0], format, how); });
        compare("sqrt" + modifiers, *type, 1, [&](const std::uint64_t* x) { return square_root(x[0], format, how); });
      }
    }
  }
}

TEST_F(Floating, MinMax) {
  for (const TypeInfo* type : kAllTypes) {
    const Format& format = type->format;
    for (const bool max : {false, true}) {
      for (const bool flush : {false, true}) {
        for (const bool nan : {false, true}) {
          for (const bool xorsign : {false, true}) {
            if (format.bits == 64 && (flush || nan || xorsign)) continue;
            if (flush && is_bfloat(*type)) continue;
            const std::string opcode = fmt::format("{}{}{}{}", max ? "max" : "min", flush ? ".ftz" : "", nan ? ".NaN" : "",
                                                   xorsign ? ".xorsign.abs" : "");
            compare(opcode, *type, 2, [&](const std::uint64_t* x) {
              return extreme({x[0], x[1]}, format, max, nan, xorsign, xorsign, flush);
            });
          }
          // Three operands.
          for (const bool absolute : {false, true}) {
            if (format.bits == 64 || (flush && is_bfloat(*type))) continue;
            const std::string opcode =
                fmt::format("{}{}{}{}", max ? "max" : "min", flush ? ".ftz" : "", nan ? ".NaN" : "", absolute ? ".abs" : "");
            compare(opcode, *type, 3, [&](const std::uint64_t* x) {
              return extreme({x[0], x[1], x[2]}, format, max, nan, absolute, false, flush);
            });
          }
        }
      }
    }
  }
}

TEST_F(Floating, SignsAndTests) {
  for (const TypeInfo* type : kAllTypes) {
    const Format& format = type->format;
    for (const bool flush : {false, true}) {
      if (flush && (format.bits == 64 || is_bfloat(*type))) continue;
      const std::string ftz = flush ? ".ftz" : "";
      auto canonical = [&](std::uint64_t x) { return format.bits != 64 && format.is_nan(x) ? format.canonical_nan() : x; };
      auto operand = [=, &format](std::uint64_t x) { return flush ? flushed(x, format) : x; };
      compare("abs" + ftz, *type, 1, [&](const std::uint64_t* x) { return canonical(operand(x[0]) & ~format.sign()); });
      compare("neg" + ftz, *type, 1, [&](const std::uint64_t* x) { return canonical(operand(x[0]) ^ format.sign()); });
    }
  }
  for (const TypeInfo* type : {&kF32Type, &kF64Type}) {
    const Format& format = type->format;
    compare("copysign", *type, 2, [&](const std::uint64_t* x) { return (x[0] & format.sign()) | (x[1] & ~format.sign()); });
    const std::map<std::string, std::function<bool(std::uint64_t)>> properties = {
        {"finite", [&](std::uint64_t x) { return !format.is_nan(x) && !format.is_infinite(x); }},
        {"infinite", [&](std::uint64_t x) { return format.is_infinite(x); }},
        {"number", [&](std::uint64_t x) { return !format.is_nan(x); }},
        {"notanumber", [&](std::uint64_t x) { return format.is_nan(x); }},
        {"normal", [&](std::uint64_t x) { return !format.is_nan(x) && !format.is_infinite(x) && !format.is_subnormal(x); }},
        {"subnormal", [&](std::uint64_t x) { return format.is_subnormal(x); }}};
    for (const auto& [name, holds] : properties) {
      check_.check(fmt::format("testp.{}.{} %p1, {}2;", name, type->name, type->prefix), "%p1",
                   {std::string(type->prefix) + "2"}, cases_of(*type, 1),
                   [&, &test = holds](const std::uint64_t* x) { return std::uint64_t{test(x[0])}; });
      ++forms_;
    }
  }
}

// Sums, products and fused ones of f16 and bf16 at random, enough to meet rare roundings.
TEST_F(Floating, HalvesAtRandom) {
  std::mt19937_64 random(99);
  for (const TypeInfo* type : {&kF16x2Type, &kBf16x2Type}) {
    Cases cases{3, {}};
    for (int n = 0; n < 3 * 100'000; ++n) {
      const bool bits = n % 5 == 0;
      const std::uint64_t low = bits ? random() & 0xffff : random_value(type->format, random),
                          high = bits ? random() & 0xffff : random_value(type->format, random);
      cases.values.push_back(low | high << 16);
    }
    const Format& format = type->format;
    check_.check(fmt::format("fma.rn.{} %r1, %r2, %r3, %r4;", type->name), "%r1", {"%r2", "%r3", "%r4"}, cases,
                 [&](const std::uint64_t* x) {
                   return fused(x[0] >> 16, x[1] >> 16, x[2] >> 16, format, {}) << 16 |
                          fused(x[0] & 0xffff, x[1] & 0xffff, x[2] & 0xffff, format, {});
                 });
    cases.arity = 2;
    for (const char* opcode : {"add", "mul"}) {
      check_.check(fmt::format("{}.{} %r1, %r2, %r3;", opcode, type->name), "%r1", {"%r2", "%r3"}, cases,
                   [&](const std::uint64_t* x) {
                     auto one = [&](std::uint64_t a, std::uint64_t b) {
                       return opcode[0] == 'a' ? add(a, b, format, {}) : multiply(a, b, format, {});
                     };
                     return one(x[0] >> 16, x[1] >> 16) << 16 | one(x[0] & 0xffff, x[1] & 0xffff);
                   });
    }
  }
}

// ptxas takes the clamp behind the type, too.
TEST_F(Floating, ClampBehindTheType) {
  for (const char* text : {"fma.rn.relu.f16x2 %r1, %r2, %r3, %r4;", "fma.rn.f16x2.relu %r1, %r2, %r3, %r4;"}) {
    InstructionHarness harness(floating_opcodes(), text);
    harness.set("%r2", 0x3c00bc00);  // 1, -1
    harness.set("%r3", 0x40004000);  // times 2, 2
    harness.set("%r4", 0x3c003c00);  // plus 1, 1: 3, -1
    harness.run();
    EXPECT_EQ(harness.get("%r1")[0], 0x42000000U) << text;
  }
}

// A product that is halfway between two halves, and an addend far below that decides: the sum must not be rounded before.
TEST_F(Floating, FusedHalvesRoundOnce) {
  InstructionHarness f16(floating_opcodes(), "fma.rn.f16 %h1, %h2, %h3, %h4;");
  f16.set("%h2", 0x3c01);  // 1 + 2^-10
  f16.set("%h3", 0x3e00);  // times 1.5: 1.5 + 2^-10 + 2^-11
  f16.set("%h4", 0x0001);  // and 2^-24
  f16.run();
  EXPECT_EQ(f16.get("%h1")[0], 0x3e02U);
  f16.set("%h4", 0x8001);
  f16.run();
  EXPECT_EQ(f16.get("%h1")[0], 0x3e01U);
  InstructionHarness bf16(floating_opcodes(), "fma.rn.bf16 %h1, %h2, %h3, %h4;");
  bf16.set("%h2", 0x3f81);  // 1 + 2^-7
  bf16.set("%h3", 0x3fc0);  // times 1.5: 1.5 + 2^-7 + 2^-8
  bf16.set("%h4", 0x0001);  // and 2^-133
  bf16.run();
  EXPECT_EQ(bf16.get("%h1")[0], 0x3fc2U);
  bf16.set("%h4", 0x8001);
  bf16.run();
  EXPECT_EQ(bf16.get("%h1")[0], 0x3fc1U);
}

TEST_F(Floating, Immediates) {
  InstructionHarness harness(floating_opcodes(), "fma.rn.f32 %f1, %f2, 0f40000000, 0f3F800000;");
  harness.set("%f2", 0x40400000);
  harness.run();
  EXPECT_EQ(harness.get("%f1")[31], 0x40e00000U);
}

TEST_F(Floating, WhatPtxDoesNotHaveIsRejected) {
  for (const char* text : {"add.rz.f16 %h1, %h2, %h3;",
                           "add.sat.f64 %fd1, %fd2, %fd3;",
                           "add.ftz.f64 %fd1, %fd2, %fd3;",
                           "add.relu.f32 %f1, %f2, %f3;",
                           "add.f16x2.relu %r1, %r2, %r3;",
                           "fma.rn.f32.relu %f1, %f2, %f3, %f4;",
                           "fma.f32 %f1, %f2, %f3, %f4;",
                           "fma.rn.sat.bf16 %h1, %h2, %h3, %h4;",
                           "fma.rn.oob.f16 %h1, %h2, %h3, %h4;",
                           "mad.rn.f16 %h1, %h2, %h3, %h4;",
                           "div.f32 %f1, %f2, %f3;",
                           "sqrt.f32 %f1, %f2;",
                           "div.rn.f16 %h1, %h2, %h3;",
                           "rsqrt.rn.f32 %f1, %f2;",
                           "min.abs.f32 %f1, %f2, %f3;",
                           "min.NaN.f64 %fd1, %fd2, %fd3;",
                           "abs.ftz.bf16 %h1, %h2;",
                           "neg.rn.f32 %f1, %f2;",
                           "copysign.f16 %h1, %h2, %h3;",
                           "add.f32x2 %rd1, %rd2, %rd3;",
                           "sin.f32 %f1, %f2;",
                           "tanh.approx.ftz.f32 %f1, %f2;",
                           "ex2.approx.bf16 %h1, %h2;",
                           "rcp.approx.f64 %fd1, %fd2;",
                           "testp.zero.f32 %p1, %f2;",
                           "add.f32 %f1, %f2;",
                           "add.f32 %f1, %fd2, %f3;"}) {
    rejected(text);
  }
}

}  // namespace
}  // namespace sim::test

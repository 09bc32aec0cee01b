// Every form of cvt against floating_reference.h: all halves, edge cases and random bits, in registers of the types' widths and
// wider ones.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "error.h"
#include "tests/floating_reference.h"
#include "tests/form_check.h"

namespace sim::test {
namespace {

struct IntegerType {
  const char* name;
  int bits;
  bool is_signed;

  std::uint64_t mask() const { return ~std::uint64_t{0} >> (64 - bits); }
};
const std::vector<IntegerType> kIntegers = {{"u8", 8, false},   {"s8", 8, true},   {"u16", 16, false}, {"s16", 16, true},
                                            {"u32", 32, false}, {"s32", 32, true}, {"u64", 64, false}, {"s64", 64, true}};

struct FloatingType {
  const char* name;
  const Format& format;
};
const std::vector<FloatingType> kFloats = {{"f16", kF16}, {"bf16", kBf16}, {"f32", kF32}, {"f64", kF64}};

struct NamedDirection {
  const char* name;
  Direction direction;
};
const std::vector<NamedDirection> kRoundings = {
    {"n", Direction::nearest}, {"z", Direction::zero}, {"m", Direction::down}, {"p", Direction::up}};

// The registers that can hold so many bits.
struct RegisterWidth {
  const char* prefix;
  int bits;
};
std::vector<RegisterWidth> registers_for(int bits) {
  std::vector<RegisterWidth> result;
  for (const RegisterWidth& width : {RegisterWidth{"%rs", 16}, RegisterWidth{"%r", 32}, RegisterWidth{"%rd", 64}}) {
    if (width.bits >= bits) result.push_back(width);
  }
  return result;
}

// Garbage above the type's own bits, which a conversion must not look at.
Cases spoiled(Cases cases, int bits) {
  std::mt19937_64 random(3);
  if (bits < 64) {
    for (std::uint64_t& value : cases.values) value |= random() << bits;
  }
  return cases;
}

Cases integers(const IntegerType& type, bool exhaustive = true) {
  Cases cases;
  std::mt19937_64 random(static_cast<std::uint64_t>(type.bits));
  if (type.bits <= 16 && exhaustive) {
    for (std::uint64_t n = 0; n <= type.mask(); ++n) cases.values.push_back(n);
  }
  for (int bit = 0; bit < type.bits; ++bit) {
    const std::uint64_t power = std::uint64_t{1} << bit;
    // Around powers of two, and halfway between what 8, 11, 24 and 53 digits hold.
    for (const int digits : {8, 11, 24, 53, 64}) {
      const std::uint64_t half = bit >= digits ? power >> digits : 0;
      for (std::uint64_t x : {power + half, power + half - 1, power + half + 1, power + 3 * half, power - 1, power - half}) {
        cases.values.push_back(x & type.mask());
        cases.values.push_back((0 - x) & type.mask());
      }
    }
  }
  for (int n = 0; n < 2000; ++n) cases.values.push_back(random() >> random() % 64 & type.mask());
  cases.values.insert(cases.values.end(), {0, type.mask(), type.mask() >> 1});
  return cases;
}

Cases floats(const Format& format) {
  Cases cases;
  if (format.bits == 16) {
    for (std::uint64_t bits = 0; bits < 65536; ++bits) cases.values.push_back(bits);
    return cases;
  }
  std::mt19937_64 random(static_cast<std::uint64_t>(format.bits) + 1);
  cases.values = edge_values(format);
  // Every exponent, with fractions that are halfway for each narrower format, and next to it.
  const std::uint64_t unit = std::uint64_t{1} << (format.digits - 1);
  for (int exponent = 0; exponent < 1 << format.exponent_bits(); ++exponent) {
    if (format.bits == 64 && exponent % 8 != 0 && std::abs(exponent - format.bias) > 160) continue;
    for (int digits = 1; digits < format.digits - 1; digits += digits < 12 ? 1 : 12) {
      const std::uint64_t half = unit >> (digits + 1),
                          base = static_cast<std::uint64_t>(exponent) * unit + (random() % unit & ~(2 * half - 1));
      for (std::uint64_t x : {base + half - 1, base + half, base + half + 1, base})
        cases.values.push_back(x | (random() % 2 != 0 ? format.sign() : 0));
    }
  }
  for (int n = 0; n < 4000; ++n) cases.values.push_back(random_value(format, random));
  // Integers and halves of them.
  for (int n = 0; n < 3000; ++n) {
    const std::uint64_t integer = random() >> random() % 64;
    const std::uint64_t x = rounded(exact_integer(random() % 2 != 0, integer), format, Direction::nearest);
    cases.values.push_back(x);
    cases.values.push_back(x >= unit ? x - unit : x);
    cases.values.push_back(x + 1);
  }
  return cases;
}

const Cases& floats_of(const FloatingType& type) {
  static std::map<const Format*, Cases> all;
  Cases& cases = all[&type.format];
  if (cases.size() == 0) cases = floats(type.format);
  return cases;
}

Exact value_of(std::uint64_t bits, const IntegerType& type) {
  const bool negative = type.is_signed && (bits >> (type.bits - 1) & 1) != 0;
  return exact_integer(negative, negative ? (0 - bits) & type.mask() : bits & type.mask());
}

// A type's bits in a wider register.
std::uint64_t in_register(std::uint64_t bits, int type_bits, bool is_signed, int register_bits) {
  const std::uint64_t mask = ~std::uint64_t{0} >> (64 - register_bits);
  if (is_signed && (bits >> (type_bits - 1) & 1) != 0) bits |= ~std::uint64_t{0} << (type_bits - 1);
  return bits & mask;
}

class Conversion : public ::testing::Test {
 protected:
  void compare(const std::string& mnemonic, const RegisterWidth& to, const RegisterWidth& from, const Cases& cases,
               const FormCheck::Reference& reference) {
    check_.check(fmt::format("{} {}1, {}2;", mnemonic, to.prefix, from.prefix), std::string(to.prefix) + "1",
                 {std::string(from.prefix) + "2"}, cases, reference);
  }
  RegisterWidth own(int bits) { return registers_for(bits)[0]; }
  void TearDown() override { std::printf("%d distinct forms; with wider registers: ", forms_); }

  FormCheck check_{conversion_opcodes()};
  int forms_ = 0;
};

TEST_F(Conversion, IntegerToInteger) {
  for (const IntegerType& from : kIntegers) {
    for (const IntegerType& to : kIntegers) {
      for (const bool saturate : {false, true}) {
        ++forms_;
        for (const RegisterWidth& source : registers_for(from.bits)) {
          for (const RegisterWidth& destination : registers_for(to.bits)) {
            const bool narrow = source.bits == own(from.bits).bits && destination.bits == own(to.bits).bits;
            compare(fmt::format("cvt{}.{}.{}", saturate ? ".sat" : "", to.name, from.name), destination, source,
                    spoiled(integers(from, narrow), from.bits), [&](const std::uint64_t* x) {
                      const std::uint64_t bits = x[0] & from.mask();
                      const std::uint64_t result =
                          saturate ? rounded_integer(value_of(bits, from), Direction::zero, to.is_signed, to.bits)
                                   : in_register(bits, from.bits, from.is_signed, 64) & to.mask();
                      return in_register(result, to.bits, to.is_signed, destination.bits);
                    });
          }
        }
      }
    }
  }
}

TEST_F(Conversion, IntegerToFloating) {
  for (const IntegerType& from : kIntegers) {
    for (const FloatingType& to : kFloats) {
      const bool bfloat = to.format.digits == 8;
      if (bfloat && from.bits == 8) continue;
      for (const NamedDirection& rounding : kRoundings) {
        for (const bool saturate : {false, true}) {
          for (const bool flush : {false, true}) {
            if ((saturate && bfloat) || (flush && to.format.bits != 32)) continue;
            ++forms_;
            const std::string mnemonic = fmt::format("cvt.r{}{}{}.{}.{}", rounding.name, flush ? ".ftz" : "",
                                                     saturate ? ".sat" : "", to.name, from.name);
            auto reference = [&](const std::uint64_t* x) {
              const std::uint64_t r = rounded(value_of(x[0], from), to.format, rounding.direction);
              return saturate ? saturated(r, to.format) : r;
            };
            const std::vector<RegisterWidth> sources = registers_for(from.bits), destinations = registers_for(to.format.bits);
            const Cases cases = spoiled(integers(from), from.bits);
            compare(mnemonic, destinations[0], sources[0], cases, reference);
            if (rounding.direction != Direction::down || flush) continue;
            compare(mnemonic, destinations.back(), sources.back(), cases, reference);
          }
        }
      }
    }
  }
}

TEST_F(Conversion, FloatingToInteger) {
  for (const FloatingType& from : kFloats) {
    const bool bfloat = from.format.digits == 8;
    for (const IntegerType& to : kIntegers) {
      if (bfloat && to.bits == 8) continue;
      for (const NamedDirection& rounding : kRoundings) {
        for (const bool saturate : {false, true}) {
          for (const bool flush : {false, true}) {
            if ((saturate && bfloat) || (flush && from.format.bits != 32)) continue;
            ++forms_;
            const std::string mnemonic = fmt::format("cvt.r{}i{}{}.{}.{}", rounding.name, flush ? ".ftz" : "",
                                                     saturate ? ".sat" : "", to.name, from.name);
            const std::vector<RegisterWidth> sources = registers_for(from.format.bits), destinations = registers_for(to.bits);
            for (const bool wide : {false, true}) {
              if (wide && rounding.direction != Direction::zero) continue;
              const RegisterWidth destination = wide ? destinations.back() : destinations[0];
              compare(mnemonic, destination, wide ? sources.back() : sources[0], spoiled(floats_of(from), from.format.bits),
                      [&](const std::uint64_t* x) {
                        const Format& f = from.format;
                        std::uint64_t a = x[0] & (f.sign() | (f.sign() - 1));
                        if (flush) a = flushed(a, f);
                        std::uint64_t r = 0;
                        if (f.is_nan(a)) {
                          r = f.bits == 64 || to.bits == 64 ? std::uint64_t{1} << (to.bits - 1) : 0;
                        } else if (f.is_infinite(a)) {
                          r = rounded_integer(exact((a & f.sign()) | f.largest(), f), Direction::zero, to.is_signed, to.bits);
                          // The largest f16 is less than some types' limits.
                          const bool negative = (a & f.sign()) != 0;
                          r = to.is_signed ? (to.mask() >> 1) + (negative ? 1 : 0) : negative ? 0 : to.mask();
                        } else {
                          r = rounded_integer(exact(a, f), rounding.direction, to.is_signed, to.bits);
                        }
                        return in_register(r, to.bits, to.is_signed, destination.bits);
                      });
            }
          }
        }
      }
    }
  }
}

struct Clamp {
  const char* text;
  bool saturate = false, relu = false, finite = false;
};

std::uint64_t clamped(std::uint64_t r, const Format& f, const Clamp& clamp) {
  if (clamp.saturate) r = saturated(r, f);
  if (clamp.finite && f.is_infinite(r)) --r;
  if (clamp.relu) r = rectified(r, f);
  return r;
}

TEST_F(Conversion, FloatingToFloating) {
  for (const FloatingType& from : kFloats) {
    for (const FloatingType& to : kFloats) {
      const Format &f = from.format, &t = to.format;
      const bool bfloat = f.digits == 8 || t.digits == 8;
      std::vector<std::pair<std::string, Direction>> roundings;
      if (f.bits <= t.bits) roundings.emplace_back("", Direction::nearest);
      for (const NamedDirection& rounding : kRoundings) {
        if (f.bits > t.bits || (bfloat && &f != &t))
          roundings.emplace_back(std::string(".r") + rounding.name, rounding.direction);
        if (&f == &t) roundings.emplace_back(fmt::format(".r{}i", rounding.name), rounding.direction);
      }
      for (const auto& [rounding, direction] : roundings) {
        const bool integral = rounding.ends_with('i');
        for (const Clamp& clamp :
             {Clamp{""}, Clamp{".sat", true}, Clamp{".relu", false, true}, Clamp{".satfinite", false, false, true},
              Clamp{".relu.satfinite", false, true, true}, Clamp{".satfinite.relu", false, true, true}}) {
          if (clamp.saturate && bfloat) continue;
          if ((clamp.relu || clamp.finite) && (f.bits != 32 || t.bits != 16)) continue;
          for (const bool flush : {false, true}) {
            if (flush && f.bits != 32 && t.bits != 32) continue;
            ++forms_;
            const std::string mnemonic =
                fmt::format("cvt{}{}{}.{}.{}", rounding, flush ? ".ftz" : "", clamp.text, to.name, from.name);
            auto reference = [&, direction = direction](const std::uint64_t* x) {
              std::uint64_t a = x[0] & (f.sign() | (f.sign() - 1));
              if (flush && f.bits == 32) a = flushed(a, f);
              std::uint64_t r = 0;
              if (&f == &t) {
                r = integral ? rounded_integral(a, f, direction) : f.is_nan(a) && f.bits != 64 ? f.canonical_nan() : a;
              } else if (f.is_nan(a) && f.digits == 8 && t.bits == 32 && !flush) {
                r = a << 16;  // bf16 is f32's upper half
              } else if (flush && t.bits == 32 && !f.is_nan(a) && !f.is_infinite(a)) {
                r = rounded(exact(a, f), t, direction, true);
              } else {
                r = convert(a, f, t, direction);
              }
              return clamped(r, t, clamp);
            };
            const std::vector<RegisterWidth> sources = registers_for(f.bits), destinations = registers_for(t.bits);
            compare(mnemonic, destinations[0], sources[0], floats_of(from), reference);
            if (direction == Direction::nearest && (sources.size() > 1 || destinations.size() > 1)) {
              compare(mnemonic, destinations.back(), sources.back(), spoiled(floats_of(from), f.bits), reference);
            }
          }
        }
      }
    }
  }
}

Cases pairs(const Cases& single, std::uint64_t seed) {
  Cases cases{2, {}};
  std::mt19937_64 random(seed);
  for (std::uint64_t a : single.values) cases.values.insert(cases.values.end(), {a, single.values[random() % single.size()]});
  return cases;
}

const std::vector<Clamp> kClamps = {{""},
                                    {".relu", false, true},
                                    {".satfinite", false, false, true},
                                    {".satfinite.relu", false, true, true},
                                    {".relu.satfinite", false, true, true}};

TEST_F(Conversion, PackedHalves) {
  const Cases cases = pairs(floats(kF32), 5);
  for (const char* name : {"f16x2", "bf16x2"}) {
    const Format& t = name[0] == 'f' ? kF16 : kBf16;
    for (const NamedDirection& rounding : {kRoundings[0], kRoundings[1]}) {
      for (const Clamp& clamp : kClamps) {
        ++forms_;
        check_.check(fmt::format("cvt.r{}{}.{}.f32 %r1, %f2, %f3;", rounding.name, clamp.text, name), "%r1", {"%f2", "%f3"},
                     cases, [&](const std::uint64_t* x) {
                       auto one = [&](std::uint64_t a) { return clamped(convert(a, kF32, t, rounding.direction), t, clamp); };
                       return one(x[0]) << 16 | one(x[1]);
                     });
      }
    }
  }
}

TEST_F(Conversion, Tf32) {
  const Cases cases = floats(kF32);
  const std::vector<std::pair<std::string, Direction>> roundings = {
      {".rn", Direction::nearest}, {".rz", Direction::zero}, {".rna", Direction::away}};
  for (const auto& [rounding, direction] : roundings) {
    for (const Clamp& clamp : kClamps) {
      if (direction == Direction::away && clamp.relu) continue;
      ++forms_;
      check_.check(fmt::format("cvt{}{}.tf32.f32 %r1, %f2;", rounding, clamp.text), "%r1", {"%f2"}, cases,
                   [&, direction = direction](const std::uint64_t* x) {
                     if (kF32.is_nan(x[0])) return std::uint64_t{0x7fffffff};
                     const std::uint64_t r = kF32.is_infinite(x[0]) ? x[0] >> 13 : rounded(exact(x[0], kF32), kTf32, direction);
                     return clamped(r, kTf32, clamp) << 13;
                   });
    }
  }
}

// To eight bits with .satfinite: the largest number for everything beyond it.
std::uint64_t to_eight(std::uint64_t a, const Format& from, const Format& to, bool relu) {
  if (from.is_nan(a)) return 0x7f;
  const bool negative = (a & from.sign()) != 0;
  if (relu && negative) return 0;
  const std::uint64_t sign = negative ? to.sign() : 0;
  if (from.is_infinite(a)) return sign | to.largest();
  const Exact largest = exact(to.largest(), to);
  Exact size = exact(a, from);
  size.negative = true;
  const Exact difference = exact_sum(largest, size);
  return difference.negative && !difference.is_zero() ? sign | to.largest() : rounded(exact(a, from), to, Direction::nearest);
}

TEST_F(Conversion, EightBits) {
  struct Type {
    const char* name;
    const Format& format;
  };
  const Cases singles = pairs(floats(kF32), 6);
  Cases halves;
  for (std::uint64_t n = 0; n < 65536; ++n) halves.values.push_back(n | (n * 40503 + 77) % 65536 << 16);
  Cases codes;
  for (std::uint64_t n = 0; n < 65536; ++n) codes.values.push_back(n);
  for (const Type& type : {Type{"e4m3x2", kE4m3}, Type{"e5m2x2", kE5m2}}) {
    const Format& t = type.format;
    for (const char* clamp : {".satfinite", ".satfinite.relu", ".relu.satfinite"}) {
      const bool relu = std::string(clamp).find("relu") != std::string::npos;
      forms_ += 2;
      check_.check(fmt::format("cvt.rn{}.{}.f32 %rs1, %f2, %f3;", clamp, type.name), "%rs1", {"%f2", "%f3"}, singles,
                   [&](const std::uint64_t* x) { return to_eight(x[0], kF32, t, relu) << 8 | to_eight(x[1], kF32, t, relu); });
      check_.check(fmt::format("cvt.rn{}.{}.f16x2 %rs1, %r2;", clamp, type.name), "%rs1", {"%r2"}, halves,
                   [&](const std::uint64_t* x) {
                     return to_eight(x[0] >> 16, kF16, t, relu) << 8 | to_eight(x[0] & 0xffff, kF16, t, relu);
                   });
    }
    for (const bool relu : {false, true}) {
      ++forms_;
      check_.check(fmt::format("cvt.rn{}.f16x2.{} %r1, %rs2;", relu ? ".relu" : "", type.name), "%r1", {"%rs2"}, codes,
                   [&](const std::uint64_t* x) {
                     auto one = [&](std::uint64_t code) {
                       const std::uint64_t r = convert(code, t, kF16, Direction::nearest);
                       return relu ? rectified(r, kF16) : r;
                     };
                     return one(x[0] >> 8) << 16 | one(x[0] & 0xff);
                   });
    }
  }
}

TEST_F(Conversion, Pack) {
  std::mt19937_64 random(8);
  Cases three{3, {}}, two{2, {}};
  const IntegerType& s32 = kIntegers[5];
  for (std::uint64_t a : integers(s32).values) {
    const std::uint64_t b = random() >> random() % 32 & 0xffffffff, c = random() & 0xffffffff;
    three.values.insert(three.values.end(), {a, b, c, b, (0 - a) & 0xffffffff, c});
    two.values.insert(two.values.end(), {a, b, b, (0 - a) & 0xffffffff});
  }
  for (const int bits : {2, 4, 8, 16}) {
    for (const bool is_signed : {false, true}) {
      ++forms_;
      const std::string name = fmt::format("{}{}", is_signed ? 's' : 'u', bits);
      const std::string text = bits == 16 ? fmt::format("cvt.pack.sat.{}.s32 %r1, %r2, %r3;", name)
                                          : fmt::format("cvt.pack.sat.{}.s32.b32 %r1, %r2, %r3, %r4;", name);
      check_.check(text, "%r1", {"%r2", "%r3", "%r4"}, bits == 16 ? two : three, [&](const std::uint64_t* x) {
        auto one = [&](std::uint64_t a) { return rounded_integer(value_of(a, s32), Direction::zero, is_signed, bits); };
        return ((bits == 16 ? 0 : x[2] << 2 * bits) | one(x[0]) << bits | one(x[1])) & 0xffffffff;
      });
    }
  }
}

// In place, where the widths are equal.
TEST_F(Conversion, InPlace) {
  const Cases cases = floats(kF32);
  check_.check("cvt.rzi.s32.f32 %f1, %f1;", "%f1", {"%f1"}, cases, [](const std::uint64_t* x) {
    if (kF32.is_nan(x[0])) return std::uint64_t{0};
    const std::uint64_t a = kF32.is_infinite(x[0]) ? x[0] - 1 : x[0];
    return rounded_integer(exact(a, kF32), Direction::zero, true, 32);
  });
  check_.check("cvt.s32.s8 %r1, %r1;", "%r1", {"%r1"}, integers(kIntegers[4]),
               [](const std::uint64_t* x) { return in_register(x[0] & 0xff, 8, true, 32); });
}

TEST_F(Conversion, WhatPtxDoesNotHaveIsRejected) {
  for (const char* text : {"cvt.f16.f32 %rs1, %f2;",
                           "cvt.rn.f64.f32 %fd1, %f2;",
                           "cvt.rni.f32.f64 %f1, %fd2;",
                           "cvt.s32.f32 %r1, %f2;",
                           "cvt.rn.s32.f32 %r1, %f2;",
                           "cvt.f32.s32 %f1, %r2;",
                           "cvt.rni.f32.s32 %f1, %r2;",
                           "cvt.rn.u32.s32 %r1, %r2;",
                           "cvt.ftz.u32.s32 %r1, %r2;",
                           "cvt.ftz.f64.f16 %fd1, %rs2;",
                           "cvt.rn.relu.f32.f64 %f1, %fd2;",
                           "cvt.rn.satfinite.f16.f64 %rs1, %fd2;",
                           "cvt.rn.sat.bf16.f32 %rs1, %f2;",
                           "cvt.rn.bf16.u8 %rs1, %rs2;",
                           "cvt.rzi.u8.bf16 %rs1, %rs2;",
                           "cvt.rm.f16x2.f32 %r1, %f2, %f3;",
                           "cvt.f16x2.f32 %r1, %f2, %f3;",
                           "cvt.rn.e4m3x2.f32 %rs1, %f2, %f3;",
                           "cvt.rz.satfinite.e4m3x2.f32 %rs1, %f2, %f3;",
                           "cvt.rna.relu.tf32.f32 %r1, %f2;",
                           "cvt.rm.tf32.f32 %r1, %f2;",
                           "cvt.rs.f16x2.f32 %r1, %f2, %f3, %r4;",
                           "cvt.pack.u8.s32.b32 %r1, %r2, %r3, %r4;",
                           "cvt.pack.sat.u16.s32.b32 %r1, %r2, %r3, %r4;",
                           "cvt.pack.sat.u8.s32 %r1, %r2, %r3;",
                           "cvt.rn.rz.f32.f64 %f1, %fd2;",
                           "cvt.u64.u32 %r1, %r2;",
                           "cvt.u32.u64 %r1, %r2;",
                           "cvt.rn.f16x2.e4m3x2 %r1, %r2;"}) {
    EXPECT_THROW(InstructionHarness(conversion_opcodes(), text), Error) << text;
  }
}

}  // namespace
}  // namespace sim::test

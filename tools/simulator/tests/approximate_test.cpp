// The approximate instructions in both kinds, against functions of long double: within the bounds of the PTX manual, exact
// where operands or results are special, the same for the same seed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>

#include "error.h"
#include "isa/floating.h"
#include "tests/floating_reference.h"
#include "tests/form_check.h"

namespace sim::test {
namespace {

using Real = long double;

template <Approximation A, std::uint64_t Seed>
bool decode_as(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  FloatingForm form;
  return floating_form(in, form) && decode_approximate(in, form, decoder, out, A, Seed);
}

std::vector<OpcodeEntry> opcodes(Decode decode) {
  std::vector<OpcodeEntry> entries;
  for (const char* name : {"div", "rcp", "sqrt", "rsqrt", "sin", "cos", "lg2", "ex2", "tanh"})
    entries.push_back({name, decode});
  return entries;
}

constexpr Decode kRounded = decode_as<Approximation::rounded, 0>, kPerturbed = decode_as<Approximation::perturbed, 12345>,
                 kOtherSeed = decode_as<Approximation::perturbed, 0x100000000>;

float to_float(std::uint64_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits)); }
std::uint64_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }

// A unit in the last place, of normal y.
Real ulp(Real y, int digits) { return std::ldexp(Real{1}, std::ilogb(y) - (digits - 1)); }

struct Function {
  const char* name;
  std::size_t arity;
  Real (*value)(Real, Real);
  Real (*bound)(Real x, Real y);
  float low, high;  // where most operands are drawn from
  bool within_one = false;
};

Real two_ulp(Real, Real y) { return 2 * ulp(y, 24); }
Real sine_bound(Real x, Real) {
  constexpr Real kPi = 3.14159265358979323846L;
  return std::fabs(x) <= 2 * kPi ? std::exp2(-20.5L) : std::fabs(x) <= 100 * kPi ? std::exp2(-14.7L) : 2;
}

const std::vector<Function> kFunctions = {
    {"div.approx", 2,
     [](Real a, Real b) { return std::fabs(b) > 0x1p126L && std::isfinite(b) ? a * std::copysign(Real{0}, b) : a / b; },
     two_ulp, -10, 10},
    {"div.full", 2, [](Real a, Real b) { return a / b; }, two_ulp, -10, 10},
    {"rcp.approx", 1, [](Real x, Real) { return 1 / x; }, [](Real, Real y) { return ulp(y, 24); }, -10, 10},
    {"sqrt.approx", 1, [](Real x, Real) { return std::sqrt(x); }, [](Real, Real y) { return y * 0x1p-23L; }, 0, 100},
    {"rsqrt.approx", 1, [](Real x, Real) { return 1 / std::sqrt(x); }, [](Real, Real y) { return y * std::exp2(-22.9L); }, 0,
     100},
    {"ex2.approx", 1, [](Real x, Real) { return std::exp2(x); }, two_ulp, -130, 130},
    {"lg2.approx", 1, [](Real x, Real) { return std::log2(x); },
     [](Real x, Real y) { return x > 0.5L && x < 2 ? 0x1p-22L : std::fabs(y) * 0x1p-22L; }, 0, 4},
    {"sin.approx", 1, [](Real x, Real) { return std::sin(x); }, sine_bound, -10, 10, true},
    {"cos.approx", 1, [](Real x, Real) { return std::cos(x); }, sine_bound, -400, 400, true},
    {"tanh.approx", 1, [](Real x, Real) { return std::tanh(x); }, [](Real, Real y) { return std::fabs(y) * 0x1p-11L; }, -6, 6,
     true},
};

Cases cases_for(const Function& function) {
  Cases cases{function.arity, {}};
  std::mt19937_64 random(4242);
  const std::vector<std::uint64_t> edges = edge_values(kF32);
  for (std::uint64_t a : edges) {
    if (function.arity == 1) cases.values.push_back(a);
    for (std::uint64_t b : edges) {
      if (function.arity == 2) cases.values.insert(cases.values.end(), {a, b});
    }
  }
  std::uniform_real_distribution<float> uniform(function.low, function.high);
  for (std::size_t n = 0; n < 120'000 * function.arity; ++n) {
    switch (n / function.arity % 4) {
      case 0:
        cases.values.push_back(random() & 0xffffffff);
        break;
      case 1:
        cases.values.push_back(random_value(kF32, random));
        break;
      case 2:
        cases.values.push_back(bits_of(1 + std::ldexp(uniform(random) / function.high, -static_cast<int>(random() % 24))));
        break;  // about 1
      default:
        cases.values.push_back(bits_of(uniform(random)));
    }
  }
  return cases;
}

bool is_special(Real v) { return v == 0 || !std::isfinite(v) || std::fabs(v) < 0x1p-126L; }

class Approximate : public ::testing::Test {
 protected:
  void f32(const Function& function, bool flush) {
    const std::string mnemonic = fmt::format("{}{}.f32", function.name, flush ? ".ftz" : "");
    const std::string text = mnemonic + (function.arity == 1 ? " %f1, %f2;" : " %f1, %f2, %f3;");
    const Cases cases = cases_for(function);
    std::map<std::vector<std::uint64_t>, std::uint64_t> seen;
    std::size_t moved = 0, ordinary = 0;
    for (const bool perturbed : {false, true}) {
      FormCheck check(opcodes(perturbed ? kPerturbed : kRounded));
      Real worst = 0, share = 0;  // of the error in units in the last place, and of the bound
      check.accept(text, "%f1", {"%f2", "%f3"}, cases, [&](const std::uint64_t* operands, std::uint64_t result) {
        const std::vector<std::uint64_t> key(operands, operands + function.arity);
        Real x[2] = {0, 1};
        for (std::size_t n = 0; n < function.arity; ++n) {
          x[n] = to_float(flush ? flushed(operands[n], kF32) : operands[n]);
        }
        const Real y = function.value(x[0], x[1]);
        const Real r = to_float(result);
        if (std::isnan(y)) return result == 0x7fffffff;
        const auto nearest = static_cast<float>(y);
        const std::uint64_t exactly = flush ? flushed(bits_of(nearest), kF32) : bits_of(nearest);
        const bool special = is_special(x[0]) || is_special(x[1]) || is_special(y) || is_special(nearest);
        if (special && (exactly != result) && std::fabs(nearest) >= 0x1p-126F && std::isfinite(nearest)) {
          // A subnormal operand with an ordinary result: correctly rounded, up to the accuracy of doubles.
          return std::fabs(r - y) <= ulp(y, 24) * (0.5L + 0x1p-18L);
        }
        if (special) return exactly == result;
        ++ordinary;
        const Real error = std::fabs(r - y);
        worst = std::max(worst, error / ulp(y, 24));
        share = std::max(share, error / function.bound(x[0], y));
        if (!perturbed) {
          seen[key] = result;
          return error <= ulp(y, 24) * (0.5L + 0x1p-18L);
        }
        moved += seen[key] != result ? 1 : 0;
        return error <= function.bound(x[0], y) && (!function.within_one || std::fabs(r) <= 1);
      });
      std::printf("%s %s: worst %.4Lf ulp, %.4Lf of the bound; ", mnemonic.c_str(), perturbed ? "perturbed" : "rounded", worst,
                  share);
      EXPECT_LE(share, 1);
      EXPECT_GT(share, perturbed ? 0.8L : 0.0L) << "perturbed results should go near the bound";
    }
    EXPECT_GT(moved * 8, ordinary / 2) << "few results were perturbed";
  }
};

TEST_F(Approximate, SinglePrecision) {
  for (const Function& function : kFunctions) {
    f32(function, false);
    if (function.name[0] != 't') f32(function, true);
  }
}

// Beyond 100 pi there is no bound; results stay sines.
TEST_F(Approximate, LargeAngles) {
  std::mt19937_64 random(5);
  Cases cases{1, {}};
  for (int n = 0; n < 100'000; ++n)
    cases.values.push_back(
        bits_of(std::ldexp(1.0F + static_cast<float>(random() % 65536) / 65536, 9 + static_cast<int>(random() % 118))));
  FormCheck check(opcodes(kRounded));
  check.accept("sin.approx.f32 %f1, %f2;", "%f1", {"%f2"}, cases, [](const std::uint64_t* x, std::uint64_t r) {
    const Real y = std::sin(static_cast<Real>(to_float(x[0])));
    return std::fabs(to_float(r) - y) <= ulp(y, 24) * (0.5L + 0x1p-18L);
  });
  FormCheck perturbed(opcodes(kPerturbed));
  perturbed.accept("cos.approx.f32 %f1, %f2;", "%f1", {"%f2"}, cases,
                   [](const std::uint64_t*, std::uint64_t r) { return std::fabs(to_float(r)) <= 1; });
}

TEST_F(Approximate, SeedsDecide) {
  Lanes lanes{};
  for (std::size_t n = 0; n < kLanes; ++n) lanes[n] = bits_of(1.1F + static_cast<float>(n) / 7);
  auto run = [&](Decode decode) {
    InstructionHarness harness(opcodes(decode), "ex2.approx.ftz.f32 %f1, %f2;");
    harness.set("%f2", lanes);
    harness.run();
    return harness.get("%f1");
  };
  EXPECT_EQ(run(kPerturbed), run(kPerturbed));
  EXPECT_NE(run(kPerturbed), run(kOtherSeed));
  EXPECT_NE(run(kPerturbed), run(kRounded));
}

// Every half, both kinds, one and two a register.
TEST_F(Approximate, Halves) {
  struct Form {
    const char* text;
    const Format& format;
    bool is_tanh, packed;
    Real bound;  // relative for ex2, absolute for tanh
  };
  const std::vector<Form> forms = {{"ex2.approx.f16 %h1, %h2;", kF16, false, false, std::exp2(-9.9L)},
                                   {"ex2.approx.f16x2 %r1, %r2;", kF16, false, true, std::exp2(-9.9L)},
                                   {"ex2.approx.ftz.bf16 %h1, %h2;", kBf16, false, false, 0x1p-7L},
                                   {"ex2.approx.ftz.bf16x2 %r1, %r2;", kBf16, false, true, 0x1p-7L},
                                   {"tanh.approx.f16 %h1, %h2;", kF16, true, false, std::exp2(-10.987L)},
                                   {"tanh.approx.f16x2 %r1, %r2;", kF16, true, true, std::exp2(-10.987L)},
                                   {"tanh.approx.bf16 %h1, %h2;", kBf16, true, false, 0x1p-8L},
                                   {"tanh.approx.bf16x2 %r1, %r2;", kBf16, true, true, 0x1p-8L}};
  for (const Form& form : forms) {
    Cases cases{1, {}};
    for (std::uint64_t n = 0; n < 65536; ++n) cases.values.push_back(form.packed ? n | (n * 40503 + 77) % 65536 << 16 : n);
    for (const bool perturbed : {false, true}) {
      FormCheck check(opcodes(perturbed ? kPerturbed : kRounded));
      Real share = 0;
      std::size_t moved = 0;
      auto accepts = [&](std::uint64_t operand, std::uint64_t result) {
        const Format& f = form.format;
        const std::uint64_t a = !form.is_tanh && f.digits == 8 ? flushed(operand, f) : operand;
        if (f.is_nan(a)) return result == 0x7fff;
        const Real x = to_float(convert(a, f, kF32, Direction::nearest));
        const Real y = form.is_tanh ? std::tanh(x) : std::exp2(x);
        // 64 digits are as good as the exact value, but that one near a representable number (tanh of a small one) must not
        // become it.
        std::uint64_t exactly = convert(std::bit_cast<std::uint64_t>(static_cast<double>(y)), kF64, f, Direction::nearest);
        if (!form.is_tanh && f.digits == 8) exactly = flushed(exactly, f);
        const Real r = to_float(convert(result, f, kF32, Direction::nearest));
        const bool special = f.is_infinite(a) || f.is_subnormal(a) || (a & 0x7fff) == 0 || f.is_infinite(exactly) ||
                             f.is_subnormal(exactly) || (exactly & 0x7fff) == 0;
        if (special || !perturbed) return result == exactly;
        moved += result != exactly ? 1 : 0;
        const Real bound = form.is_tanh ? form.bound : form.bound * y;
        share = std::max(share, std::fabs(r - y) / bound);
        return std::fabs(r - y) <= bound && (!form.is_tanh || std::fabs(r) <= 1);
      };
      check.accept(form.text, form.packed ? "%r1" : "%h1", {form.packed ? "%r2" : "%h2"}, cases,
                   [&](const std::uint64_t* x, std::uint64_t r) {
                     return accepts(x[0] & 0xffff, r & 0xffff) && (!form.packed || accepts(x[0] >> 16, r >> 16));
                   });
      if (perturbed) {
        std::printf("%s up to %.4Lf of the bound; ", form.text, share);
        EXPECT_GT(share, 0.8L);
        EXPECT_GT(moved, 1000U);
      }
    }
  }
}

TEST_F(Approximate, DoublePrecision) {
  std::mt19937_64 random(11);
  Cases cases{1, edge_values(kF64)};
  for (int n = 0; n < 100'000; ++n) cases.values.push_back(random_value(kF64, random));
  auto value = [](std::uint64_t bits) { return std::bit_cast<double>(bits); };
  for (const bool perturbed : {false, true}) {
    FormCheck check(opcodes(perturbed ? kPerturbed : kRounded));
    Real worst = 0;
    check.accept("rsqrt.approx.f64 %fd1, %fd2;", "%fd1", {"%fd2"}, cases,
                 [&](const std::uint64_t* operands, std::uint64_t result) {
                   const double x = value(operands[0]);
                   if (std::isnan(x)) return result == (operands[0] | 0x0008000000000000);
                   if (x < 0) return result == 0xfff8000000000000;
                   if (x == 0 || std::isinf(x)) return result == std::bit_cast<std::uint64_t>(1 / std::sqrt(x));
                   const Real y = 1 / std::sqrt(static_cast<Real>(x));
                   const Real error = std::fabs(value(result) - y) / ulp(y, 53);
                   worst = std::max(worst, error);
                   return error <= (perturbed ? 1.001L : 0.501L);
                 });
    std::printf("rsqrt.approx.f64 worst %.4Lf ulp; ", worst);
    // Of the upper 32 bits, into the upper 32 bits.
    for (const bool root : {false, true}) {
      const std::string text = fmt::format("{}.approx.ftz.f64 %fd1, %fd2;", root ? "rsqrt" : "rcp");
      Real most = 0;
      check.accept(text, "%fd1", {"%fd2"}, cases, [&](const std::uint64_t* operands, std::uint64_t result) {
        if (kF64.is_nan(operands[0])) return result == 0x7fffffff00000000;
        const double x = value(flushed(operands[0] & 0xffffffff00000000, kF64));
        if (root && x < 0) return result == 0x7fffffff00000000;
        const Real y = root ? 1 / std::sqrt(static_cast<Real>(x)) : 1 / static_cast<Real>(x);
        if (x == 0 || std::isinf(x))
          return result == (std::bit_cast<std::uint64_t>(
                               static_cast<double>(root ? (x == 0 ? std::copysign(HUGE_VAL, x) : 0.0) : 1 / x)));
        if (std::fabs(y) < 0x1p-1022L) return (result & ~kF64.sign()) == 0 || std::fabs(value(result)) == 0x1p-1022;
        const Real error = std::fabs(value(result) - y) / ulp(y, 21);
        most = std::max(most, error);
        return (result & 0xffffffff) == 0 && error <= (perturbed ? 1.5001L : 0.5001L);
      });
      std::printf("%s worst %.4Lf of the 20 bits; ", text.c_str(), most);
    }
  }
}

}  // namespace
}  // namespace sim::test

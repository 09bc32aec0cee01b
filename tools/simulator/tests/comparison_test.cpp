// setp, set, selp and slct, against references that compare floating-point values as doubles.
#include <bit>
#include <cmath>
#include <limits>

#include "error.h"
#include "isa/decoder.h"
#include "tests/form_sweep.h"

namespace sim::test {
namespace {

enum class Class : std::uint8_t { bits, unsigned_, signed_, floating };

struct SourceType {
  std::string name;
  Sort sort;
  int bits;
  Class kind;
  int halves = 1;
  int exponent_bits = 0;
};
const std::vector<SourceType> kScalars{{"b16", Sort::int16, 16, Class::bits},
                                       {"b32", Sort::int32, 32, Class::bits},
                                       {"b64", Sort::int64, 64, Class::bits},
                                       {"u16", Sort::int16, 16, Class::unsigned_},
                                       {"u32", Sort::int32, 32, Class::unsigned_},
                                       {"u64", Sort::int64, 64, Class::unsigned_},
                                       {"s16", Sort::int16, 16, Class::signed_},
                                       {"s32", Sort::int32, 32, Class::signed_},
                                       {"s64", Sort::int64, 64, Class::signed_},
                                       {"f32", Sort::single, 32, Class::floating, 1, 8},
                                       {"f64", Sort::double_, 64, Class::floating, 1, 11}};
const std::vector<SourceType> kHalves{{"f16", Sort::half, 16, Class::floating, 1, 5},
                                      {"bf16", Sort::bfloat, 16, Class::floating, 1, 8}};
const std::vector<SourceType> kPacked{{"f16x2", Sort::half2, 16, Class::floating, 2, 5},
                                      {"bf16x2", Sort::bfloat2, 16, Class::floating, 2, 8}};

// The value of a floating-point format, worked out from its fields.
double float_value(std::uint64_t bits, int width, int exponent_bits, bool flush) {
  const int fraction_bits = width - 1 - exponent_bits;
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << fraction_bits) - 1);
  const int exponent = static_cast<int>(bits >> fraction_bits & ((std::uint64_t{1} << exponent_bits) - 1));
  const bool negative = (bits >> (width - 1) & 1) != 0;
  const int bias = (1 << (exponent_bits - 1)) - 1;
  double value = 0;
  if (exponent == (1 << exponent_bits) - 1) {
    value = fraction != 0 ? std::numeric_limits<double>::quiet_NaN() : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = flush ? 0.0 : std::ldexp(static_cast<double>(fraction), 1 - bias - fraction_bits);
  } else {
    value = std::ldexp(static_cast<double>(fraction | std::uint64_t{1} << fraction_bits), exponent - bias - fraction_bits);
  }
  return negative ? -value : value;
}

// -1, 0, 1, or 2 where one is NaN.
int order(const SourceType& type, std::uint64_t a, std::uint64_t b, bool flush) {
  const std::uint64_t mask = type.bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << type.bits) - 1;
  a &= mask;
  b &= mask;
  if (type.kind == Class::floating) {
    const double x = float_value(a, type.bits, type.exponent_bits, flush),
                 y = float_value(b, type.bits, type.exponent_bits, flush);
    if (std::isnan(x) || std::isnan(y)) return 2;
    return x < y ? -1 : x > y ? 1 : 0;
  }
  if (type.kind == Class::signed_) {  // unsigned order with the sign turned over
    const std::uint64_t sign = std::uint64_t{1} << (type.bits - 1);
    a ^= sign;
    b ^= sign;
  }
  return a < b ? -1 : a > b ? 1 : 0;
}

// In which orders a comparison holds: for less, equal, greater, unordered.
struct Operator {
  std::string name;
  bool less, equal, greater, unordered;
  bool for_unsigned, for_signed, for_bits;
};
const std::vector<Operator> kOperators{
    {"eq", false, true, false, false, true, true, true},    {"ne", true, false, true, false, true, true, true},
    {"lt", true, false, false, false, true, true, false},   {"le", true, true, false, false, true, true, false},
    {"gt", false, false, true, false, true, true, false},   {"ge", false, true, true, false, true, true, false},
    {"lo", true, false, false, false, true, false, false},  {"ls", true, true, false, false, true, false, false},
    {"hi", false, false, true, false, true, false, false},  {"hs", false, true, true, false, true, false, false},
    {"equ", false, true, false, true, false, false, false}, {"neu", true, false, true, true, false, false, false},
    {"ltu", true, false, false, true, false, false, false}, {"leu", true, true, false, true, false, false, false},
    {"gtu", false, false, true, true, false, false, false}, {"geu", false, true, true, true, false, false, false},
    {"num", true, true, true, false, false, false, false},  {"nan", false, false, false, true, false, false, false}};

bool applies(const Operator& op, const SourceType& type) {
  switch (type.kind) {
    case Class::bits:
      return op.for_bits;
    case Class::unsigned_:
      return op.for_unsigned;
    case Class::signed_:
      return op.for_signed;
    default:
      return op.name != "lo" && op.name != "ls" && op.name != "hi" && op.name != "hs";
  }
}

bool holds(const Operator& op, int order) {
  return order == -1 ? op.less : order == 0 ? op.equal : order == 1 ? op.greater : op.unordered;
}

bool can_flush(const SourceType& type) { return type.name == "f32" || type.name == "f16" || type.name == "f16x2"; }

const std::vector<std::string> kCombinations{"", ".and", ".or", ".xor"};

bool combine(const std::string& combination, bool t, bool c) {
  return combination == ".and" ? t && c : combination == ".or" ? t || c : combination == ".xor" ? t != c : t;
}

class ComparisonTest : public testing::Test {
 protected:
  static void TearDownTestSuite() { SweepCounts::print(); }
  void check(const InstructionForm& form) { sweep_(form); }

  // For each comparison of the type, .ftz or not, combination, and negation of its predicate.
  void each_form(const SourceType& type,
                 const std::function<void(const Operator&, bool, const std::string&, const std::vector<Sort>&)>& f) {
    for (const Operator& op : kOperators) {
      if (!applies(op, type)) continue;
      for (bool flush : {false, true}) {
        if (flush && !can_flush(type)) continue;
        for (const std::string& combination : kCombinations) {
          std::vector<Sort> sources{type.sort, type.sort};
          if (combination.empty()) {
            f(op, flush, combination, sources);
            continue;
          }
          sources.push_back(Sort::pred);
          f(op, flush, combination, sources);
          sources.back() = Sort::not_pred;
          f(op, flush, combination, sources);
        }
      }
    }
  }

  FormSweep sweep_{comparison_opcodes()};
};

TEST_F(ComparisonTest, SetPredicate) {
  std::vector<SourceType> types = kScalars;
  types.insert(types.end(), kHalves.begin(), kHalves.end());
  for (const SourceType& type : types) {
    each_form(type, [&](const Operator& op, bool flush, const std::string& combination, const std::vector<Sort>& sources) {
      const std::string opcode = "setp." + op.name + combination + (flush ? ".ftz." : ".") + type.name;
      const auto reference = [=](const LaneValues& v) {
        const bool t = holds(op, order(type, v.a, v.b, flush));
        return LaneResults{combine(combination, t, v.c != 0), combine(combination, !t, v.c != 0)};
      };
      check({opcode, {Sort::pred}, sources, reference});
      if (type.bits != 16 || type.kind != Class::floating) check({opcode, {Sort::pred, Sort::pred}, sources, reference});
    });
  }
}

TEST_F(ComparisonTest, SetPredicatesOfPackedHalves) {
  for (const SourceType& type : kPacked) {
    each_form(type, [&](const Operator& op, bool flush, const std::string& combination, const std::vector<Sort>& sources) {
      check({"setp." + op.name + combination + (flush ? ".ftz." : ".") + type.name,
             {Sort::pred, Sort::pred},
             sources,
             [=](const LaneValues& v) {
               return LaneResults{combine(combination, holds(op, order(type, v.a, v.b, flush)), v.c != 0),
                                  combine(combination, holds(op, order(type, v.a >> 16, v.b >> 16, flush)), v.c != 0)};
             }});
    });
  }
}

struct Destination {
  std::string name;
  Sort sort;
  std::uint64_t value;
};

TEST_F(ComparisonTest, Set) {
  const std::vector<Destination> words{{"u32", Sort::int32, 0xffffffff}, {"s32", Sort::int32, 0xffffffff}};
  const std::vector<Destination> half_words{{"u16", Sort::int16, 0xffff}, {"s16", Sort::int16, 0xffff}};
  const Destination single{"f32", Sort::single, 0x3f800000}, half{"f16", Sort::half, 0x3c00},
      bfloat{"bf16", Sort::bfloat, 0x3f80};
  std::vector<SourceType> types = kScalars;
  types.insert(types.end(), kHalves.begin(), kHalves.end());
  for (const SourceType& type : types) {
    std::vector<Destination> destinations = words;
    if (type.bits == 16 && type.kind == Class::floating) {
      destinations.insert(destinations.end(), half_words.begin(), half_words.end());
      destinations.push_back(type.name == "f16" ? half : bfloat);
    } else {
      destinations.push_back(single);
      destinations.push_back(half);
      destinations.push_back(bfloat);
    }
    for (const Destination& d : destinations) {
      each_form(type, [&](const Operator& op, bool flush, const std::string& combination, const std::vector<Sort>& sources) {
        check({"set." + op.name + combination + (flush ? ".ftz." : ".") + d.name + "." + type.name,
               {d.sort},
               sources,
               [=](const LaneValues& v) {
                 return LaneResults{combine(combination, holds(op, order(type, v.a, v.b, flush)), v.c != 0) ? d.value : 0};
               }});
      });
    }
  }
}

TEST_F(ComparisonTest, SetOfPackedHalves) {
  for (const SourceType& type : kPacked) {
    for (const Destination& d : {Destination{"u32", Sort::int32, 0xffff},
                                 {"s32", Sort::int32, 0xffff},
                                 {type.name, type.sort, type.name == "f16x2" ? 0x3c00u : 0x3f80u}}) {
      each_form(type, [&](const Operator& op, bool flush, const std::string& combination, const std::vector<Sort>& sources) {
        check({"set." + op.name + combination + (flush ? ".ftz." : ".") + d.name + "." + type.name,
               {d.sort},
               sources,
               [=](const LaneValues& v) {
                 std::uint64_t result = 0;
                 for (int n = 0; n < 2; ++n) {
                   if (combine(combination, holds(op, order(type, v.a >> 16 * n, v.b >> 16 * n, flush)), v.c != 0))
                     result |= d.value << 16 * n;
                 }
                 return LaneResults{result};
               }});
      });
    }
  }
}

TEST_F(ComparisonTest, SelectByPredicate) {
  for (const SourceType& type : kScalars) {
    for (Sort c : {Sort::pred, Sort::not_pred}) {
      check({"selp." + type.name, {type.sort}, {type.sort, type.sort, c}, [](const LaneValues& v) {
               return LaneResults{v.c != 0 ? v.a : v.b};
             }});
    }
  }
}

TEST_F(ComparisonTest, SelectBySign) {
  for (const SourceType& type : kScalars) {
    check({"slct." + type.name + ".s32", {type.sort}, {type.sort, type.sort, Sort::int32}, [](const LaneValues& v) {
             return LaneResults{(v.c >> 31) == 0 ? v.a : v.b};
           }});
    for (bool flush : {false, true}) {
      check({std::string("slct") + (flush ? ".ftz." : ".") + type.name + ".f32",
             {type.sort},
             {type.sort, type.sort, Sort::single},
             [=](const LaneValues& v) { return LaneResults{float_value(v.c, 32, 8, flush) >= 0 ? v.a : v.b}; }});
    }
  }
}

TEST_F(ComparisonTest, SinksAndFloatImmediates) {
  InstructionHarness sink(comparison_opcodes(), "setp.lt.s32 _|%p2, %r1, 5;");
  sink.set("%r1", Lanes{4, 5, 6});
  sink.run();
  EXPECT_EQ(sink.get("%p2")[0], 0u);
  EXPECT_EQ(sink.get("%p2")[1], 1u);
  InstructionHarness single(comparison_opcodes(), "setp.gt.f32 %p1, %f1, 0f3FC00000;");
  single.set("%f1", std::bit_cast<std::uint32_t>(1.75f));
  single.run();
  EXPECT_EQ(single.get("%p1")[31], 1u);
  InstructionHarness wide(comparison_opcodes(), "setp.gt.f64 %p1, %fd1, 1.5;");
  wide.set("%fd1", std::bit_cast<std::uint64_t>(1.25));
  wide.run();
  EXPECT_EQ(wide.get("%p1")[31], 0u);
  InstructionHarness select(comparison_opcodes(), "selp.f32 %f1, 0f3F800000, 0f00000000, %p1;");
  select.set("%p1", Lanes{1, 0});
  select.run();
  EXPECT_EQ(select.get("%f1")[0], 0x3f800000u);
  EXPECT_EQ(select.get("%f1")[1], 0u);
}

TEST_F(ComparisonTest, RejectsWhatThereIsNot) {
  for (const char* text :
       {"setp.ls.s32 %p1, %r1, %r2;",       "setp.lt.b32 %p1, %r1, %r2;",        "setp.lo.b32 %p1, %r1, %r2;",
        "setp.eq.u8 %p1, %rs1, %rs2;",      "setp.equ.s32 %p1, %r1, %r2;",       "setp.lo.f32 %p1, %f1, %f2;",
        "setp.lt.f16 %p1|%p2, %rs1, %rs2;", "setp.lt.ftz.bf16 %p1, %rs1, %rs2;", "setp.lt.ftz.f64 %p1, %fd1, %fd2;",
        "setp.s32 %p1, %r1, %r2;",          "setp.lt.and.s32 %p1, %r1, %r2;",    "setp.lt.s32 %p1, %r1, %r2, %p2;",
        "setp.lt.s32 %r3, %r1, %r2;",       "setp.lt.s32 %p1, %rd1, %r2;",       "set.hi.u32.s32 %r1, %r2, %r3;",
        "set.lt.f64.f64 %fd1, %fd2, %fd3;", "set.lt.u16.f32 %rs1, %f1, %f2;",    "set.lt.f32.f16 %f1, %rs1, %rs2;",
        "set.lt.f16.f16x2 %rs1, %r1, %r2;", "selp.f16 %rs1, %rs2, %rs3, %p1;",   "selp.pred %p1, %p2, %p3, %p4;",
        "selp.b32 %r1, %r2, %r3, %r4;",     "slct.u32.u32 %r1, %r2, %r3, %r4;",  "slct.ftz.u32.s32 %r1, %r2, %r3, %r4;",
        "slct.u32.s32 %r1, %r2, %r3, %rd4;"}) {
    EXPECT_THROW(InstructionHarness(comparison_opcodes(), text), Error) << text;
  }
}

}  // namespace
}  // namespace sim::test

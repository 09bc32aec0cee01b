// Integer instructions against references that are written with wide arithmetic or bit by bit, as the manual describes them.
#include <functional>

#include "error.h"
#include "isa/decoder.h"
#include "tests/form_sweep.h"

namespace sim::test {
namespace {

__extension__ typedef __int128 Wide;
__extension__ typedef unsigned __int128 UnsignedWide;

struct IntegerType {
  std::string name;
  Sort sort;
  int bits;
  bool is_signed;
};
const std::vector<IntegerType> kTypes{{"u16", Sort::int16, 16, false}, {"s16", Sort::int16, 16, true},
                                      {"u32", Sort::int32, 32, false}, {"s32", Sort::int32, 32, true},
                                      {"u64", Sort::int64, 64, false}, {"s64", Sort::int64, 64, true}};
const std::vector<IntegerType> kBitTypes{
    {"b16", Sort::int16, 16, false}, {"b32", Sort::int32, 32, false}, {"b64", Sort::int64, 64, false}};

// The number that `bits` low bits stand for.
Wide number(std::uint64_t value, int bits, bool is_signed) {
  const Wide modulus = Wide{1} << bits;
  const Wide positive = static_cast<Wide>(value) & (modulus - 1);
  return is_signed && positive >= modulus / 2 ? positive - modulus : positive;
}

std::uint64_t low(Wide value) { return static_cast<std::uint64_t>(value); }

Wide clamp32(Wide value) {
  const Wide top = 0x7fffffff, bottom = -top - 1;
  return value > top ? top : value < bottom ? bottom : value;
}

class IntegerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {}
  static void TearDownTestSuite() { SweepCounts::print(); }

  void check(const InstructionForm& form) { sweep_(form); }

  // All sources and the destination of one type; the reference sees numbers.
  void same(const std::string& opcode, const IntegerType& type, std::size_t sources,
            const std::function<Wide(Wide, Wide, Wide)>& reference) {
    check({opcode + "." + type.name, {type.sort}, std::vector<Sort>(sources, type.sort), [=](const LaneValues& v) {
             return LaneResults{low(reference(number(v.a, type.bits, type.is_signed), number(v.b, type.bits, type.is_signed),
                                              number(v.c, type.bits, type.is_signed)))};
           }});
  }

  FormSweep sweep_{integer_opcodes()};
};

TEST_F(IntegerTest, AddSubtract) {
  for (const IntegerType& type : kTypes) {
    same("add", type, 2, [](Wide a, Wide b, Wide) { return a + b; });
    same("sub", type, 2, [](Wide a, Wide b, Wide) { return a - b; });
  }
  const IntegerType s32 = kTypes[3];
  same("add.sat", s32, 2, [](Wide a, Wide b, Wide) { return clamp32(a + b); });
  same("sub.sat", s32, 2, [](Wide a, Wide b, Wide) { return clamp32(a - b); });
}

TEST_F(IntegerTest, Products) {
  for (const IntegerType& type : kTypes) {
    const int bits = type.bits;
    // Products of unsigned 64-bit numbers do not fit a signed 128-bit one: shift as unsigned.
    const auto high = [bits](Wide product) {
      return static_cast<Wide>(low(static_cast<Wide>(static_cast<UnsignedWide>(product) >> bits)));
    };
    const auto product = [](Wide a, Wide b) {
      return static_cast<Wide>(static_cast<UnsignedWide>(a) * static_cast<UnsignedWide>(b));
    };
    same("mul.lo", type, 2, [=](Wide a, Wide b, Wide) { return product(a, b); });
    same("mul.hi", type, 2, [=](Wide a, Wide b, Wide) { return high(product(a, b)); });
    same("mad.lo", type, 3, [=](Wide a, Wide b, Wide c) { return product(a, b) + c; });
    same("mad.hi", type, 3, [=](Wide a, Wide b, Wide c) { return high(product(a, b)) + c; });
    if (bits == 64) continue;
    const Sort twice = bits == 16 ? Sort::int32 : Sort::int64;
    check({"mul.wide." + type.name, {twice}, {type.sort, type.sort}, [=](const LaneValues& v) {
             return LaneResults{low(number(v.a, bits, type.is_signed) * number(v.b, bits, type.is_signed))};
           }});
    check({"mad.wide." + type.name, {twice}, {type.sort, type.sort, twice}, [=](const LaneValues& v) {
             return LaneResults{
                 low(number(v.a, bits, type.is_signed) * number(v.b, bits, type.is_signed) + number(v.c, 2 * bits, false))};
           }});
  }
  same("mad.hi.sat", kTypes[3], 3, [](Wide a, Wide b, Wide c) { return clamp32((a * b >> 32) + c); });
}

TEST_F(IntegerTest, Products24) {
  for (const IntegerType& type : {kTypes[2], kTypes[3]}) {
    const auto product = [=](Wide a, Wide b) {
      return number(low(a), 24, type.is_signed) * number(low(b), 24, type.is_signed);
    };
    same("mul24.lo", type, 2, [=](Wide a, Wide b, Wide) { return product(a, b); });
    same("mul24.hi", type, 2, [=](Wide a, Wide b, Wide) { return product(a, b) >> 16; });
    same("mad24.lo", type, 3, [=](Wide a, Wide b, Wide c) { return product(a, b) + c; });
    same("mad24.hi", type, 3, [=](Wide a, Wide b, Wide c) { return (product(a, b) >> 16) + c; });
  }
  same("mad24.hi.sat", kTypes[3], 3, [](Wide a, Wide b, Wide c) {
    return clamp32(number(low(number(low(a), 24, true) * number(low(b), 24, true) >> 16), 32, true) + c);
  });
}

TEST_F(IntegerTest, Division) {
  for (const IntegerType& type : kTypes) {
    same("div", type, 2, [](Wide a, Wide b, Wide) { return b == 0 ? Wide{-1} : a / b; });
    same("rem", type, 2, [](Wide a, Wide b, Wide) { return b == 0 ? Wide{-1} : a % b; });
  }
}

TEST_F(IntegerTest, AbsoluteNegateExtremes) {
  for (const IntegerType& type : kTypes) {
    same("min", type, 2, [](Wide a, Wide b, Wide) { return a < b ? a : b; });
    same("max", type, 2, [](Wide a, Wide b, Wide) { return a > b ? a : b; });
    same("sad", type, 3, [](Wide a, Wide b, Wide c) { return c + (a < b ? b - a : a - b); });
    if (!type.is_signed) continue;
    same("abs", type, 1, [](Wide a, Wide, Wide) { return a < 0 ? -a : a; });
    same("neg", type, 1, [](Wide a, Wide, Wide) { return -a; });
  }
  same("min.relu", kTypes[3], 2, [](Wide a, Wide b, Wide) { return std::max<Wide>(0, std::min(a, b)); });
  same("max.relu", kTypes[3], 2, [](Wide a, Wide b, Wide) { return std::max<Wide>(0, std::max(a, b)); });
}

TEST_F(IntegerTest, PackedHalves) {
  for (bool is_signed : {false, true}) {
    const std::string type = is_signed ? ".s16x2" : ".u16x2";
    auto packed = [&](const std::string& opcode, const std::function<Wide(Wide, Wide)>& f) {
      check({opcode + type, {Sort::int32}, {Sort::int32, Sort::int32}, [=](const LaneValues& v) {
               std::uint64_t d = 0;
               for (int half = 0; half < 2; ++half) {
                 d |= (low(f(number(v.a >> 16 * half, 16, is_signed), number(v.b >> 16 * half, 16, is_signed))) & 0xffff)
                      << 16 * half;
               }
               return LaneResults{d};
             }});
    };
    packed("add", [](Wide a, Wide b) { return a + b; });
    packed("min", [](Wide a, Wide b) { return std::min(a, b); });
    packed("max", [](Wide a, Wide b) { return std::max(a, b); });
    if (!is_signed) continue;
    packed("min.relu", [](Wide a, Wide b) { return std::max<Wide>(0, std::min(a, b)); });
    packed("max.relu", [](Wide a, Wide b) { return std::max<Wide>(0, std::max(a, b)); });
  }
}

TEST_F(IntegerTest, Counting) {
  for (int bits : {32, 64}) {
    const Sort sort = bits == 32 ? Sort::int32 : Sort::int64;
    const std::string width = std::to_string(bits);
    check({"popc.b" + width, {Sort::int32}, {sort}, [=](const LaneValues& v) {
             std::uint64_t count = 0;
             for (int n = 0; n < bits; ++n) count += v.a >> n & 1;
             return LaneResults{count};
           }});
    check({"clz.b" + width, {Sort::int32}, {sort}, [=](const LaneValues& v) {
             std::uint64_t count = 0;
             for (int n = bits - 1; n >= 0 && (v.a >> n & 1) == 0; --n) ++count;
             return LaneResults{count};
           }});
    check({"brev.b" + width, {sort}, {sort}, [=](const LaneValues& v) {
             std::uint64_t d = 0;
             for (int n = 0; n < bits; ++n) d |= (v.a >> n & 1) << (bits - 1 - n);
             return LaneResults{d};
           }});
    for (bool is_signed : {false, true}) {
      for (bool shift_amount : {false, true}) {
        check({std::string("bfind") + (shift_amount ? ".shiftamt" : "") + (is_signed ? ".s" : ".u") + width,
               {Sort::int32},
               {sort},
               [=](const LaneValues& v) {
                 const std::uint64_t a = is_signed && (v.a >> (bits - 1) & 1) != 0 ? ~v.a : v.a;
                 for (int n = bits - 1; n >= 0; --n) {
                   if ((a >> n & 1) != 0) return LaneResults{static_cast<std::uint64_t>(shift_amount ? bits - 1 - n : n)};
                 }
                 return LaneResults{0xffffffff};
               }});
      }
    }
  }
}

TEST_F(IntegerTest, BitFields) {
  for (int bits : {32, 64}) {
    const Sort sort = bits == 32 ? Sort::int32 : Sort::int64;
    const std::string width = std::to_string(bits);
    for (bool is_signed : {false, true}) {
      check({std::string("bfe") + (is_signed ? ".s" : ".u") + width,
             {sort},
             {sort, Sort::amount, Sort::amount},
             [=](const LaneValues& v) {
               const int position = v.b & 0xff, length = v.c & 0xff, msb = bits - 1;
               const std::uint64_t sign = !is_signed || length == 0 ? 0 : v.a >> std::min(position + length - 1, msb) & 1;
               std::uint64_t d = 0;
               for (int n = 0; n <= msb; ++n) d |= (n < length && position + n <= msb ? v.a >> (position + n) & 1 : sign) << n;
               return LaneResults{d};
             }});
    }
    check({"bfi.b" + width, {sort}, {sort, sort, Sort::amount, Sort::amount}, [=](const LaneValues& v) {
             const int position = v.c & 0xff, length = v.e & 0xff;
             std::uint64_t d = v.b;
             for (int n = 0; n < length && position + n < bits; ++n) {
               d &= ~(std::uint64_t{1} << (position + n));
               d |= (v.a >> n & 1) << (position + n);
             }
             return LaneResults{d};
           }});
  }
}

TEST_F(IntegerTest, NthSetBit) {
  check({"fns.b32", {Sort::int32}, {Sort::int32, Sort::amount, Sort::amount}, [](const LaneValues& v) {
           const std::uint64_t none = 0xffffffff;
           if (v.b > 31) return LaneResults{none};  // undefined by the manual
           const auto offset = static_cast<std::int32_t>(v.c);
           if (offset == 0) return LaneResults{(v.a >> v.b & 1) != 0 ? v.b : none};
           std::vector<std::uint64_t> set;
           for (int n = static_cast<int>(v.b); n >= 0 && n<32; n += offset> 0 ? 1 : -1) {
             if ((v.a >> n & 1) != 0) set.push_back(n);
           }
           const std::int64_t wanted = std::abs(std::int64_t{offset});
           return LaneResults{wanted <= static_cast<std::int64_t>(set.size()) ? set[wanted - 1] : none};
         }});
  // Small offsets and bases, which random ones rarely are.
  InstructionHarness harness(integer_opcodes(), "fns.b32 %r1, %r2, %r3, %r4;");
  for (const auto& [base, offset, expected] :
       {std::array<std::uint32_t, 3>{3, 1, 3}, {3, ~0u, 3}, {2, 1, 3}, {2, ~0u, 1}, {0, 16, 31}, {0, 17, ~0u}}) {
    harness.set("%r2", 0xaaaaaaaa);
    harness.set("%r3", base);
    harness.set("%r4", offset);
    harness.run();
    EXPECT_EQ(harness.get("%r1")[5], expected) << base << " " << offset;
  }
}

TEST_F(IntegerTest, MasksAndExtensions) {
  for (bool clamp : {false, true}) {
    const std::string mode = clamp ? ".clamp" : ".wrap";
    check({"bmsk" + mode + ".b32", {Sort::int32}, {Sort::amount, Sort::amount}, [=](const LaneValues& v) {
             const std::uint64_t first = clamp ? v.a : v.a & 31, count = clamp ? v.b : v.b & 31;
             std::uint64_t d = 0;
             for (std::uint64_t n = first; n < 32 && n - first < count; ++n) d |= std::uint64_t{1} << n;
             return LaneResults{d};
           }});
    for (bool is_signed : {false, true}) {
      check({"szext" + mode + (is_signed ? ".s32" : ".u32"),
             {Sort::int32},
             {Sort::int32, Sort::amount},
             [=](const LaneValues& v) {
               const std::uint64_t count = clamp ? std::min<std::uint64_t>(v.b, 32) : v.b & 31;
               if (count == 0) return LaneResults{0};
               return LaneResults{low(number(v.a, static_cast<int>(count), is_signed))};
             }});
    }
  }
}

TEST_F(IntegerTest, Shifts) {
  for (const IntegerType& type : kBitTypes) {
    check({"shl." + type.name, {type.sort}, {type.sort, Sort::amount}, [=](const LaneValues& v) {
             return LaneResults{v.b >= 64 ? 0 : v.a << v.b};
           }});
  }
  std::vector<IntegerType> types = kTypes;
  types.insert(types.end(), kBitTypes.begin(), kBitTypes.end());
  for (const IntegerType& type : types) {
    check({"shr." + type.name, {type.sort}, {type.sort, Sort::amount}, [=](const LaneValues& v) {
             return LaneResults{low(number(v.a, type.bits, type.is_signed) >> std::min<std::uint64_t>(v.b, 100))};
           }});
  }
  for (bool clamp : {false, true}) {
    const std::string mode = clamp ? ".clamp.b32" : ".wrap.b32";
    const auto amount = [=](std::uint64_t c) { return clamp ? std::min<std::uint64_t>(c, 32) : c & 31; };
    check({"shf.l" + mode, {Sort::int32}, {Sort::int32, Sort::int32, Sort::amount}, [=](const LaneValues& v) {
             return LaneResults{(v.b << 32 | v.a) << amount(v.c) >> 32};
           }});
    check({"shf.r" + mode, {Sort::int32}, {Sort::int32, Sort::int32, Sort::amount}, [=](const LaneValues& v) {
             return LaneResults{(v.b << 32 | v.a) >> amount(v.c)};
           }});
  }
}

TEST_F(IntegerTest, Permutation) {
  const auto byte = [](const LaneValues& v, std::uint64_t n) { return (v.b << 32 | v.a) >> 8 * n & 0xff; };
  check({"prmt.b32", {Sort::int32}, {Sort::int32, Sort::int32, Sort::int32}, [=](const LaneValues& v) {
           std::uint64_t d = 0;
           for (int n = 0; n < 4; ++n) {
             const std::uint64_t control = v.c >> 4 * n & 0xf, value = byte(v, control & 7);
             d |= ((control & 8) == 0 ? value : (value & 0x80) != 0 ? 0xff : 0) << 8 * n;
           }
           return LaneResults{d};
         }});
  // The manual's table: source byte of d3, d2, d1, d0.
  const std::map<std::string, std::vector<std::array<int, 4>>> modes{
      {"f4e", {{3, 2, 1, 0}, {4, 3, 2, 1}, {5, 4, 3, 2}, {6, 5, 4, 3}}},
      {"b4e", {{5, 6, 7, 0}, {6, 7, 0, 1}, {7, 0, 1, 2}, {0, 1, 2, 3}}},
      {"rc8", {{0, 0, 0, 0}, {1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}}},
      {"ecl", {{3, 2, 1, 0}, {3, 2, 1, 1}, {3, 2, 2, 2}, {3, 3, 3, 3}}},
      {"ecr", {{0, 0, 0, 0}, {1, 1, 1, 0}, {2, 2, 1, 0}, {3, 2, 1, 0}}},
      {"rc16", {{1, 0, 1, 0}, {3, 2, 3, 2}, {1, 0, 1, 0}, {3, 2, 3, 2}}}};
  for (const auto& [name, table] : modes) {
    check({"prmt.b32." + name, {Sort::int32}, {Sort::int32, Sort::int32, Sort::int32}, [&](const LaneValues& v) {
             std::uint64_t d = 0;
             for (int n = 0; n < 4; ++n) d = d << 8 | byte(v, table[v.c & 3][n]);
             return LaneResults{d};
           }});
  }
}

TEST_F(IntegerTest, DotProducts) {
  for (bool signed_a : {false, true}) {
    for (bool signed_b : {false, true}) {
      const std::string types = std::string(signed_a ? ".s32" : ".u32") + (signed_b ? ".s32" : ".u32");
      check({"dp4a" + types, {Sort::int32}, {Sort::int32, Sort::int32, Sort::int32}, [=](const LaneValues& v) {
               Wide d = static_cast<Wide>(v.c);
               for (int n = 0; n < 4; ++n) d += number(v.a >> 8 * n, 8, signed_a) * number(v.b >> 8 * n, 8, signed_b);
               return LaneResults{low(d)};
             }});
      for (bool high : {false, true}) {
        check({std::string("dp2a") + (high ? ".hi" : ".lo") + types,
               {Sort::int32},
               {Sort::int32, Sort::int32, Sort::int32},
               [=](const LaneValues& v) {
                 Wide d = static_cast<Wide>(v.c);
                 for (int n = 0; n < 2; ++n)
                   d += number(v.a >> 16 * n, 16, signed_a) * number(v.b >> 8 * (n + (high ? 2 : 0)), 8, signed_b);
                 return LaneResults{low(d)};
               }});
      }
    }
  }
}

TEST_F(IntegerTest, Logic) {
  for (const IntegerType& type : kBitTypes) {
    const auto two = [&](const std::string& opcode, std::uint64_t (*f)(std::uint64_t, std::uint64_t)) {
      check({opcode + "." + type.name, {type.sort}, {type.sort, type.sort}, [=](const LaneValues& v) {
               return LaneResults{f(v.a, v.b)};
             }});
    };
    two("and", [](std::uint64_t a, std::uint64_t b) { return a & b; });
    two("or", [](std::uint64_t a, std::uint64_t b) { return a | b; });
    two("xor", [](std::uint64_t a, std::uint64_t b) { return a ^ b; });
    check({"not." + type.name, {type.sort}, {type.sort}, [](const LaneValues& v) { return LaneResults{~v.a}; }});
    check({"cnot." + type.name, {type.sort}, {type.sort}, [](const LaneValues& v) { return LaneResults{v.a == 0 ? 1u : 0u}; }});
  }
  for (Sort a : {Sort::pred, Sort::not_pred}) {
    for (Sort b : {Sort::pred, Sort::not_pred}) {
      check({"and.pred", {Sort::pred}, {a, b}, [](const LaneValues& v) { return LaneResults{v.a & v.b}; }});
      check({"or.pred", {Sort::pred}, {a, b}, [](const LaneValues& v) { return LaneResults{v.a | v.b}; }});
      check({"xor.pred", {Sort::pred}, {a, b}, [](const LaneValues& v) { return LaneResults{v.a ^ v.b}; }});
    }
    check({"not.pred", {Sort::pred}, {a}, [](const LaneValues& v) { return LaneResults{~v.a}; }});
  }
}

TEST_F(IntegerTest, Video) {
  struct Operation {
    std::string name;
    std::function<int(int, int)> f;
  };
  const std::vector<Operation> arithmetic{
      {"vadd", [](int x, int y) { return x + y; }},
      {"vsub", [](int x, int y) { return x - y; }},
      {"vavrg", [](int x, int y) { return x + y >= 0 ? (x + y + 1) / 2 : -((1 - x - y) / 2); }},
      {"vabsdiff", [](int x, int y) { return std::abs(x - y); }},
      {"vmin", [](int x, int y) { return std::min(x, y); }},
      {"vmax", [](int x, int y) { return std::max(x, y); }}};
  const std::vector<Operation> comparisons{{"eq", std::equal_to<int>()}, {"ne", std::not_equal_to<int>()},
                                           {"lt", std::less<int>()},     {"le", std::less_equal<int>()},
                                           {"gt", std::greater<int>()},  {"ge", std::greater_equal<int>()}};
  const auto name = [](bool is_signed) { return std::string(is_signed ? ".s32" : ".u32"); };
  for (int parts : {2, 4}) {
    const int bits = 32 / parts;
    const auto form = [&](const std::string& opcode, bool signed_a, bool signed_b, bool adds, int least, int most,
                          const std::function<int(int, int)>& f) {
      check({opcode, {Sort::int32}, {Sort::int32, Sort::int32, Sort::int32}, [=](const LaneValues& v) {
               std::uint64_t d = adds ? v.c : 0;
               for (int n = 0; n < parts; ++n) {
                 const int t = std::clamp(f(static_cast<int>(number(v.a >> bits * n, bits, signed_a)),
                                            static_cast<int>(number(v.b >> bits * n, bits, signed_b))),
                                          least, most);
                 d = adds ? d + static_cast<std::uint64_t>(t)
                          : d | (static_cast<std::uint64_t>(t) & ((1u << bits) - 1)) << bits * n;
               }
               return LaneResults{d};
             }});
    };
    const int lowest = std::numeric_limits<int>::min(), highest = std::numeric_limits<int>::max();
    for (int types = 0; types < 8; ++types) {
      const bool d = (types & 1) != 0, a = (types & 2) != 0, b = (types & 4) != 0;
      for (const Operation& operation : arithmetic) {
        const std::string opcode = operation.name + std::to_string(parts) + name(d) + name(a) + name(b);
        form(opcode, a, b, false, lowest, highest, operation.f);
        form(opcode + ".add", a, b, true, lowest, highest, operation.f);
        const int half = 1 << (bits - 1);
        form(opcode + ".sat", a, b, false, d ? -half : 0, d ? half - 1 : 2 * half - 1, operation.f);
      }
      if (d) continue;
      for (const Operation& operation : comparisons) {
        const std::string opcode = "vset" + std::to_string(parts) + name(a) + name(b) + "." + operation.name;
        form(opcode, a, b, false, lowest, highest, operation.f);
        form(opcode + ".add", a, b, true, lowest, highest, operation.f);
      }
    }
  }
}

std::uint64_t look_up(int table, const LaneValues& v) {
  std::uint64_t d = 0;
  for (int n = 0; n < 32; ++n) {
    const std::uint64_t entry = (v.a >> n & 1) * 4 + (v.b >> n & 1) * 2 + (v.c >> n & 1);
    d |= (static_cast<std::uint64_t>(table) >> entry & 1) << n;
  }
  return d;
}

TEST_F(IntegerTest, ThreeInputLogic) {
  for (int table = 0; table < 256; ++table) {
    const std::string last = ", " + std::to_string(table);
    check({"lop3.b32",
           {Sort::int32},
           {Sort::int32, Sort::int32, Sort::int32},
           [=](const LaneValues& v) { return LaneResults{look_up(table, v)}; },
           last});
    if (table % 13 != 0) continue;
    for (bool is_or : {false, true}) {
      for (Sort q : {Sort::pred, Sort::not_pred}) {
        check({is_or ? "lop3.or.b32" : "lop3.and.b32",
               {Sort::int32, Sort::pred},
               {Sort::int32, Sort::int32, Sort::int32, q},
               [=](const LaneValues& v) {
                 const std::uint64_t d = look_up(table, v);
                 const bool any = d != 0, other = v.e != 0;
                 return LaneResults{d, is_or ? any || other : any && other};
               },
               last,
               3});
      }
    }
  }
  InstructionHarness harness(integer_opcodes(), "lop3.and.b32 _|%p1, %r1, %r2, %r3, 0x80, %p2;");
  harness.set("%r1", 6);
  harness.set("%r2", 3);
  harness.set("%r3", 2);
  harness.set("%p2", 1);
  harness.run(0xffff);
  EXPECT_EQ(harness.get("%p1")[3], 1u);
}

// Chains as compilers make them, of four words, against 256-bit arithmetic word by word.
class CarryTest : public IntegerTest {
 protected:
  // One instruction that reads and one that writes the condition code around `middle`: first sets it, last gives it as a
  // number.
  void chain(const std::string& text, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
             std::uint64_t mask_bits,
             const std::function<std::vector<std::uint64_t>(const std::vector<std::uint64_t>&)>& reference) {
    ++SweepCounts::total().forms;
    ++SweepCounts::total().texts;
    std::mt19937_64 random(7);
    InstructionHarness harness(integer_opcodes(), text);
    const auto& edges = edges_of(mask_bits == 0xffffffff ? Sort::int32 : Sort::int64);
    for (int round = 0; round < 100; ++round) {
      harness.scramble(random);
      std::vector<Lanes> values(inputs.size());
      for (std::size_t n = 0; n < inputs.size(); ++n) {
        for (std::uint64_t& lane : values[n])
          lane = (random() % 2 == 0 ? edges[random() % edges.size()] : random()) & mask_bits;
        harness.set(inputs[n], values[n]);
      }
      const Mask mask = round % 3 == 0 ? kAllLanes : static_cast<Mask>(random());
      harness.run(mask);
      std::vector<Lanes> results;
      for (const std::string& output : outputs) results.push_back(harness.get(output));
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        ++SweepCounts::total().cases;
        std::vector<std::uint64_t> sources;
        for (const Lanes& value : values) sources.push_back(value[lane]);
        const std::vector<std::uint64_t> expected = reference(sources);
        for (std::size_t n = 0; n < outputs.size(); ++n) {
          ASSERT_EQ(results[n][lane], expected[n] & mask_bits) << text << " output " << n << " lane " << lane;
        }
      }
    }
  }
};

TEST_F(CarryTest, Addition) {
  for (const IntegerType& type : {kTypes[2], kTypes[3], kTypes[4], kTypes[5]}) {
    const bool is_32 = type.bits == 32;
    const std::string r = is_32 ? "%r" : "%rd", t = type.name;
    const std::uint64_t mask_bits = is_32 ? 0xffffffff : ~std::uint64_t{0};
    const auto expect = [&](bool subtract) {
      return [=](const std::vector<std::uint64_t>& s) {
        std::vector<std::uint64_t> d;
        Wide carry = 0;
        for (int n = 0; n < 3; ++n) {
          const Wide a = static_cast<Wide>(s[n]), b = static_cast<Wide>(s[n + 3]);
          const Wide value = subtract ? a - b - carry : a + b + carry;
          carry = subtract ? value < 0 : value >> type.bits;
          d.push_back(low(value));
        }
        d.push_back(low(subtract ? -carry : carry));  // 0 op 0 op carry
        return d;
      };
    };
    for (const std::string op : {"add", "sub"}) {
      std::string text = op + ".cc." + t + " " + r + "11, " + r + "1, " + r + "4; ";
      text += op + "c.cc." + t + " " + r + "12, " + r + "2, " + r + "5; ";
      text += op + "c.cc." + t + " " + r + "13, " + r + "3, " + r + "6; ";
      text += op + "c." + t + " " + r + "14, 0, 0;";
      const std::vector<std::string> inputs{r + "1", r + "2", r + "3", r + "4", r + "5", r + "6"};
      chain(text, inputs, {r + "11", r + "12", r + "13", r + "14"}, mask_bits, expect(op == "sub"));
      // In place: the sums replace the first operands.
      std::string in_place = op + ".cc." + t + " " + r + "1, " + r + "1, " + r + "4; ";
      in_place += op + "c.cc." + t + " " + r + "5, " + r + "2, " + r + "5; ";
      in_place += op + "c.cc." + t + " " + r + "3, " + r + "3, " + r + "6; ";
      in_place += op + "c." + t + " " + r + "14, 0, 0;";
      chain(in_place, inputs, {r + "1", r + "5", r + "3", r + "14"}, mask_bits, expect(op == "sub"));
    }
  }
}

// ptxas makes one carry flag of both: a subtraction sets it where it does not borrow.
TEST_F(CarryTest, AdditionAfterSubtraction) {
  const std::uint64_t bits = 0xffffffff;
  chain("sub.cc.u32 %r3, %r1, %r2; addc.u32 %r4, 0, 0;", {"%r1", "%r2"}, {"%r4"}, bits,
        [](const std::vector<std::uint64_t>& s) { return std::vector<std::uint64_t>{s[0] >= s[1] ? 1u : 0u}; });
  chain("add.cc.u32 %r3, %r1, %r2; subc.u32 %r4, 0, 0;", {"%r1", "%r2"}, {"%r4"}, bits,
        [](const std::vector<std::uint64_t>& s) { return std::vector<std::uint64_t>{s[0] + s[1] > 0xffffffff ? 0u : ~0u}; });
}

TEST_F(CarryTest, MultiplyAdd) {
  for (const IntegerType& type : {kTypes[2], kTypes[3], kTypes[4], kTypes[5]}) {
    const bool is_32 = type.bits == 32;
    const std::string r = is_32 ? "%r" : "%rd", t = type.name;
    const std::uint64_t mask_bits = is_32 ? 0xffffffff : ~std::uint64_t{0};
    for (bool high : {false, true}) {
      const std::string mode = high ? ".hi" : ".lo";
      std::string text = "mad" + mode + ".cc." + t + " " + r + "11, " + r + "1, " + r + "2, " + r + "3; ";
      text += "madc" + mode + ".cc." + t + " " + r + "12, " + r + "4, " + r + "5, " + r + "6; ";
      text +=
          "madc" + mode + "." + t + " " + r + "13, " + r + "1, " + r + "4, " + r + "3; ";  // leaves the condition code as it is
      text += "addc." + t + " " + r + "14, 0, 0;";
      chain(text, {r + "1", r + "2", r + "3", r + "4", r + "5", r + "6"}, {r + "11", r + "12", r + "13", r + "14"}, mask_bits,
            [=](const std::vector<std::uint64_t>& s) {
              const auto part = [&](std::uint64_t x, std::uint64_t y) {
                const auto product = static_cast<UnsignedWide>(number(x, type.bits, type.is_signed)) *
                                     static_cast<UnsignedWide>(number(y, type.bits, type.is_signed));
                return static_cast<Wide>(static_cast<std::uint64_t>(high ? product >> type.bits : product) & mask_bits);
              };
              const Wide first = part(s[0], s[1]) + static_cast<Wide>(s[2]);
              const Wide second = part(s[3], s[4]) + static_cast<Wide>(s[5]) + (first >> type.bits);
              const Wide third = part(s[0], s[3]) + static_cast<Wide>(s[2]) + (second >> type.bits);
              return std::vector<std::uint64_t>{low(first), low(second), low(third), low(second >> type.bits)};
            });
    }
  }
}

TEST_F(IntegerTest, RejectsWhatThereIsNot) {
  for (const char* text :
       {"add.sat.u32 %r1, %r2, %r3;", "sub.s16x2 %r1, %r2, %r3;", "mul.s32 %r1, %r2, %r3;", "mul.wide.s64 %rd1, %rd2, %rd3;",
        "mad.lo.sat.s32 %r1, %r2, %r3, %r4;", "abs.u32 %r1, %r2;", "min.relu.s64 %rd1, %rd2, %rd3;",
        "max.relu.u32 %r1, %r2, %r3;", "popc.u32 %r1, %r2;", "bfe.b32 %r1, %r2, 1, 2;", "shf.r.b32 %r1, %r2, %r3, %r4;",
        "shl.u32 %r1, %r2, %r3;", "shf.l.wrap.b64 %rd1, %rd2, %rd3, %r1;", "xor.u32 %r1, %r2, %r3;", "cnot.pred %p1, %p2;",
        "lop3.xor.b32 %r1|%p1, %r2, %r3, %r4, 1, %p2;", "add.cc.u16 %rs1, %rs2, %rs3;", "madc.wide.u32 %rd1, %r1, %r2, %rd2;",
        "add.f32 %f1, %f2, %f3;",
        // Registers of another size.
        "add.u32 %r1, %rs1, %r2;", "add.u16 %rs1, %r1, %rs2;", "shl.b64 %rd1, %rd2, %rd3;", "shl.b64 %rd1, %rd2, %rs3;",
        "mul.wide.u32 %rd1, %rd2, %r1;", "mad.wide.u16 %r1, %rs1, %rs2, %rs3;", "popc.b64 %rd1, %rd2;",
        "and.pred %p1, %r1, %p2;", "add.u32 %p1, %r1, %r2;", "add.u32 %r1, %r2;", "lop3.b32 %r1, %r2, %r3, %r4, %r5;"}) {
    EXPECT_THROW(InstructionHarness(integer_opcodes(), text), Error) << text;
  }
}

}  // namespace
}  // namespace sim::test

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "error.h"
#include "ptx/module.h"
#include "tests/ptx_sample.h"

namespace sim::ptx {
namespace {

using Kind = Operand::Kind;
using testing::ElementsAre;

const std::string head = ".version 9.0\n.target sm_80\n.address_size 64\n";
Module module_of(const std::string& statements) { return parse(head + statements); }
// Registers that the instructions of tests use.
const std::string registers =
    ".reg .pred %p<4>, p, q; .reg .b16 %h<4>; .reg .b32 %r<10>, a; .reg .f32 %f<8>; .reg .b64 %rd<9>;\n";
Module body_of(const std::string& statements) { return module_of(".entry k() {" + registers + statements + "}\n"); }

const Variable& variable(const std::vector<Variable>& list, std::string_view name) {
  for (const Variable& variable : list) {
    if (variable.name == name) return variable;
  }
  throw Error("no variable {}", name);
}
const Function& function(const Module& module, std::string_view name) {
  for (const Function& function : module.functions) {
    if (function.name == name) return function;
  }
  throw Error("no function {}", name);
}

template <class T>
std::vector<T> values(const Variable& variable) {
  std::vector<T> result(variable.initial.size() / sizeof(T));
  std::memcpy(result.data(), variable.initial.data(), variable.initial.size());
  return result;
}

// An operand as text, with the registers' own names.
std::string text(const Function& function, const Operand& operand) {
  const auto join = [&](std::string_view begin, std::string_view between, std::string_view end) {
    std::string result(begin);
    for (std::size_t i = 0; i < operand.elements.size(); ++i) {
      result += (i > 0 ? std::string(between) : "") + text(function, operand.elements[i]);
    }
    return result + std::string(end);
  };
  const auto name = [&] { return operand.reg >= 0 ? function.registers.at(operand.reg).name : std::string(operand.name); };
  switch (operand.kind) {
    case Kind::register_:
      return (operand.negated ? "!" : "") + name() + (operand.name.empty() ? "" : fmt::format(" .{}", operand.name));
    case Kind::integer:
      return fmt::format("{}", operand.value);
    case Kind::floating:
      return fmt::format("f{}:{:x}", operand.width, operand.value);
    case Kind::special:
      return "special " + name();
    case Kind::symbol:
      return fmt::format("{}{:+}", operand.name, operand.value);
    case Kind::address:
      return fmt::format("[{}{:+}]", name(), operand.value);
    case Kind::vector:
      return join("{", ",", "}");
    case Kind::pair:
      return join("", "|", "");
    case Kind::list:
      return join("(", ",", ")");
    case Kind::sink:
      return "_";
  }
  return "?";
}
std::string text(const Function& function, const Instruction& instruction) {
  std::string result;
  if (instruction.guard >= 0)
    result = (instruction.guard_negated ? "@!" : "@") + function.registers.at(instruction.guard).name + " ";
  result += instruction.full;
  for (std::size_t i = 0; i < instruction.operands.size(); ++i)
    result += (i > 0 ? ", " : " ") + text(function, instruction.operands[i]);
  return result;
}
// The one instruction that `statement` is, after declarations.
std::string parsed(const std::string& statement) {
  const Module module = body_of(statement);
  return text(module.functions.back(), module.functions.back().body.at(0));
}

TEST(Ptx, ReadsWhatTheCompilerWrites) {
  const Module module = parse(ptx_sample);
  EXPECT_EQ(module.version_major, 9);
  EXPECT_EQ(module.version_minor, 0);
  EXPECT_EQ(module.target, "sm_80");
  EXPECT_EQ(module.files.at(1), "/home/user/a.cu");
  EXPECT_EQ(module.files.at(2), "/usr/local/cuda/include/cuda_fp16.hpp");

  ASSERT_EQ(module.functions.size(), 3U);
  const Function& printf = function(module, "vprintf");
  EXPECT_FALSE(printf.is_defined);
  EXPECT_EQ(printf.parameters.size(), 2U);
  EXPECT_EQ(printf.results.at(0).bytes, 4U);
  EXPECT_TRUE(function(module, "_Z2f1i").is_defined);

  const Function& kernel = function(module, "_Z6kernelPfi");
  EXPECT_TRUE(kernel.is_entry);
  EXPECT_THAT(kernel.max_threads, ElementsAre(256, 1, 1));
  EXPECT_EQ(kernel.min_blocks, 2);
  EXPECT_EQ(variable(kernel.variables, "__local_depot3").bytes, 48U);
  EXPECT_EQ(variable(kernel.variables, "__local_depot3").alignment, 16U);
  EXPECT_EQ(variable(kernel.variables, "__local_depot3").space, Space::local);
  EXPECT_EQ(variable(kernel.variables, "_ZZ6kernelPfiE2hh").space, Space::shared);
  EXPECT_TRUE(variable(module.variables, "sh").is_extern);
  EXPECT_EQ(variable(module.variables, "sh").bytes, 0U);
  EXPECT_EQ(values<float>(variable(module.variables, "table")), (std::vector<float>{1, 2.5F, -3, 4}));
  EXPECT_EQ(values<char>(variable(module.variables, "$str")), (std::vector<char>{'%', 'f', '\n', '\0'}));

  // The second call has variables of its own.
  EXPECT_EQ(variable(kernel.variables, "param0").space, Space::parameter);
  std::vector<std::string> calls;
  for (const Instruction& instruction : kernel.body) {
    if (instruction.opcode == "call" || instruction.opcode == "bra" || instruction.has("v2") || instruction.opcode == "shfl") {
      calls.push_back(text(kernel, instruction));
    }
  }
  EXPECT_THAT(calls, ElementsAre("call (retval0+0), %rd2, (param0+0), prototype_2+0", "@%p1 bra $L__BB3_21+0",
                                 "ld.global.v2.f32 {%f1,%f2}, [%rd3+8]", "shfl.sync.bfly.b32 %r5|%p2, %r4, 16, 31, -1",
                                 "call.uni (retval0@2+0), vprintf+0, (param0@2+0,param1+0)", "@!p bra LL+0"));
  EXPECT_EQ(variable(kernel.variables, "param0@2").bytes, 8U);
  ASSERT_EQ(kernel.prototypes.size(), 1U);
  EXPECT_EQ(kernel.prototypes[0].first, "prototype_2");
  EXPECT_EQ(kernel.prototypes[0].second.size(), 2U);
  EXPECT_THAT(kernel.prototype_results, ElementsAre(1));
}

TEST(Ptx, FollowsLinesToWhereTheyWereInlined) {
  const Module module = module_of(
      ".entry k() { .reg .b32 %r<9>; exit;\n.loc 1 10 0\nmov.b32 %r1, 0;\n.loc 1 21 3\n.loc 2 549 1, function_name $f, "
      "inlined_at 1 21 3\nmov.b32 %r1, 1;\n"
      ".loc 3 7 9, function_name $g+12, inlined_at 2 549 1\nmov.b32 %r1, 2;\n.loc 1 21 3\nmov.b32 %r1, 3;\n"
      ".loc 3 8 1, function_name $g, inlined_at 4 44 4\nmov.b32 %r1, 4;\n"
      ".loc 2 549 1, function_name $f, inlined_at 4 44 4\n.loc 3 7 9, function_name $g, inlined_at 2 549 1\nmov.b32 %r1, 5; }");
  const Function& f = module.functions[0];
  const auto chain = [&](std::size_t instruction) {
    std::string result;
    for (int i = f.body.at(instruction).line; i >= 0; i = f.lines.at(i).inlined_at)
      result += fmt::format("{}:{} ", f.lines.at(i).file, f.lines.at(i).line);
    return result;
  };
  EXPECT_EQ(f.body[0].line, -1);
  EXPECT_EQ(chain(1), "1:10 ");
  EXPECT_EQ(chain(2), "2:549 1:21 ");
  EXPECT_EQ(chain(3), "3:7 2:549 1:21 ");
  EXPECT_EQ(chain(4), "1:21 ");
  EXPECT_EQ(chain(5), "3:8 4:44 ");        // never seen itself
  EXPECT_EQ(chain(6), "3:7 2:549 4:44 ");  // 2:549 is what it was last
  EXPECT_EQ(f.lines.size(), 8U);           // 1:21 is one line
  EXPECT_EQ(f.body[1].ptx_line, 6);
}

TEST(Ptx, ReadsOperandsOfEveryKind) {
  EXPECT_EQ(parsed("add.s32 %r1, %r2, -5;"), "add.s32 %r1, %r2, -5");
  EXPECT_EQ(parsed("ld.global.nc.L1::no_allocate.L2::128B.v4.f32 {%f1, %f2, _, %f4}, [%rd1+-16];"),
            "ld.global.nc.L1::no_allocate.L2::128B.v4.f32 {%f1,%f2,_,%f4}, [%rd1-16]");
  EXPECT_EQ(parsed("ld.u32 %r1, [%rd1];"), "ld.u32 %r1, [%rd1+0]");
  EXPECT_EQ(parsed("ld.u32 %r1, [%rd1 - 4];"), "ld.u32 %r1, [%rd1-4]");
  EXPECT_EQ(parsed("ld.u32 %r1, [%rd1+4*8-1];"), "ld.u32 %r1, [%rd1+31]");
  EXPECT_EQ(parsed("ld.shared.u32 %r1, [64];"), "ld.shared.u32 %r1, [+64]");
  EXPECT_EQ(parsed(".shared .b32 v[4]; ld.shared.u32 %r1, [v+8];"), "ld.shared.u32 %r1, [v+8]");
  EXPECT_EQ(parsed(".shared .b32 v[4]; mov.u32 %r1, v+4;"), "mov.u32 %r1, v+4");
  EXPECT_EQ(parsed("@!p setp.lt.and.s32 %p1|%p2, %r1, %r2, !q;"), "@!p setp.lt.and.s32 %p1|%p2, %r1, %r2, !q");
  EXPECT_EQ(parsed("elect.sync _|%p1, 0xffffffff;"), "elect.sync _|%p1, 4294967295");
  EXPECT_EQ(parsed("mov.u32 %r1, %tid.x;"), "mov.u32 %r1, special tid.x");
  EXPECT_EQ(parsed("mov.u32 %r1, %ctaid .y;"), "mov.u32 %r1, special ctaid.y");
  EXPECT_EQ(parsed("mov.v4.u32 {%r1,%r2,%r3,%r4}, %ntid;"), "mov.v4.u32 {%r1,%r2,%r3,%r4}, special ntid");
  EXPECT_EQ(parsed("mov.u32 %r1, %envreg31;"), "mov.u32 %r1, special envreg31");
  EXPECT_EQ(parsed("mov.u64 %rd1, %pm7_64;"), "mov.u64 %rd1, special pm7_64");
  EXPECT_EQ(parsed("vadd.s32.u32.s32 %r1, %r2.b0, %r3.h1;"), "vadd.s32.u32.s32 %r1, %r2 .b0, %r3 .h1");
  EXPECT_EQ(parsed("mov .b32 \t%r1 , {%h1,%h2} ;"), "mov.b32 %r1, {%h1,%h2}");
  EXPECT_EQ(parsed("prmt.b32.f4e %r1, %r2, %r3, %r4;"), "prmt.b32.f4e %r1, %r2, %r3, %r4");
  EXPECT_EQ(parsed("tcgen05.ld.sync.aligned.32x32b.x1.b32 {%r1}, [%r2];"),
            "tcgen05.ld.sync.aligned.32x32b.x1.b32 {%r1}, [%r2+0]");
  EXPECT_EQ(
      parsed("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1], [%rd1, {%r2, %r3}], [%r4];"),
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r1+0], ([%rd1+0],{%r2,%r3}), [%r4+0]");
  EXPECT_EQ(parsed(".reg .v2 .f32 v; add.f32 v.x, v.y, v.r;"), "add.f32 v.x, v.y, v.x");
  EXPECT_EQ(parsed(".reg .v4 .b32 v; ld.v4.b32 v, [%rd1];"), "ld.v4.b32 {v.x,v.y,v.z,v.w}, [%rd1+0]");
  EXPECT_EQ(parsed("ret;"), "ret");
}

TEST(Ptx, ReadsNumbers) {
  const auto number = [](const std::string& written) { return parsed("mov.b64 %rd1, " + written + ";").substr(14); };
  EXPECT_EQ(number("0"), "0");
  EXPECT_EQ(number("017"), "15");
  EXPECT_EQ(number("0x1fU"), "31");
  EXPECT_EQ(number("0B101"), "5");
  EXPECT_EQ(number("4294967295U"), "4294967295");
  EXPECT_EQ(number("-9223372036854775808"), "-9223372036854775808");
  EXPECT_EQ(number("0xFFFFFFFFFFFFFFFF"), "-1");
  EXPECT_EQ(number("0f3F800000"), "f32:3f800000");
  EXPECT_EQ(number("0Fff800000"), "f32:ff800000");
  EXPECT_EQ(number("-0f3F800000"), "f32:bf800000");
  EXPECT_EQ(number("0d3FF0000000000000"), "f64:3ff0000000000000");
  EXPECT_EQ(number("1.5"), "f64:3ff8000000000000");
  EXPECT_EQ(number("-.5"), fmt::format("f64:{:x}", std::bit_cast<std::int64_t>(-0.5)));
  EXPECT_EQ(number("2."), fmt::format("f64:{:x}", std::bit_cast<std::int64_t>(2.0)));
  EXPECT_EQ(number("1.25e-3"), fmt::format("f64:{:x}", std::bit_cast<std::int64_t>(1.25e-3)));
  EXPECT_EQ(number("1E5"), fmt::format("f64:{:x}", std::bit_cast<std::int64_t>(1e5)));
  EXPECT_EQ(number("WARP_SZ"), "32");
}

TEST(Ptx, WorksOutConstantExpressions) {
  const auto value = [](const std::string& written) { return std::stoll(parsed("mov.b64 %rd1, " + written + ";").substr(14)); };
  EXPECT_EQ(value("2+3*4"), 14);
  EXPECT_EQ(value("(2+3)*4"), 20);
  EXPECT_EQ(value("10-3-2"), 5);
  EXPECT_EQ(value("1<<4|3"), 19);
  EXPECT_EQ(value("0xff & ~0xf"), 0xf0);
  EXPECT_EQ(value("7 ^ 2"), 5);
  EXPECT_EQ(value("WARP_SZ-1"), 31);
  EXPECT_EQ(value("17 % 5 + 17 / 5"), 5);
  EXPECT_EQ(value("-17 / 5"), -3);
  EXPECT_EQ(value("-1 >> 1"), -1);
  EXPECT_EQ(value("(.u64)-1 >> 63"), 1);
  EXPECT_EQ(value("-1 < 1U"), 0);  // unsigned, as in C
  EXPECT_EQ(value("-1 < 1"), 1);
  EXPECT_EQ(value("0xFFFFFFFFFFFFFFFF > 1"), 1);  // so is what needs 64 bits
  EXPECT_EQ(value("(.s64) 1.75"), 1);
  EXPECT_EQ(value("3 > 2 ? 10 : 20"), 10);
  EXPECT_EQ(value("0 ? 1 : 0 ? 2 : 3"), 3);
  EXPECT_EQ(value("1 == 1 && !0 || 1 != 1"), 1);
  EXPECT_EQ(value("1 << 64"), 0);
  EXPECT_EQ(value("(-9223372036854775807 - 1) / -1"), INT64_MIN);
  EXPECT_EQ(value("(-9223372036854775807 - 1) % -1"), 0);
  EXPECT_EQ(value("1.5 + 1 == 2.5"), 1);
}

TEST(Ptx, HidesOuterNamesInBraces) {
  const Module module = body_of(R"(
mov.u32 %r1, 1;
{ .reg .b16 %r<5>; .reg .f32 a;
  .shared .b32 s;
  st.shared.u16 [s], %r1; mov.b32 a, %r5;
  { .shared .b64 s; .reg .b32 %r1; mov.u32 %r1, s; bra inner; inner: }
  ld.shared.u16 %r1, [s]; bra inner; inner:
}
{ .shared .b32 s; mov.u32 %r1, s; bra outer; }
mov.u32 a, inner; outer: inner:
)");
  const Function& f = module.functions[0];
  std::vector<std::string> lines;
  for (const Instruction& instruction : f.body) lines.push_back(text(f, instruction));
  EXPECT_THAT(lines, ElementsAre("mov.u32 %r1, 1", "st.shared.u16 [s+0], %r1", "mov.b32 a, %r5", "mov.u32 %r1, s@2+0",
                                 "bra inner+0", "ld.shared.u16 %r1, [s+0]", "bra inner@2+0", "mov.u32 %r1, s@3+0",
                                 "bra outer+0", "mov.u32 a, inner@3+0"));
  const auto type = [&](std::size_t instruction, std::size_t operand) {
    return f.registers.at(f.body[instruction].operands[operand].reg).type;
  };
  EXPECT_EQ(type(0, 0), Type::b32);
  EXPECT_EQ(type(1, 1), Type::b16);
  EXPECT_EQ(type(2, 0), Type::f32);
  EXPECT_EQ(type(2, 1), Type::b32);  // %r5 is beyond the inner range
  EXPECT_EQ(type(3, 0), Type::b32);
  EXPECT_EQ(f.body[0].operands[0].reg, f.body[7].operands[0].reg);
  EXPECT_NE(f.body[0].operands[0].reg, f.body[3].operands[0].reg);
  EXPECT_EQ(variable(f.variables, "s").bytes, 4U);
  EXPECT_EQ(variable(f.variables, "s@2").bytes, 8U);
  std::vector<std::pair<std::string, int>> labels(f.labels.begin(), f.labels.end());
  EXPECT_THAT(labels, ElementsAre(std::pair<std::string, int>("inner", 5), std::pair<std::string, int>("inner@2", 7),
                                  std::pair<std::string, int>("outer", 10), std::pair<std::string, int>("inner@3", 10)));
}

TEST(Ptx, KeepsModuleVariablesApartFromLocalOnes) {
  const Module module = module_of(
      ".global .u32 v; .entry k() { .reg .b64 r; mov.u64 r, v; { .local .b64 v; mov.u64 r, v; } mov.u64 r, v; .global .u32 w = "
      "5; mov.u64 r, w; }");
  const Function& f = module.functions[0];
  EXPECT_EQ(f.body[0].operands[1].name, "v");
  EXPECT_EQ(f.body[1].operands[1].name, "v@2");
  EXPECT_EQ(f.body[2].operands[1].name, "v");
  EXPECT_EQ(f.body[3].operands[1].name, "w@k");
  EXPECT_EQ(values<int>(variable(module.variables, "w@k")), std::vector<int>{5});
}

TEST(Ptx, ViewsOutliveMoves) {
  Module module = body_of("{ .param .b32 x; st.param.b32 [x], 1; } { .param .b32 x; st.param.b32 [x], 1; }");
  std::vector<Module> modules;
  modules.push_back(std::move(module));
  modules.emplace_back();
  modules.resize(100);
  EXPECT_EQ(modules[0].functions[0].body[1].operands[0].name, "x@2");
  EXPECT_EQ(modules[0].functions[0].body[0].operands[0].name, "x");
}

TEST(Ptx, ReadsCalls) {
  const std::string functions =
      ".func (.param .b32 r) f (.param .b32 x); .func g; .func (.param .b32 r) h; .func i (.param .b32 x, .param .align 8 .b8 "
      "y[12], .param .b8 z[]) "
      ".noreturn { ret; }";
  const Module module = module_of(functions + ".entry k() {" + registers +
                                  R"(.param .b32 p0; .param .b32 r0; .param .align 8 .b8 p1[12];
call.uni (r0), f, (p0); call g; call (r0), h; call i, (p0, p1, 3); call.uni (_), f, (%r1);
list: .calltargets f, f; proto: .callprototype (.param .b32 _) _ (.param .b32 x) .noreturn; none: .callprototype ()_(); bare: .callprototype _;
call (r0), %rd1, (p0), list; call (r0), %rd1, (p0), proto; call %rd1, none; })");
  const Function& f = function(module, "k");
  std::vector<std::string> lines;
  for (const Instruction& instruction : f.body) lines.push_back(text(f, instruction));
  EXPECT_THAT(lines, ElementsAre("call.uni (r0+0), f+0, (p0+0)", "call g+0", "call (r0+0), h+0", "call i+0, (p0+0,p1+0,3)",
                                 "call.uni (_), f+0, (%r1)", "call (r0+0), %rd1, (p0+0), list+0",
                                 "call (r0+0), %rd1, (p0+0), proto+0", "call %rd1, none+0"));
  EXPECT_THAT(f.prototype_results, ElementsAre(1, 1, 0, 0));
  EXPECT_EQ(f.prototypes[0].second.size(), 2U);  // as f
  EXPECT_EQ(f.prototypes[1].second.size(), 2U);
  EXPECT_EQ(f.prototypes[3].second.size(), 0U);
  const Function& i = function(module, "i");
  EXPECT_EQ(i.parameters[1].bytes, 12U);
  EXPECT_EQ(i.parameters[1].alignment, 8U);
  EXPECT_EQ(i.parameters[2].bytes, 0U);
}

TEST(Ptx, ReadsBranchTargets) {
  const Module module = body_of("{ ts: .branchtargets x, y, x; brx.idx.uni %r1, ts; x: ret; y: } x: exit;");
  const Function& f = module.functions[0];
  ASSERT_EQ(f.branch_targets.size(), 1U);
  EXPECT_EQ(f.branch_targets[0].first, "ts");
  EXPECT_THAT(f.branch_targets[0].second, ElementsAre("x", "y", "x"));
  EXPECT_EQ(text(f, f.body[0]), "brx.idx.uni %r1, ts+0");
  EXPECT_EQ(f.labels.size(), 3U);
  EXPECT_EQ(f.labels[2].first, "x@2");
}

TEST(Ptx, ReadsInitialValues) {
  const Module module = module_of(R"(
.func f; .extern .global .u8 e[];
.global .u32 a = 3, b = -1, c;
.const .f32 d[4] = {1.5, 0f40000000, 2, 0d3ff8000000000000};
.global .f64 g = -0.25; .global .b32 bits = 0f3F800000;
.global .u16 m[2][3] = {{1, 2}, {4}};
.global .u16 flat[2][3] = {1, 2, 3, 4};
.global .u8 open[] = {1, 2, 3,};
.global .u8 rows[][2] = {{1}, {2, 3}, 4, {5}, 6};
.global .v4 .f32 v = {1, 2, 3, 4};
.global .v2 .u32 vs[2] = {{1, 2}, {3, 4}};
.global .u64 p = a, q[3] = {generic(a)+4, e-8, generic(b + 1)};
.visible .global .align 16 .b8 mixed[12] = {7, 0xFF(f), 0xFF00(f), 0xff0000(a+4), 0xFF000000(generic(a)), 0xFF00000000(a), 0xFF0000000000(a),
   0xFF000000000000(a), 0xFF00000000000000(a), (1<<3)-1};
.global .s64 x = (.s64)(2 > 1 ? 0x7FFFFFFFFFFFFFFF : 0);
.global .attribute(.managed) .align 4 .u32 managed; .common .global .u32 common; .weak .const .align 8 .b64 weak = WARP_SZ;
)");
  const auto of = [&](std::string_view name) -> const Variable& { return variable(module.variables, name); };
  EXPECT_EQ(values<int>(of("a")), std::vector<int>{3});
  EXPECT_EQ(values<int>(of("b")), std::vector<int>{-1});
  EXPECT_TRUE(of("c").initial.empty());
  EXPECT_EQ(of("c").bytes, 4U);
  EXPECT_EQ(values<float>(of("d")), (std::vector<float>{1.5F, 2, 2, 1.5F}));
  EXPECT_EQ(values<double>(of("g")), std::vector<double>{-0.25});
  EXPECT_EQ(values<float>(of("bits")), std::vector<float>{1});
  EXPECT_EQ(values<std::uint16_t>(of("m")), (std::vector<std::uint16_t>{1, 2, 0, 4, 0, 0}));
  EXPECT_EQ(values<std::uint16_t>(of("flat")), (std::vector<std::uint16_t>{1, 2, 3, 4, 0, 0}));
  EXPECT_EQ(values<std::uint8_t>(of("open")), (std::vector<std::uint8_t>{1, 2, 3}));
  EXPECT_EQ(of("open").bytes, 3U);
  EXPECT_EQ(values<std::uint8_t>(of("rows")), (std::vector<std::uint8_t>{1, 0, 2, 3, 4, 0, 5, 0, 6, 0}));
  EXPECT_EQ(values<float>(of("v")), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(of("v").alignment, 16U);
  EXPECT_EQ(values<int>(of("vs")), (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(values<std::int64_t>(of("x")), std::vector<std::int64_t>{INT64_MAX});
  EXPECT_EQ(values<std::int64_t>(of("weak")), std::vector<std::int64_t>{32});
  EXPECT_EQ(of("managed").bytes, 4U);
  EXPECT_EQ(of("weak").space, Space::constant);

  const auto relocations = [&](std::string_view name) {
    std::string result;
    for (const Relocation& r : of(name).relocations) {
      result += fmt::format("{}:{} {}{}{:+}>>{};", r.at, r.size, r.generic ? "generic " : "", r.symbol.name, r.symbol.offset,
                            r.shift);
    }
    return result;
  };
  EXPECT_EQ(relocations("p"), "0:8 a+0>>0;");
  EXPECT_EQ(relocations("q"), "0:8 generic a+4>>0;8:8 e-8>>0;16:8 generic b+1>>0;");
  EXPECT_EQ(relocations("mixed"),
            "1:1 f+0>>0;2:1 f+0>>8;3:1 a+4>>16;4:1 generic a+0>>24;5:1 a+0>>32;6:1 a+0>>40;7:1 a+0>>48;8:1 a+0>>56;");
  EXPECT_EQ(values<std::uint8_t>(of("mixed")), (std::vector<std::uint8_t>{7, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0}));
}

TEST(Ptx, JoinsDeclarationsAndDefinitions) {
  const Module module = module_of(
      ".extern .global .u32 v; .global .u32 v = 4; .extern .shared .align 4 .b8 s[]; .extern .shared .align 16 .b8 s[]; .func "
      "f (.param .b32 a);"
      ".func f (.param .b32 b) { .reg .b32 r; ld.param.b32 r, [b]; } .func f (.param .b32 c); .alias g, f; .func g (.param "
      ".b32 a); .entry empty { }");
  ASSERT_EQ(module.variables.size(), 2U);
  EXPECT_FALSE(module.variables[0].is_extern);
  EXPECT_EQ(values<int>(module.variables[0]), std::vector<int>{4});
  EXPECT_EQ(module.variables[1].alignment, 16U);
  ASSERT_EQ(module.functions.size(), 3U);
  EXPECT_EQ(module.functions[0].parameters.at(0).name, "b");
  EXPECT_EQ(module.aliases.at(0), (std::pair<std::string, std::string>("g", "f")));
  EXPECT_TRUE(function(module, "empty").is_entry);
}

TEST(Ptx, ReadsDirectivesOfFunctions) {
  const Module module = module_of(
      ".visible .entry a (.param .u64 .ptr .global .align 16 p, .param .align 8 .b8 q[24], .param .v2 .f32 v) .reqntid 32, "
      "4\n.maxnreg 64 .explicitcluster "
      ".reqnctapercluster 2 .maxclusterrank 8 .pragma \"x\"; { .pragma \"nounroll\", \"y\"; exit; }\n"
      ".weak .func b () .attribute(.unified(1, 2)) .abi_preserve 8 { }\n.section .debug_str { \"}\" { junk ' // }\n } /* } */ "
      "}\n"
      ".file 1 \"a\\\"b.cu\", 12, 34\n.file 2 \"/x\" \"c.c\"\n.file 3 \"/x\" \"/y/d.c\"\n.pragma \"z\";\n");
  const Function& a = module.functions[0];
  EXPECT_EQ(a.parameters[0].alignment, 8U);  // 16 is that of what it points to
  EXPECT_EQ(a.parameters[1].alignment, 8U);
  EXPECT_EQ(a.parameters[2].bytes, 8U);
  EXPECT_THAT(a.required_threads, ElementsAre(32, 4, 1));
  EXPECT_THAT(a.max_threads, ElementsAre(0, 0, 0));
  EXPECT_THAT(a.required_cluster, ElementsAre(2, 1, 1));
  EXPECT_TRUE(a.is_cluster);
  EXPECT_EQ(a.max_registers, 64);
  EXPECT_THAT(module.files, ElementsAre("", "a\\\"b.cu", "/x/c.c", "/y/d.c"));
}

}  // namespace
}  // namespace sim::ptx

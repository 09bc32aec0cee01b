// What is not PTX is refused with its line, and harms nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>

#include "error.h"
#include "ptx/module.h"
#include "tests/ptx_sample.h"

namespace sim::ptx {
namespace {

const std::string head = ".version 9.0\n.target sm_80\n.address_size 64\n";
const std::string registers =
    ".reg .pred %p<4>, p, q; .reg .b16 %h<4>; .reg .b32 %r<10>, a; .reg .f32 %f<8>; .reg .b64 %rd<9>;\n";

void expect_error(const std::string& source, const std::string& message, const std::string& place = "PTX line ") {
  try {
    parse(source);
    ADD_FAILURE() << "no error: " << message << "\n" << source.substr(0, 300);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::AllOf(testing::StartsWith(place), testing::HasSubstr(message))) << source.substr(0, 300);
  }
}
// `statements` begin at line 4.
void expect_module_error(const std::string& statements, const std::string& message) {
  expect_error(head + statements, message);
}
void expect_body_error(const std::string& statement, const std::string& message) {
  expect_error(head + ".entry k() {" + registers + statement + "}\n", message, "PTX line 5: ");
}

TEST(PtxRefusal, TellsWhatIsWrongAndWhere) {
  expect_error("", "PTX line 1: there is no .version");
  expect_error(".target sm_80", "PTX line 1: PTX must begin with .version");
  expect_error(".version 9\n", "PTX line 1: '9' is not a version");
  expect_error(".version 9.0\n.func f;", "PTX line 2: there is no .target");
  expect_error(".version 9.0\n.target r600", "is not a target");
  expect_error(".version 9.0 .target sm_80 .address_size 32", "only 64-bit PTX");
  expect_module_error("/* open\n\n", "PTX line 4: the comment that begins here has no end");
  expect_module_error("/* two\n lines */ .gobal", "PTX line 5: '.gobal'");
  expect_module_error(".file 1 \"open\n", "PTX line 4: the string");
  expect_module_error(".section .debug {\n", "PTX line 4: the block that begins here has no end");
  expect_module_error("\n.gobal .u32 x;", "PTX line 5: '.gobal' is not a directive");
  expect_module_error(".global .u32 x, x;", "x is defined twice");
  expect_module_error(".global .u32 x; .func x;", "x is a variable already");
  expect_module_error(".func x; .global .u32 x;", "x is a function already");
  expect_module_error(".global .u32 x; .const .u32 x;", "another state space");
  expect_module_error(".func x { } .func x { }", "x is defined twice");
  expect_module_error(".global .u32 x[];", "x has no size");
  expect_module_error(".global .u32 x[2] = {1, 2, 3};", "too many initial values");
  expect_module_error(".global .u32 x[2][2] = {{1, 2, 3}};", "too many initial values");
  expect_module_error(".global .u32 x[2] = {{1}};", "nested more deeply");
  expect_module_error(".global .u32 x[2] = {1;", "expected ',' after an initial value, not ';'");
  expect_module_error(".global .u32 x = y;", "y is not declared");
  expect_module_error(".global .u16 x = x;", "the address of x does not fit .u16");
  expect_module_error(".global .u8 x = 0x1FF(x);", "the mask of an address must be one byte");
  expect_module_error(".global .u32 x = 1.5;", "can not have this initial value");
  expect_module_error(".global .u32 x[2][];", "only the first size");
  expect_module_error(".global .u32 x[-1];", "-1 elements");
  expect_module_error(".global .u32 x[1000000][1000000][1000000];", "x is too large");
  expect_module_error(".global .u8 x[1000000000] = {1};", "more than");
  expect_module_error(".global .u8 x[][1000000000] = {1};", "more than");
  expect_module_error(".global .align 3 .u32 x;", "3 is not an alignment");
  expect_module_error(".global .pred x;", "can not be of type .pred");
  expect_module_error(".shared .u32 x = 1;", "only .global and .const");
  expect_module_error(".entry (.param .b32 x) k () { }", "k is a kernel");
  expect_module_error(".func f (.reg .b32 x) { }", "parameters in registers");
  expect_module_error(".func f (.param .b32 x, .param .b32 x) { }", "x is declared twice");
  expect_module_error(".entry k () .maxtid 3 { }", "'.maxtid' is not a directive that a function can have");
  expect_module_error(".entry k () .maxntid 1,1,1,1 { }", "more than three");
  expect_module_error(".alias f;", "expected ','");
  expect_module_error(".entry k () {\n\n ret;", "PTX line 6: the text ends within k, whose body begins at line 4");
  expect_body_error("mov.b32 %r1, %r2", "expected ';' after mov.b32, not '}'");
  expect_body_error("mov.b32 %r10, 1;", "register %r10 is not declared");
  expect_body_error("mov.b32 %r01, 1;", "register %r01 is not declared");
  expect_body_error("bra nowhere;", "nowhere is not declared");
  expect_body_error("{ x: } bra x;", "x is not declared");
  expect_body_error("x: x:", "label x is declared twice");
  expect_body_error(".reg .b32 a;", "a is declared twice");
  expect_body_error(".reg .b16 %r<3>;", "%r is declared twice");
  expect_body_error(".reg .foo x;", "expected the type of a register");
  expect_body_error(".reg .u4 x;", "can not be of type .u4");
  expect_body_error("@%r1 ret;", "%r1 is not a predicate");
  expect_body_error("mov..b32 %r1, 1;", "'mov..b32' is not an instruction");
  expect_body_error("mov. %r1, 1;", "'mov.' is not an instruction");
  expect_body_error("mov.b32 %r1, 12x;", "'12x' is not a number");
  expect_body_error("mov.b32 %r1, 089;", "'089' is not a number");
  expect_body_error("mov.b32 %r1, 0f1234;", "0f takes 8");
  expect_body_error("mov.b32 %r1, 18446744073709551616;", "does not fit 64 bits");
  expect_body_error("mov.b32 %r1, %tid.q;", "%tid has no part .q");
  expect_body_error("mov.b32 %r1, %r2.x;", "%r2 has no part .x");
  expect_body_error("ld.b32 %r1, [%rd1+%rd2];", "expected a constant, not '%rd2'");
  expect_body_error("ld.b32 %r1, [%rd1;", "expected ']' after an address");
  expect_body_error("ld.b32 %r1, [%tid.x];", "an address begins with");
  expect_body_error(".shared .b32 s[4]; ld.b32 %r1, s[1];", "s[index] is not supported");
  expect_body_error("mov.b32 %r1, #;", "'#' is not a character of PTX");
  expect_body_error("mov.b32 %r1, \x01;", "'\\x01' is not a character of PTX");
  expect_body_error("mov.b64 %rd1, 1/0;", "division by zero");
  expect_body_error("mov.b64 %rd1, ~1.5;", "'~' can not");
  expect_body_error("mov.b64 %rd1, 1.5 << 2;", "'<<' can not");
  expect_body_error(".version 9.0", "'.version' is not a directive that can stand in a function");
  expect_body_error("mov.b32 %r1, " + std::string(10000, '(') + ";", "nested too deeply");
  expect_body_error("mov.b32 %r1, " + std::string(10000, '-') + "1;", "nested too deeply");
  expect_body_error("mov.b32 " + std::string(10000, '{') + ";", "nested too deeply");
}

TEST(PtxRefusal, SurvivesBeingCutAnywhere) {
  const std::string whole(ptx_sample);
  const std::size_t first_function = whole.find(".func"), kernel = whole.find(".visible .entry");
  std::size_t refused = 0;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    try {
      parse(whole.substr(0, size));
    } catch (const Error& error) {
      ASSERT_TRUE(std::string_view(error.what()).starts_with("PTX line ")) << error.what();
      ++refused;
      continue;
    }
    // Only between statements of the module.
    const std::string cut = whole.substr(0, size);
    const auto open = std::count(cut.begin(), cut.end(), '{'), closed = std::count(cut.begin(), cut.end(), '}');
    ASSERT_EQ(open, closed) << cut.substr(cut.size() - std::min<std::size_t>(cut.size(), 80));
  }
  EXPECT_GT(refused, (whole.size() - kernel) * 8 / 10);
  EXPECT_THROW(parse(whole.substr(0, first_function + 20)), Error);
}

TEST(PtxRefusal, SurvivesAnyOneByteBeingAnother) {
  std::string text(ptx_sample);
  std::size_t refused = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char was = text[at];
    for (const char other : {'\0', '}', '{', '"', ';', '9', '%', '.', '\xff'}) {
      text[at] = other;
      try {
        parse(text);
      } catch (const Error&) {
        ++refused;
      }
    }
    text[at] = was;
  }
  EXPECT_GT(refused, text.size() * 9 / 2);
}

TEST(PtxRefusal, ReadsMegabytesWithinASecond) {
  std::string source = head;
  const std::string sample(ptx_sample);
  const std::size_t kernel = sample.find(".visible .entry"), end = sample.find("\t.file\t1");
  source += sample.substr(sample.find(".func"), kernel - sample.find(".func"));
  for (int i = 0; source.size() < 5'000'000; ++i) {
    std::string copy = sample.substr(kernel, end - kernel);
    copy.replace(copy.find("_Z6kernelPfi("), 12, fmt::format("kernel{}", i));
    source += copy;
  }
  const auto begin = std::chrono::steady_clock::now();
  const Module module = parse(std::move(source));
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  EXPECT_GT(module.functions.size(), 1500U);
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_LT(taken.count(), 1);
#endif
}

}  // namespace
}  // namespace sim::ptx

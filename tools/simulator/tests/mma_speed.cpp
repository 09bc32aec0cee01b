// Measures mma.sync: instructions a second on one core, for each form given (or a choice of them). Not a test: run it by hand.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "isa/matrix.h"
#include "tests/instruction_harness.h"

namespace {

using namespace sim;

int g_architecture = 80;

std::vector<OpcodeEntry> opcodes() {
  return {{"mma", [](const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
             return matrix::decode_mma(in, decoder, out, g_architecture);
           }}};
}

std::string registers(const char* prefix, int first, int count) {
  std::string text = "{";
  for (int n = 0; n < count; ++n) text += fmt::format("{}%{}{}", n == 0 ? "" : ", ", prefix, first + n);
  return text + "}";
}

struct Case {
  const char* form;
  int d, a, b, c, architecture;
  std::uint64_t fill;  // a pair or quad of moderate elements
};

}  // namespace

int main() {
  const Case cases[] = {{"m16n8k16.row.col.f32.bf16.bf16.f32", 4, 4, 2, 4, 80, 0x3f8c3fa1},
                        {"m16n8k16.row.col.f32.bf16.bf16.f32", 4, 4, 2, 4, 90, 0x3f8c3fa1},
                        {"m16n8k16.row.col.f32.f16.f16.f32", 4, 4, 2, 4, 80, 0x3d113c22},
                        {"m16n8k16.row.col.f16.f16.f16.f16", 2, 4, 2, 2, 80, 0x3d113c22},
                        {"m16n8k8.row.col.f32.tf32.tf32.f32", 4, 4, 2, 4, 80, 0x3f8c3fa1},
                        {"m16n8k32.row.col.s32.s8.s8.s32", 4, 4, 2, 4, 80, 0x11223344},
                        {"m16n8k32.row.col.f32.e4m3.e4m3.f32", 4, 4, 2, 4, 90, 0x3a3b3c3d},
                        {"m16n8k256.row.col.s32.b1.b1.s32.and.popc", 4, 4, 2, 4, 80, 0x3a3b3c3d}};
  for (const Case& test : cases) {
    g_architecture = test.architecture;
    sim::test::InstructionHarness harness(
        opcodes(), fmt::format("mma.sync.aligned.{} {}, {}, {}, {};", test.form, registers("r", 0, test.d),
                               registers("r", 10, test.a), registers("r", 20, test.b), registers("r", 30, test.c)));
    for (int n = 0; n < 4; ++n) {
      harness.set(fmt::format("%r{}", 10 + std::min(n, test.a - 1)), test.fill + 0x10001u * static_cast<unsigned>(n));
      harness.set(fmt::format("%r{}", 30 + std::min(n, test.c - 1)), test.fill);
      harness.set(fmt::format("%r{}", 20 + std::min(n, test.b - 1)), test.fill + 0x20001u * static_cast<unsigned>(n));
    }
    harness.run();
    const Instruction& in = harness.decoded()[0];
    Warp& warp = harness.warp();
    double best = 1e30;
    for (int round = 0; round < 200; ++round) {
      constexpr int kCount = 1000;
      const auto start = std::chrono::steady_clock::now();
      for (int n = 0; n < kCount; ++n) in.run(warp, in);
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / kCount);
    }
    fmt::print("sm_{} {:44} {:7.1f} ns {:6.2f} M/s\n", test.architecture, test.form, best * 1e9, 1e-6 / best);
  }
}

// Runs single PTX instructions, given as text, on a warp that is not part of any launch: what the tests of isa/ are made of.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "isa/decoder.h"
#include "isa/instruction.h"
#include "machine/warp.h"
#include "ptx/module.h"

namespace sim::test {

/// A register's 32 lanes; narrower ones in the low bits, a predicate as 0 or 1.
using Lanes = std::array<std::uint64_t, kLanes>;

/// What instructions may refer to besides registers.
struct Environment {
  std::map<std::string, Lanes, std::less<>> specials;  // "tid.x", "laneid"
  std::map<std::string, Decoder::Target, std::less<>> symbols;
  std::map<std::string, std::size_t, std::less<>> frame_variables;  // .param variables in the frame: bytes a lane
};

class InstructionHarness {
 public:
  /// `text` is one or more instructions, each with its semicolon. A register's type is in its name: %p1 is a predicate, %rs1
  /// and %h1 b16, %r1 and %f1 b32, %rd1 and %fd1 b64, %rq1 b128. Throws Error when no entry of `opcodes` decodes one of them.
  InstructionHarness(const std::vector<OpcodeEntry>& opcodes, std::string_view text, Environment environment = {});
  ~InstructionHarness();
  InstructionHarness(const InstructionHarness&) = delete;
  InstructionHarness& operator=(const InstructionHarness&) = delete;

  void set(std::string_view reg, const Lanes& lanes);
  void set(std::string_view reg, std::uint64_t value);      // in all lanes
  void set_high(std::string_view reg, const Lanes& lanes);  // the high halves of a b128
  Lanes get(std::string_view reg) const;
  Lanes get_high(std::string_view reg) const;
  /// Fills every register with random bits.
  void scramble(std::mt19937_64& random);

  /// Runs the instructions in order with the lanes of `mask` active; their own guards are not looked at. Fails the test when
  /// anything in the frame changed but the active lanes of registers that the instructions write: inactive lanes, other
  /// registers, the space around each.
  void run(Mask mask = kAllLanes);

  /// For instructions that need more than registers: give it a block, a worker, local memory.
  Warp& warp() { return warp_; }
  /// A .param variable of the environment: lane l's bytes are at data + l * stride. Its bytes may change in a run.
  std::byte* frame_variable(std::string_view name, std::uint32_t& stride);
  const std::vector<Instruction>& decoded() const { return decoded_; }
  bool order_dependent() const;

 private:
  class TestDecoder;
  void verify(Mask mask);

  std::string text_;
  ptx::Module module_;
  std::unique_ptr<TestDecoder> decoder_;
  std::vector<Instruction> decoded_;
  std::vector<std::byte> before_;
  Warp warp_;
};

}  // namespace sim::test

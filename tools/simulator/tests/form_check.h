// Runs one form of an instruction over many operands and compares with a reference, with all lanes active and with some.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/instruction_harness.h"

namespace sim::test {

/// Operand tuples, one after the other: `arity` values each.
struct Cases {
  std::size_t arity = 1;
  std::vector<std::uint64_t> values;
  std::size_t size() const { return values.size() / arity; }
};

class FormCheck {
 public:
  using Reference = std::function<std::uint64_t(const std::uint64_t*)>;
  /// Says whether a result is acceptable for the operands.
  using Accepts = std::function<bool(const std::uint64_t*, std::uint64_t)>;

  explicit FormCheck(std::vector<OpcodeEntry> opcodes) : opcodes_(std::move(opcodes)) {}
  ~FormCheck() { std::printf("%d forms, %llu results compared\n", forms_, static_cast<unsigned long long>(results_)); }
  FormCheck(const FormCheck&) = delete;
  FormCheck& operator=(const FormCheck&) = delete;

  void check(const std::string& text, const std::string& destination, const std::vector<std::string>& sources,
             const Cases& cases, const Reference& reference) {
    run(text, destination, sources, cases, [&](const std::uint64_t* operands, std::uint64_t result) {
      const std::uint64_t expected = reference(operands);
      if (result != expected) failure_ = expected;
      return result == expected;
    });
  }

  void accept(const std::string& text, const std::string& destination, const std::vector<std::string>& sources,
              const Cases& cases, const Accepts& accepts) {
    run(text, destination, sources, cases, accepts);
  }

  int forms() const { return forms_; }

 private:
  void run(const std::string& text, const std::string& destination, const std::vector<std::string>& sources, const Cases& cases,
           const Accepts& accepts) {
    SCOPED_TRACE(text);
    ++forms_;
    InstructionHarness harness(opcodes_, text);
    int failures = 0;
    for (std::size_t at = 0; at < cases.size(); at += kLanes) {
      for (const Mask mask : {kAllLanes, static_cast<Mask>(random_())}) {
        harness.scramble(random_);
        std::vector<std::uint64_t> operands(cases.arity * kLanes);
        for (std::size_t n = 0; n < cases.arity; ++n) {
          Lanes lanes{};
          for (std::size_t lane = 0; lane < kLanes; ++lane) {
            lanes[lane] = operands[lane * cases.arity + n] = cases.values[((at + lane) % cases.size()) * cases.arity + n];
          }
          harness.set(sources[n], lanes);
        }
        harness.run(mask);
        const Lanes results = harness.get(destination);
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
          if ((mask >> lane & 1) == 0) continue;
          ++results_;
          if (accepts(&operands[lane * cases.arity], results[lane]) || ++failures > 3) continue;
          std::string given;
          for (std::size_t n = 0; n < cases.arity; ++n) given += fmt::format(" {:#x}", operands[lane * cases.arity + n]);
          ADD_FAILURE() << text << " of" << given << fmt::format(" gives {:#x} (last wanted {:#x})", results[lane], failure_);
        }
      }
    }
    if (failures > 3) ADD_FAILURE() << text << ": " << failures << " wrong results in all";
  }

  std::vector<OpcodeEntry> opcodes_;
  std::mt19937_64 random_{20240229};
  std::uint64_t failure_ = 0, results_ = 0;
  int forms_ = 0;
};

}  // namespace sim::test

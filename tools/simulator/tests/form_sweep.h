// Checks one form of an instruction, all operands in registers, against a reference for one lane: all pairs of edge values,
// random values, full and random masks, the destination one of the sources, a source an immediate.
#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <vector>

#include "tests/instruction_harness.h"

namespace sim::test {

/// What the operands of one lane hold, in the low bits. References get sources a, b, c, e and give d and, where there are two
/// destinations, q.
struct LaneValues {
  std::uint64_t a = 0, b = 0, c = 0, e = 0;
};
struct LaneResults {
  std::uint64_t d = 0, q = 0;
};

enum class Sort : std::uint8_t {
  pred,      // %p
  not_pred,  // !%p; references see the value after the negation
  int16,
  int32,
  int64,
  amount,  // amount: a 32-bit shift count or bit position
  half,
  bfloat,
  half2,
  bfloat2,
  single,
  double_,
};

struct InstructionForm {
  std::string opcode;  // with its modifiers
  std::vector<Sort> destinations, sources;
  std::function<LaneResults(const LaneValues&)> reference;
  std::string last = {};         // further operands as text, ", 0x80"
  std::size_t predicate_at = 9;  // where to put `last`: before this source
};

inline std::uint64_t mask_of_sort(Sort sort) {
  switch (sort) {
    case Sort::pred:
    case Sort::not_pred:
      return 1;
    case Sort::int16:
    case Sort::half:
    case Sort::bfloat:
      return 0xffff;
    case Sort::int64:
    case Sort::double_:
      return ~std::uint64_t{0};
    default:
      return 0xffffffff;
  }
}

inline std::string_view register_prefix(Sort sort) {
  switch (mask_of_sort(sort)) {
    case 1:
      return "%p";
    case 0xffff:
      return "%rs";
    case 0xffffffff:
      return "%r";
    default:
      return "%rd";
  }
}

inline const std::vector<std::uint64_t>& edges_of(Sort sort) {
  static const std::vector<std::uint64_t> predicate{0, 1};
  static const std::vector<std::uint64_t> int16{0,      1,      2,      3,      5,      7,      8,      0x10,
                                                0x55aa, 0x7f,   0x80,   0xff,   0x100,  0x7ffe, 0x7fff, 0x8000,
                                                0x8001, 0xaa55, 0xff7f, 0xff80, 0xfffe, 0xffff};
  static const std::vector<std::uint64_t> int32{
      0,          1,          2,          3,          7,          31,         32,         0x7f,      0x80,       0xff,
      0x100,      0x7fff,     0x8000,     0xffff,     0x10000,    0x7fffff,   0x800000,   0xffffff,  0x7ffffffe, 0x7fffffff,
      0x80000000, 0x80000001, 0xaaaaaaaa, 0x55555555, 0xffff0000, 0xffff8000, 0xfffffffe, 0xffffffff};
  static const std::vector<std::uint64_t> int64{0,
                                                1,
                                                2,
                                                3,
                                                63,
                                                64,
                                                0xff,
                                                0x7fffffff,
                                                0x80000000,
                                                0xffffffff,
                                                0x100000000,
                                                0x100000001,
                                                0x7fffffffffffffff,
                                                0x8000000000000000,
                                                0x8000000000000001,
                                                0xaaaaaaaaaaaaaaaa,
                                                0x5555555555555555,
                                                0xffffffff00000000,
                                                0xffffffff7fffffff,
                                                0xffffffff80000000,
                                                0xfffffffffffffffe,
                                                0xffffffffffffffff,
                                                0x0123456789abcdef};
  static const std::vector<std::uint64_t> amount{0,   1,   2,   7,   8,     15,         16,         17,        30,  31,
                                                 32,  33,  47,  48,  62,    63,         64,         65,        127, 128,
                                                 254, 255, 256, 257, 0x101, 0x80000000, 0xffffffff, 0xffffff00};
  static const std::vector<std::uint64_t> half{0,      0x8000, 1,      0x8001, 0x03ff, 0x83ff, 0x0400, 0x8400,
                                               0x3c00, 0xbc00, 0x3c01, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7c01,
                                               0xfc01, 0x7e00, 0xfe00, 0x7fff, 0xffff, 0x5555};
  static const std::vector<std::uint64_t> bfloat{0,      0x8000, 1,      0x8001, 0x007f, 0x807f, 0x0080, 0x8080,
                                                 0x3f80, 0xbf80, 0x3f81, 0x7f7f, 0xff7f, 0x7f80, 0xff80, 0x7f81,
                                                 0xff81, 0x7fc0, 0xffc0, 0x7fff, 0xffff, 0x4049};
  static const std::vector<std::uint64_t> single{0,          0x80000000, 1,          0x80000001, 0x007fffff, 0x807fffff,
                                                 0x00800000, 0x80800000, 0x3f800000, 0xbf800000, 0x3f800001, 0x40490fdb,
                                                 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7f800001, 0xff800001,
                                                 0x7fc00000, 0xffc00000, 0x7fffffff};
  static const std::vector<std::uint64_t> double_{0,
                                                  0x8000000000000000,
                                                  1,
                                                  0x8000000000000001,
                                                  0x000fffffffffffff,
                                                  0x0010000000000000,
                                                  0x3ff0000000000000,
                                                  0xbff0000000000000,
                                                  0x3ff0000000000001,
                                                  0x7fefffffffffffff,
                                                  0xffefffffffffffff,
                                                  0x7ff0000000000000,
                                                  0xfff0000000000000,
                                                  0x7ff0000000000001,
                                                  0xfff0000000000001,
                                                  0x7ff8000000000000,
                                                  0xfff8000000000000,
                                                  0x3ff921fb54442d18,
                                                  0x7fffffffffffffff,
                                                  0x36a0000000000000};
  static const auto twice = [](const std::vector<std::uint64_t>& from) {
    std::vector<std::uint64_t> pairs;
    for (std::size_t n = 0; n < from.size(); ++n) pairs.push_back(from[n] | from[(n * 7 + 3) % from.size()] << 16);
    return pairs;
  };
  static const std::vector<std::uint64_t> half2 = twice(half), bfloat2 = twice(bfloat);
  switch (sort) {
    case Sort::pred:
    case Sort::not_pred:
      return predicate;
    case Sort::int16:
      return int16;
    case Sort::int32:
      return int32;
    case Sort::int64:
      return int64;
    case Sort::amount:
      return amount;
    case Sort::half:
      return half;
    case Sort::bfloat:
      return bfloat;
    case Sort::half2:
      return half2;
    case Sort::bfloat2:
      return bfloat2;
    case Sort::single:
      return single;
    default:
      return double_;
  }
}

/// Counts over all checks of the test program.
struct SweepCounts {
  std::size_t forms = 0, texts = 0, cases = 0;
  static SweepCounts& total() {
    static SweepCounts counts;
    return counts;
  }
  static void print() {
    std::cout << "instruction forms checked: " << total().forms << " (" << total().texts
              << " with their in-place and immediate variants), lane cases: " << total().cases << "\n";
  }
};

class FormSweep {
 public:
  explicit FormSweep(std::vector<OpcodeEntry> opcodes) : opcodes_(std::move(opcodes)) {}

  void operator()(const InstructionForm& form) {
    ++SweepCounts::total().forms;
    // All registers distinct; then the destination in the place of each source of its size; then each source an immediate.
    std::vector<std::string> names;
    for (std::size_t n = 0; n < form.sources.size(); ++n)
      names.push_back(std::string(register_prefix(form.sources[n])) + std::to_string(n + 1));
    std::vector<std::string> results;
    for (std::size_t n = 0; n < form.destinations.size(); ++n) {
      results.push_back(std::string(register_prefix(form.destinations[n])) + std::to_string(n + 11));
    }
    check(form, results, names, names.size(), 0);
    for (std::size_t n = 0; n < names.size(); ++n) {
      if (register_prefix(form.sources[n]) == register_prefix(form.destinations[0])) {
        auto in_place = results;
        in_place[0] = names[n];
        check(form, in_place, names, names.size(), 0);
      }
    }
    if (results.size() == 2) {  // the second destination in place of a predicate
      for (std::size_t n = 0; n < names.size(); ++n) {
        if (register_prefix(form.sources[n]) != register_prefix(form.destinations[1])) continue;
        auto in_place = results;
        in_place[1] = names[n];
        check(form, in_place, names, names.size(), 0);
      }
    }
    for (std::size_t n = 0; n < names.size(); ++n) {
      if (form.sources[n] > Sort::amount || form.sources[n] == Sort::not_pred)
        continue;  // immediates of floats are the decoder's matter
      const auto& edges = edges_of(form.sources[n]);
      check(form, results, names, n, edges[random_() % edges.size()]);
    }
  }

 private:
  void check(const InstructionForm& form, const std::vector<std::string>& results, const std::vector<std::string>& names,
             std::size_t immediate, std::uint64_t immediate_value) {
    ++SweepCounts::total().texts;
    std::string text = form.opcode + " " + results[0];
    if (results.size() == 2) text += "|" + results[1];
    for (std::size_t n = 0; n < names.size(); ++n) {
      if (n == form.predicate_at) text += form.last;
      text += ", ";
      if (n == immediate)
        text += std::to_string(immediate_value);
      else
        text += (form.sources[n] == Sort::not_pred ? "!" : "") + names[n];
    }
    if (form.predicate_at > names.size()) text += form.last;
    text += ";";
    InstructionHarness harness(opcodes_, text);
    const std::size_t count = form.sources.size();
    const std::size_t pairs =
        count >= 2 ? edges_of(form.sources[0]).size() * edges_of(form.sources[1]).size() : edges_of(form.sources[0]).size();
    const std::size_t cases = pairs + 1024;
    int failures = 0;
    for (std::size_t begin = 0; begin < cases && failures < 4; begin += kLanes) {
      harness.scramble(random_);
      std::vector<Lanes> inputs(count);
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        for (std::size_t n = 0; n < count; ++n) inputs[n][lane] = value(form, n, begin + lane, pairs);
      }
      for (std::size_t n = 0; n < count; ++n) {
        if (n == immediate)
          inputs[n].fill(immediate_value & mask_of_sort(form.sources[n]));
        else
          harness.set(names[n], inputs[n]);
      }
      const Mask mask = begin / kLanes % 3 == 0 ? kAllLanes : static_cast<Mask>(random_());
      harness.run(mask);
      std::vector<Lanes> outputs;
      for (const std::string& result : results) outputs.push_back(harness.get(result));
      for (std::size_t lane = 0; lane < kLanes; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        ++SweepCounts::total().cases;
        std::uint64_t seen[4] = {};
        for (std::size_t n = 0; n < count; ++n) seen[n] = inputs[n][lane] ^ (form.sources[n] == Sort::not_pred ? 1 : 0);
        const LaneResults expected = form.reference({seen[0], seen[1], seen[2], seen[3]});
        const std::uint64_t wanted[2] = {expected.d, expected.q};
        for (std::size_t n = 0; n < results.size(); ++n) {
          if ((wanted[n] & mask_of_sort(form.destinations[n])) == outputs[n][lane]) continue;
          ++failures;
          ADD_FAILURE() << text << std::hex << " result " << n << " of 0x" << seen[0] << " 0x" << seen[1] << " 0x" << seen[2]
                        << " 0x" << seen[3] << ": 0x" << outputs[n][lane] << ", expected 0x"
                        << (wanted[n] & mask_of_sort(form.destinations[n]));
          break;
        }
      }
    }
  }

  // Source n of a case: the pairs of the first two sources' edges, then random bits or random edges.
  std::uint64_t value(const InstructionForm& form, std::size_t n, std::size_t at, std::size_t pairs) {
    const auto& edges = edges_of(form.sources[n]);
    if (at < pairs && n == 0) return edges[at % edges.size()];
    if (at < pairs && n == 1) return edges[at / edges_of(form.sources[0]).size() % edges.size()];
    const std::uint64_t bits = random_();
    if (at < pairs || bits % 4 == 0) return edges[(bits >> 8) % edges.size()];
    // Small numbers too: random bits are nearly all large.
    const std::uint64_t wide = random_();
    return (bits % 4 == 1 ? wide >> (bits >> 8 & 63) : wide) & mask_of_sort(form.sources[n]);
  }

  std::vector<OpcodeEntry> opcodes_;
  std::mt19937_64 random_{20240607};
};

}  // namespace sim::test

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "isa/code.h"

namespace sim {
namespace {

// The registers that an instruction reads and writes.
struct Accesses {
  std::vector<int> reads, writes;
};

bool writes_nothing(const ptx::Instruction& in) {
  static constexpr std::array<std::string_view, 21> kOpcodes = {
      "st",      "red",        "bra",         "brx", "call",      "ret",       "exit",    "trap",           "brkpt",
      "membar",  "fence",      "prefetch",    "cp",  "prefetchu", "nanosleep", "pmevent", "griddepcontrol", "stmatrix",
      "discard", "setmaxnreg", "stackrestore"};
  if (in.opcode == "bar" || in.opcode == "barrier") return !in.has("red");
  return std::find(kOpcodes.begin(), kOpcodes.end(), in.opcode) != kOpcodes.end();
}

void collect(const ptx::Operand& operand, bool written, Accesses& accesses) {
  using Kind = ptx::Operand::Kind;
  if (operand.kind == Kind::address) written = false;
  if (operand.reg >= 0) (written ? accesses.writes : accesses.reads).push_back(operand.reg);
  for (const ptx::Operand& element : operand.elements) collect(element, written, accesses);
}

Accesses accesses_of(const ptx::Instruction& in) {
  Accesses accesses;
  const bool first_is_read = writes_nothing(in);
  for (std::size_t n = 0; n < in.operands.size(); ++n) collect(in.operands[n], n == 0 && !first_is_read, accesses);
  if (in.guard >= 0) accesses.reads.push_back(in.guard);
  return accesses;
}

class BitSet {
 public:
  explicit BitSet(std::size_t bits) : words_((bits + 63) / 64) {}
  bool test(std::size_t bit) const { return words_[bit / 64] >> (bit % 64) & 1; }
  void set(std::size_t bit) { words_[bit / 64] |= std::uint64_t{1} << (bit % 64); }
  void reset(std::size_t bit) { words_[bit / 64] &= ~(std::uint64_t{1} << (bit % 64)); }
  // this = other | (this's uses) … as the dataflow needs it: adds all of `other`; true when something was new.
  bool add(const BitSet& other) {
    bool changed = false;
    for (std::size_t n = 0; n < words_.size(); ++n) {
      const std::uint64_t joined = words_[n] | other.words_[n];
      changed |= joined != words_[n];
      words_[n] = joined;
    }
    return changed;
  }
  void add_except(const BitSet& other, const BitSet& except) {
    for (std::size_t n = 0; n < words_.size(); ++n) words_[n] |= other.words_[n] & ~except.words_[n];
  }
  template <class F>
  void each(F f) const {
    for (std::size_t n = 0; n < words_.size(); ++n) {
      for (std::uint64_t word = words_[n]; word != 0; word &= word - 1) f(n * 64 + __builtin_ctzll(word));
    }
  }

 private:
  std::vector<std::uint64_t> words_;
};

struct BasicBlock {
  int begin, end;
  std::vector<int> successors;
  BitSet in, out, kills, uses;
};

bool is_branch(const ptx::Instruction& in) { return in.opcode == "bra" || in.opcode == "brx"; }
bool is_end(const ptx::Instruction& in) { return in.opcode == "ret" || in.opcode == "exit" || in.opcode == "trap"; }

std::vector<BasicBlock> basic_blocks(const ptx::Function& function) {
  const int count = static_cast<int>(function.body.size());
  std::unordered_map<std::string_view, int> labels(function.labels.begin(), function.labels.end());
  std::vector<char> leader(count + 1, 0);
  if (count > 0) leader[0] = 1;
  for (const auto& [name, at] : function.labels) leader[at] = 1;
  for (int n = 0; n < count; ++n) {
    if (is_branch(function.body[n]) || is_end(function.body[n])) leader[n + 1] = 1;
  }
  std::vector<BasicBlock> blocks;
  std::vector<int> block_at(count + 1, -1);
  const std::size_t registers = function.registers.size();
  for (int n = 0; n < count;) {
    int end = n + 1;
    while (end < count && leader[end] == 0) ++end;
    block_at[n] = static_cast<int>(blocks.size());
    blocks.push_back({n, end, {}, BitSet(registers), BitSet(registers), BitSet(registers), BitSet(registers)});
    n = end;
  }
  for (BasicBlock& block : blocks) {
    const ptx::Instruction& last = function.body[block.end - 1];
    auto to = [&](int at) {
      if (at < count) block.successors.push_back(block_at[at]);
    };
    auto to_label = [&](std::string_view name) {
      if (auto label = labels.find(name); label != labels.end()) to(label->second);
    };
    if (last.opcode == "bra" && !last.operands.empty()) to_label(last.operands[0].name);
    if (last.opcode == "brx") {
      for (const auto& [name, targets] : function.branch_targets) {
        if (last.operands.size() > 1 && name == last.operands[1].name) {
          for (std::string_view target : targets) to_label(target);
        }
      }
    }
    const bool falls_through = last.guard >= 0 || (!is_branch(last) && !is_end(last));
    if (falls_through) to(block.end);
  }
  return blocks;
}

// First and last instruction at which a register is live: the hull of its live ranges.
struct Interval {
  int reg, first, last;
};

std::vector<Interval> intervals_of(const ptx::Function& function, std::vector<char>& read) {
  std::vector<BasicBlock> blocks = basic_blocks(function);
  std::vector<Accesses> accesses;
  accesses.reserve(function.body.size());
  for (const ptx::Instruction& in : function.body) {
    accesses.push_back(accesses_of(in));
    for (int reg : accesses.back().reads) read[static_cast<std::size_t>(reg)] = 1;
  }
  for (BasicBlock& block : blocks) {
    for (int n = block.end - 1; n >= block.begin; --n) {
      // A guarded write leaves the lanes whose guard is false as they were: the old value lives on.
      if (function.body[n].guard < 0) {
        for (int reg : accesses[n].writes) {
          block.kills.set(reg);
          block.uses.reset(reg);
        }
      } else {
        for (int reg : accesses[n].writes) block.uses.set(reg);
      }
      for (int reg : accesses[n].reads) block.uses.set(reg);
    }
  }
  for (bool changed = true; changed;) {
    changed = false;
    for (std::size_t n = blocks.size(); n-- > 0;) {
      BasicBlock& block = blocks[n];
      for (int next : block.successors) changed |= block.out.add(blocks[next].in);
      BitSet in = block.uses;
      in.add_except(block.out, block.kills);
      changed |= block.in.add(in);
    }
  }
  std::vector<Interval> intervals(function.registers.size());
  for (std::size_t reg = 0; reg < intervals.size(); ++reg) intervals[reg] = {static_cast<int>(reg), -1, -1};
  auto live = [&](int reg, int at) {
    Interval& interval = intervals[reg];
    if (interval.first < 0 || at < interval.first) interval.first = at;
    interval.last = std::max(interval.last, at);
  };
  for (const BasicBlock& block : blocks) {
    block.in.each([&](std::size_t reg) { live(static_cast<int>(reg), block.begin); });
    block.out.each([&](std::size_t reg) { live(static_cast<int>(reg), block.end - 1); });
    for (int n = block.begin; n < block.end; ++n) {
      for (int reg : accesses[n].reads) live(reg, n);
      for (int reg : accesses[n].writes) live(reg, n);
    }
  }
  std::erase_if(intervals, [](const Interval& interval) { return interval.first < 0; });
  std::sort(intervals.begin(), intervals.end(), [](const Interval& x, const Interval& y) { return x.first < y.first; });
  return intervals;
}

}  // namespace

// Linear scan over the hulls, each storage class with places of its own.
RegisterPlaces place_registers(const ptx::Function& function) {
  RegisterPlaces result;
  result.places.assign(function.registers.size(), kNowhere);
  result.read.assign(function.registers.size(), 0);
  std::uint32_t predicates = 0;
  for (std::size_t reg = 0; reg < function.registers.size(); ++reg) {
    if (width_of(function.registers[reg].type) == Width::pred) {
      result.places[reg] = predicates;
      predicates += 4;
    }
  }
  result.predicate_bytes = (predicates + 63) / 64 * 64;
  result.end = result.predicate_bytes;
  struct Active {
    int last;
    Location place;
  };
  std::array<std::vector<Active>, 6> active;
  std::array<std::vector<Location>, 6> free;
  for (const Interval& interval : intervals_of(function, result.read)) {
    const Width width = width_of(function.registers[interval.reg].type);
    if (width == Width::pred || width == Width::none) continue;
    auto& busy = active[static_cast<int>(width)];
    auto& idle = free[static_cast<int>(width)];
    // A place whose register was last used before this instruction is free. The instruction that reads it last must not write
    // into it: handlers may write one destination before they have read all sources.
    std::erase_if(busy, [&](const Active& a) {
      if (a.last >= interval.first) return false;
      idle.push_back(a.place);
      return true;
    });
    Location place;
    if (idle.empty()) {
      place = result.end;
      result.end += frame_bytes_of(width);
    } else {
      place = idle.back();
      idle.pop_back();
    }
    busy.push_back({interval.last, place});
    result.places[interval.reg] = place;
  }
  result.end = (result.end + 63) / 64 * 64;
  return result;
}

}  // namespace sim

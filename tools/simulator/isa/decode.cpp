#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <unordered_map>

#include "error.h"
#include "isa/code.h"
#include "isa/specials.h"

namespace sim {
namespace {

// Every opcode's decode functions, in the order in which the families are asked.
const std::unordered_multimap<std::string_view, Decode>& opcodes() {
  static const auto* const table = [] {
    auto* result = new std::unordered_multimap<std::string_view, Decode>;
    for (auto family : {integer_opcodes, floating_opcodes, conversion_opcodes, move_opcodes, comparison_opcodes, memory_opcodes,
                        warp_opcodes, matrix_opcodes, control_opcodes}) {
      for (const OpcodeEntry& entry : family()) result->emplace(entry.opcode, entry.decode);
    }
    return result;
  }();
  return *table;
}

std::uint16_t to_half(double value) {
  // Exact for every literal that is a half; literals that are not are rounded once, to nearest even.
  return static_cast<std::uint16_t>(std::bit_cast<std::uint16_t>(static_cast<_Float16>(value)));
}

std::uint16_t to_bfloat(double value) {
  const auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

class FunctionDecoder final : public Decoder {
 public:
  FunctionDecoder(const ptx::Module& module, int index, const SymbolTable& symbols)
      : function_(module.functions[index]),
        symbols_(symbols),
        code_(std::make_unique<Code>()),
        registers_(place_registers(function_)) {
    code_->function = &function_;
    code_->index = index;
    frame_bytes_ = registers_.end;
    predicates_ = registers_.predicate_bytes;
    add_variables();
  }

  std::unique_ptr<Code> decode(std::uint32_t first_counter) {
    std::vector<std::vector<std::string_view>> labels_at(function_.body.size() + 1);
    for (const auto& [name, at] : function_.labels) labels_at[at].push_back(name);
    const std::size_t count = function_.body.size();
    bool label_due = false;
    for (std::size_t n = 0; n <= count; ++n) {
      if (!labels_at[n].empty() || label_due) {
        for (std::string_view name : labels_at[n]) label_pc_[name] = static_cast<std::uint32_t>(code_->instructions.size());
        add({.kind = Kind::label}, nullptr);
      }
      if (n == count) break;
      const ptx::Instruction& in = function_.body[n];
      if (in.opcode == "loc" || in.opcode == "pragma") continue;
      Instruction out = decode_one(in);
      add(out, &in);
      label_due = out.kind == Kind::call || out.kind == Kind::call_indirect ||
                  ((out.kind == Kind::branch || out.kind == Kind::branch_indexed || out.kind == Kind::exit ||
                    out.kind == Kind::return_) &&
                   in.guard >= 0);
    }
    Instruction end;
    end.kind = Kind::return_;
    add(end, nullptr);  // a body may end without `ret`
    resolve_branches();
    finish(first_counter);
    return std::move(code_);
  }

  Width width(const ptx::Operand& operand) const override {
    return operand.kind == ptx::Operand::Kind::register_ ? width_of(function_.registers[operand.reg].type) : Width::none;
  }

  Location read(const ptx::Operand& operand, Width width, ptx::Type type) override {
    using Kind = ptx::Operand::Kind;
    switch (operand.kind) {
      case Kind::register_:
        return place_of(operand, width);
      case Kind::integer:
        return constant(immediate_bits(static_cast<double>(operand.value), operand.value, false, type), width);
      case Kind::floating:
        return constant(floating_bits(operand, type), width);
      case Kind::special:
        return special(operand.name, width);
      case Kind::symbol:
        return symbol(operand, width);
      default:
        fail(*current_, "an operand of this kind can not be read here");
    }
  }

  Location write(const ptx::Operand& operand, Width width) override {
    if (operand.kind == ptx::Operand::Kind::sink) return scratch(width);
    if (operand.kind != ptx::Operand::Kind::register_) fail(*current_, "the destination is not a register");
    return place_of(operand, width);
  }

  bool is_read(const ptx::Operand& operand) const override {
    return operand.kind == ptx::Operand::Kind::register_ && registers_.read[static_cast<std::size_t>(operand.reg)] != 0;
  }

  Location constant(std::uint64_t bits, Width width) override {
    if (width == Width::pred) bits = bits != 0 ? kAllLanes : 0;
    const auto [place, is_new] = constants_.try_emplace({bits, width}, 0);
    if (is_new) {
      auto& storage = code_->constant_storage;
      const std::size_t offset = storage.size();
      const std::uint32_t bytes = std::max(64u, frame_bytes_of(width));
      storage.resize(offset + bytes);
      const std::size_t lane_bytes = width == Width::b64 ? 8 : width == Width::b16 ? 2 : 4;
      for (std::size_t at = 0; at < bytes; at += lane_bytes) std::memcpy(storage.data() + offset + at, &bits, lane_bytes);
      place->second = static_cast<Location>(offset) | 1;
    }
    return place->second;
  }

  const Location* list(std::vector<Location> locations) override {
    return code_->lists.emplace_back(std::move(locations)).data();
  }

  Target target(std::string_view symbol) const override { return symbols_.target(function_, symbol); }

  bool frame_variable(std::string_view symbol, FrameVariable& variable) const override {
    const auto found = frame_variables_.find(symbol);
    if (found == frame_variables_.end()) return false;
    variable = found->second;
    return true;
  }

  Location carry() override {
    if (carry_ == kNowhere) carry_ = scratch(Width::pred);
    return carry_;
  }

  void order_dependent() override { code_->order_dependent = true; }

  [[noreturn]] void fail(const ptx::Instruction& in, std::string_view why) const override {
    throw Error("{}: PTX line {}: {}: {}", function_.name, in.ptx_line, in.full, why);
  }

  Code& code() override { return *code_; }

 private:
  void add(const Instruction& out, const ptx::Instruction* source) {
    // A special register that changes while a thread runs is filled again before each instruction that reads it.
    for (const SpecialSlot& slot : refresh_) {
      Instruction refresh;
      refresh.run = refresh_special(slot.special, slot.width);
      refresh.d = slot.location;
      code_->instructions.push_back(refresh);
      code_->sources.push_back(source);
    }
    refresh_.clear();
    code_->instructions.push_back(out);
    code_->sources.push_back(source);
  }

  Instruction decode_one(const ptx::Instruction& in) {
    current_ = &in;
    Instruction out;
    if (in.guard >= 0) {
      out.guard = registers_.places[in.guard];
      out.guard_negated = in.guard_negated;
    }
    const auto [begin, end] = opcodes().equal_range(in.opcode);
    for (auto entry = begin; entry != end; ++entry) {
      if (!entry->second(in, *this, out)) continue;
      if (out.kind == Kind::call) resolve_call();
      return out;
    }
    fail(in, begin == end ? "this instruction is not simulated" : "this form of the instruction is not simulated");
  }

  void resolve_call() {
    CallSite& site = code_->call_sites.back();
    site.function = symbols_.function(site.name);
    if (site.function >= 0) code_->calls.push_back(site.function);
  }

  // Parameters and results of a function that is called, and the .param variables of call sequences, live in the frame.
  void add_variables() {
    auto place = [&](const ptx::Variable& variable) {
      FrameVariable result;
      result.bytes = variable.bytes;
      result.stride = static_cast<std::uint32_t>((variable.bytes + 15) / 16 * 16);
      result.offset = take(result.stride * kLanes, 64);
      frame_variables_[variable.name] = result;
      return result;
    };
    if (!function_.is_entry) {
      for (const ptx::Variable& variable : function_.results) code_->results.push_back(place(variable));
      for (const ptx::Variable& variable : function_.parameters) code_->parameters.push_back(place(variable));
    }
    for (const ptx::Variable& variable : function_.variables) {
      if (variable.space == ptx::Space::parameter) place(variable);
    }
  }

  std::uint32_t take(std::uint32_t bytes, std::uint32_t alignment) {
    frame_bytes_ = (frame_bytes_ + alignment - 1) / alignment * alignment;
    const std::uint32_t place = frame_bytes_;
    frame_bytes_ += bytes;
    return place;
  }

  Location place_of(const ptx::Operand& operand, Width width) const {
    const Width own = width_of(function_.registers[operand.reg].type);
    if (width != own && (width == Width::pred || own == Width::pred || own < width)) {
      fail(*current_, fmt::format("register {} does not have the operand's type", function_.registers[operand.reg].name));
    }
    return registers_.places[operand.reg];
  }

  Location scratch(Width width) { return take(std::max(64u, frame_bytes_of(width)), 64); }

  std::uint64_t immediate_bits(double as_floating, std::int64_t value, bool, ptx::Type type) const {
    switch (type) {
      case ptx::Type::f32:
        return std::bit_cast<std::uint32_t>(static_cast<float>(as_floating));
      case ptx::Type::f64:
        return std::bit_cast<std::uint64_t>(as_floating);
      default:
        return static_cast<std::uint64_t>(value);
    }
  }

  std::uint64_t floating_bits(const ptx::Operand& operand, ptx::Type type) const {
    const double value = operand.width == 32
                             ? static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(operand.value)))
                             : std::bit_cast<double>(operand.value);
    switch (type) {
      case ptx::Type::f64:
        return std::bit_cast<std::uint64_t>(value);
      case ptx::Type::f16:
        return to_half(value);
      case ptx::Type::bf16:
        return to_bfloat(value);
      case ptx::Type::f32:
        return operand.width == 32 ? static_cast<std::uint64_t>(operand.value)
                                   : std::bit_cast<std::uint32_t>(static_cast<float>(value));
      default:
        return static_cast<std::uint64_t>(operand.value);  // the bits as written, as `mov.b32 %r, 0f…` means them
    }
  }

  Location symbol(const ptx::Operand& operand, Width width) {
    if (const int function = symbols_.function(operand.name); function >= 0) {
      code_->indirect = true;
      return constant(symbols_.function_address(function), width);
    }
    if (frame_variables_.contains(operand.name)) fail(*current_, "the address of a .param variable of a call is not simulated");
    const Target target = symbols_.target(function_, operand.name);
    const std::uint64_t address = target.address + static_cast<std::uint64_t>(operand.value);
    if (target.space != ptx::Space::local) return constant(address, width);
    code_->specials.push_back({Special::local_base, scratch(width), width, address});
    return code_->specials.back().location;
  }

  Location special(std::string_view name, Width width) {
    const auto [special, own] = special_named(name);
    if (own == Width::none) fail(*current_, fmt::format("special register %{} is not simulated", name));
    // A 32-bit register read as 16 or 64 bits (old code: mov.u16 %rs, %tid.x) is filled at that width.
    if (changes(special)) {
      refresh_.push_back({special, scratch(width), width});
      return refresh_.back().location;
    }
    const auto [slot, is_new] = specials_.try_emplace({special, width}, 0);
    if (is_new) {
      slot->second = scratch(width);
      code_->specials.push_back({special, slot->second, width});
    }
    return slot->second;
  }

  void resolve_branches() {
    auto pc_of = [&](std::string_view label, const ptx::Instruction& in) {
      const auto found = label_pc_.find(label);
      if (found == label_pc_.end()) fail(in, fmt::format("there is no label {}", label));
      return found->second;
    };
    for (std::size_t n = 0; n < code_->instructions.size(); ++n) {
      Instruction& out = code_->instructions[n];
      if (out.kind == Kind::branch) {
        const ptx::Instruction& in = *code_->sources[n];
        out.immediate = pc_of(in.operands[0].name, in);
      } else if (out.kind == Kind::branch_indexed) {
        const ptx::Instruction& in = *code_->sources[n];
        std::vector<std::uint32_t> table;
        for (const auto& [name, targets] : function_.branch_targets) {
          if (name != in.operands[1].name) continue;
          for (std::string_view target : targets) table.push_back(pc_of(target, in));
        }
        if (table.empty()) fail(in, "there is no such list of branch targets");
        code_->branch_tables.push_back(std::move(table));
        out.immediate = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(&code_->branch_tables.back()));
      }
    }
  }

  void finish(std::uint32_t first_counter) {
    code_->predicate_bytes = predicates_;
    code_->frame_bytes = (frame_bytes_ + 63) / 64 * 64;
    // Lanes are read with aligned vector loads.
    auto& storage = code_->constant_storage;
    const std::size_t bytes = storage.size();
    storage.resize(bytes + 64);
    const auto address = reinterpret_cast<std::uintptr_t>(storage.data());
    const std::size_t shift = (64 - address % 64) % 64;
    std::memmove(storage.data() + shift, storage.data(), bytes);
    code_->constants = storage.data() + shift;
    for (std::size_t n = 0; n < code_->instructions.size(); ++n)
      code_->instructions[n].index = first_counter + static_cast<std::uint32_t>(n);
  }

  const ptx::Function& function_;
  const SymbolTable& symbols_;
  std::unique_ptr<Code> code_;
  RegisterPlaces registers_;
  std::uint32_t frame_bytes_ = 0, predicates_ = 0;
  Location carry_ = kNowhere;
  const ptx::Instruction* current_ = nullptr;
  std::map<std::pair<std::uint64_t, Width>, Location> constants_;
  std::map<std::pair<Special, Width>, Location> specials_;
  std::vector<SpecialSlot> refresh_;
  std::unordered_map<std::string_view, FrameVariable> frame_variables_;
  std::unordered_map<std::string_view, std::uint32_t> label_pc_;
};

}  // namespace

std::uint32_t frame_bytes_of(Width width) {
  switch (width) {
    case Width::pred:
      return 4;
    case Width::b16:
      return 64;
    case Width::b32:
      return 128;
    case Width::b64:
      return 256;
    case Width::b128:
      return 512;
    case Width::none:
      break;
  }
  throw Error("an operand has no storage class");
}

Width width_of(ptx::Type type) {
  using ptx::Type;
  switch (type) {
    case Type::pred:
      return Width::pred;
    case Type::b8:
    case Type::u8:
    case Type::s8:
    case Type::b16:
    case Type::u16:
    case Type::s16:
    case Type::f16:
    case Type::bf16:
    case Type::e4m3:
    case Type::e5m2:
    case Type::e4m3x2:
    case Type::e5m2x2:
      return Width::b16;
    case Type::b32:
    case Type::u32:
    case Type::s32:
    case Type::f32:
    case Type::f16x2:
    case Type::bf16x2:
    case Type::tf32:
    case Type::u16x2:
    case Type::s16x2:
      return Width::b32;
    case Type::b64:
    case Type::u64:
    case Type::s64:
    case Type::f64:
    case Type::f32x2:
      return Width::b64;
    case Type::b128:
      return Width::b128;
    case Type::none:
    case Type::s4:
    case Type::u4:
    case Type::b1:
      break;
  }
  return Width::none;
}

Code& Decoder::code() { throw Error("no code is being decoded"); }

std::unique_ptr<Code> decode(const ptx::Module& module, int index, const SymbolTable& symbols, std::uint32_t first_counter) {
  return FunctionDecoder(module, index, symbols).decode(first_counter);
}

}  // namespace sim

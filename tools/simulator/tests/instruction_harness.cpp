#include "tests/instruction_harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstring>
#include <set>

#include "error.h"

namespace sim::test {
namespace {

constexpr std::size_t kGap = 64;              // sentinels before and behind each register
constexpr std::size_t kStorage = 256 * 1024;  // of a frame, and of constants

ptx::Type register_type(std::string_view name) {
  static constexpr std::array<std::pair<std::string_view, ptx::Type>, 8> kPrefixes{{{"%p", ptx::Type::pred},
                                                                                    {"%rs", ptx::Type::b16},
                                                                                    {"%h", ptx::Type::b16},
                                                                                    {"%r", ptx::Type::b32},
                                                                                    {"%f", ptx::Type::f32},
                                                                                    {"%rd", ptx::Type::b64},
                                                                                    {"%fd", ptx::Type::f64},
                                                                                    {"%rq", ptx::Type::b128}}};
  std::size_t letters = name.size();
  while (letters > 0 && std::isdigit(static_cast<unsigned char>(name[letters - 1])) != 0) --letters;
  if (letters == name.size()) return ptx::Type::none;
  for (const auto& [prefix, type] : kPrefixes) {
    if (name.substr(0, letters) == prefix) return type;
  }
  return ptx::Type::none;
}

Width storage(ptx::Type type) {
  switch (type) {
    case ptx::Type::pred:
      return Width::pred;
    case ptx::Type::b16:
      return Width::b16;
    case ptx::Type::b32:
    case ptx::Type::f32:
      return Width::b32;
    case ptx::Type::b64:
    case ptx::Type::f64:
      return Width::b64;
    case ptx::Type::b128:
      return Width::b128;
    default:
      return Width::none;
  }
}

bool is_name_character(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$' || c == '%'; }

std::string_view space_name(ptx::Space space) {
  switch (space) {
    case ptx::Space::constant:
      return ".const";
    case ptx::Space::shared:
      return ".shared";
    case ptx::Space::local:
      return ".local";
    default:
      return ".global";
  }
}

// A module with one kernel, which holds the instructions and declares what they name.
std::string module_text(std::string_view instructions, const Environment& environment) {
  std::set<std::string, std::less<>> registers;
  for (std::size_t at = instructions.find('%'); at != std::string_view::npos; at = instructions.find('%', at + 1)) {
    std::size_t end = at;
    while (end < instructions.size() && is_name_character(instructions[end])) ++end;
    const std::string_view name = instructions.substr(at, end - at);
    if (register_type(name) != ptx::Type::none) registers.emplace(name);
  }
  std::string outside, inside;
  for (const auto& [name, target] : environment.symbols) {
    std::string& scope = target.space == ptx::Space::local ? inside : outside;
    if (target.space == ptx::Space::parameter) continue;
    scope += fmt::format("{} .align 16 .b8 {}[{}];\n", space_name(target.space), name, std::max<std::size_t>(target.bytes, 1));
  }
  for (const auto& [name, bytes] : environment.frame_variables)
    inside += fmt::format(".param .align 16 .b8 {}[{}];\n", name, bytes);
  for (const std::string& name : registers) inside += fmt::format(".reg .{} {};\n", ptx::name_of(register_type(name)), name);
  std::string parameters;
  for (const auto& [name, target] : environment.symbols) {
    if (target.space != ptx::Space::parameter) continue;
    parameters += fmt::format("{}.param .align 16 .b8 {}[{}]", parameters.empty() ? "" : ", ", name,
                              std::max<std::size_t>(target.bytes, 1));
  }
  return fmt::format(".version 9.0\n.target sm_90a\n.address_size 64\n{}.visible .entry test({}) {{\n{}{}\n}}\n", outside,
                     parameters, inside, instructions);
}

std::uint16_t half_bits(double value) { return std::bit_cast<std::uint16_t>(static_cast<_Float16>(value)); }

// Rounds to nearest even.
std::uint16_t bfloat_bits(double value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

class InstructionHarness::TestDecoder final : public Decoder {
 public:
  TestDecoder(const ptx::Function& function, Environment environment)
      : function_(function), environment_(std::move(environment)), memory_(2 * kStorage + 64) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    frame_ = memory_.data() + (64 - address % 64) % 64;
    constants_ = frame_ + kStorage;
    for (std::size_t n = 0; n < kStorage; ++n) frame_[n] = static_cast<std::byte>(0xa5 ^ n);
    for (const ptx::Register& reg : function.registers) places_.push_back(place(frame_bytes_of(storage(reg.type))));
    for (const auto& [name, bytes] : environment_.frame_variables) {
      const auto stride = static_cast<std::uint32_t>((bytes + 15) / 16 * 16);
      variables_[name] = {place(std::size_t{stride} * kLanes), stride, bytes};
    }
    for (const auto& [name, lanes] : environment_.specials) special_places_[name] = place(256);
  }

  Width width(const ptx::Operand& operand) const override {
    return operand.kind == ptx::Operand::Kind::register_ ? storage(type_of(operand.reg)) : Width::none;
  }

  Location read(const ptx::Operand& operand, Width width, ptx::Type type) override {
    using Kind = ptx::Operand::Kind;
    switch (operand.kind) {
      case Kind::register_:
        if (frame_bytes_of(storage(type_of(operand.reg))) < frame_bytes_of(width))
          throw Error("'{}' is too narrow", name_of(operand.reg));
        return places_.at(operand.reg);
      case Kind::integer:
        return constant(static_cast<std::uint64_t>(operand.value), width);
      case Kind::floating:
        return constant(floating(operand, type), width);
      case Kind::symbol:
        return constant(target(operand.name).address + operand.value, width);
      case Kind::special:
        return special(operand.name, width);
      default:
        throw Error("an operand that can not be read");
    }
  }

  Location write(const ptx::Operand& operand, Width width) override {
    if (operand.kind == ptx::Operand::Kind::sink) {
      written_.push_back({place(frame_bytes_of(width)), width});
    } else if (operand.kind == ptx::Operand::Kind::register_) {
      if (frame_bytes_of(storage(type_of(operand.reg))) < frame_bytes_of(width))
        throw Error("'{}' is too narrow", name_of(operand.reg));
      written_.push_back({places_.at(operand.reg), storage(type_of(operand.reg))});
    } else {
      throw Error("an operand that can not be written");
    }
    return written_.back().location;
  }

  Location constant(std::uint64_t bits, Width width) override {
    const std::size_t at = constants_end_;
    constants_end_ += frame_bytes_of(width) + (width == Width::pred ? 60 : 0);
    if (constants_end_ > kStorage) throw Error("too many constants");
    if (width == Width::pred) {
      const Mask mask = bits != 0 ? kAllLanes : 0;
      std::memcpy(constants_ + at, &mask, sizeof mask);
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if (width == Width::b16) std::memcpy(constants_ + at + lane * 2, &bits, 2);
      if (width == Width::b32) std::memcpy(constants_ + at + lane * 4, &bits, 4);
      if (width == Width::b64 || width == Width::b128) std::memcpy(constants_ + at + lane * 8, &bits, 8);
    }
    if (width == Width::b128) std::memset(constants_ + at + 256, 0, 256);
    return static_cast<Location>(at) | 1;
  }

  Location carry() override {
    if (carry_ == kNowhere) carry_ = place(4);
    written_.push_back({carry_, Width::pred});
    return carry_;
  }

  const Location* list(std::vector<Location> locations) override { return lists_.emplace_back(std::move(locations)).data(); }

  Target target(std::string_view symbol) const override {
    const auto found = environment_.symbols.find(symbol);
    if (found == environment_.symbols.end()) throw Error("unknown symbol '{}'", symbol);
    return found->second;
  }

  bool frame_variable(std::string_view symbol, FrameVariable& variable) const override {
    const auto found = variables_.find(symbol);
    if (found == variables_.end()) return false;
    variable = found->second;
    return true;
  }

  void order_dependent() override { order_dependent_ = true; }

  [[noreturn]] void fail(const ptx::Instruction& instruction, std::string_view why) const override {
    throw Error("{}: {}", instruction.full, why);
  }

  Location place_of(std::string_view name, Width& width) const {
    for (std::size_t n = 0; n < function_.registers.size(); ++n) {
      if (function_.registers[n].name == name) {
        width = storage(function_.registers[n].type);
        return places_[n];
      }
    }
    throw Error("no register '{}' in the instruction", name);
  }

  std::byte* frame() { return frame_; }
  const std::byte* frame() const { return frame_; }
  std::byte* constants() { return constants_; }
  std::size_t frame_bytes() const { return frame_end_; }
  std::size_t constant_bytes() const { return constants_end_; }
  bool is_order_dependent() const { return order_dependent_; }
  const ptx::Function& function() const { return function_; }
  Location register_place(std::size_t n) const { return places_[n]; }

  struct Written {
    Location location;
    Width width;
  };
  const std::vector<Written>& written() const { return written_; }
  const std::map<std::string, FrameVariable, std::less<>>& variables() const { return variables_; }

 private:
  ptx::Type type_of(int reg) const { return function_.registers.at(reg).type; }
  const std::string& name_of(int reg) const { return function_.registers.at(reg).name; }

  Location place(std::size_t bytes) {
    const std::size_t at = frame_end_;
    frame_end_ = (at + bytes + kGap + 63) / 64 * 64;
    if (frame_end_ > kStorage) throw Error("too many registers");
    return static_cast<Location>(at);
  }

  static std::uint64_t floating(const ptx::Operand& operand, ptx::Type type) {
    const auto bits = static_cast<std::uint64_t>(operand.value);
    const double value =
        operand.width == 32 ? std::bit_cast<float>(static_cast<std::uint32_t>(bits)) : std::bit_cast<double>(bits);
    switch (type) {
      case ptx::Type::f16:
        return half_bits(value);
      case ptx::Type::bf16:
        return bfloat_bits(value);
      case ptx::Type::f32:
        return operand.width == 32 ? bits : std::bit_cast<std::uint32_t>(static_cast<float>(value));
      case ptx::Type::f64:
        return std::bit_cast<std::uint64_t>(value);
      default:
        return bits;
    }
  }

  Location special(std::string_view name, Width width) {
    const auto found = environment_.specials.find(name);
    if (found == environment_.specials.end()) throw Error("unknown special register '{}'", name);
    const Location at = special_places_.find(name)->second;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::size_t bytes = frame_bytes_of(width) / kLanes;
      std::memcpy(frame_ + at + lane * bytes, &found->second[lane], bytes);
    }
    return at;
  }

  const ptx::Function& function_;
  Environment environment_;
  std::vector<std::byte> memory_;
  std::byte* frame_ = nullptr;
  std::byte* constants_ = nullptr;
  std::size_t frame_end_ = kGap, constants_end_ = 0;
  std::vector<Location> places_;
  std::map<std::string, Location, std::less<>> special_places_;
  std::map<std::string, FrameVariable, std::less<>> variables_;
  std::vector<Written> written_;
  std::deque<std::vector<Location>> lists_;
  Location carry_ = kNowhere;
  bool order_dependent_ = false;
};

InstructionHarness::InstructionHarness(const std::vector<OpcodeEntry>& opcodes, std::string_view text, Environment environment)
    : text_(text) {
  module_ = ptx::parse(module_text(text, environment));
  const ptx::Function& function = module_.functions.front();
  decoder_ = std::make_unique<TestDecoder>(function, std::move(environment));
  for (const ptx::Instruction& in : function.body) {
    bool done = false;
    for (const OpcodeEntry& entry : opcodes) {
      Instruction out;
      if (entry.opcode != in.opcode || !entry.decode(in, *decoder_, out)) continue;
      if (out.run == nullptr) throw Error("{}: decoded, but without a handler", in.full);
      decoded_.push_back(out);
      done = true;
      break;
    }
    if (!done) throw Error("{}: unknown instruction", in.full);
  }
  warp_.base[0] = decoder_->frame();
  warp_.base[1] = decoder_->constants() - 1;
  warp_.living = kAllLanes;
}

InstructionHarness::~InstructionHarness() = default;

void InstructionHarness::set(std::string_view reg, const Lanes& lanes) {
  Width width{};
  const Location at = decoder_->place_of(reg, width);
  std::byte* data = decoder_->frame() + at;
  Mask mask = 0;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const std::uint64_t value = lanes[lane];
    switch (width) {
      case Width::pred:
        mask |= static_cast<Mask>(value & 1) << lane;
        break;
      case Width::b16:
        std::memcpy(data + lane * 2, &value, 2);
        break;
      case Width::b32:
        std::memcpy(data + lane * 4, &value, 4);
        break;
      default:
        std::memcpy(data + lane * 8, &value, 8);
    }
  }
  if (width == Width::pred) std::memcpy(data, &mask, sizeof mask);
}

void InstructionHarness::set(std::string_view reg, std::uint64_t value) {
  Lanes lanes;
  lanes.fill(value);
  set(reg, lanes);
}

void InstructionHarness::set_high(std::string_view reg, const Lanes& lanes) {
  Width width{};
  const Location at = decoder_->place_of(reg, width);
  if (width != Width::b128) throw Error("'{}' has no high half", reg);
  std::memcpy(decoder_->frame() + at + 256, lanes.data(), 256);
}

Lanes InstructionHarness::get(std::string_view reg) const {
  Width width{};
  const Location at = decoder_->place_of(reg, width);
  const std::byte* data = decoder_->frame() + at;
  Lanes lanes{};
  Mask mask = 0;
  if (width == Width::pred) std::memcpy(&mask, data, sizeof mask);
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    switch (width) {
      case Width::pred:
        lanes[lane] = mask >> lane & 1;
        break;
      case Width::b16:
        std::memcpy(&lanes[lane], data + lane * 2, 2);
        break;
      case Width::b32:
        std::memcpy(&lanes[lane], data + lane * 4, 4);
        break;
      default:
        std::memcpy(&lanes[lane], data + lane * 8, 8);
    }
  }
  return lanes;
}

Lanes InstructionHarness::get_high(std::string_view reg) const {
  Width width{};
  const Location at = decoder_->place_of(reg, width);
  if (width != Width::b128) throw Error("'{}' has no high half", reg);
  Lanes lanes;
  std::memcpy(lanes.data(), decoder_->frame() + at + 256, 256);
  return lanes;
}

void InstructionHarness::scramble(std::mt19937_64& random) {
  const auto& registers = decoder_->function().registers;
  for (std::size_t n = 0; n < registers.size(); ++n) {
    std::byte* data = decoder_->frame() + decoder_->register_place(n);
    const std::size_t bytes = frame_bytes_of(storage(registers[n].type));
    for (std::size_t at = 0; at < bytes; at += 4) {
      const auto bits = static_cast<std::uint32_t>(random());
      std::memcpy(data + at, &bits, sizeof bits);
    }
  }
}

std::byte* InstructionHarness::frame_variable(std::string_view name, std::uint32_t& stride) {
  Decoder::FrameVariable variable;
  if (!decoder_->frame_variable(name, variable)) throw Error("no frame variable '{}'", name);
  stride = variable.stride;
  return decoder_->frame() + variable.offset;
}

bool InstructionHarness::order_dependent() const { return decoder_->is_order_dependent(); }

void InstructionHarness::run(Mask mask) {
  warp_.mask = mask;
  before_.assign(decoder_->frame(), decoder_->frame() + decoder_->frame_bytes());
  const std::vector<std::byte> constants(decoder_->constants(), decoder_->constants() + decoder_->constant_bytes());
  for (const Instruction& in : decoded_) in.run(warp_, in);
  verify(mask);
  EXPECT_EQ(std::memcmp(constants.data(), decoder_->constants(), constants.size()), 0) << text_ << " changed a constant";
}

void InstructionHarness::verify(Mask mask) {
  // What may have changed is copied over, then all must be equal.
  const std::byte* now = decoder_->frame();
  for (const auto& [location, width] : decoder_->written()) {
    if (width == Width::pred) {
      Mask old{}, fresh{};
      std::memcpy(&old, before_.data() + location, sizeof old);
      std::memcpy(&fresh, now + location, sizeof fresh);
      old = (old & ~mask) | (fresh & mask);
      std::memcpy(before_.data() + location, &old, sizeof old);
      continue;
    }
    const std::size_t bytes = width == Width::b128 ? 8 : frame_bytes_of(width) / kLanes;
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      if ((mask >> lane & 1) == 0) continue;
      std::memcpy(before_.data() + location + lane * bytes, now + location + lane * bytes, bytes);
      if (width == Width::b128) std::memcpy(before_.data() + location + 256 + lane * 8, now + location + 256 + lane * 8, 8);
    }
  }
  for (const auto& [name, variable] : decoder_->variables()) {
    std::memcpy(before_.data() + variable.offset, now + variable.offset, std::size_t{variable.stride} * kLanes);
  }
  if (std::memcmp(before_.data(), now, before_.size()) == 0) return;
  for (std::size_t n = 0; n < before_.size(); ++n) {
    if (before_[n] != now[n]) {
      ADD_FAILURE() << text_ << " with mask " << std::hex << mask << " changed byte " << std::dec << n
                    << " of the frame, which is no active lane of a register that it writes";
      return;
    }
  }
}

}  // namespace sim::test

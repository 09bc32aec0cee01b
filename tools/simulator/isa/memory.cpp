#include <algorithm>
#include <atomic>

#include "error.h"
#include "isa/memory_decoding.h"
#include "isa/memory_lanes.h"
#include "machine/races.h"

// ld, st, fences and what concerns caches only: which handler runs an instruction. Atomics, copies, mbarriers and matrices have
// files of their own.
namespace sim {
namespace access {
namespace {

using ptx::Operand;
using ptx::Space;
using ptx::Type;

unsigned bytes_of(Width width) {
  switch (width) {
    case Width::b16:
      return 2;
    case Width::b32:
      return 4;
    case Width::b64:
      return 8;
    default:
      return 0;
  }
}

// Kernel parameters are the same for all lanes.
void load_parameter(Warp& warp, const Instruction& in) {
  const std::byte* source = warp.block->launch->parameters.data() + in.immediate;
  load_any(warp, in, [&](int) { return source; });
}

template <unsigned bytes>
void load_plain_parameter(Warp& warp, const Instruction& in) {
  using T = Unsigned<bytes>;
  T value;
  std::memcpy(&value, warp.block->launch->parameters.data() + in.immediate, sizeof value);
  T* d = warp.at<T>(in.d);
  if (warp.mask == kAllLanes) {
    for (int lane = 0; lane < kLanes; ++lane) d[lane] = value;
  } else {
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) d[std::countr_zero(rest)] = value;
  }
}

std::byte* frame_lane(const Warp& warp, const Instruction& in, int lane) {
  return warp.base[0] + in.immediate + static_cast<std::size_t>(lane) * in.e;
}

void load_frame(Warp& warp, const Instruction& in) {
  load_any(warp, in, [&](int lane) { return frame_lane(warp, in, lane); });
}

void store_frame(Warp& warp, const Instruction& in) {
  store_any(warp, in, [&](int lane) { return frame_lane(warp, in, lane); });
}

void nothing(Warp&, const Instruction&) {}

// What ld and st have in common.
struct PlainForm {
  Space space = Space::none;
  Type type = Type::none;
  unsigned count = 1;
  bool strong = false, releases = false, of_block = false;
};

bool parse(const ptx::Instruction& in, PlainForm& form) {
  for (std::string_view modifier : in.modifiers) {
    if (const Space space = space_named(modifier); space != Space::none) {
      form.space = space;
    } else if (const Type type = ptx::type_named(modifier); type != Type::none) {
      form.type = type;
    } else if (modifier == "v2" || modifier == "v4" || modifier == "v8") {
      form.count = static_cast<unsigned>(modifier[1] - '0');
    } else if (modifier == "volatile" || modifier == "relaxed" || modifier == "acquire" || modifier == "release" ||
               modifier == "mmio") {
      form.strong = true;
      form.releases = modifier == "release";
    } else if (modifier == "cta") {
      form.of_block = true;
    } else if (modifier != "weak" && modifier != "cluster" && modifier != "gpu" && modifier != "sys" &&
               !is_cache_hint(modifier)) {
      return false;
    }
  }
  return form.type != Type::none && form.type != Type::pred;
}

// The registers of a vector or single operand, all of one width, which is that of the type or a wider one.
struct Registers {
  std::vector<Location> locations;
  Width width = Width::none;
  unsigned memory = 0;  // bytes of an element
};

Registers registers_of(const ptx::Instruction& in, const Operand& operand, const PlainForm& form, bool written,
                       Decoder& decoder) {
  std::vector<const Operand*> elements;
  if (operand.kind == Operand::Kind::vector) {
    for (const Operand& element : operand.elements) elements.push_back(&element);
  } else {
    elements.push_back(&operand);
  }
  if (elements.size() != form.count) decoder.fail(in, "the vector does not have as many elements as the instruction says");
  Registers result;
  for (const Operand* element : elements) {
    const Width own = decoder.width(*element);
    if (own == Width::none) continue;
    if (result.width != Width::none && own != result.width)
      decoder.fail(in, "registers of different widths in one vector are not simulated");
    result.width = own;
  }
  const bool is_b128 = form.type == Type::b128;
  if (result.width == Width::none) result.width = is_b128 ? Width::b128 : width_of(form.type);
  if (result.width == Width::none || result.width == Width::pred || is_b128 != (result.width == Width::b128)) {
    decoder.fail(in, "the registers do not have the instruction's type");
  }
  result.memory = static_cast<unsigned>(ptx::size_of(form.type));
  for (const Operand* element : elements) {
    const Location location = written ? decoder.write(*element, result.width) : decoder.read(*element, result.width, form.type);
    result.locations.push_back(location);
    if (is_b128) result.locations.push_back(location + 256);  // the high halves
  }
  if (is_b128) {
    result.width = Width::b64;
    result.memory = 8;
  }
  const unsigned reg = bytes_of(result.width);
  if (result.memory == 0 || result.memory > reg) decoder.fail(in, "the registers are narrower than the instruction's type");
  if (result.memory * result.locations.size() > 32) decoder.fail(in, "more than 32 bytes a thread");
  return result;
}

bool is_signed(Type type) { return type == Type::s8 || type == Type::s16 || type == Type::s32; }

// The address and, by its space, the handler.
bool finish(const ptx::Instruction& in, const Operand& operand, const PlainForm& form, const Registers& registers, bool is_load,
            Decoder& decoder, Instruction& out) {
  const auto count = static_cast<unsigned>(registers.locations.size());
  const unsigned reg = bytes_of(registers.width);
  out.more = AnyForm::packed(registers.memory, reg, count);
  if (count == 1) {
    out.d = registers.locations[0];
  } else {
    out.list = decoder.list(registers.locations);
  }
  if (is_load && is_signed(form.type) && registers.memory < reg) out.flags |= kSigned;
  if (form.strong) out.flags |= kStrong;
  if (form.releases) out.flags |= kFences;
  if (form.strong && form.of_block) out.more |= kOfBlock;
  const Address address = decode_address(in, operand, form.space, decoder);
  if (address.frame) {
    if (address.offset < 0 || static_cast<std::size_t>(address.offset) + registers.memory * count > address.frame->bytes) {
      decoder.fail(in, "the access is outside of the .param variable");
    }
    out.immediate = address.frame->offset + address.offset;
    out.e = address.frame->stride;
    out.run = is_load ? load_frame : store_frame;
    return true;
  }
  out.a = address.base;
  out.immediate = address.offset;
  if (address.wide) out.flags |= kWide;
  switch (address.space) {
    case Space::parameter:
      if (!is_load) decoder.fail(in, "kernel parameters are read-only");
      if (operand.reg < 0) {
        // decode_address() has checked the bounds of a named one.
        if (count == 1 && registers.memory == reg && reg == 4) {
          out.run = load_plain_parameter<4>;
        } else if (count == 1 && registers.memory == reg && reg == 8) {
          out.run = load_plain_parameter<8>;
        } else {
          out.run = load_parameter;
        }
        return true;
      }
      out.immediate += static_cast<std::int64_t>(kParameterWindow);
      out.flags |= kGeneric;
      out.run = load_handler(HandlerSpace::global, registers.memory, reg, count, is_checked());
      return true;
    case Space::shared:
    case Space::local: {
      const HandlerSpace space = address.space == Space::shared ? HandlerSpace::shared : HandlerSpace::local;
      out.run = is_load ? load_handler(space, registers.memory, reg, count, is_checked())
                        : store_handler(space, registers.memory, reg, count, is_checked());
      return true;
    }
    case Space::none:
      out.flags |= kGeneric;
      [[fallthrough]];
    case Space::global:
    case Space::constant:
      if (form.strong && !form.of_block && is_load) decoder.order_dependent();
      out.run = is_load ? load_handler(HandlerSpace::global, registers.memory, reg, count, is_checked())
                        : store_handler(HandlerSpace::global, registers.memory, reg, count, is_checked());
      return true;
    default:
      return false;
  }
}

template <bool between_blocks>
void fence(Warp& warp, const Instruction&) {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (warp.block == nullptr || warp.block->races == nullptr) return;
  warp.block->races->fence(warp.index);
  if (between_blocks) warp.block->races->order.fence();
}

}  // namespace

Space space_named(std::string_view modifier) {
  if (modifier == "global") return Space::global;
  if (modifier == "shared" || modifier == "shared::cta") return Space::shared;
  if (modifier == "local") return Space::local;
  if (modifier == "const") return Space::constant;
  if (modifier == "param" || modifier == "param::entry" || modifier == "param::func") return Space::parameter;
  return Space::none;
}

bool is_cache_hint(std::string_view modifier) {
  static constexpr std::string_view kOperators[] = {"ca", "cg", "cs", "lu", "cv", "wb", "wt", "nc", "unified"};
  return std::find(std::begin(kOperators), std::end(kOperators), modifier) != std::end(kOperators) ||
         modifier.starts_with("L1::") || modifier.starts_with("L2::") || modifier.starts_with("level::");
}

Address decode_address(const ptx::Instruction& in, const Operand& operand, Space space, Decoder& decoder) {
  Address result;
  result.space = space;
  result.offset = operand.value;
  if (operand.reg >= 0) {
    Operand reg;
    reg.kind = Operand::Kind::register_;
    reg.reg = operand.reg;
    const Width width = decoder.width(reg);
    if (width != Width::b32 && width != Width::b64) decoder.fail(in, "the address is neither 32 nor 64 bits wide");
    result.wide = width == Width::b64;
    result.base = decoder.read(reg, width);
    return result;
  }
  if (operand.name.empty()) {
    result.base = decoder.constant(static_cast<std::uint64_t>(operand.value), Width::b64);
    result.offset = 0;
    return result;
  }
  Decoder::FrameVariable frame;
  if ((space == Space::parameter || space == Space::none) && decoder.frame_variable(operand.name, frame)) {
    result.frame = frame;
    result.space = Space::parameter;
    return result;
  }
  const Decoder::Target target = decoder.target(operand.name);
  const bool both_global = (space == Space::global || space == Space::constant) &&
                           (target.space == Space::global || target.space == Space::constant);
  if (space != Space::none && space != target.space && !both_global) decoder.fail(in, "the variable is in another state space");
  result.space = target.space;
  if (target.space == Space::parameter) {
    result.offset = static_cast<std::int64_t>(target.address) + operand.value;
    std::size_t bytes = static_cast<std::size_t>(ptx::size_of(Type::b8));
    for (std::string_view modifier : in.modifiers) {
      if (const Type type = ptx::type_named(modifier); type != Type::none)
        bytes *= static_cast<std::size_t>(ptx::size_of(type));
      if (modifier == "v2" || modifier == "v4" || modifier == "v8") bytes *= static_cast<std::size_t>(modifier[1] - '0');
    }
    if (operand.value < 0 || static_cast<std::size_t>(operand.value) + bytes > target.bytes)
      decoder.fail(in, "the access is outside of the parameter");
    return result;
  }
  if (target.space == Space::local) {
    // Where the variable lies depends on the depth of calls: what its address reads as knows.
    Operand symbol;
    symbol.kind = Operand::Kind::symbol;
    symbol.name = operand.name;
    result.base = decoder.read(symbol, Width::b64);
    return result;
  }
  result.base = decoder.constant(target.address + static_cast<std::uint64_t>(operand.value), Width::b64);
  result.offset = 0;
  return result;
}

bool decode_load(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  PlainForm form;
  if (!parse(in, form) || in.operands.size() < 2 || form.releases) return false;
  const Registers registers = registers_of(in, in.operands[0], form, true, decoder);
  return finish(in, in.operands[1], form, registers, true, decoder, out);
}

bool decode_store(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  PlainForm form;
  if (!parse(in, form) || in.operands.size() < 2 || in.has("acquire") || in.has("nc")) return false;
  const Registers registers = registers_of(in, in.operands[1], form, false, decoder);
  return finish(in, in.operands[0], form, registers, false, decoder, out);
}

bool decode_fence(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  // Proxies (textures, the asynchronous engines) see memory as the generic one does.
  for (std::string_view modifier : in.modifiers) {
    if (modifier.starts_with("proxy") || modifier.starts_with("mbarrier_init") || modifier.starts_with("sync_restrict")) {
      out.run = nothing;
      return true;
    }
  }
  static constexpr std::string_view kKnown[] = {"sc", "acq_rel", "acquire", "release", "cta", "cluster", "gpu", "sys", "gl"};
  for (std::string_view modifier : in.modifiers) {
    if (std::find(std::begin(kKnown), std::end(kKnown), modifier) == std::end(kKnown)) return false;
  }
  if (in.modifiers.empty()) return false;
  out.run = in.has("cta") ? fence<false> : fence<true>;
  // Blocks that publish something to each other may wait for it, by whatever loads.
  if (!in.has("cta")) decoder.order_dependent();
  return true;
}

namespace {

bool decode_hint(const ptx::Instruction& in, Decoder&, Instruction& out) {
  if (in.has("tensor") || in.has("bulk") || in.has("tensormap")) return false;
  out.run = nothing;
  return true;
}

// The policy says how caches are used: any value does.
bool decode_policy(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  if (in.operands.empty()) return false;
  out.d = decoder.write(in.operands[0], Width::b64);
  out.run = [](Warp& warp, const Instruction& policy) {
    for (Mask rest = warp.mask; rest != 0; rest &= rest - 1) warp.at<std::uint64_t>(policy.d)[std::countr_zero(rest)] = 0;
  };
  return true;
}

}  // namespace
}  // namespace access

std::vector<OpcodeEntry> memory_opcodes() {
  using namespace access;
  return {{"ld", decode_load},
          {"ldu", decode_load},
          {"st", decode_store},
          {"atom", decode_atomic},
          {"red", decode_atomic},
          {"cp", decode_copy},
          {"mbarrier", decode_mbarrier},
          {"fence", decode_fence},
          {"membar", decode_fence},
          {"ldmatrix", decode_load_matrix},
          {"stmatrix", decode_store_matrix},
          {"movmatrix", decode_move_matrix},
          {"prefetch", decode_hint},
          {"prefetchu", decode_hint},
          {"applypriority", decode_hint},
          {"discard", decode_hint},
          {"createpolicy", decode_policy}};
}

}  // namespace sim

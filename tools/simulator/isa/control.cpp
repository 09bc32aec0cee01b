#include "isa/code.h"

// The control family only says what an instruction is: the executor (machine/warp_executor.cpp) does it.
namespace sim {
namespace {

using ptx::Operand;

std::int64_t pointer(const void* site) { return static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(site)); }

bool decode_branch(const ptx::Instruction& in, Decoder&, Instruction& out) {
  out.kind = Kind::branch;  // the decoder sets its target
  return in.operands.size() == 1;
}

bool decode_branch_indexed(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  if (!in.has("idx") || in.operands.size() != 2) return false;
  out.kind = Kind::branch_indexed;
  out.a = decoder.read(in.operands[0], Width::b32);
  return true;
}

bool decode_call(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  CallSite site;
  const Operand* target = nullptr;
  auto variables = [&](const Operand& list) {
    std::vector<FrameVariable> result;
    for (const Operand& element : list.elements) {
      FrameVariable variable;
      if (element.kind != Operand::Kind::symbol || !decoder.frame_variable(element.name, variable)) {
        decoder.fail(in, "arguments and results that are not .param variables are not simulated");
      }
      result.push_back(variable);
    }
    return result;
  };
  for (const Operand& operand : in.operands) {
    if (operand.kind == Operand::Kind::list) {
      (target == nullptr ? site.results : site.arguments) = variables(operand);
    } else if (target == nullptr) {
      target = &operand;
    }
  }
  if (target == nullptr) return false;
  if (target->kind == Operand::Kind::register_) {
    out.kind = Kind::call_indirect;
    out.a = decoder.read(*target, Width::b64);
    decoder.code().indirect = true;
  } else {
    out.kind = Kind::call;  // the decoder finds the function
    site.name = target->name;
  }
  decoder.code().call_sites.push_back(std::move(site));
  out.immediate = pointer(&decoder.code().call_sites.back());
  return true;
}

bool decode_return(const ptx::Instruction&, Decoder&, Instruction& out) {
  out.kind = Kind::return_;
  return true;
}

bool decode_exit(const ptx::Instruction&, Decoder&, Instruction& out) {
  out.kind = Kind::exit;
  return true;
}

bool decode_trap(const ptx::Instruction& in, Decoder&, Instruction& out) {
  out.kind = in.opcode == "trap" ? Kind::trap : Kind::label;
  return true;
}

// bar.warp.sync, and the block's barriers: bar and barrier with .sync, .arrive and .red.
bool decode_barrier(const ptx::Instruction& in, Decoder& decoder, Instruction& out) {
  if (in.has("warp")) {
    if (in.operands.size() != 1) return false;
    out.kind = Kind::warp_sync;
    out.mask = decoder.read(in.operands[0], Width::b32);
    out.flags = kMeetsAnywhere;
    return true;
  }
  if (in.has("cluster")) decoder.fail(in, "clusters are not simulated");
  using Reduction = BarrierSite::Reduction;
  BarrierSite site;
  site.aligned = in.opcode == "bar" || in.has("aligned");
  site.arrive = in.has("arrive");
  std::size_t next = 0;
  if (in.has("red")) {
    if (in.operands.size() < 3) return false;
    site.reduction = in.has("popc") ? Reduction::popc : in.has("and") ? Reduction::and_ : Reduction::or_;
    site.result = decoder.write(in.operands[next++], site.reduction == Reduction::popc ? Width::b32 : Width::pred);
    site.predicate = decoder.read(in.operands.back(), Width::pred);
    site.negated = in.operands.back().negated;
  }
  const std::size_t end = in.operands.size() - (in.has("red") ? 1 : 0);
  site.id = next < end ? decoder.read(in.operands[next++], Width::b32) : decoder.constant(0, Width::b32);
  if (next < end) site.count = decoder.read(in.operands[next++], Width::b32);
  if (next != end || (site.arrive && site.count == kNowhere)) return false;
  decoder.code().barrier_sites.push_back(site);
  out.kind = Kind::barrier;
  out.immediate = pointer(&decoder.code().barrier_sites.back());
  return true;
}

bool decode_yield(const ptx::Instruction&, Decoder&, Instruction& out) {
  out.kind = Kind::yield;
  return true;
}

// Hints and waits that concern the scheduling of grids, each of which runs after the one before it.
bool decode_nothing(const ptx::Instruction&, Decoder&, Instruction& out) {
  out.kind = Kind::label;
  return true;
}

}  // namespace

std::vector<OpcodeEntry> control_opcodes() {
  return {{"bra", decode_branch},
          {"brx", decode_branch_indexed},
          {"call", decode_call},
          {"ret", decode_return},
          {"exit", decode_exit},
          {"trap", decode_trap},
          {"brkpt", decode_trap},
          {"bar", decode_barrier},
          {"barrier", decode_barrier},
          {"nanosleep", decode_yield},
          {"griddepcontrol", decode_nothing},
          {"pmevent", decode_nothing}};
}

}  // namespace sim

#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "isa/decoder.h"
#include "isa/instruction.h"
#include "machine/memory.h"
#include "machine/shared_layout.h"
#include "ptx/module.h"

namespace sim {

struct Code;

/// Registers that the hardware provides, each 32 lanes of b32 or b64.
enum class Special : std::uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  smid,
  nsmid,
  gridid,
  envreg1,  // envreg1 and envreg2: the workspace of a cooperative launch
  envreg2,
  lanemask_eq,
  lanemask_le,
  lanemask_lt,
  lanemask_ge,
  lanemask_gt,
  dynamic_smem_size,
  total_smem_size,
  warp_size,
  zero,
  one,
  local_base,  // + SpecialSlot::addend: the address of a .local variable of this frame
  clock,
  clock_hi,
  clock64,
  globaltimer,
  globaltimer_lo,
  globaltimer_hi,  // these change while a thread runs
};

/// A block of 32 lanes in the frame that is filled with a special register when the frame is made, or before each use where it
/// changes.
struct SpecialSlot {
  Special special;
  Location location;
  Width width;
  std::uint64_t addend = 0;
};

/// A .param variable in a frame: lane l's bytes are at registers + offset + l * stride.
using FrameVariable = Decoder::FrameVariable;

/// What a call instruction passes; Instruction::immediate holds its address.
struct CallSite {
  int function = -1;  // index into ptx::Module::functions, or -1: indirect, through Instruction::a
  std::string name;   // of a function that the module does not define: the device runtime's (vprintf, malloc, …)
  std::vector<FrameVariable> arguments, results;
};

/// What a barrier instruction does; Instruction::immediate holds its address.
struct BarrierSite {
  enum class Reduction : std::uint8_t { none, popc, and_, or_ };
  bool arrive = false, aligned = true;
  Reduction reduction = Reduction::none;
  bool negated = false;  // of the predicate that is reduced
  Location id = kNowhere, count = kNowhere, predicate = kNowhere, result = kNowhere;
};

/// A decoded function.
struct Code {
  const ptx::Function* function = nullptr;
  int index = -1;  // into ptx::Module::functions
  std::vector<Instruction> instructions;
  std::vector<const ptx::Instruction*> sources;  // of each instruction; null for what the decoder added
  std::byte* constants = nullptr;                // 64-byte aligned; a Location with bit 0 set is an offset into it plus 1
  std::uint32_t frame_bytes = 0;
  std::uint32_t predicate_bytes = 0;  // the predicates are the frame's first bytes
  std::vector<SpecialSlot> specials;
  std::vector<FrameVariable> parameters, results;
  std::uint32_t local_bytes = 0;  // of its own .local variables
  bool order_dependent = false;
  std::vector<int> calls;  // functions it may call; with `indirect`, also every function whose address is taken
  bool indirect = false;

  // What instructions point into.
  std::deque<std::vector<Location>> lists;
  std::deque<CallSite> call_sites;
  std::deque<BarrierSite> barrier_sites;
  std::deque<std::vector<std::uint32_t>> branch_tables;
  std::vector<std::byte> constant_storage;
};

/// Where each register of a function lies in the frame: registers that are never live together share a place, since a warp's
/// frame should stay in the cache. `Result::end` is the first free byte.
struct RegisterPlaces {
  std::vector<Location> places;
  std::vector<char> read;  // whether an instruction reads the register
  std::uint32_t predicate_bytes = 0;
  std::uint32_t end = 0;
};
RegisterPlaces place_registers(const ptx::Function& function);

/// Where the symbols of a kernel lie.
struct SymbolTable {
  virtual ~SymbolTable() = default;
  virtual Decoder::Target target(const ptx::Function& function, std::string_view name) const = 0;  // throws Error when unknown
  virtual int function(std::string_view name) const = 0;                                           // index, or -1
  virtual Address function_address(int index) const = 0;
};

/// The code of a kernel: every function that it can reach, decoded for its layout of shared memory.
struct KernelCode {
  std::vector<std::unique_ptr<Code>> functions;  // by index into ptx::Module::functions; null where not reachable
  const Code* entry = nullptr;
  std::uint32_t local_bytes = 0;     // of a thread: the deepest chain of calls that do not recurse
  bool recursive = false;            // calls may be deeper: Launch::stack_bytes are on top
  std::uint32_t instructions = 0;    // counters needed
  bool order_dependent = false;      // its blocks must run in a reproducible order
  SharedLayout shared;               // static variables, with gaps between them
  std::uint32_t dynamic_shared = 0;  // where dynamic shared memory begins
};

/// Decodes one function; counters are numbered from `first_counter`. Throws Error naming an unknown instruction and its line.
std::unique_ptr<Code> decode(const ptx::Module& module, int index, const SymbolTable& symbols, std::uint32_t first_counter);

}  // namespace sim

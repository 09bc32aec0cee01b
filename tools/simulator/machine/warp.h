#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "isa/instruction.h"
#include "machine/memory.h"
#include "machine/touched_sectors.h"

namespace sim {

struct Block;
struct Worker;
struct Frame;

using Dim3 = std::array<std::uint32_t, 3>;

/// A warp as its instructions see it. The executor sets `mask`, `registers` and `constants` before it calls a handler.
struct Warp {
  Mask mask = 0;            // the lanes that execute the instruction: active and guarded
  std::byte* base[2] = {};  // [0] registers of the current frame, [1] the function's constants - 1 (see at())
  Block* block = nullptr;
  Worker* worker = nullptr;  // the host thread that runs it
  Frame* frame = nullptr;
  std::uint32_t index = 0;         // in the block
  std::uint64_t instructions = 0;  // it has executed
  Mask living = 0;                 // lanes that have not exited
  std::byte* local = nullptr;      // local memory: lane l's byte at offset o is local[l * local_stride + o]
  std::uint32_t local_stride = 0;
  std::uint8_t* local_initialized = nullptr;  // a bit a byte, laid out like `local`; null when not checked

  /// The lanes of an operand.
  template <class T>
  T* at(Location location) const {
    return reinterpret_cast<T*>(base[location & 1] + location);
  }
  std::uint32_t thread_of(int lane) const { return index * kLanes + lane; }  // linear, x fastest
};

/// A function's activation: one for each set of lanes that called it together.
struct Frame {
  Frame* caller = nullptr;
  const struct Code* code = nullptr;
  std::uint32_t return_pc = 0;  // in the caller's code
  std::uint32_t depth = 0;
  std::uint32_t local_base = 0;  // where its .local variables begin
  int lanes = 0;                 // how many still have to return
  const Instruction* call = nullptr;
  std::byte* registers = nullptr;
};

/// cp.async of a thread block, kept back until they are waited for (machine/copies.h).
class PendingCopies;
/// Last accesses to shared memory and the order between threads (machine/races.h).
class SharedRaces;

/// A thread block in flight.
struct Block {
  struct Launch* launch = nullptr;
  Dim3 id{};
  std::uint64_t linear = 0;
  std::byte* shared = nullptr;  // its shared memory: static variables, then the dynamic part
  std::uint32_t shared_bytes = 0;
  std::uint8_t* shared_initialized = nullptr;  // a bit a byte; null when not checked
  SharedRaces* races = nullptr;                // null when not checked
  PendingCopies* copies = nullptr;
  std::vector<Warp> warps;
};

/// What memory and warp handlers count for one instruction of the code, when a launch is profiled.
struct Counters {
  std::uint64_t executed = 0, lanes = 0;               // warp instructions, and lanes active in them
  std::uint64_t divergent = 0;                         // branches whose lanes parted
  std::uint64_t requests = 0, sectors = 0;             // global and local: warp requests and 32-byte sectors
  std::uint64_t bytes = 0;                             // that the lanes asked for
  std::uint64_t wavefronts = 0, ideal_wavefronts = 0;  // shared memory
  std::uint64_t atomic_conflicts = 0;                  // lanes beyond the first at one address

  Counters& operator+=(const Counters& other);
};

/// A host thread that runs blocks.
struct Worker {
  int index = 0;
  std::vector<Counters> counters;                // by Instruction::index; empty when not profiled
  TouchedSectors read_sectors, written_sectors;  // likewise
  /// The last allocation that an access fell into: nearly always the next one's too.
  const Allocation* recent[4] = {};
  std::vector<std::byte> scratch;

  void add(const Worker& other);  // what it counted
};

/// Ends the launch: the finding (if checks are on) has been reported; `error` is the cudaError_t that the program sees.
struct LaunchAbort {
  int error;
};

}  // namespace sim

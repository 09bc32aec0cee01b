#pragma once
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "machine/device.h"
#include "machine/memory.h"
#include "machine/report.h"
#include "machine/warp.h"
#include "ptx/module.h"

namespace sim {

/// A loaded module: its variables have memory on one device, its functions are decoded when they are first called.
class Program {
 public:
  /// Lays out and initialises the variables on `device`; a variable named in `placed` has its memory, with its value, there
  /// already (managed variables, which all devices share). Modules that were compiled apart have been linked into one
  /// (runtime/link.h). Throws Error.
  Program(std::shared_ptr<const ptx::Module> module, int device, const std::map<std::string, Address>& placed = {});
  ~Program();

  struct Variable {
    Address address;
    std::size_t bytes;
    bool constant;
    bool owned = true;  // its memory is the program's
  };
  const Variable* variable(std::string_view name) const;  // null when there is none
  const struct Kernel* kernel(
      std::string_view name) const;  // null; decodes it the first time: throws Error for an unknown instruction
  std::vector<std::string> kernels() const;
  const ptx::Module& module() const;
  int device() const;
  Address functions_base() const;  // function n of the module has the address base + 16 n

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

/// An entry point, ready to run.
struct Kernel {
  const Program* program = nullptr;
  std::string name;  // mangled
  std::string demangled;
  const struct KernelCode* code = nullptr;
  std::size_t parameter_bytes = 0;
  std::vector<std::pair<std::size_t, std::size_t>> parameters;  // offset and size of each
  std::size_t static_shared_bytes = 0;
  std::size_t local_bytes = 0;
  int max_threads[3] = {0, 0, 0}, required_threads[3] = {0, 0, 0}, min_blocks = 0;
};

/// Happens-before between operations of a process: kernels, copies and host accesses, from streams, events and synchronisation.
/// An operation `a` is ordered before `b` when b.after[a.lane] >= a.at.
struct Order {
  std::uint32_t lane = 0;            // a stream, or the host (0)
  std::uint64_t at = 0;              // its place in the lane
  std::vector<std::uint64_t> after;  // by lane: all up to there has happened before
};

struct Launch {
  const Kernel* kernel = nullptr;
  Dim3 grid{1, 1, 1}, block{1, 1, 1};
  std::size_t dynamic_shared_bytes = 0;
  std::vector<std::byte> parameters;
  bool cooperative = false;
  Address grid_workspace =
      0;  // of a cooperative launch: %envreg1 and %envreg2 are its high and low words; zeroed device memory
  int device = 0;
  int registers = 0;               // a thread, by ptxas; 0: not known, as there is no cubin for the device
  std::size_t spill_bytes = 0;     // local memory a thread, by ptxas
  std::size_t stack_bytes = 1024;  // for calls that recurse: cudaLimitStackSize
  std::uint32_t operation = 0;     // number of the operation in the process, from 1
  Order order;
  std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::uint32_t peers = 0;  // bit d: memory of device d may be used
};

/// Runs it to its end. Returns the cudaError_t that the device would report (0: success; 700 illegal address, 716 misaligned,
/// 719 launch failure, 710 assertion, …). The limits of the device have been checked by the caller (runtime).
int run(Launch& launch);

/// A range that the host or a copy engine reads or writes as part of an operation: checks bounds, initialisation and races as
/// the checks say. Returns false (finding reported) when the range is not in living memory.
bool host_access(const Order& order, std::uint32_t operation, std::string_view what, Address address, std::size_t bytes,
                 bool write, int device);

}  // namespace sim

#pragma once
// Code that the program brought: fat binaries it registered, libraries it loaded; their kernels and variables.
#include <driver_types.h>

#include <array>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "machine/launch.h"
#include "runtime/cubin.h"
#include "runtime/process.h"

namespace sim::runtime {
struct Binary;
}

/// A kernel as the program knows it: cudaKernel_t; the same pointer serves as cudaFunction_t.
struct CUkern_st {
  sim::runtime::Binary* binary = nullptr;
  std::string name;
  struct PerDevice {
    const sim::Kernel* kernel = nullptr;
    int dynamic_shared = -1;  // cudaFuncAttributeMaxDynamicSharedMemorySize; -1: not set
    int carveout = -1;
    bool nonportable_cluster = false;
    int cluster_policy = 0;
  };
  std::array<PerDevice, sim::kMaxDevices> devices;
};

namespace sim::runtime {

using Function = CUkern_st;

struct HostVariable {
  Binary* binary = nullptr;
  std::string name;
  std::size_t bytes = 0;
  void** managed = nullptr;  // where the host's pointer to a managed variable is
};

/// A fat binary or PTX text: parsed when something of it is first used.
struct Binary {
  std::vector<std::span<const std::byte>> containers;  // of several, those to link (nvcc -rdc=true)
  std::span<const std::byte> linked;                   // the container with their linked cubin
  std::string text;                                    // PTX of cudaLibraryLoadData
  std::vector<std::byte> storage;                      // a fat binary that was read from a file
  std::shared_ptr<const ptx::Module> module;
  std::map<std::string, Resources> resources;
  std::map<std::string, Address> managed;  // placed variables
  bool managed_ready = false;
  std::array<std::unique_ptr<Program>, kMaxDevices> programs;
  std::map<std::string, Function> functions;
  std::vector<const HostVariable*> variables;
  std::vector<const void*> stubs;
  bool registered = false;  // by the program's start, not loaded

  const ptx::Module& parsed();
  const Program& on(int device);
  Function* function(const std::string& name);  // null when there is none
  void place_managed();
  int ptx_version();  // 80: of the chosen PTX

 private:
  void parse();
};

class Modules {
 public:
  static Modules& instance();

  Binary* add();
  void remove(Binary* binary);
  bool knows(const Binary* binary) const;
  void add_stub(const void* stub, Function* function, Binary* binary);
  void add_variable(const void* host, HostVariable variable);

  /// A kernel's host stub, a cudaKernel_t or a cudaFunction_t; null for anything else.
  Function* function(const void* handle) const;
  const HostVariable* variable(const void* host) const;
  /// Programs of a device go with its context.
  void reset(int device);
  /// The variables of all programs, for cudaMemGetInfo and leaks: nothing. Managed variables get their memory before main uses
  /// them.
  std::list<Binary>& all() { return binaries_; }

 private:
  std::list<Binary> binaries_;
  std::unordered_map<const void*, Function*> functions_;  // by stub and by handle
  std::unordered_map<const void*, HostVariable> variables_;
};

/// The kernel on a device, decoded.
const Kernel& kernel_on(Function& function, int device);
/// Registers of a kernel: ptxas's when there is a cubin for the device, else an estimate (see modules.cpp).
int registers_of(Function& function, int device, bool* is_estimate = nullptr);
std::size_t local_bytes_of(Function& function, int device);
int max_threads_of(Function& function, int device);

}  // namespace sim::runtime

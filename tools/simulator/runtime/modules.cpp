#include "runtime/modules.h"

#include <cstring>

#include "error.h"
#include "isa/code.h"
#include "machine/checks.h"
#include "ptx/fat_binary.h"
#include "runtime/link.h"

namespace sim::runtime {
namespace {

const ptx::Function* find(const ptx::Module& module, const std::string& name) {
  for (const ptx::Function& f : module.functions)
    if (f.name == name) return &f;
  return nullptr;
}

}  // namespace

void Binary::parse() {
  if (module) return;
  std::vector<ptx::Module> modules;
  const int architecture = options().architecture;
  const auto note_cubins = [&](std::span<const std::byte> container) {
    for (const ptx::Image& image : ptx::images_of(container, false)) {
      // Cubins run on devices of the same major version.
      if (image.kind != ptx::Image::Kind::elf || image.architecture > architecture ||
          image.architecture / 10 != architecture / 10)
        continue;
      for (auto& [name, r] : resources_of(image.data)) resources[name] = r;
    }
  };
  if (!text.empty()) {
    modules.push_back(ptx::parse(text));
  } else {
    for (const auto& container : containers) {
      const std::vector<ptx::Image> images = ptx::images_of(container);
      modules.push_back(ptx::parse(ptx::best_ptx(images, architecture).data));
    }
    if (linked.empty()) {
      for (const auto& container : containers) note_cubins(container);
    } else {
      note_cubins(linked);
    }
  }
  if (modules.empty()) throw Error("a fat binary without any code was registered");
  module = link(std::move(modules));
}

const ptx::Module& Binary::parsed() {
  parse();
  return *module;
}

void Binary::place_managed() {
  if (managed_ready) return;
  managed_ready = true;
  for (const ptx::Variable& v : parsed().variables) {
    if (!v.is_managed || v.is_extern) continue;
    if (!v.relocations.empty())
      throw Error("the managed variable {} is initialised with an address, which is not simulated", v.name);
    const Allocation* a =
        Memory::instance().allocate(MemoryKind::managed, 0, v.bytes, std::max<std::size_t>(v.alignment, 16), v.name);
    if (a == nullptr) throw Error("there is no memory for the managed variable {} of {} bytes", v.name, v.bytes);
    std::memset(a->working(a->base), 0, v.bytes);
    if (!v.initial.empty()) std::memcpy(a->working(a->base), v.initial.data(), std::min(v.initial.size(), v.bytes));
    Memory::instance().mark_initialized(*a, a->base, v.bytes);
    managed.emplace(v.name, a->base);
  }
  for (const HostVariable* host : variables) {
    if (host->managed == nullptr) continue;
    const auto found = managed.find(host->name);
    if (found == managed.end()) throw Error("the managed variable {} is not in the PTX of its module", host->name);
    *host->managed = reinterpret_cast<void*>(found->second);
  }
}

const Program& Binary::on(int device) {
  if (!programs[device]) {
    place_managed();
    programs[device] = std::make_unique<Program>(module, device, managed);
  }
  return *programs[device];
}

Function* Binary::function(const std::string& name) {
  const auto found = functions.find(name);
  if (found != functions.end()) return &found->second;
  const ptx::Function* f = find(parsed(), name);
  if (f == nullptr || !f->is_entry) return nullptr;
  Function& made = functions[name];
  made.binary = this;
  made.name = name;
  Modules::instance().add_stub(&made, &made, this);
  return &made;
}

int Binary::ptx_version() {
  const std::string& target = parsed().target;
  int version = 0;
  for (char c : target)
    if (c >= '0' && c <= '9') version = version * 10 + (c - '0');
  return version;
}

Modules& Modules::instance() {
  static auto* modules = new Modules;
  return *modules;
}

/// Findings of the race check may still name a kernel that goes.
static void forget(Binary& binary, int device) {
  for (auto& [name, function] : binary.functions)
    if (function.devices[device].kernel != nullptr) checks::forget(*function.devices[device].kernel);
}

Binary* Modules::add() { return &binaries_.emplace_back(); }

void Modules::remove(Binary* binary) {
  for (int d = 0; d < kMaxDevices; ++d) forget(*binary, d);
  std::erase_if(functions_, [&](const auto& entry) { return entry.second->binary == binary; });
  std::erase_if(variables_, [&](const auto& entry) { return entry.second.binary == binary; });
  for (const auto& [name, address] : binary->managed) Memory::instance().free(address);
  binaries_.remove_if([&](const Binary& b) { return &b == binary; });
}

bool Modules::knows(const Binary* binary) const {
  for (const Binary& b : binaries_)
    if (&b == binary) return true;
  return false;
}

void Modules::add_stub(const void* stub, Function* function, Binary* binary) {
  functions_[stub] = function;
  binary->stubs.push_back(stub);
}

void Modules::add_variable(const void* host, HostVariable variable) {
  HostVariable& known = variables_[host] = std::move(variable);
  known.binary->variables.push_back(&known);  // a node of the map: it stays where it is
}

Function* Modules::function(const void* handle) const {
  const auto found = functions_.find(handle);
  return found == functions_.end() ? nullptr : found->second;
}

const HostVariable* Modules::variable(const void* host) const {
  const auto found = variables_.find(host);
  return found == variables_.end() ? nullptr : &found->second;
}

void Modules::reset(int device) {
  for (Binary& b : binaries_) {
    forget(b, device);
    for (auto& [name, function] : b.functions) function.devices[device] = {};
    b.programs[device].reset();
  }
}

const Kernel& kernel_on(Function& function, int device) {
  const Kernel*& kernel = function.devices[device].kernel;
  if (kernel == nullptr) {
    kernel = function.binary->on(device).kernel(function.name);
    if (kernel == nullptr) throw Error("the kernel {} is not in the PTX of its module", function.name);
  }
  return *kernel;
}

/// Without ptxas's figure: as many registers as are live together in the PTX, two for the stack and the return address, in
/// steps of 8. ptxas may need fewer (it schedules) or more (addresses, unrolling), so an occupancy that comes from it is a
/// guess.
int registers_of(Function& function, int device, bool* is_estimate) {
  const ptx::Function* f = find(function.binary->parsed(), function.name);
  const auto found = function.binary->resources.find(function.name);
  if (is_estimate != nullptr) *is_estimate = found == function.binary->resources.end();
  if (found != function.binary->resources.end()) return found->second.registers;
  if (f == nullptr) throw Error("the kernel {} is not in the PTX of its module", function.name);
  const RegisterPlaces places = place_registers(*f);
  const int live = static_cast<int>((places.end - places.predicate_bytes) / (kLanes * 4)) + 2;
  int registers = std::max(16, (live + 7) / 8 * 8);
  const DeviceModel& model = Process::instance().model;
  registers = std::min(registers, model.max_registers_per_thread);
  if (f->max_registers > 0) registers = std::min(registers, f->max_registers);
  // ptxas spills rather than break __launch_bounds__.
  const Kernel& kernel = kernel_on(function, device);
  if (const int threads = kernel.max_threads[0] * std::max(1, kernel.max_threads[1]) * std::max(1, kernel.max_threads[2]);
      threads > 0) {
    const int warps = (threads + 31) / 32 * std::max(1, kernel.min_blocks);
    registers = std::min(registers, std::max(16, model.registers_per_multiprocessor / (warps * 32) / 8 * 8));
  }
  return registers;
}

std::size_t local_bytes_of(Function& function, int device) {
  (void)function.binary->parsed();
  const auto found = function.binary->resources.find(function.name);
  return found != function.binary->resources.end() ? found->second.frame_bytes : kernel_on(function, device).local_bytes;
}

int max_threads_of(Function& function, int device) {
  const DeviceModel& model = Process::instance().model;
  const Kernel& kernel = kernel_on(function, device);
  int most = model.max_threads_per_block;
  for (const int* bounds : {kernel.max_threads, kernel.required_threads}) {
    if (bounds[0] > 0) most = std::min(most, bounds[0] * std::max(1, bounds[1]) * std::max(1, bounds[2]));
  }
  // Registers are given to warps in units of 256.
  const int per_warp = (registers_of(function, device) * 32 + 255) / 256 * 256;
  if (per_warp > 0) most = std::min(most, model.registers_per_block / per_warp / 4 * 4 * 32);
  return most;
}

}  // namespace sim::runtime

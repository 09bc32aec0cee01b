// What nvcc's host code calls at the program's start: fat binaries, kernels, variables; and the stack of <<<…>>>
// configurations.
#include <cuda_runtime_api.h>
#include <fatbinary_section.h>

#include "ptx/fat_binary.h"
#include "runtime/modules.h"

namespace sim::runtime {
namespace {

struct Configuration {
  dim3 grid, block;
  std::size_t shared;
  cudaStream_t stream;
};

thread_local std::vector<Configuration> configurations;

Binary* binary_of(void** handle) { return reinterpret_cast<Binary*>(handle); }

template <class Body>
void at_start(Body&& body) {
  try {
    Process& process = Process::instance();
    const Lock lock(process.mutex);
    body();
  } catch (const Error& e) {
    stop(e.what());
  }
}

}  // namespace
}  // namespace sim::runtime

using namespace sim;
using namespace sim::runtime;

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  Binary* binary = nullptr;
  at_start([&] {
    const auto& w = *static_cast<const __fatBinC_Wrapper_t*>(wrapper);
    if (w.magic != FATBINC_MAGIC) throw Error("a fat binary's wrapper begins with {:#x}, not {:#x}", w.magic, FATBINC_MAGIC);
    binary = Modules::instance().add();
    binary->registered = true;
    if (w.version == FATBINC_LINK_VERSION) {
      binary->linked = ptx::container_at(w.data);
      for (auto** part = static_cast<void**>(w.filename_or_fatbins); *part != nullptr; ++part)
        binary->containers.push_back(ptx::container_at(*part));
    } else if (w.version == FATBINC_VERSION) {
      binary->containers.push_back(ptx::container_at(w.data));
    } else {
      throw Error("a fat binary's wrapper has version {}, which is not known", w.version);
    }
  });
  return reinterpret_cast<void**>(binary);
}

void __cudaRegisterFatBinaryEnd(void**) {}

void __cudaUnregisterFatBinary(void**) {
  // The process ends. What static objects call after this still finds its code.
}

char __cudaInitModule(void** handle) {
  at_start([&] { binary_of(handle)->place_managed(); });
  return 1;
}

void __cudaRegisterFunction(void** handle, const char* stub, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  at_start([&] {
    Binary* binary = binary_of(handle);
    Function& function = binary->functions[name];
    function.binary = binary;
    function.name = name;
    Modules::instance().add_stub(stub, &function, binary);
    Modules::instance().add_stub(&function, &function, binary);
  });
}

void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, size_t bytes, int, int) {
  at_start([&] { Modules::instance().add_variable(host, {binary_of(handle), name, bytes, nullptr}); });
}

void __cudaRegisterManagedVar(void** handle, void** host, char*, const char* name, int, size_t bytes, int, int) {
  at_start([&] { Modules::instance().add_variable(host, {binary_of(handle), name, bytes, host}); });
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st* stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  if (configurations.empty()) return cudaErrorMissingConfiguration;
  const Configuration c = configurations.back();
  configurations.pop_back();
  *grid = c.grid;
  *block = c.block;
  *shared = c.shared;
  *static_cast<cudaStream_t*>(stream) = c.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* stub) {
  return call(State::any, [&](Process&, Lock&) {
    *kernel = Modules::instance().function(stub);
    return *kernel != nullptr ? cudaSuccess : cudaErrorInvalidDeviceFunction;
  });
}
}

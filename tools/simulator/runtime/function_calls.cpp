// Kernels: attributes, occupancy, names; variables by symbol.
#include <cuda_runtime_api.h>

#include <cstring>

#include "machine/occupancy.h"
#include "runtime/modules.h"
#include "runtime/symbols.h"

using namespace sim;
using namespace sim::runtime;

namespace sim::runtime {

cudaError_t find_symbol(const void* symbol, int device, SymbolPlace& place) {
  const HostVariable* v = Modules::instance().variable(symbol);
  if (v == nullptr) {
    // The host names a managed variable by its memory.
    const auto address = reinterpret_cast<Address>(symbol);
    const Allocation* a = Memory::instance().find(address);
    if (a == nullptr || a->kind != MemoryKind::managed || a->name.empty() || a->base != address) return cudaErrorInvalidSymbol;
    place = {a->base, a->end - a->base};
    return cudaSuccess;
  }
  const Program::Variable* variable = v->binary->on(device).variable(v->name);
  if (variable == nullptr) throw Error("the variable {} is not in the PTX of its module", v->name);
  place = {variable->address, variable->bytes};
  return cudaSuccess;
}

}  // namespace sim::runtime

/// The frame of calls that name a kernel.
template <class Body>
static cudaError_t with_function(const void* handle, Body&& body) {
  return call([&](Process& process, Lock&) {
    Function* f = Modules::instance().function(handle);
    return f == nullptr ? cudaErrorInvalidDeviceFunction : body(process, *f, this_thread().device);
  });
}

static size_t most_dynamic_shared(const Kernel& kernel, const CUkern_st::PerDevice& settings, const DeviceModel& model) {
  if (settings.dynamic_shared >= 0) return static_cast<size_t>(settings.dynamic_shared);
  return model.shared_per_block - std::min(model.shared_per_block, kernel.static_shared_bytes);
}

static cudaError_t set_attribute(Process& process, Function& f, int device, cudaFuncAttribute attribute, int value) {
  const Kernel& kernel = kernel_on(f, device);
  auto& settings = f.devices[device];
  switch (attribute) {
    case cudaFuncAttributeMaxDynamicSharedMemorySize:
      if (value < 0 || static_cast<size_t>(value) + kernel.static_shared_bytes > process.model.shared_per_block_optin)
        return cudaErrorInvalidValue;
      settings.dynamic_shared = value;
      return cudaSuccess;
    case cudaFuncAttributePreferredSharedMemoryCarveout:
      if (value < -1 || value > 100) return cudaErrorInvalidValue;
      settings.carveout = value;
      return cudaSuccess;
    case cudaFuncAttributeNonPortableClusterSizeAllowed:
      settings.nonportable_cluster = value != 0;
      return cudaSuccess;
    case cudaFuncAttributeClusterSchedulingPolicyPreference:
      settings.cluster_policy = value;
      return cudaSuccess;
    case cudaFuncAttributeClusterDimMustBeSet:
    case cudaFuncAttributeRequiredClusterWidth:
    case cudaFuncAttributeRequiredClusterHeight:
    case cudaFuncAttributeRequiredClusterDepth:
      if (value > 1) throw Error("cudaFuncSetAttribute: clusters are not simulated");
      return cudaSuccess;
    default:
      return cudaErrorInvalidValue;
  }
}

static cudaError_t blocks_of(Process& process, Function& f, int device, int* blocks, int threads, size_t dynamic_shared) {
  if (blocks == nullptr || threads <= 0) return cudaErrorInvalidValue;
  const Kernel& kernel = kernel_on(f, device);
  *blocks = 0;
  if (threads > process.model.max_threads_per_block || threads > max_threads_of(f, device)) return cudaSuccess;
  const size_t shared = kernel.static_shared_bytes + dynamic_shared;
  if (shared > process.model.shared_per_block_optin) return cudaSuccess;
  *blocks = occupancy(process.model, static_cast<std::uint32_t>(threads), registers_of(f, device), shared).blocks;
  return cudaSuccess;
}

extern "C" {

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return with_function(function, [&](Process& process, Function& f, int device) {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    const Kernel& kernel = kernel_on(f, device);
    *attributes = {};
    attributes->sharedSizeBytes = kernel.static_shared_bytes;
    for (const ptx::Variable& v : f.binary->parsed().variables)
      if (v.space == ptx::Space::constant) attributes->constSizeBytes += v.bytes;
    attributes->localSizeBytes = local_bytes_of(f, device);
    attributes->maxThreadsPerBlock = max_threads_of(f, device);
    attributes->numRegs = registers_of(f, device);
    attributes->ptxVersion = f.binary->ptx_version();
    attributes->binaryVersion = process.model.architecture;
    attributes->maxDynamicSharedSizeBytes = static_cast<int>(most_dynamic_shared(kernel, f.devices[device], process.model));
    attributes->preferredShmemCarveout = f.devices[device].carveout;
    attributes->nonPortableClusterSizeAllowed = f.devices[device].nonportable_cluster ? 1 : 0;
    attributes->clusterSchedulingPolicyPreference = f.devices[device].cluster_policy;
    return cudaSuccess;
  });
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return with_function(
      function, [&](Process& process, Function& f, int device) { return set_attribute(process, f, device, attribute, value); });
}

cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t kernel, cudaFuncAttribute attribute, int value, int device) {
  return with_function(kernel, [&](Process& process, Function& f, int) {
    if (device < 0 || device >= static_cast<int>(process.devices.size())) return cudaErrorInvalidDevice;
    return set_attribute(process, f, device, attribute, value);
  });
}

cudaError_t cudaFuncSetCacheConfig(const void* function, cudaFuncCache) {
  return with_function(function, [](Process&, Function&, int) { return cudaSuccess; });
}

cudaError_t cudaFuncSetSharedMemConfig(const void* function, cudaSharedMemConfig) {
  return with_function(function, [](Process&, Function&, int) { return cudaSuccess; });
}

cudaError_t cudaFuncGetName(const char** name, const void* function) {
  return with_function(function, [&](Process&, Function& f, int) {
    return name == nullptr ? cudaErrorInvalidValue : (*name = f.name.c_str(), cudaSuccess);
  });
}

cudaError_t cudaFuncGetParamInfo(const void* function, size_t index, size_t* offset, size_t* bytes) {
  return with_function(function, [&](Process&, Function& f, int device) {
    const Kernel& kernel = kernel_on(f, device);
    if (index >= kernel.parameters.size() || offset == nullptr) return cudaErrorInvalidValue;
    *offset = kernel.parameters[index].first;
    if (bytes != nullptr) *bytes = kernel.parameters[index].second;
    return cudaSuccess;
  });
}

cudaError_t cudaGetFuncBySymbol(cudaFunction_t* function, const void* symbol) {
  return with_function(symbol, [&](Process&, Function& f, int) {
    if (function == nullptr) return cudaErrorInvalidValue;
    *function = reinterpret_cast<cudaFunction_t>(&f);
    return cudaSuccess;
  });
}

cudaError_t cudaGetKernel(cudaKernel_t* kernel, const void* symbol) {
  return with_function(symbol, [&](Process&, Function& f, int) {
    return kernel == nullptr ? cudaErrorInvalidValue : (*kernel = &f, cudaSuccess);
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function, int threads,
                                                          size_t dynamic_shared) {
  return with_function(function, [&](Process& process, Function& f, int device) {
    return blocks_of(process, f, device, blocks, threads, dynamic_shared);
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, const void* function, int threads,
                                                                   size_t dynamic_shared, unsigned flags) {
  return with_function(function, [&](Process& process, Function& f, int device) {
    if (flags > cudaOccupancyDisableCachingOverride) return cudaErrorInvalidValue;
    return blocks_of(process, f, device, blocks, threads, dynamic_shared);
  });
}

cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t* bytes, const void* function, int blocks, int threads) {
  return with_function(function, [&](Process& process, Function& f, int device) {
    if (bytes == nullptr || blocks <= 0 || threads <= 0) return cudaErrorInvalidValue;
    const Kernel& kernel = kernel_on(f, device);
    const size_t most =
        process.model.shared_per_block_optin - std::min(process.model.shared_per_block_optin, kernel.static_shared_bytes);
    // The largest size with which as many blocks fit.
    size_t fits = 0, too_much = most + 1;
    const auto enough = [&](size_t size) {
      return occupancy(process.model, static_cast<std::uint32_t>(threads), registers_of(f, device),
                       kernel.static_shared_bytes + size)
                 .blocks >= blocks;
    };
    if (!enough(0)) return cudaErrorInvalidValue;
    while (too_much - fits > 1) {
      const size_t middle = fits + (too_much - fits) / 2;
      (enough(middle) ? fits : too_much) = middle;
    }
    *bytes = fits;
    return cudaSuccess;
  });
}

cudaError_t cudaGetSymbolAddress(void** pointer, const void* symbol) {
  return call([&](Process&, Lock&) {
    SymbolPlace place;
    if (pointer == nullptr) return cudaErrorInvalidValue;
    const cudaError_t error = find_symbol(symbol, this_thread().device, place);
    *pointer = reinterpret_cast<void*>(place.address);
    return error;
  });
}

cudaError_t cudaGetSymbolSize(size_t* bytes, const void* symbol) {
  return call([&](Process&, Lock&) {
    SymbolPlace place;
    if (bytes == nullptr) return cudaErrorInvalidValue;
    const cudaError_t error = find_symbol(symbol, this_thread().device, place);
    *bytes = place.bytes;
    return error;
  });
}
}

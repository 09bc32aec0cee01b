// Code that is loaded while the program runs (cudaLibrary…): fat binaries and PTX.
#include <cuda_runtime_api.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include <fatbinary_section.h>

#include "ptx/fat_binary.h"
#include "runtime/modules.h"
#include "runtime/symbols.h"

using namespace sim;
using namespace sim::runtime;

static Binary* binary_of(cudaLibrary_t library) {
  auto* binary = reinterpret_cast<Binary*>(library);
  return Modules::instance().knows(binary) ? binary : nullptr;
}

template <class Body>
static cudaError_t with_library(cudaLibrary_t library, Body&& body) {
  return call([&](Process&, Lock&) {
    Binary* binary = binary_of(library);
    return binary == nullptr ? cudaErrorInvalidResourceHandle : body(*binary);
  });
}

/// A fat binary (with nvcc's wrapper or without), or PTX text that ends with a zero byte.
static void take_code(Binary& binary, const void* code) {
  std::uint32_t magic = 0;
  std::memcpy(&magic, code, sizeof magic);
  if (magic == FATBINC_MAGIC) {
    binary.containers.push_back(ptx::container_at(static_cast<const __fatBinC_Wrapper_t*>(code)->data));
  } else if (magic == 0xba55ed50u) {
    binary.containers.push_back(ptx::container_at(code));
  } else if (magic == 0x464c457fu) {
    throw Error("cudaLibraryLoadData: a cubin holds no PTX, and machine code is not simulated");
  } else {
    binary.text = static_cast<const char*>(code);
  }
}

template <class Take>
static cudaError_t load(cudaLibrary_t* library, Take&& take) {
  return call([&](Process&, Lock&) {
    if (library == nullptr) return cudaErrorInvalidValue;
    Binary* binary = Modules::instance().add();
    const cudaError_t error = take(*binary);
    if (error != cudaSuccess) {
      Modules::instance().remove(binary);
      return error;
    }
    (void)binary->parsed();
    *library = reinterpret_cast<cudaLibrary_t>(binary);
    return cudaSuccess;
  });
}

extern "C" {

cudaError_t cudaLibraryLoadData(cudaLibrary_t* library, const void* code, cudaJitOption*, void**, unsigned, cudaLibraryOption*,
                                void**, unsigned) {
  return load(library, [&](Binary& binary) {
    if (code == nullptr) return cudaErrorInvalidValue;
    take_code(binary, code);
    return cudaSuccess;
  });
}

cudaError_t cudaLibraryLoadFromFile(cudaLibrary_t* library, const char* path, cudaJitOption*, void**, unsigned,
                                    cudaLibraryOption*, void**, unsigned) {
  return load(library, [&](Binary& binary) {
    if (path == nullptr) return cudaErrorInvalidValue;
    std::ifstream file(path, std::ios::binary);
    if (!file) return cudaErrorFileNotFound;
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    binary.storage.resize(bytes.size() + 8);
    std::memcpy(binary.storage.data(), bytes.data(), bytes.size());
    if (bytes.size() >= 16 && bytes.substr(0, 4) == "\x50\xed\x55\xba") {
      binary.containers.push_back(std::span(binary.storage).first(bytes.size()));
    } else {
      take_code(binary, binary.storage.data());
    }
    return cudaSuccess;
  });
}

cudaError_t cudaLibraryUnload(cudaLibrary_t library) {
  return call([&](Process& process, Lock& lock) {
    Binary* binary = binary_of(library);
    if (binary == nullptr) return cudaErrorInvalidResourceHandle;
    process.scheduler.drain(lock, -1);
    Modules::instance().remove(binary);
    return cudaSuccess;
  });
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t* kernel, cudaLibrary_t library, const char* name) {
  return with_library(library, [&](Binary& binary) {
    if (kernel == nullptr || name == nullptr) return cudaErrorInvalidValue;
    *kernel = binary.function(name);
    return *kernel != nullptr ? cudaSuccess : cudaErrorSymbolNotFound;
  });
}

cudaError_t cudaLibraryGetGlobal(void** pointer, size_t* bytes, cudaLibrary_t library, const char* name) {
  return with_library(library, [&](Binary& binary) {
    if (name == nullptr) return cudaErrorInvalidValue;
    const Program::Variable* v = binary.on(this_thread().device).variable(name);
    if (v == nullptr) return cudaErrorSymbolNotFound;
    if (pointer != nullptr) *pointer = reinterpret_cast<void*>(v->address);
    if (bytes != nullptr) *bytes = v->bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaLibraryGetManaged(void** pointer, size_t* bytes, cudaLibrary_t library, const char* name) {
  return with_library(library, [&](Binary& binary) {
    if (name == nullptr) return cudaErrorInvalidValue;
    binary.place_managed();
    const auto found = binary.managed.find(name);
    if (found == binary.managed.end()) return cudaErrorSymbolNotFound;
    const Allocation* a = Memory::instance().find(found->second);
    if (pointer != nullptr) *pointer = reinterpret_cast<void*>(found->second);
    if (bytes != nullptr) *bytes = a->end - a->base;
    return cudaSuccess;
  });
}

cudaError_t cudaLibraryGetKernelCount(unsigned* count, cudaLibrary_t library) {
  return with_library(library, [&](Binary& binary) {
    if (count == nullptr) return cudaErrorInvalidValue;
    *count = 0;
    for (const ptx::Function& f : binary.parsed().functions) *count += f.is_entry ? 1 : 0;
    return cudaSuccess;
  });
}

cudaError_t cudaLibraryEnumerateKernels(cudaKernel_t* kernels, unsigned count, cudaLibrary_t library) {
  return with_library(library, [&](Binary& binary) {
    if (kernels == nullptr) return cudaErrorInvalidValue;
    unsigned n = 0;
    for (const ptx::Function& f : binary.parsed().functions)
      if (f.is_entry && n < count) kernels[n++] = binary.function(f.name);
    return cudaSuccess;
  });
}
}

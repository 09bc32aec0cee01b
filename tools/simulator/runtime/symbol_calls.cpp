#include <cstring>

#include "runtime/copies.h"
#include "runtime/per_thread.h"
#include "runtime/symbols.h"
#include "runtime/work.h"

using namespace sim::runtime;

static cudaError_t copy_symbol(Lock& lock, cudaStream_t stream, const void* symbol, void* other, size_t bytes, size_t offset,
                               cudaMemcpyKind kind, bool to_symbol, Waiting waiting, std::string_view name) {
  CUstream_st* s = Process::instance().stream(stream, kPerThread);
  if (s == nullptr) return cudaErrorInvalidResourceHandle;
  SymbolPlace place;
  if (const cudaError_t error = find_symbol(symbol, s->device, place); error != cudaSuccess) return error;
  if (offset > place.bytes || bytes > place.bytes - offset) {
    misuse(name, fmt::format("{} bytes at {} are outside of the symbol's {} bytes", bytes, offset, place.bytes));
    return cudaErrorInvalidValue;
  }
  const bool allowed = kind == cudaMemcpyDefault || kind == cudaMemcpyDeviceToDevice ||
                       kind == (to_symbol ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost);
  if (!allowed) return cudaErrorInvalidMemcpyDirection;
  void* at = reinterpret_cast<void*>(place.address + offset);
  return do_copy(lock, s, to_symbol ? linear_copy(at, other, bytes, kind) : linear_copy(other, at, bytes, kind), waiting, name);
}

extern "C" {

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* from, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  return call([&](Process&, Lock& lock) {
    return copy_symbol(lock, nullptr, symbol, const_cast<void*>(from), bytes, offset, kind, true, Waiting::blocking,
                       "cudaMemcpyToSymbol");
  });
}

cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* from, size_t bytes, size_t offset, cudaMemcpyKind kind,
                                    cudaStream_t stream) {
  return call([&](Process&, Lock& lock) {
    return copy_symbol(lock, stream, symbol, const_cast<void*>(from), bytes, offset, kind, true, Waiting::asynchronous,
                       "cudaMemcpyToSymbolAsync");
  });
}

cudaError_t cudaMemcpyFromSymbol(void* to, const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind) {
  return call([&](Process&, Lock& lock) {
    return copy_symbol(lock, nullptr, symbol, to, bytes, offset, kind, false, Waiting::blocking, "cudaMemcpyFromSymbol");
  });
}

cudaError_t cudaMemcpyFromSymbolAsync(void* to, const void* symbol, size_t bytes, size_t offset, cudaMemcpyKind kind,
                                      cudaStream_t stream) {
  return call([&](Process&, Lock& lock) {
    return copy_symbol(lock, stream, symbol, to, bytes, offset, kind, false, Waiting::asynchronous,
                       "cudaMemcpyFromSymbolAsync");
  });
}

// There is no driver: its functions are not found, as those that a driver is too old for.
cudaError_t cudaGetDriverEntryPoint(const char* symbol, void** function, unsigned long long,
                                    cudaDriverEntryPointQueryResult* status) {
  if (symbol == nullptr || function == nullptr) return cudaErrorInvalidValue;
  *function = nullptr;
  if (status != nullptr) *status = cudaDriverEntryPointSymbolNotFound;
  return status != nullptr ? cudaSuccess : cudaErrorSymbolNotFound;
}

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* status) {
  if (symbol == nullptr || function == nullptr) return cudaErrorInvalidValue;
  *function = nullptr;
  if (status != nullptr) *status = cudaDriverEntryPointSymbolNotFound;
  return status != nullptr ? cudaSuccess : cudaErrorSymbolNotFound;
}
}

#pragma once
#include "runtime/work.h"

namespace sim::runtime {

cudaError_t run_copy(const CopyWork& copy, Operation& operation);
cudaError_t run_memset(const MemsetWork& work, Operation& operation);

/// A copy of `width` bytes.
CopyWork linear_copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind);
/// Describes cudaMemcpy3DParms; throws Error for arrays, which are not simulated.
cudaError_t copy_of(const cudaMemcpy3DParms& parameters, CopyWork& copy);

/// What the host has to wait for: a copy from or to pageable memory does not run behind its back.
enum class Waiting {
  blocking,      // cudaMemcpy
  asynchronous,  // cudaMemcpyAsync
};

/// Checks a copy, puts it into the stream and waits as the call must.
cudaError_t do_copy(Lock& lock, CUstream_st* stream, CopyWork copy, Waiting waiting, std::string_view call);
cudaError_t do_memset(Lock& lock, CUstream_st* stream, const MemsetWork& work, Waiting waiting, std::string_view call);

}  // namespace sim::runtime

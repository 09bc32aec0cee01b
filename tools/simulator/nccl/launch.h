#pragma once
#include <cuda_runtime_api.h>

#include <memory>
#include <vector>

#include "nccl/communicator.h"

namespace sim::nccl {

/// A call of the API that communicates, not yet in its stream.
struct Call {
  Announcement what;
  const void* send = nullptr;
  void* receive = nullptr;
  const void* scalar_address = nullptr;  // in device memory, read when it runs
  cudaStream_t stream = nullptr;
};

/// What a group gives one communicator to do: its collectives one after another, then its transfers together.
struct Plan {
  std::shared_ptr<ncclComm> comm;
  std::vector<Call> calls;
};

/// Puts the plans into their streams. The first collective of a communicator, and the first transfer between two ranks, wait
/// for the other ranks to call it as well, as they do when NCCL connects at run time. Throws Failure.
void launch(const std::vector<Plan>& plans);

}  // namespace sim::nccl

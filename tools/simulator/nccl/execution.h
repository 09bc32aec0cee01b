#pragma once
#include "nccl/launch.h"
#include "runtime/interface.h"

namespace sim::nccl {

/// Is it memory that the simulator knows (and not the host's own)?
bool runs_on_device_memory(const void* address);

/// Does a plan, when its stream has come to it.
cudaError_t execute(const Plan& plan, const runtime::CollectiveRun& run);

}  // namespace sim::nccl

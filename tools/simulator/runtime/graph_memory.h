#pragma once
#include <driver_types.h>

#include "runtime/graph.h"

namespace sim::runtime {

/// Device memory that graphs hold, as cudaDeviceGetGraphMemAttribute counts it: a launch takes what its nodes allocate at a
/// time; launches in one stream follow each other and share what they free themselves; the rest is held until it is freed.
/// What is not in use any more goes back with a trim only. Called with the lock of the process.
void hold_graph_memory(const CUgraph_st& graph, const CUstream_st& stream, const OperationPtr& end);
void release_graph_memory(Address address);
void trim_graph_memory(int device);

struct GraphMemoryUse {
  std::size_t current = 0, high = 0;
};
GraphMemoryUse graph_memory_use(int device);
void reset_graph_memory_high(int device);

}  // namespace sim::runtime

#pragma once
// What a library that enqueues device work of its own (the NCCL stand-in) asks of the runtime. Exported from libcudart.so.13 in
// version node GANNET_SIM, beside sim::Memory, sim::host_access, sim::options and sim::Error.
#include <driver_types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "machine/launch.h"
#include "machine/memory.h"
#include "machine/report.h"

namespace sim::runtime {

struct Range {
  Address address = 0;
  std::size_t bytes = 0;
};

/// One execution of a collective.
struct CollectiveRun {
  int device = 0;                // of the stream
  std::uint32_t operation = 0;   // number of the operation in the process, for host_access()
  const Order* order = nullptr;  // what happened before it
  /// To be joined with the `after` of the collectives of other streams that this one has waited for: what follows it in its
  /// stream then comes after what was before them in theirs.
  std::vector<std::uint64_t>* learned = nullptr;
  const std::atomic<bool>* abort =
      nullptr;  // true: return soon, with any error (reset of the device, end of the process, fail())
};

/// Work that may block until other streams, threads or processes do their part.
struct Collective {
  std::string name;           // "ncclAllReduce": in findings and graph prints
  std::vector<Range> reads;   // checked by host_access() just before `run`: bounds, initialisation, races
  std::vector<Range> writes;  // likewise
  /// Called on a thread of its own when everything before it in the stream has happened, while other streams go on. Called once
  /// for each launch of a graph that recorded it, so it must not use up what it captured. Memory is reached through
  /// Memory::instance().find(address)->working(address). Anything but cudaSuccess becomes the device's sticky error.
  std::function<cudaError_t(const CollectiveRun&)> run;
};

/// Puts it into the stream (0, cudaStreamLegacy and cudaStreamPerThread too), or records a node when the stream captures. As
/// soon as one collective of the process runs, all that were enqueued are run without a wait of the host. Returns what a kernel
/// launch would.
cudaError_t enqueue(cudaStream_t stream, Collective collective);

/// The calling thread's device, as cudaGetDevice.
int current_device();
/// The device of a stream; of 0 and the special handles the current one; -1 for a handle that is none.
int device_of(cudaStream_t stream);
/// Is an operation of the stream not yet done?
bool pending(cudaStream_t stream);

/// Reports a fault of the program; it counts for exit code 3.
void report(Finding finding);

/// The device of the stream fails: its pending and later operations return `error` and collectives see their abort flag.
void fail(cudaStream_t stream, cudaError_t error);

}  // namespace sim::runtime

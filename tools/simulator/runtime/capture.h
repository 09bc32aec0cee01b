#pragma once
#include <driver_types.h>

#include <thread>
#include <unordered_set>
#include <vector>

#include "runtime/process.h"
#include "runtime/work.h"

namespace sim::runtime {

/// A graph in the making: cudaStreamBeginCapture to cudaStreamEndCapture.
struct Capture {
  unsigned long long id = 0;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  CUstream_st* origin = nullptr;
  std::unordered_set<CUstream_st*> streams;      // origin and those that joined through events
  std::vector<cudaGraphNode_t> destroyed_tails;  // last nodes of streams that joined and were destroyed since
  cudaGraph_t graph = nullptr;
  bool own_graph = true;  // else of cudaStreamBeginCaptureToGraph
  bool invalid = false;
};

/// May the calling thread use the legacy stream, or make a call that could wait for it? Invalidates the captures that it would
/// break.
cudaError_t check_unsafe_call();
/// The same for the legacy stream of a device (-1: another stream, which is fine): it would depend on streams that capture.
cudaError_t check_legacy(int device, bool invalidates = true);
/// The same for a wait for all of a device, whatever the mode: it would wait for its streams that capture.
cudaError_t check_device_wait(int device);
/// A call that a capturing stream can not record (a wait, a query): invalidates the capture.
cudaError_t check_not_capturing(CUstream_st& stream);

/// Records a node after the stream's last one.
cudaError_t capture(CUstream_st& stream, Work work);

Capture* capture_of(unsigned long long id);  // null when it has ended
cudaError_t begin_capture(CUstream_st& stream, cudaStreamCaptureMode mode, cudaGraph_t graph,
                          std::vector<cudaGraphNode_t> dependencies);
cudaError_t end_capture(CUstream_st& stream, cudaGraph_t* graph);
/// Events in capturing streams.
cudaError_t capture_record(CUstream_st& stream, CUevent_st& event);
cudaError_t capture_wait(CUstream_st& stream, CUevent_st& event);
void forget_stream(CUstream_st& stream);  // destroyed while it captures

}  // namespace sim::runtime

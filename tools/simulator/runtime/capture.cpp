#include "runtime/capture.h"

#include <algorithm>
#include <memory>
#include <unordered_map>

#include "runtime/graph.h"

namespace sim::runtime {
namespace {

std::unordered_map<unsigned long long, std::unique_ptr<Capture>>& captures() {
  static auto* all = new std::unordered_map<unsigned long long, std::unique_ptr<Capture>>;
  return *all;
}

unsigned long long last_id = 0;

void join_capture(Capture& capture, CUstream_st& stream) {
  stream.capture = &capture;
  capture.streams.insert(&stream);
}

void add_unique(std::vector<cudaGraphNode_t>& nodes, const std::vector<cudaGraphNode_t>& more) {
  for (cudaGraphNode_t n : more)
    if (std::find(nodes.begin(), nodes.end(), n) == nodes.end()) nodes.push_back(n);
}

/// All that these nodes depend on, themselves included.
std::unordered_set<const CUgraphNode_st*> past_of(const std::vector<cudaGraphNode_t>& nodes) {
  std::unordered_set<const CUgraphNode_st*> past;
  std::vector<const CUgraphNode_st*> open(nodes.begin(), nodes.end());
  while (!open.empty()) {
    const CUgraphNode_st* n = open.back();
    open.pop_back();
    if (!past.insert(n).second) continue;
    open.insert(open.end(), n->dependencies.begin(), n->dependencies.end());
  }
  return past;
}

void leave(Capture& capture) {
  for (CUstream_st* s : capture.streams) {
    s->capture = nullptr;
    s->capture_tail.clear();
  }
}

}  // namespace

Capture* capture_of(unsigned long long id) {
  const auto found = captures().find(id);
  return found == captures().end() ? nullptr : found->second.get();
}

cudaError_t check_unsafe_call() {
  if (captures().empty()) return cudaSuccess;
  const cudaStreamCaptureMode own = this_thread().capture_mode;
  if (own == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const auto& [id, capture] : captures()) {
    const bool mine = capture->thread == std::this_thread::get_id();
    const bool forbids = mine ? capture->mode != cudaStreamCaptureModeRelaxed
                              : own == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (!forbids) continue;
    capture->invalid = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

cudaError_t check_legacy(int device, bool invalidates) {
  if (device < 0 || captures().empty()) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const auto& [id, capture] : captures()) {
    const bool depends = std::any_of(capture->streams.begin(), capture->streams.end(),
                                     [&](CUstream_st* s) { return s->device == device && s->blocking(); });
    if (!depends) continue;
    capture->invalid |= invalidates;
    error = cudaErrorStreamCaptureImplicit;
  }
  return error;
}

cudaError_t check_device_wait(int device) {
  cudaError_t error = check_unsafe_call();
  for (const auto& [id, capture] : captures()) {
    if (std::none_of(capture->streams.begin(), capture->streams.end(), [&](CUstream_st* s) { return s->device == device; }))
      continue;
    capture->invalid = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

cudaError_t check_not_capturing(CUstream_st& stream) {
  if (stream.capture == nullptr) return cudaSuccess;
  stream.capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

cudaError_t capture(CUstream_st& stream, Work work) {
  if (stream.capture->invalid) return cudaErrorStreamCaptureInvalidated;
  cudaGraphNode_t node = nullptr;
  const cudaError_t error = add_node(&node, *stream.capture->graph, stream.capture_tail.data(), stream.capture_tail.size(),
                                     std::move(work), stream.device);
  if (error != cudaSuccess) {
    stream.capture->invalid = true;
    return error;
  }
  stream.capture_tail = {node};
  return cudaSuccess;
}

cudaError_t begin_capture(CUstream_st& stream, cudaStreamCaptureMode mode, cudaGraph_t graph,
                          std::vector<cudaGraphNode_t> dependencies) {
  if (stream.legacy) return cudaErrorStreamCaptureUnsupported;
  if (stream.capture != nullptr) return cudaErrorIllegalState;
  if (mode > cudaStreamCaptureModeRelaxed) return cudaErrorInvalidValue;
  auto made = std::make_unique<Capture>();
  made->id = ++last_id;
  made->mode = mode;
  made->thread = std::this_thread::get_id();
  made->origin = &stream;
  made->own_graph = graph == nullptr;
  made->graph = graph != nullptr ? graph : new_graph();
  join_capture(*made, stream);
  stream.capture_tail = std::move(dependencies);
  captures().emplace(made->id, std::move(made));
  return cudaSuccess;
}

cudaError_t end_capture(CUstream_st& stream, cudaGraph_t* graph) {
  Capture* c = stream.capture;
  if (c == nullptr) return cudaErrorIllegalState;
  if (c->origin != &stream) return cudaErrorStreamCaptureUnmatched;
  if (c->mode != cudaStreamCaptureModeRelaxed && c->thread != std::this_thread::get_id())
    return cudaErrorStreamCaptureWrongThread;
  cudaError_t error = c->invalid ? cudaErrorStreamCaptureInvalidated : cudaSuccess;
  if (error == cudaSuccess) {
    // Work that forked off has to be waited for by the stream that began.
    const auto past = past_of(stream.capture_tail);
    for (const CUstream_st* s : c->streams)
      for (const CUgraphNode_st* n : s->capture_tail)
        if (past.count(n) == 0) error = cudaErrorStreamCaptureUnjoined;
    for (const CUgraphNode_st* n : c->destroyed_tails)
      if (past.count(n) == 0) error = cudaErrorStreamCaptureUnjoined;
  }
  leave(*c);
  if (graph != nullptr) *graph = error == cudaSuccess ? c->graph : nullptr;
  if (error != cudaSuccess && c->own_graph) Graphs::instance().graphs.erase(c->graph);
  captures().erase(c->id);
  return error;
}

cudaError_t capture_record(CUstream_st& stream, CUevent_st& event) {
  if (stream.capture->invalid) return cudaErrorStreamCaptureInvalidated;
  event.capture = stream.capture->id;
  event.captured = stream.capture_tail;
  return cudaSuccess;
}

cudaError_t capture_wait(CUstream_st& stream, CUevent_st& event) {
  Capture* c = event.capture != 0 ? capture_of(event.capture) : nullptr;
  if (c == nullptr) {
    // Only a stream that captures comes here then: what it would wait for is outside of the graph.
    if (event.capture == 0 && !event.operation) return cudaSuccess;
    stream.capture->invalid = true;
    return cudaErrorStreamCaptureIsolation;
  }
  if (stream.legacy) {
    c->invalid = true;
    return cudaErrorStreamCaptureImplicit;
  }
  if (stream.capture != nullptr && stream.capture != c) {
    stream.capture->invalid = c->invalid = true;
    return cudaErrorStreamCaptureMerge;
  }
  if (c->invalid) return cudaErrorStreamCaptureInvalidated;
  if (stream.capture == nullptr) join_capture(*c, stream);
  add_unique(stream.capture_tail, event.captured);
  return cudaSuccess;
}

void forget_stream(CUstream_st& stream) {
  if (stream.capture == nullptr) return;
  Capture* c = stream.capture;
  c->streams.erase(&stream);
  if (c->origin != &stream) {
    // The others may go on: what this one recorded only has to be waited for by the end.
    add_unique(c->destroyed_tails, stream.capture_tail);
    return;
  }
  leave(*c);
  if (c->own_graph) Graphs::instance().graphs.erase(c->graph);
  captures().erase(c->id);
}

}  // namespace sim::runtime

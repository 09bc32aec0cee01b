#include <cstring>

#include "machine/stream_ordered.h"
#include "runtime/capture.h"
#include "runtime/graph.h"
#include "runtime/graph_memory.h"
#include "runtime/memory_pool.h"
#include "runtime/per_thread.h"
#include "runtime/work.h"

using namespace sim::runtime;

/// The frame of calls with a stream: `body` gets it.
template <class Body>
static cudaError_t with_stream(cudaStream_t stream, Body&& body) {
  return call([&](Process& process, Lock& lock) {
    CUstream_st* s = process.stream(stream, kPerThread);
    return s == nullptr ? cudaErrorInvalidResourceHandle : body(process, lock, *s);
  });
}

static cudaError_t record_event(Process& process, Lock& lock, CUstream_st& stream, cudaEvent_t event, unsigned flags) {
  if (process.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
  if (flags > cudaEventRecordExternal) return cudaErrorInvalidValue;
  if (event->device != stream.device) return cudaErrorInvalidResourceHandle;
  if (stream.capture != nullptr) {
    if ((flags & cudaEventRecordExternal) != 0) return capture(stream, EventWork{event, true});
    return capture_record(stream, *event);
  }
  if (const cudaError_t error = check_legacy(stream.legacy ? stream.device : -1); error != cudaSuccess) return error;
  auto operation = std::make_shared<Operation>();
  operation->name = "cudaEventRecord";
  process.submit(stream, operation);
  event->operation = operation;
  event->capture = 0;
  process.scheduler.throttle(lock);
  return cudaSuccess;
}

static cudaError_t allocate_async(Process& process, Lock& lock, void** pointer, size_t bytes, CUmemPoolHandle_st& pool,
                                  CUstream_st& stream) {
  if (pointer == nullptr) return cudaErrorInvalidValue;
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (stream.capture != nullptr) {
    const sim::Allocation* a = sim::Memory::instance().allocate(sim::MemoryKind::device, pool.device, bytes);
    if (a == nullptr) return cudaErrorMemoryAllocation;
    AllocateWork work;
    work.memory = std::make_shared<GraphMemory>(a->base, bytes);
    work.parameters.poolProps = pool.properties;
    work.parameters.bytesize = bytes;
    work.parameters.dptr = *pointer = reinterpret_cast<void*>(a->base);
    return capture(stream, std::move(work));
  }
  if (const cudaError_t error = check_legacy(stream.legacy ? stream.device : -1); error != cudaSuccess) return error;
  const sim::Address address = pool_allocate(pool, bytes);
  if (address == 0) return cudaErrorMemoryAllocation;
  // The memory is there already; for others than this stream it is so behind this point only.
  auto operation = std::make_shared<Operation>();
  operation->name = "cudaMallocAsync";
  process.submit(stream, operation);
  if (sim::options().racecheck) order_by_stream(*sim::Memory::instance().find(address), operation->order, "cudaMallocAsync");
  *pointer = reinterpret_cast<void*>(address);
  process.scheduler.throttle(lock);
  return cudaSuccess;
}

extern "C" {

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return with_stream(stream, [](Process& process, Lock& lock, CUstream_st& s) {
    if (const cudaError_t error = check_not_capturing(s); error != cudaSuccess) return error;
    if (const cudaError_t error = check_legacy(s.legacy ? s.device : -1); error != cudaSuccess) return error;
    return process.synchronize(lock, s);
  });
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  return with_stream(stream, [](Process& process, Lock& lock, CUstream_st& s) {
    if (const cudaError_t error = check_not_capturing(s); error != cudaSuccess) return error;
    if (const cudaError_t error = check_legacy(s.legacy ? s.device : -1); error != cudaSuccess) return error;
    const OperationPtr tail = s.tail;
    const int device = s.device;
    if (tail) {
      process.scheduler.step(lock, tail);
      if (!tail->done()) return cudaErrorNotReady;
      process.note(*tail);
    }
    return process.devices[device].failure;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return with_stream(stream, [&](Process& process, Lock& lock, CUstream_st& s) {
    if (process.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
    if (flags > cudaEventWaitExternal) return cudaErrorInvalidValue;
    if (s.capture != nullptr && (flags & cudaEventWaitExternal) != 0) return capture(s, EventWork{event, false});
    if (s.capture != nullptr || (event->capture != 0 && capture_of(event->capture) != nullptr)) return capture_wait(s, *event);
    if (const cudaError_t error = check_legacy(s.legacy ? s.device : -1); error != cudaSuccess) return error;
    if (!event->operation) return cudaSuccess;
    auto operation = std::make_shared<Operation>();
    operation->name = "cudaStreamWaitEvent";
    process.submit(s, operation, {event->operation});
    process.scheduler.throttle(lock);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void* data, unsigned flags) {
  return with_stream(stream, [&](Process&, Lock& lock, CUstream_st& s) {
    if (callback == nullptr || flags != 0) return cudaErrorInvalidValue;
    if (const cudaError_t error = check_not_capturing(s); error != cudaSuccess) return error;
    return enqueue(lock, s, CallbackWork{callback, data, stream});
  });
}

cudaError_t cudaStreamAttachMemAsync(cudaStream_t stream, void* pointer, size_t, unsigned) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st&) {
    const sim::Allocation* a = sim::Memory::instance().find(reinterpret_cast<sim::Address>(pointer));
    return a != nullptr && a->kind == sim::MemoryKind::managed ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t stream, int* device) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) { return *device = s.device, cudaSuccess; });
}

cudaError_t cudaStreamGetFlags(cudaStream_t stream, unsigned* flags) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) { return *flags = s.flags, cudaSuccess; });
}

cudaError_t cudaStreamGetId(cudaStream_t stream, unsigned long long* id) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) { return *id = s.id, cudaSuccess; });
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) { return *priority = s.priority, cudaSuccess; });
}

cudaError_t cudaStreamCopyAttributes(cudaStream_t to, cudaStream_t from) {
  return with_stream(to, [&](Process& process, Lock&, CUstream_st& s) {
    const CUstream_st* f = process.stream(from, kPerThread);
    if (f == nullptr) return cudaErrorInvalidResourceHandle;
    s.attributes = f->attributes;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetAttribute(cudaStream_t stream, cudaLaunchAttributeID id, cudaLaunchAttributeValue* value) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) {
    if (value == nullptr) return cudaErrorInvalidValue;
    *value = {};
    const auto found = s.attributes.find(id);
    if (found != s.attributes.end())
      *value = found->second;
    else if (id == cudaLaunchAttributePriority)
      value->priority = s.priority;
    else if (id == cudaLaunchAttributeSynchronizationPolicy)
      value->syncPolicy = cudaSyncPolicyAuto;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSetAttribute(cudaStream_t stream, cudaLaunchAttributeID id, const cudaLaunchAttributeValue* value) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) {
    if (value == nullptr) return cudaErrorInvalidValue;
    s.attributes[id] = *value;
    return cudaSuccess;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return with_stream(stream,
                     [&](Process& process, Lock& lock, CUstream_st& s) { return record_event(process, lock, s, event, 0); });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  return with_stream(
      stream, [&](Process& process, Lock& lock, CUstream_st& s) { return record_event(process, lock, s, event, flags); });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) { return begin_capture(s, mode, nullptr, {}); });
}

cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t stream, cudaGraph_t graph, const cudaGraphNode_t* dependencies,
                                          const cudaGraphEdgeData*, size_t count, cudaStreamCaptureMode mode) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) {
    if (!is_graph(graph) || (count != 0 && dependencies == nullptr)) return cudaErrorInvalidValue;
    for (size_t i = 0; i < count; ++i)
      if (!is_node(dependencies[i]) || dependencies[i]->graph != graph) return cudaErrorInvalidValue;
    return begin_capture(s, mode, graph, {dependencies, dependencies + count});
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) { return end_capture(s, graph); });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) {
    if (status == nullptr) return cudaErrorInvalidValue;
    if (const cudaError_t error = check_legacy(s.legacy ? s.device : -1, false); error != cudaSuccess) return error;
    *status = s.capture == nullptr ? cudaStreamCaptureStatusNone
              : s.capture->invalid ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t** dependencies, const cudaGraphEdgeData** edges,
                                     size_t* count) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) {
    if (status == nullptr) return cudaErrorInvalidValue;
    if (const cudaError_t error = check_legacy(s.legacy ? s.device : -1, false); error != cudaSuccess) return error;
    *status = s.capture == nullptr ? cudaStreamCaptureStatusNone
              : s.capture->invalid ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
    if (*status != cudaStreamCaptureStatusActive) return cudaSuccess;
    if (id != nullptr) *id = s.capture->id;
    if (graph != nullptr) *graph = s.capture->graph;
    if (dependencies != nullptr) *dependencies = s.capture_tail.data();
    if (edges != nullptr) *edges = nullptr;  // all are full dependencies
    if (count != nullptr) *count = s.capture_tail.size();
    return cudaSuccess;
  });
}

cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t stream, cudaGraphNode_t* dependencies, const cudaGraphEdgeData*,
                                                size_t count, unsigned flags) {
  return with_stream(stream, [&](Process&, Lock&, CUstream_st& s) {
    if (s.capture == nullptr) return cudaErrorIllegalState;
    if (flags > cudaStreamSetCaptureDependencies || (count != 0 && dependencies == nullptr)) return cudaErrorInvalidValue;
    for (size_t i = 0; i < count; ++i)
      if (!is_node(dependencies[i]) || dependencies[i]->graph != s.capture->graph) return cudaErrorInvalidValue;
    if (flags == cudaStreamSetCaptureDependencies) s.capture_tail.clear();
    for (size_t i = 0; i < count; ++i)
      if (std::find(s.capture_tail.begin(), s.capture_tail.end(), dependencies[i]) == s.capture_tail.end())
        s.capture_tail.push_back(dependencies[i]);
    return cudaSuccess;
  });
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  return with_stream(stream, [&](Process& process, Lock& lock, CUstream_st& s) {
    return allocate_async(process, lock, pointer, bytes, current_pool(s.device), s);
  });
}

cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t pool, cudaStream_t stream) {
  return with_stream(stream, [&](Process& process, Lock& lock, CUstream_st& s) {
    return is_pool(pool) ? allocate_async(process, lock, pointer, bytes, *pool, s) : cudaErrorInvalidValue;
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  return with_stream(stream, [&](Process&, Lock& lock, CUstream_st& s) {
    if (pointer == nullptr) return cudaSuccess;
    FreeWork work;
    work.address = reinterpret_cast<sim::Address>(pointer);
    work.of_graph = is_graph_memory(work.address);
    if (s.capture == nullptr && !work.of_graph && !pool_begin_free(work.address, "cudaFreeAsync")) return cudaErrorInvalidValue;
    if (s.capture == nullptr && work.of_graph) release_graph_memory(work.address);
    return enqueue(lock, s, work);
  });
}

cudaError_t cudaMemPrefetchAsync(const void* pointer, size_t bytes, cudaMemLocation, unsigned flags, cudaStream_t stream) {
  return with_stream(stream, [&](Process&, Lock& lock, CUstream_st& s) {
    const auto address = reinterpret_cast<sim::Address>(pointer);
    const sim::Allocation* a = sim::Memory::instance().find(address);
    if (flags != 0 || bytes == 0 || a == nullptr || a->freed || a->kind != sim::MemoryKind::managed || a->end - address < bytes)
      return cudaErrorInvalidValue;
    return enqueue(lock, s, EmptyWork{});
  });
}
}

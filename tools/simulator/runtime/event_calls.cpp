// Events and the making and ending of streams. Calls that take a stream by 0 are in stream_calls.cpp.
#include <cuda_runtime_api.h>

#include "runtime/capture.h"
#include "runtime/process.h"

using namespace sim::runtime;

static cudaError_t make_stream(Process& process, cudaStream_t* stream, unsigned flags, int priority) {
  if (stream == nullptr || (flags & ~static_cast<unsigned>(cudaStreamNonBlocking)) != 0) return cudaErrorInvalidValue;
  *stream = process.new_stream(this_thread().device, flags, std::clamp(priority, -5, 0));
  return cudaSuccess;
}

/// Events that a capture recorded have no time and no state of their own.
static cudaError_t check_event(Process& process, cudaEvent_t event) {
  if (process.events.count(event) == 0) return cudaErrorInvalidResourceHandle;
  if (event->capture == 0) return cudaSuccess;
  if (Capture* c = capture_of(event->capture)) c->invalid = true;
  return cudaErrorCapturedEvent;
}

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return call([&](Process& process, Lock&) { return make_stream(process, stream, cudaStreamDefault, 0); });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return call([&](Process& process, Lock&) { return make_stream(process, stream, flags, 0); });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return call([&](Process& process, Lock&) { return make_stream(process, stream, flags, priority); });
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return call(State::any, [&](Process& process, Lock&) {
    if (process.streams.count(stream) == 0) return cudaErrorInvalidResourceHandle;
    for (CUstream_st* own : this_thread().streams)
      if (own == stream) return cudaErrorInvalidResourceHandle;
    forget_stream(*stream);
    if (stream->tail) process.scheduler.demand(stream->tail);
    process.delete_stream(stream);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return call([&](Process&, Lock&) {
    if (least != nullptr) *least = 0;
    if (greatest != nullptr) *greatest = -5;
    return cudaSuccess;
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return call(State::any, [&](Process&, Lock&) {
    if (mode == nullptr || *mode > cudaStreamCaptureModeRelaxed) return cudaErrorInvalidValue;
    std::swap(*mode, this_thread().capture_mode);
    return cudaSuccess;
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return call([&](Process& process, Lock&) {
    constexpr unsigned known = cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess;
    if (event == nullptr || (flags & ~known) != 0) return cudaErrorInvalidValue;
    if ((flags & cudaEventInterprocess) != 0 && (flags & cudaEventDisableTiming) == 0) return cudaErrorInvalidValue;
    *event = new CUevent_st;
    (*event)->device = this_thread().device;
    (*event)->flags = flags;
    process.events.insert(*event);
    return cudaSuccess;
  });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return call(State::any, [&](Process& process, Lock&) {
    if (process.events.erase(event) == 0) return cudaErrorInvalidResourceHandle;
    delete event;
    return cudaSuccess;
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return call([&](Process& process, Lock& lock) {
    if (const cudaError_t error = check_unsafe_call(); error != cudaSuccess) return error;
    if (const cudaError_t error = check_event(process, event); error != cudaSuccess) return error;
    const OperationPtr operation = event->operation;
    if (!operation) return cudaSuccess;
    process.scheduler.step(lock, operation);
    if (!operation->done()) return cudaErrorNotReady;
    process.note(*operation);
    return process.devices[operation->device].failure;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return call([&](Process& process, Lock& lock) {
    if (const cudaError_t error = check_event(process, event); error != cudaSuccess) return error;
    return process.wait(lock, event->operation);
  });
}

/// The time of the simulation, not of a device: programs divide by it, so it is never zero for events that are apart.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  return call([&](Process& process, Lock&) {
    if (milliseconds == nullptr) return cudaErrorInvalidValue;
    for (cudaEvent_t e : {start, end}) {
      if (const cudaError_t error = check_event(process, e); error != cudaSuccess) return error;
      if ((e->flags & cudaEventDisableTiming) != 0 || !e->operation) return cudaErrorInvalidResourceHandle;
      if (!e->operation->done()) return cudaErrorNotReady;
    }
    if (start->device != end->device) return cudaErrorInvalidResourceHandle;
    *milliseconds = std::chrono::duration<float, std::milli>(end->operation->finished - start->operation->finished).count();
    return cudaSuccess;
  });
}
}

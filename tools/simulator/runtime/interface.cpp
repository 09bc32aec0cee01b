#include "runtime/interface.h"

#include "runtime/process.h"
#include "runtime/work.h"

namespace sim::runtime {

cudaError_t enqueue(cudaStream_t stream, Collective collective) {
  return call([&](Process& process, Lock& lock) {
    CUstream_st* s = process.stream(stream);
    if (s == nullptr) return cudaErrorInvalidResourceHandle;
    return enqueue(lock, *s, Work(std::move(collective)));
  });
}

int current_device() { return this_thread().device; }

int device_of(cudaStream_t stream) {
  Process& process = Process::instance();
  const Lock lock(process.mutex);
  const CUstream_st* s = process.stream(stream);
  return s == nullptr ? -1 : s->device;
}

bool pending(cudaStream_t stream) {
  Process& process = Process::instance();
  const Lock lock(process.mutex);
  const CUstream_st* s = process.stream(stream);
  return s != nullptr && s->tail && !s->tail->done();
}

void report(Finding finding) { Report::instance().add(std::move(finding)); }

void fail(cudaStream_t stream, cudaError_t error) {
  Process& process = Process::instance();
  const Lock lock(process.mutex);
  CUstream_st* s = process.stream(stream);
  if (s == nullptr) return;
  Device& device = process.devices[s->device];
  if (device.failure == cudaSuccess) device.failure = error;
  device.abort = true;
}

}  // namespace sim::runtime

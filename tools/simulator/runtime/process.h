#pragma once
// The state of the simulated CUDA process: devices, streams, events, errors; what every call begins and ends with.
#include <driver_types.h>
#include <fmt/format.h>

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "error.h"
#include "machine/device.h"
#include "machine/options.h"
#include "machine/report.h"
#include "runtime/scheduler.h"

namespace sim::runtime {
struct Capture;
}  // namespace sim::runtime
struct CUmemPoolHandle_st;

struct CUstream_st {
  int device = 0;
  unsigned flags = 0;
  int priority = 0;
  unsigned long long id = 0;
  bool legacy = false;
  std::uint32_t lane = 0;
  sim::runtime::OperationPtr tail;  // the last one that was put in
  sim::runtime::Clock clock;        // of the tail
  sim::runtime::Capture* capture = nullptr;
  std::vector<cudaGraphNode_t> capture_tail;  // what the next captured node depends on
  std::map<cudaLaunchAttributeID, cudaLaunchAttributeValue> attributes;

  bool blocking() const { return !legacy && (flags & cudaStreamNonBlocking) == 0; }
};

struct CUevent_st {
  int device = 0;
  unsigned flags = 0;
  sim::runtime::OperationPtr operation;  // of the last record; null before the first
  unsigned long long capture = 0;        // id of the capture that recorded it last; 0: none
  std::vector<cudaGraphNode_t> captured;
};

namespace sim::runtime {

struct Device {
  int index = 0;
  cudaError_t failure = cudaSuccess;  // sticky
  std::atomic<bool> abort{false};
  unsigned flags = 0;
  bool used = false;
  CUstream_st legacy;
  std::set<CUstream_st*> streams;  // created ones and those of threads
  std::set<CUstream_st*> leaving;  // destroyed, not yet done
  std::map<cudaLimit, std::size_t> limits;
  std::uint32_t peers = 0;  // bit d: cudaDeviceEnablePeerAccess(d)
  cudaFuncCache cache = cudaFuncCachePreferNone;
  CUmemPoolHandle_st* pool = nullptr;  // the current one
};

struct Process {
  Process();
  static Process& instance();  // never destroyed: programs call CUDA from the destructors of their static objects
  static bool exists();        // has anything of CUDA been called?

  std::mutex mutex;
  Scheduler scheduler{mutex};
  std::deque<Device> devices;
  const DeviceModel& model;
  Clock host_clock;  // what the host knows to have happened
  std::unordered_set<CUstream_st*> streams;
  std::unordered_set<CUevent_st*> events;

  std::uint32_t new_lane();
  /// A lane whose operations have all happened before what the host knows may be used again.
  void give_back_lane(std::uint32_t lane);
  std::uint64_t tick(std::uint32_t lane) { return ++lanes_[lane]; }

  /// Null: the handle is none. 0 and the special handles are resolved for the calling thread; `per_thread`: what 0 stands for.
  CUstream_st* stream(cudaStream_t handle, bool per_thread = false);
  CUstream_st* new_stream(int device, unsigned flags, int priority);
  void delete_stream(CUstream_st* stream);

  /// Puts an operation into a stream that does not capture.
  void submit(CUstream_st& stream, const OperationPtr& operation, const std::vector<OperationPtr>& also_after = {});
  /// Everything in the legacy stream of a device (and so in its blocking streams) until now: an operation that is done after
  /// it.
  OperationPtr barrier(int device, const std::vector<OperationPtr>& also_after = {});
  /// Waits for an operation; its past becomes known to the host. Gives its device's error.
  cudaError_t wait(Lock& lock, const OperationPtr& operation);
  cudaError_t synchronize(Lock& lock, CUstream_st& stream);
  cudaError_t synchronize_device(Lock& lock, int device);
  void note(const Operation& operation);  // the host knows that it has happened

  /// Prints what kernels of this device printed.
  void flush_printed(int device);
  void print(int device, std::string text);  // called by operations, without the lock

 private:
  std::vector<std::uint64_t> lanes_{0};  // how many operations each has had; 0 is the host
  std::vector<std::uint32_t> free_lanes_;
  unsigned long long stream_ids_ = 0;
  std::mutex printed_mutex_;
  std::array<std::string, kMaxDevices> printed_;
};

/// What a thread has of its own.
struct ThreadState {
  int device = 0;
  cudaError_t last_error = cudaSuccess;
  bool in_host_function = false;
  cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
  std::array<CUstream_st*, kMaxDevices> streams{};  // cudaStreamPerThread of each device
  ~ThreadState();
};
ThreadState& this_thread();

Device& current();  // the calling thread's device
std::size_t limit_of(const Device& device, cudaLimit limit);

/// Prints `gannet-sim: …` and ends the process with code 2.
[[noreturn]] void stop(std::string_view message);

/// Memory of a device (-1: of any) that nobody freed, as findings. Variables and memory of other kinds go with their modules
/// and contexts.
void report_leaks(int device);

/// Says once what the program did wrongly with the API; a warning, since the call also returns an error.
void misuse(std::string_view call, std::string message);

enum class State {
  any,      // works whatever happened before
  healthy,  // returns the sticky error of the current device
};

/// The frame of every API call: lock, sticky error, exceptions, last error.
template <class Body>
cudaError_t call(State state, Body&& body) {
  cudaError_t error = cudaSuccess;
  try {
    if (this_thread().in_host_function && state != State::any) {
      error = cudaErrorNotPermitted;
    } else {
      Process& process = Process::instance();
      Lock lock(process.mutex);
      if (state == State::healthy) error = current().failure;
      if (error == cudaSuccess) error = body(process, lock);
    }
  } catch (const Error& e) {
    stop(e.what());
  } catch (const std::bad_alloc&) {
    error = cudaErrorMemoryAllocation;
  }
  if (error != cudaSuccess && error != cudaErrorNotReady) this_thread().last_error = error;
  return error;
}

template <class Body>
cudaError_t call(Body&& body) {
  return call(State::healthy, std::forward<Body>(body));
}

}  // namespace sim::runtime

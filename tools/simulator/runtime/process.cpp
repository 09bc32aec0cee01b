#include "runtime/process.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "runtime/capture.h"
#include "runtime/interface.h"

namespace sim::runtime {

Process::Process() : model(device_model(options().architecture)) {
  for (int d = 0; d < options().devices; ++d) {
    Device& device = devices.emplace_back();
    device.index = d;
    device.legacy.device = d;
    device.legacy.legacy = true;
    device.legacy.lane = new_lane();
    device.legacy.id = ++stream_ids_;
  }
}

namespace {
std::atomic<bool> is_made{false};

// As a device's context, a state that has been used is of no use to a child: the threads that do its work are not in it. The
// child's calls return an error, and its end is not the program's. Before the first use a child begins afresh.
void watch_forks() {
  (void)pthread_atfork(
      [] { Process::instance().mutex.lock(); }, [] { Process::instance().mutex.unlock(); },
      [] {
        Process& process = Process::instance();
        if (std::any_of(process.devices.begin(), process.devices.end(), [](const Device& d) { return d.used; })) {
          for (Device& device : process.devices) device.failure = cudaErrorInitializationError;
          is_made = false;
        }
        process.mutex.unlock();
      });
}
}  // namespace

bool Process::exists() { return is_made; }

Process& Process::instance() {
  static Process* process = [] {
    try {
      is_made = true;
      auto* made = new Process;
      watch_forks();
      return made;
    } catch (const Error& e) {
      stop(e.what());
    }
  }();
  return *process;
}

std::uint32_t Process::new_lane() {
  for (std::size_t i = 0; i < free_lanes_.size(); ++i) {
    const std::uint32_t lane = free_lanes_[i];
    if (lane < host_clock.size() && host_clock[lane] >= lanes_[lane]) {
      free_lanes_.erase(free_lanes_.begin() + static_cast<std::ptrdiff_t>(i));
      return lane;
    }
  }
  lanes_.push_back(0);
  return static_cast<std::uint32_t>(lanes_.size() - 1);
}

void Process::give_back_lane(std::uint32_t lane) { free_lanes_.push_back(lane); }

CUstream_st* Process::new_stream(int device, unsigned flags, int priority) {
  auto* stream = new CUstream_st;
  stream->device = device;
  stream->flags = flags;
  stream->priority = priority;
  stream->id = ++stream_ids_;
  stream->lane = new_lane();
  streams.insert(stream);
  devices[device].streams.insert(stream);
  return stream;
}

void Process::delete_stream(CUstream_st* stream) {
  streams.erase(stream);
  Device& device = devices[stream->device];
  device.streams.erase(stream);
  // What is left of its work still counts for the legacy stream and for cudaDeviceSynchronize.
  device.leaving.insert(stream);
  std::erase_if(device.leaving, [&](CUstream_st* s) {
    const bool known = !s->tail || (s->tail->done() && host_clock.size() > s->lane && host_clock[s->lane] >= s->tail->order.at);
    if (known) {
      give_back_lane(s->lane);
      delete s;
    }
    return known;
  });
}

CUstream_st* Process::stream(cudaStream_t handle, bool per_thread) {
  if (handle == nullptr) handle = per_thread ? cudaStreamPerThread : cudaStreamLegacy;
  if (handle == cudaStreamLegacy) return &current().legacy;
  if (handle == cudaStreamPerThread) {
    CUstream_st*& own = this_thread().streams[this_thread().device];
    if (own == nullptr || streams.count(own) == 0) own = new_stream(this_thread().device, cudaStreamDefault, 0);
    return own;
  }
  return streams.count(handle) != 0 ? handle : nullptr;
}

void Process::submit(CUstream_st& stream, const OperationPtr& operation, const std::vector<OperationPtr>& also_after) {
  Device& device = devices[stream.device];
  device.used = true;
  std::vector<OperationPtr> before = also_after;
  before.push_back(stream.tail);
  Clock clock = stream.clock;
  join(clock, host_clock);
  if (stream.legacy) {
    for (const auto* set : {&device.streams, &device.leaving}) {
      for (CUstream_st* other : *set) {
        if (!other->blocking()) continue;
        before.push_back(other->tail);
        join(clock, other->clock);
      }
    }
  } else if (stream.blocking()) {
    before.push_back(device.legacy.tail);
    join(clock, device.legacy.clock);
  }
  for (const OperationPtr& other : before)
    if (other) join(clock, other->clock());  // of those in streams too: they may have learned more since
  operation->device = stream.device;
  operation->number = scheduler.next_number();
  operation->order.lane = stream.lane;
  operation->order.at = tick(stream.lane);
  operation->order.after = std::move(clock);
  stream.tail = operation;
  stream.clock = operation->clock();
  scheduler.submit(operation, before);
}

OperationPtr Process::barrier(int device, const std::vector<OperationPtr>& also_after) {
  auto marker = std::make_shared<Operation>();
  marker->name = "barrier";
  submit(devices[device].legacy, marker, also_after);
  return marker;
}

void Process::note(const Operation& operation) { join(host_clock, operation.clock()); }

cudaError_t Process::wait(Lock& lock, const OperationPtr& operation) {
  if (!operation) return cudaSuccess;
  const int device = operation->device;
  scheduler.wait(lock, operation);
  note(*operation);
  flush_printed(device);
  return devices[device].failure;
}

cudaError_t Process::synchronize(Lock& lock, CUstream_st& stream) {
  const int device = stream.device;
  // The legacy stream also waits for the blocking ones.
  if (stream.legacy) (void)barrier(device);
  const OperationPtr tail = stream.tail;
  if (tail) return wait(lock, tail);
  flush_printed(device);
  return devices[device].failure;
}

cudaError_t Process::synchronize_device(Lock& lock, int device) {
  std::vector<OperationPtr> tails{devices[device].legacy.tail};
  for (const auto* set : {&devices[device].streams, &devices[device].leaving})
    for (CUstream_st* s : *set) tails.push_back(s->tail);
  std::sort(tails.begin(), tails.end(),
            [](const OperationPtr& a, const OperationPtr& b) { return (a ? a->number : 0) < (b ? b->number : 0); });
  for (const OperationPtr& tail : tails) (void)wait(lock, tail);
  flush_printed(device);
  return devices[device].failure;
}

void Process::print(int device, std::string text) {
  const std::lock_guard guard(printed_mutex_);
  printed_[device] += text;
}

void Process::flush_printed(int device) {
  std::string text;
  {
    const std::lock_guard guard(printed_mutex_);
    text.swap(printed_[device]);
  }
  if (!text.empty()) std::fwrite(text.data(), 1, text.size(), stdout);
}

ThreadState::~ThreadState() {
  Process& process = Process::instance();
  const Lock lock(process.mutex);
  for (CUstream_st* stream : streams)
    if (stream != nullptr && process.streams.count(stream) != 0 && stream->capture == nullptr) process.delete_stream(stream);
}

ThreadState& this_thread() {
  thread_local ThreadState state;
  return state;
}

Device& current() { return Process::instance().devices[this_thread().device]; }

std::size_t limit_of(const Device& device, cudaLimit limit) {
  if (const auto found = device.limits.find(limit); found != device.limits.end()) return found->second;
  switch (limit) {
    case cudaLimitStackSize:
      return 1024;
    case cudaLimitPrintfFifoSize:
      return 1u << 20;
    case cudaLimitMallocHeapSize:
      return 8u << 20;
    case cudaLimitDevRuntimeSyncDepth:
      return 2;
    case cudaLimitDevRuntimePendingLaunchCount:
      return 2048;
    case cudaLimitMaxL2FetchGranularity:
      return 64;
    default:
      return 0;
  }
}

void stop(std::string_view message) {
  std::fflush(stdout);
  fmt::print(stderr, "gannet-sim: {}\n", message);
  std::fflush(stderr);
  _exit(2);
}

void misuse(std::string_view call, std::string message) {
  Finding finding{};
  finding.fault = Fault::api_misuse;
  finding.warning = true;
  finding.message = std::move(message);
  finding.place.kernel = call;
  report(std::move(finding));
}

}  // namespace sim::runtime

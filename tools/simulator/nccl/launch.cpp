#include "nccl/launch.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "machine/options.h"
#include "nccl/execution.h"
#include "runtime/interface.h"

namespace sim::nccl {
namespace {

void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess) throw Failure(ncclUnhandledCudaError, "{}: {}", what, cudaGetErrorString(error));
}

// The device of a communicator, while its work is launched.
class OnDevice {
 public:
  explicit OnDevice(int device) : before_(runtime::current_device()) {
    if (device != before_) check(cudaSetDevice(device), "cudaSetDevice");
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { cudaSetDevice(before_); }

 private:
  int before_;
};

bool connects_at_run_time() {
  const char* value = std::getenv("NCCL_RUNTIME_CONNECT");
  return value == nullptr || std::string_view(value) != "0";
}

constexpr std::uint64_t kCollective = 0, kSender = 1, kReceiver = 2;  // numbers of Channel::connection

struct Connection {
  int peer;
  std::uint64_t mine, theirs;
};

// The peers that have to call something before this plan is in its stream; tells them that this rank does.
std::vector<Connection> begin_connections(ncclComm& comm, const Plan& plan) {
  const std::lock_guard lock(comm.launch_mutex);
  std::vector<Connection> result;
  for (const Call& call : plan.calls) {
    if (!is_point_to_point(call.what.kind)) {
      if (comm.connected || !connects_at_run_time()) continue;
      comm.connected = true;
      for (int r = 0; r < comm.ranks; ++r) {
        if (r != comm.rank) result.push_back({r, kCollective, kCollective});
      }
      continue;
    }
    const int peer = call.what.peer;
    const bool out = call.what.kind == CallKind::send;
    std::vector<bool>& connected = out ? comm.connected_sends : comm.connected_receives;
    if (peer == comm.rank || connected[static_cast<std::size_t>(peer)]) continue;
    connected[static_cast<std::size_t>(peer)] = true;
    result.push_back({peer, out ? kSender : kReceiver, out ? kReceiver : kSender});
  }
  for (const Connection& c : result) comm.mesh->tell(c.peer, Channel::connection, c.mine, "");
  return result;
}

void finish_connections(ncclComm& comm, const Plan& plan, const std::vector<Connection>& connections) {
  const std::string name(name_of(plan.calls.front().what.kind));
  for (const Connection& c : connections) {
    Patience patience;
    patience.seconds = options().deadlock;
    patience.complain = [&](const std::vector<int>&) {
      const char* hint =
          "a thread that drives several ranks makes the call for all of them between ncclGroupStart and ncclGroupEnd";
      if (c.mine == kCollective) {
        say(
            fmt::format("{}: rank {} of {} has waited {:g} s on the host: the first collective of a communicator connects its "
                        "ranks, and rank {} has not "
                        "called one; {}",
                        name, comm.rank, comm.ranks, patience.seconds, c.peer, hint));
      } else {
        const bool out = c.mine == kSender;
        say(
            fmt::format("{}: rank {} of {} has waited {:g} s on the host: the first transfer between two ranks connects them, "
                        "and rank {} has not called "
                        "{}; {}",
                        out ? "ncclSend" : "ncclRecv", comm.rank, comm.ranks, patience.seconds, c.peer,
                        out ? "ncclRecv" : "ncclSend", hint));
      }
    };
    std::string message;
    const Outcome outcome = comm.mesh->hear(c.peer, Channel::connection, c.theirs, message, patience);
    if (outcome == Outcome::gone) {
      const std::string text = fmt::format("{}: rank {} {}", name, c.peer, comm.mesh->why_gone(c.peer));
      set_error(comm, ncclRemoteError, text);
      throw Failure(ncclRemoteError, "{}", text);
    }
    if (outcome != Outcome::done) throw Failure(ncclInternalError, "{}: the communicator was aborted", name);
  }
}

cudaEvent_t event_of(StreamOrder& order) {
  if (order.event == nullptr) check(cudaEventCreateWithFlags(&order.event, cudaEventDisableTiming), "cudaEventCreate");
  return order.event;
}

std::vector<runtime::Range> ranges(const Plan& plan, bool written) {
  std::vector<runtime::Range> result;
  const ncclComm& comm = *plan.comm;
  for (const Call& call : plan.calls) {
    const std::uint64_t elements =
        written ? received_elements(call.what, comm.rank, comm.ranks) : sent_elements(call.what, comm.rank, comm.ranks);
    const void* at = written ? call.receive : call.send;
    if (elements > 0) result.push_back({reinterpret_cast<Address>(at), elements * size_of(call.what.type)});
    if (!written && call.scalar_address != nullptr && runs_on_device_memory(call.scalar_address)) {
      result.push_back({reinterpret_cast<Address>(call.scalar_address), size_of(call.what.type)});
    }
  }
  return result;
}

void put_into_streams(const Plan& plan) {
  ncclComm& comm = *plan.comm;
  const OnDevice on_device(comm.device);
  std::vector<cudaStream_t> streams;
  for (const Call& call : plan.calls) {
    if (std::find(streams.begin(), streams.end(), call.stream) == streams.end()) streams.push_back(call.stream);
  }
  const std::string name(name_of(plan.calls.front().what.kind));
  for (const cudaStream_t stream : streams) {
    if (const int device = runtime::device_of(stream); device != comm.device) {
      throw Failure(ncclUnhandledCudaError, "{}: the stream is {}, the communicator's device is {}", name,
                    device < 0 ? "none" : fmt::format("one of device {}", device), comm.device);
    }
  }
  const cudaStream_t stream = streams.front();
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  unsigned long long capture = 0;
  check(cudaStreamGetCaptureInfo(stream, &status, &capture), name.c_str());
  if (status == cudaStreamCaptureStatusInvalidated)
    throw Failure(ncclUnhandledCudaError, "{}: the capture of the stream is invalid", name);
  const bool capturing = status == cudaStreamCaptureStatusActive;

  const std::lock_guard lock(comm.launch_mutex);
  StreamOrder& order = capturing ? comm.captured : comm.eager;
  const cudaEvent_t event = event_of(order);
  // The streams of a group wait for each other before and after it, and the communications of a communicator for each other.
  const bool continues = order.recorded && (!capturing || order.capture == capture);
  if (continues && order.stream != stream) check(cudaStreamWaitEvent(stream, event, 0), name.c_str());
  for (std::size_t i = 1; i < streams.size(); ++i) {
    check(cudaEventRecord(event, streams[i]), name.c_str());
    check(cudaStreamWaitEvent(stream, event, 0), name.c_str());
  }
  runtime::Collective collective;
  collective.name = plan.calls.size() == 1 ? name : fmt::format("{} and {} more in a group", name, plan.calls.size() - 1);
  collective.reads = ranges(plan, false);
  collective.writes = ranges(plan, true);
  collective.run = [plan](const runtime::CollectiveRun& run) { return execute(plan, run); };
  check(runtime::enqueue(stream, std::move(collective)), name.c_str());
  check(cudaEventRecord(event, stream), name.c_str());
  for (std::size_t i = 1; i < streams.size(); ++i) check(cudaStreamWaitEvent(streams[i], event, 0), name.c_str());
  order.stream = stream;
  order.capture = capture;
  order.recorded = true;
}

}  // namespace

void launch(const std::vector<Plan>& plans) {
  std::vector<std::vector<Connection>> connections;
  for (const Plan& plan : plans) connections.push_back(begin_connections(*plan.comm, plan));
  for (std::size_t i = 0; i < plans.size(); ++i) {
    // A call on a communicator that does not block can not wait; the communication does.
    if (plans[i].comm->blocking) finish_connections(*plans[i].comm, plans[i], connections[i]);
  }
  for (const Plan& plan : plans) put_into_streams(plan);
}

}  // namespace sim::nccl

#include "nccl/execution.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "machine/memory.h"
#include "machine/options.h"
#include "nccl/collectives.h"

namespace sim::nccl {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

// One communication of a communicator at a time.
class Turn {
 public:
  Turn(ncclComm& comm, const std::atomic<bool>* stop) : comm_(comm) {
    std::unique_lock lock(comm.mutex);
    while (comm.busy && !(stop != nullptr && *stop)) comm.changed.wait_for(lock, 50ms);
    owned_ = !comm.busy;
    if (owned_) comm.busy = true;
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (!owned_) return;
    const std::lock_guard lock(comm_.mutex);
    comm_.busy = false;
    comm_.changed.notify_all();
  }
  explicit operator bool() const { return owned_; }

 private:
  ncclComm& comm_;
  bool owned_ = false;
};

// Where the simulator has the memory; null for an address that is none.
std::byte* working(const void* address) {
  if (address == nullptr) return nullptr;
  const Allocation* allocation = Memory::instance().find(reinterpret_cast<Address>(address));
  return allocation == nullptr || allocation->freed ? nullptr : allocation->working(reinterpret_cast<Address>(address));
}

std::optional<Communication> prepare(ncclComm& comm, const Call& call) {
  Communication result;
  result.call = call.what;
  result.send = working(call.send);
  result.receive = working(call.receive);
  if (sent_elements(call.what, comm.rank, comm.ranks) > 0 && result.send == nullptr) return std::nullopt;
  if (received_elements(call.what, comm.rank, comm.ranks) > 0 && result.receive == nullptr) return std::nullopt;
  if (call.scalar_address != nullptr) {
    const void* from = runs_on_device_memory(call.scalar_address) ? working(call.scalar_address) : call.scalar_address;
    if (from == nullptr) return std::nullopt;
    std::memcpy(&result.call.scalar, from, size_of(call.what.type));
  }
  const auto peer = static_cast<std::size_t>(call.what.peer);
  switch (call.what.kind) {
    case CallKind::send:
      result.number = comm.sends[peer]++;
      break;
    case CallKind::receive:
      result.number = comm.receives[peer]++;
      break;
    default:
      result.number = comm.collectives++;
  }
  return result;
}

void report(const Mismatch& mismatch) {
  Finding finding{};
  finding.fault = Fault::api_misuse;
  finding.message = fmt::format("ranks of a communicator do not call the same: rank {} {}, rank {} {}", mismatch.ranks[0],
                                text_of(mismatch.calls[0]), mismatch.ranks[1], text_of(mismatch.calls[1]));
  finding.place.kernel = fmt::format("{} on rank {}", text_of(mismatch.calls[0]), mismatch.ranks[0]);
  finding.has_other = true;
  finding.other.kernel = fmt::format("{} on rank {}", text_of(mismatch.calls[1]), mismatch.ranks[1]);
  runtime::report(finding);
}

// A communication with a rank that has left never ends by itself. The program may learn of it (ncclCommGetAsyncError) and end
// it with ncclCommAbort, after which the stream goes on; it is given time for that.
cudaError_t wait_for_abort(ncclComm& comm, const std::atomic<bool>* stop) {
  const auto end = steady_clock::now() + std::chrono::duration<double>(options().deadlock);
  std::unique_lock lock(comm.mutex);
  while (steady_clock::now() < end && !comm.destroyed && !comm.mesh->interrupted() && !(stop != nullptr && *stop))
    comm.changed.wait_for(lock, 20ms);
  return comm.mesh->interrupted() ? cudaSuccess : cudaErrorUnknown;
}

cudaError_t conclude(ncclComm& comm, const Result& result, const std::string& name, const std::atomic<bool>* stop) {
  if (result.mismatch) {
    report(*result.mismatch);
    set_error(comm, ncclInvalidUsage, fmt::format("{}: the ranks do not call the same", name));
    return cudaErrorUnknown;
  }
  switch (result.outcome) {
    case Outcome::done:
    case Outcome::interrupted:
      return cudaSuccess;  // like a kernel that saw the flag of ncclCommAbort
    case Outcome::stopped:
      return cudaErrorUnknown;
    case Outcome::gone:
      break;
  }
  const std::string text = fmt::format("{}: rank {} of {} waits for rank {}, which {}", name, comm.rank, comm.ranks,
                                       result.gone, result.gone < 0 ? "has left" : comm.mesh->why_gone(result.gone));
  say(text);
  set_error(comm, ncclRemoteError, text);
  return wait_for_abort(comm, stop);
}

}  // namespace

bool runs_on_device_memory(const void* address) {
  return Memory::instance().find(reinterpret_cast<Address>(address)) != nullptr;
}

cudaError_t execute(const Plan& plan, const runtime::CollectiveRun& run) {
  ncclComm& comm = *plan.comm;
  const std::string name(name_of(plan.calls.front().what.kind));
  const Turn turn(comm, run.abort);
  if (!turn) return cudaErrorUnknown;
  bool destroyed = false;
  {
    const std::lock_guard lock(comm.mutex);
    destroyed = comm.destroyed;
    if (comm.revoked || comm.cancel) return cudaSuccess;
    if (comm.state != ncclSuccess && comm.state != ncclInProgress) return cudaErrorUnknown;
  }
  if (destroyed) {
    Finding finding{};
    finding.fault = Fault::api_misuse;
    finding.message =
        "the communicator was destroyed before the communication was done; a graph must not be launched after that";
    finding.place.kernel = name;
    runtime::report(finding);
    return cudaErrorUnknown;
  }
  Conditions conditions;
  conditions.stop = run.abort;
  conditions.seconds = options().deadlock;
  conditions.before = run.order->after;
  conditions.say = [&](const std::string& text) { say(fmt::format("device {}: {}", comm.device, text)); };
  const auto learn = [&](const Result& result) {
    std::vector<std::uint64_t>& learned = *run.learned;
    learned.resize(std::max(learned.size(), result.learned.size()));
    for (std::size_t lane = 0; lane < result.learned.size(); ++lane)
      learned[lane] = std::max(learned[lane], result.learned[lane]);
  };
  std::vector<Communication> transfers;
  for (const Call& call : plan.calls) {
    const std::optional<Communication> communication = prepare(comm, call);
    // The finding is that of the check before the run.
    if (!communication) return cudaErrorIllegalAddress;
    if (is_point_to_point(call.what.kind)) {
      transfers.push_back(*communication);
      continue;
    }
    const Result result = collective(*comm.mesh, *communication, conditions);
    learn(result);
    const bool good = !result.mismatch && result.outcome == Outcome::done;
    if (!good) return conclude(comm, result, name, run.abort);
  }
  if (transfers.empty()) return cudaSuccess;
  const Result result = point_to_point(*comm.mesh, transfers, conditions);
  learn(result);
  return conclude(comm, result, name, run.abort);
}

}  // namespace sim::nccl

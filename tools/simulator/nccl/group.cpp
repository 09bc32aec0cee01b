#include "nccl/group.h"

#include <algorithm>
#include <optional>
#include <thread>

#include "error.h"

namespace sim::nccl {
namespace {

struct Group {
  int depth = 0;
  ncclResult_t error = ncclSuccess;
  std::vector<SetupJob> jobs;
  std::vector<Plan> plans;
};

Group& group() {
  thread_local Group instance;
  return instance;
}

void settle_parent(const SetupJob& job) {
  if (!job.parent || job.comm->blocking) return;
  const std::lock_guard lock(job.parent->mutex);
  if (job.parent->state == ncclInProgress) job.parent->state = ncclSuccess;
}

// What goes wrong is left in the communicator's state.
void run(const SetupJob& job) {
  try {
    job.make(*job.comm);
    settle_parent(job);
    set_state(*job.comm, ncclSuccess);
    return;
  } catch (const Failure& failure) {
    set_error(*job.comm, failure.result, failure.what());
  } catch (const std::exception& e) {
    set_error(*job.comm, ncclSystemError, e.what());
  }
  settle_parent(job);
}

void run_all(const std::vector<SetupJob>& jobs) {
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < jobs.size(); ++i) threads.emplace_back([&jobs, i] { run(jobs[i]); });
  if (!jobs.empty()) run(jobs[0]);
  for (std::thread& thread : threads) thread.join();
}

// A transfer to the own rank needs both of its ends in the group: the stream would wait for itself.
void check_self_transfers(const Plan& plan) {
  const ncclComm& comm = *plan.comm;
  std::ptrdiff_t sends = 0, receives = 0;
  for (const Call& call : plan.calls) {
    if (call.what.peer != comm.rank) continue;
    if (call.what.kind == CallKind::send) ++sends;
    if (call.what.kind == CallKind::receive) ++receives;
  }
  if (sends > receives)
    throw Failure(ncclInvalidUsage, "ncclSend: rank {} sends to itself without an ncclRecv in the same group", comm.rank);
  if (receives > sends)
    throw Failure(ncclInvalidUsage, "ncclRecv: rank {} receives from itself without an ncclSend in the same group", comm.rank);
}

}  // namespace

void group_start() { ++group().depth; }

void note_group_error(ncclResult_t result) {
  if (group().depth > 0 && group().error == ncclSuccess && result != ncclInProgress) group().error = result;
}

ncclResult_t group_end() {
  if (group().depth == 0) throw Failure(ncclInvalidUsage, "ncclGroupEnd: not in a group call");
  if (--group().depth > 0) return ncclSuccess;
  const Group work = std::exchange(group(), Group{});
  if (work.error != ncclSuccess) {
    for (const SetupJob& job : work.jobs) {
      if (job.handle != nullptr) *job.handle = nullptr;
      remove_communicator(job.comm.get());
    }
    throw Failure(work.error, "a call in the group failed: {}", std::string(last_error()));
  }
  bool blocking = false, non_blocking = false;
  for (const SetupJob& job : work.jobs) (job.comm->blocking ? blocking : non_blocking) = true;
  for (const Plan& plan : work.plans) (plan.comm->blocking ? blocking : non_blocking) = true;
  if (blocking && non_blocking)
    throw Failure(ncclInvalidArgument, "blocking and nonblocking communicators are not allowed in the same group");

  if (!work.jobs.empty() && non_blocking) {
    if (!work.plans.empty())
      throw Failure(ncclInvalidUsage, "a group of nonblocking communicators can not both make communicators and communicate");
    std::thread([jobs = work.jobs] { run_all(jobs); }).detach();
    return ncclInProgress;
  }
  run_all(work.jobs);
  ncclResult_t result = ncclSuccess;
  for (const SetupJob& job : work.jobs) {
    const ncclResult_t state = job.comm->state;
    if (state == ncclSuccess) continue;
    if (result == ncclSuccess) result = state;
    if (job.handle != nullptr) *job.handle = nullptr;
    destroy(job.comm);
  }
  if (result != ncclSuccess) throw Failure(result, "{}", std::string(last_error()));

  for (const Plan& plan : work.plans) check_self_transfers(plan);
  launch(work.plans);
  if (!non_blocking) return ncclSuccess;
  for (const Plan& plan : work.plans) {
    const std::lock_guard lock(plan.comm->mutex);
    plan.comm->unseen = true;
  }
  return ncclInProgress;
}

ncclResult_t add(const std::shared_ptr<ncclComm>& comm, const Call& call) {
  group_start();
  std::vector<Plan>& plans = group().plans;
  auto plan = std::find_if(plans.begin(), plans.end(), [&](const Plan& p) { return p.comm == comm; });
  if (plan == plans.end()) plan = plans.insert(plans.end(), Plan{comm, {}});
  plan->calls.push_back(call);
  return group_end();
}

ncclResult_t add(SetupJob job) {
  set_state(*job.comm, ncclInProgress);
  if (job.parent && !job.comm->blocking) set_state(*job.parent, ncclInProgress);
  if (job.handle != nullptr) *job.handle = add_communicator(job.comm);
  group_start();
  group().jobs.push_back(std::move(job));
  return group_end();
}

}  // namespace sim::nccl

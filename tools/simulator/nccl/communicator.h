#pragma once
#include <nccl.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nccl/call.h"
#include "nccl/failure.h"
#include "nccl/mesh.h"
#include "nccl/rendezvous.h"

namespace sim::nccl {

/// Of ncclRedOpCreatePreMulSum.
struct UserOperator {
  ncclDataType_t type = ncclFloat32;
  std::uint64_t scalar = 0;       // read when the operator was made
  const void* address = nullptr;  // or read when the collective runs
};

/// Orders communications of one communicator that are put into different streams: an event after the last one.
struct StreamOrder {
  cudaEvent_t event = nullptr;
  cudaStream_t stream = nullptr;
  unsigned long long capture = 0;  // in which it was recorded; 0: none
  bool recorded = false;
};

}  // namespace sim::nccl

/// One rank of a communicator. Alive as long as a call, a stream or a graph refers to it; the last reference may go where no
/// call of CUDA is allowed.
struct ncclComm : std::enable_shared_from_this<ncclComm> {
  int rank = 0, ranks = 0, device = 0;
  bool blocking = true;
  std::shared_ptr<sim::nccl::Mesh> mesh;  // null until the ranks have met
  sim::nccl::Identity identity{};
  std::atomic<bool> cancel{false};  // ncclCommAbort while the ranks meet

  std::mutex mutex;
  std::condition_variable changed;
  ncclResult_t state = ncclSuccess;  // what ncclCommGetAsyncError gives
  bool unseen = false;               // a call returned ncclInProgress and nobody has asked since
  bool finalized = false, revoked = false, destroyed = false;
  bool busy = false;  // a communication runs
  std::uint64_t managements = 0;
  std::map<int, sim::nccl::UserOperator> operators;
  std::map<void*, std::unique_ptr<char>> registrations;  // by handle

  // Of the communication that runs.
  std::uint64_t collectives = 0;
  std::vector<std::uint64_t> sends, receives;  // by peer

  // Of the thread that launches.
  std::mutex launch_mutex;
  sim::nccl::StreamOrder eager, captured;
  bool connected = false;                                 // by a first collective
  std::vector<bool> connected_sends, connected_receives;  // by a first transfer
};

namespace sim::nccl {

/// Of a handle; throws Failure when it is none, or was destroyed.
std::shared_ptr<ncclComm> communicator(ncclComm_t handle);
/// And it must be in a state to be used: no call in progress, no error.
std::shared_ptr<ncclComm> ready_communicator(ncclComm_t handle);

ncclComm_t add_communicator(const std::shared_ptr<ncclComm>& comm);
void remove_communicator(const ncclComm* comm);

/// "gannet-sim: …" to standard error.
void say(const std::string& text);
/// What ncclGetLastError gives; NCCL_DEBUG=WARN (or INFO, TRACE) prints it.
void set_last_error(const std::string& text);
const char* last_error();

void set_state(ncclComm& comm, ncclResult_t state);
void set_error(ncclComm& comm, ncclResult_t error, const std::string& text);

/// Waits until its communications in streams have been done; an error of the device ends the wait.
void drain(ncclComm& comm);
/// Ends its communications without waiting for anybody.
void stop_running(ncclComm& comm);
/// After that the handle is none.
void destroy(const std::shared_ptr<ncclComm>& comm);

// communicator_setup.cpp: these block until all ranks have come, and throw Failure.
void make(ncclComm& comm, const ncclUniqueId& id);
/// `members`: ranks of the parent that take part; the others do not call it. Leaves comm.mesh null for NCCL_SPLIT_NOCOLOR.
void make_from(ncclComm& comm, ncclComm& parent, std::uint64_t number, const std::vector<int>& members, int color, int key);

}  // namespace sim::nccl

// Making, asking and ending communicators.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <thread>

#include "nccl/api.h"
#include "nccl/group.h"
#include "runtime/interface.h"

namespace sim::nccl {
namespace {

// Programs may have been compiled with a header whose ncclConfig_t was shorter.
ncclConfig_t read(const ncclConfig_t* config) {
  ncclConfig_t result = NCCL_CONFIG_INITIALIZER;
  if (config == nullptr) return result;
  require(config->magic == result.magic && config->size >= offsetof(ncclConfig_t, cgaClusterSize),
          "ncclConfig_t was not initialized with NCCL_CONFIG_INITIALIZER");
  std::memcpy(&result, config, std::min(config->size, sizeof result));
  const auto in = [](int value, int least, int most) {
    return value == NCCL_CONFIG_UNDEF_INT || (value >= least && value <= most);
  };
  require(in(result.blocking, 0, 1), "config.blocking must be 0 or 1");
  require(in(result.cgaClusterSize, 0, 8), "config.cgaClusterSize must be 0 to 8");
  require(in(result.minCTAs, 1, INT_MAX) && in(result.maxCTAs, 1, INT_MAX), "config.minCTAs and maxCTAs must be positive");
  require(
      result.minCTAs == NCCL_CONFIG_UNDEF_INT || result.maxCTAs == NCCL_CONFIG_UNDEF_INT || result.minCTAs <= result.maxCTAs,
      "config.minCTAs must not be more than maxCTAs");
  require(in(result.splitShare, 0, 1), "config.splitShare must be 0 or 1");
  return result;
}

bool blocks(const ncclConfig_t& config, bool inherited) {
  if (const char* set = std::getenv("NCCL_COMM_BLOCKING"); set != nullptr && (*set == '0' || *set == '1')) return *set == '1';
  return config.blocking == NCCL_CONFIG_UNDEF_INT ? inherited : config.blocking != 0;
}

SetupJob job(ncclComm_t* out, int ranks, const ncclUniqueId& id, int rank, const ncclConfig_t* config, int device) {
  require(out != nullptr, "comm must not be null");
  *out = nullptr;
  const ncclConfig_t settings = read(config);
  if (ranks < 1 || rank < 0 || rank >= ranks) throw Failure(ncclInvalidArgument, "invalid rank {} of {}", rank, ranks);
  SetupJob result;
  result.comm = std::make_shared<ncclComm>();
  result.comm->rank = rank;
  result.comm->ranks = ranks;
  result.comm->device = device;
  result.comm->blocking = blocks(settings, true);
  result.handle = out;
  result.make = [id](ncclComm& comm) { make(comm, id); };
  return result;
}

// The part that a split and a shrink of `parent` have in common.
SetupJob child(const std::shared_ptr<ncclComm>& parent, ncclComm_t* out, const ncclConfig_t* config, std::vector<int> members,
               int color, int key) {
  *out = nullptr;
  const ncclConfig_t settings = read(config);
  SetupJob result;
  result.comm = std::make_shared<ncclComm>();
  result.comm->device = parent->device;
  result.comm->blocking = blocks(settings, parent->blocking);
  if (color != NCCL_SPLIT_NOCOLOR) result.handle = out;
  result.parent = parent;
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(parent->mutex);
    number = parent->managements++;
  }
  result.make = [=](ncclComm& comm) { make_from(comm, *parent, number, members, color, key); };
  return result;
}

ncclResult_t end(ncclComm_t handle, bool abort) {
  if (handle == nullptr) return ncclSuccess;
  const std::shared_ptr<ncclComm> comm = communicator(handle);
  if (abort) {
    {
      const std::lock_guard lock(comm->mutex);
      comm->cancel = true;
    }
    std::shared_ptr<Mesh> mesh;
    {
      const std::lock_guard lock(comm->mutex);
      mesh = comm->mesh;
    }
    if (mesh) mesh->abort();
    stop_running(*comm);
  } else {
    {
      std::unique_lock lock(comm->mutex);
      if (comm->state == ncclInProgress && !comm->mesh) {
        throw Failure(ncclInvalidArgument, "the communicator is destroyed before ncclCommGetAsyncError said that it is made");
      }
    }
    drain(*comm);
  }
  destroy(comm);
  return ncclSuccess;
}

}  // namespace
}  // namespace sim::nccl

using namespace sim::nccl;

NCCL_API(ncclResult_t, ncclGetUniqueId, ncclUniqueId* uniqueId) {
  return call("ncclGetUniqueId", [&] {
    require(uniqueId != nullptr, "uniqueId must not be null");
    *uniqueId = make_unique_id();
    return ncclSuccess;
  });
}

NCCL_API(ncclResult_t, ncclCommInitRank, ncclComm_t* comm, int nranks, ncclUniqueId commId, int rank) {
  return call("ncclCommInitRank",
              [&] { return add(job(comm, nranks, commId, rank, nullptr, sim::runtime::current_device())); });
}

NCCL_API(ncclResult_t, ncclCommInitRankConfig, ncclComm_t* comm, int nranks, ncclUniqueId commId, int rank,
         ncclConfig_t* config) {
  return call("ncclCommInitRankConfig",
              [&] { return add(job(comm, nranks, commId, rank, config, sim::runtime::current_device())); });
}

NCCL_API(ncclResult_t, ncclCommInitRankScalable, ncclComm_t* newcomm, int nranks, int myrank, int nId, ncclUniqueId* commIds,
         ncclConfig_t* config) {
  return call("ncclCommInitRankScalable", [&] {
    require(nId >= 1 && nId <= nranks && commIds != nullptr, "there must be one to nranks ids");
    // One meeting place serves all ranks; the others only spare a real network.
    for (int i = 1; i < nId; ++i) release(commIds[i]);
    return add(job(newcomm, nranks, commIds[0], myrank, config, sim::runtime::current_device()));
  });
}

NCCL_API(ncclResult_t, ncclCommInitAll, ncclComm_t* comm, int ndev, const int* devlist) {
  return call("ncclCommInitAll", [&] {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess) throw Failure(ncclUnhandledCudaError, "there is no device");
    require(comm != nullptr && ndev >= 1, "comm must not be null, ndev positive");
    std::vector<int> list(static_cast<std::size_t>(ndev));
    std::iota(list.begin(), list.end(), 0);
    if (devlist != nullptr) list.assign(devlist, devlist + ndev);
    std::vector<int> sorted = list;
    std::sort(sorted.begin(), sorted.end());
    if (sorted.front() < 0 || sorted.back() >= devices) {
      throw Failure(ncclInvalidArgument, "invalid device {}: there are {}", sorted.front() < 0 ? sorted.front() : sorted.back(),
                    devices);
    }
    if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end())
      throw Failure(ncclInvalidUsage, "a device is named twice");
    // One process: no address has to be agreed upon or reached.
    const ncclUniqueId id = make_private_id();
    group_start();
    for (int i = 0; i < ndev; ++i) add(job(comm + i, ndev, id, i, nullptr, list[static_cast<std::size_t>(i)]));
    return group_end();
  });
}

NCCL_API(ncclResult_t, ncclCommSplit, ncclComm_t comm, int color, int key, ncclComm_t* newcomm, ncclConfig_t* config) {
  return call("ncclCommSplit", [&] {
    require(newcomm != nullptr, "newcomm must not be null");
    require(color >= 0 || color == NCCL_SPLIT_NOCOLOR, "color must be 0 or more, or NCCL_SPLIT_NOCOLOR");
    const std::shared_ptr<ncclComm> parent = ready_communicator(comm);
    std::vector<int> members(static_cast<std::size_t>(parent->ranks));
    std::iota(members.begin(), members.end(), 0);
    return add(child(parent, newcomm, config, members, color, key));
  });
}

NCCL_API(ncclResult_t, ncclCommShrink, ncclComm_t comm, int* excludeRanksList, int excludeRanksCount, ncclComm_t* newcomm,
         ncclConfig_t* config, int shrinkFlags) {
  return call("ncclCommShrink", [&] {
    require(newcomm != nullptr && excludeRanksList != nullptr && excludeRanksCount > 0,
            "newcomm and the list of excluded ranks must be given");
    require(shrinkFlags == NCCL_SHRINK_DEFAULT || shrinkFlags == NCCL_SHRINK_ABORT, "invalid flags");
    // After an error of the parent it is still good for this.
    const bool aborts = shrinkFlags == NCCL_SHRINK_ABORT;
    const std::shared_ptr<ncclComm> parent = aborts ? communicator(comm) : ready_communicator(comm);
    require(parent->mesh != nullptr, "the communicator is not made yet");
    std::vector<int> members;
    const std::vector<int> excluded(excludeRanksList, excludeRanksList + excludeRanksCount);
    for (const int r : excluded)
      require(r >= 0 && r < parent->ranks && r != parent->rank, "an excluded rank is out of range, or the caller's");
    for (int r = 0; r < parent->ranks; ++r) {
      if (std::find(excluded.begin(), excluded.end(), r) == excluded.end()) members.push_back(r);
    }
    if (aborts) {
      {
        const std::lock_guard lock(parent->mutex);
        parent->revoked = true;
      }
      stop_running(*parent);
    }
    return add(child(parent, newcomm, config, members, 0, 0));
  });
}

NCCL_API(ncclResult_t, ncclCommFinalize, ncclComm_t handle) {
  return call("ncclCommFinalize", [&] {
    if (handle == nullptr) return ncclSuccess;
    const std::shared_ptr<ncclComm> comm = ready_communicator(handle);
    {
      const std::lock_guard lock(comm->mutex);
      require(!comm->finalized && !comm->revoked, "the communicator was finalized or revoked before");
      comm->finalized = true;
      if (!comm->blocking) comm->state = ncclInProgress;
    }
    if (comm->blocking) {
      drain(*comm);
      const std::lock_guard lock(comm->mutex);
      return comm->state;
    }
    std::thread([comm] {
      drain(*comm);
      const std::lock_guard lock(comm->mutex);
      if (comm->state == ncclInProgress) comm->state = ncclSuccess;
    }).detach();
    return ncclInProgress;
  });
}

NCCL_API(ncclResult_t, ncclCommDestroy, ncclComm_t comm) {
  return call("ncclCommDestroy", [&] { return end(comm, false); });
}

NCCL_API(ncclResult_t, ncclCommAbort, ncclComm_t comm) {
  return call("ncclCommAbort", [&] { return end(comm, true); });
}

NCCL_API(ncclResult_t, ncclCommRevoke, ncclComm_t handle, int revokeFlags) {
  return call("ncclCommRevoke", [&] {
    require(revokeFlags == NCCL_REVOKE_DEFAULT, "invalid flags");
    const std::shared_ptr<ncclComm> comm = communicator(handle);
    {
      const std::lock_guard lock(comm->mutex);
      require(comm->mesh != nullptr, "the communicator is not made yet");
      comm->revoked = true;
    }
    stop_running(*comm);
    set_state(*comm, ncclSuccess);
    return ncclSuccess;
  });
}

NCCL_API(ncclResult_t, ncclCommGetAsyncError, ncclComm_t handle, ncclResult_t* asyncError) {
  return call("ncclCommGetAsyncError", [&] {
    require(asyncError != nullptr, "asyncError must not be null");
    const std::shared_ptr<ncclComm> comm = communicator(handle);
    const std::lock_guard lock(comm->mutex);
    comm->unseen = false;
    *asyncError = comm->state;
    return ncclSuccess;
  });
}

NCCL_API(ncclResult_t, ncclCommCount, const ncclComm_t comm, int* count) {
  return call("ncclCommCount", [&] {
    require(count != nullptr, "count must not be null");
    *count = ready_communicator(comm)->ranks;
    return ncclSuccess;
  });
}

NCCL_API(ncclResult_t, ncclCommCuDevice, const ncclComm_t comm, int* device) {
  return call("ncclCommCuDevice", [&] {
    require(device != nullptr, "device must not be null");
    *device = ready_communicator(comm)->device;
    return ncclSuccess;
  });
}

NCCL_API(ncclResult_t, ncclCommUserRank, const ncclComm_t comm, int* rank) {
  return call("ncclCommUserRank", [&] {
    require(rank != nullptr, "rank must not be null");
    *rank = ready_communicator(comm)->rank;
    return ncclSuccess;
  });
}

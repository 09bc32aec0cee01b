#pragma once
#include <functional>
#include <memory>

#include "nccl/launch.h"

namespace sim::nccl {

/// Makes a communicator in a group: blocks until the other ranks do it, too. Throws Failure.
struct SetupJob {
  std::shared_ptr<ncclComm> comm;
  ncclComm_t* handle = nullptr;  // of the program; null again when a blocking call fails
  std::function<void(ncclComm&)> make;
  std::shared_ptr<ncclComm> parent;  // of a split or shrink; in progress as long as a child that does not block
};

/// Groups belong to a thread. A call outside of a group is a group of its own.
void group_start();
/// ncclInProgress when the communicators do not block. Throws Failure.
ncclResult_t group_end();

/// A call that fails makes the whole group fail.
void note_group_error(ncclResult_t result);

/// Adds to the group of the thread, or does it at once.
ncclResult_t add(const std::shared_ptr<ncclComm>& comm, const Call& call);
ncclResult_t add(SetupJob job);

}  // namespace sim::nccl

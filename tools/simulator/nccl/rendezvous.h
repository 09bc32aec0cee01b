#pragma once
#include <nccl.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "nccl/mesh.h"
#include "nccl/socket.h"

namespace sim::nccl {

using Identity = std::array<std::uint64_t, 2>;

Identity random_identity();
/// Of this process; a forked child has another.
Identity process_identity();
/// Of this machine and network namespace; NCCL_HOSTID sets it.
std::uint64_t host_identity();

/// What a rank tells the others of itself when a communicator is made.
struct Member {
  std::int32_t rank = 0, ranks = 0;
  std::int32_t device = 0;
  std::int32_t key = 0, color = 0;  // of a split
  std::uint32_t reserved = 0;
  std::uint64_t host = 0;
  Identity process{};
  std::uint64_t mesh = 0;  // serial
  Endpoint listener;       // none when the machine has no network
};

/// How a call that waits for all ranks behaves.
struct Waiting {
  const std::atomic<bool>* cancel = nullptr;
  double seconds = 10;                               // after which it complains, once
  std::function<void(const std::string&)> complain;  // "2 of 4 ranks have come; missing: 1, 3"
};

/// Starts to listen for the ranks of a communicator, or refers to NCCL_COMM_ID. Throws Failure.
ncclUniqueId make_unique_id();
/// For ranks of this process only.
ncclUniqueId make_private_id();

struct Meeting {
  Identity communicator{};
  std::vector<Member> members;  // by rank
};

/// Blocks until all ranks have come. Throws Failure.
Meeting meet(const ncclUniqueId& id, const Member& mine, const Waiting& waiting);

/// The ids that a communicator with several of them does not need are not listened for any longer.
void release(const ncclUniqueId& id);

/// Where the peers of a member in other processes connect.
struct Door {
  Socket listener;
  Endpoint endpoint;
};
Door open_door();

/// Connects all members and joins `mesh`. Throws Failure.
void connect(const std::shared_ptr<Mesh>& mesh, int rank, const Meeting& meeting, const Door& door, const Waiting& waiting);

}  // namespace sim::nccl

#pragma once
#include <atomic>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nccl/call.h"
#include "nccl/mesh.h"

namespace sim::nccl {

/// One communication of one rank, with the memory where its data is.
struct Communication {
  Announcement call;
  std::uint64_t number = 0;  // of the collectives of the communicator, or of the sends (receives) to (from) the peer; from 0
  const std::byte* send = nullptr;
  std::byte* receive = nullptr;
};

/// Two ranks do not do the same.
struct Mismatch {
  int ranks[2] = {};
  Announcement calls[2];
};

struct Result {
  Outcome outcome = Outcome::done;
  std::optional<Mismatch> mismatch;  // then the outcome means nothing
  int gone = -1;                     // the rank, when the outcome is `gone`
  Clock learned;                     // what had happened on the ranks of this process that it waited for
};

struct Conditions {
  const std::atomic<bool>* stop = nullptr;
  Clock before;                                 // what has happened before the communication
  double seconds = 10;                          // of waiting without progress, until
  std::function<void(const std::string&)> say;  // is told who waits for whom
};

/// Blocks until the data is where it belongs, on this rank. All ranks must call it. Collectives of a rank go one after another.
Result collective(Mesh& mesh, const Communication& mine, const Conditions& conditions);

/// Sends and receives that progress together.
Result point_to_point(Mesh& mesh, const std::vector<Communication>& mine, const Conditions& conditions);

}  // namespace sim::nccl

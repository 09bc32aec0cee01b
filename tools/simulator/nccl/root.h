#pragma once
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>

#include "nccl/rendezvous.h"

namespace sim::nccl {

/// What a rank sends to the root first.
struct Hello {
  std::uint64_t magic = 0x676e6e63636c3031;
  Identity cookie{};
  Member member;
};

/// What the root answers, as often as a rank comes.
struct Notice {
  enum Status : std::uint32_t { waiting, complete, failed };
  Status status = waiting;
  std::uint32_t result = 0;  // ncclResult_t of `failed`
  std::uint64_t bytes = 0;   // that follow: who is missing, the meeting or the reason
  Identity communicator{};
};

/// Where the ranks of a communicator meet. Those of its own process come directly, the others through a connection.
class Root : public std::enable_shared_from_this<Root> {
 public:
  /// Listens at the endpoint, when there is one, until all have come.
  static std::shared_ptr<Root> open(const Identity& cookie, const Endpoint& endpoint);
  /// Of this process; null when there is none, or its ranks have met.
  static std::shared_ptr<Root> find(const Identity& cookie);

  Endpoint endpoint() const { return endpoint_; }
  /// A rank of this process; blocks. Throws Failure.
  Meeting meet(const Member& mine, const Waiting& waiting);
  void give_up(const std::string& reason);

 private:
  struct Visitor;
  explicit Root(const Identity& cookie) : cookie_(cookie) {}
  void come(const Member& member);
  void fail(ncclResult_t result, std::string reason);
  std::string presence() const;
  void serve();
  bool serve_visitor(Visitor& visitor);
  void wake();

  const Identity cookie_;
  Endpoint endpoint_;
  Socket listener_, wake_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int expected_ = 0;  // 0: nobody has come
  std::map<int, Member> members_;
  std::optional<Meeting> meeting_;
  ncclResult_t result_ = ncclSuccess;  // of the failure
  std::string failure_;
};

}  // namespace sim::nccl

#include "nccl/root.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "error.h"
#include "nccl/failure.h"

namespace sim::nccl {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr int kMostRanks = 1 << 16;

struct Roots {
  std::mutex mutex;
  std::map<Identity, std::shared_ptr<Root>> by_cookie;
};

// Never destroyed: threads of roots may outlive the static objects.
Roots& roots() {
  static Roots* instance = new Roots;
  return *instance;
}

void forget(const Identity& cookie, const Root* root) {
  const std::lock_guard lock(roots().mutex);
  const auto found = roots().by_cookie.find(cookie);
  if (found != roots().by_cookie.end() && found->second.get() == root) roots().by_cookie.erase(found);
}

}  // namespace

struct Root::Visitor {
  Socket socket;
  Hello hello;
  std::size_t read = 0;
  bool came = false;
  std::size_t told = 0;  // how many had come when it was told last
};

std::shared_ptr<Root> Root::open(const Identity& cookie, const Endpoint& endpoint) {
  std::shared_ptr<Root> root(new Root(cookie));
  if (endpoint.valid()) {
    root->listener_ = listen_at(endpoint);
    root->endpoint_ = endpoint_of(root->listener_);
    root->wake_ = Socket(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    std::thread([root] { root->serve(); }).detach();
  }
  const std::lock_guard lock(roots().mutex);
  roots().by_cookie[cookie] = root;
  return root;
}

std::shared_ptr<Root> Root::find(const Identity& cookie) {
  const std::lock_guard lock(roots().mutex);
  const auto found = roots().by_cookie.find(cookie);
  return found == roots().by_cookie.end() ? nullptr : found->second;
}

void Root::wake() {
  const std::uint64_t one = 1;
  if (wake_ && write(wake_.get(), &one, sizeof one) < 0) return;  // it is awake already
}

void Root::give_up(const std::string& reason) {
  {
    const std::lock_guard lock(mutex_);
    if (meeting_ || !failure_.empty()) return;
    fail(ncclInvalidUsage, reason);
  }
  wake();
  forget(cookie_, this);
}

// Called with the lock held.
void Root::fail(ncclResult_t result, std::string reason) {
  result_ = result;
  failure_ = std::move(reason);
  changed_.notify_all();
}

// Called with the lock held.
void Root::come(const Member& member) {
  if (expected_ == 0) expected_ = member.ranks;
  if (member.ranks != expected_) {
    fail(ncclInvalidUsage,
         fmt::format("rank {} says that there are {} ranks, another said {}", member.rank, member.ranks, expected_));
  } else if (!members_.emplace(member.rank, member).second) {
    fail(ncclInvalidUsage, fmt::format("two callers say that they are rank {} of {}", member.rank, expected_));
  } else if (static_cast<int>(members_.size()) == expected_) {
    meeting_.emplace();
    meeting_->communicator = random_identity();
    for (const auto& [rank, m] : members_) meeting_->members.push_back(m);
  }
  changed_.notify_all();
}

std::string Root::presence() const {
  std::string missing;
  int shown = 0;
  for (int rank = 0; rank < expected_; ++rank) {
    if (members_.contains(rank)) continue;
    if (++shown > 16) {
      missing += ", …";
      break;
    }
    missing += fmt::format("{}{}", missing.empty() ? "" : ", ", rank);
  }
  return fmt::format("{} of {} ranks have come, missing: {}", members_.size(), expected_, missing);
}

Meeting Root::meet(const Member& mine, const Waiting& waiting) {
  std::unique_lock lock(mutex_);
  if (meeting_) throw Failure(ncclInvalidUsage, "the ranks have met already: an ncclUniqueId serves one communicator");
  if (failure_.empty()) come(mine);
  wake();
  const auto since = steady_clock::now();
  bool complained = false;
  while (!meeting_ && failure_.empty()) {
    changed_.wait_for(lock, 50ms);
    if (waiting.cancel != nullptr && *waiting.cancel) {
      fail(ncclRemoteError, fmt::format("rank {} gave up", mine.rank));
      wake();
      break;
    }
    if (!complained && waiting.complain && !meeting_ &&
        steady_clock::now() - since > std::chrono::duration<double>(waiting.seconds)) {
      complained = true;
      const std::string text = presence();
      lock.unlock();
      waiting.complain(text);
      lock.lock();
    }
  }
  lock.unlock();
  forget(cookie_, this);
  if (!failure_.empty()) throw Failure(result_, "the ranks of the communicator could not meet: {}", failure_);
  return *meeting_;
}

// One step with a rank that came through a connection; false: it has left or was served. Called with the lock held.
bool Root::serve_visitor(Visitor& visitor) {
  while (visitor.read < sizeof visitor.hello) {
    const ssize_t n = recv(visitor.socket.get(), reinterpret_cast<std::byte*>(&visitor.hello) + visitor.read,
                           sizeof visitor.hello - visitor.read, 0);
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    visitor.read += static_cast<std::size_t>(n);
  }
  if (!visitor.came) {
    const Member& m = visitor.hello.member;
    // A stranger, or a rank of another communicator that had the same address.
    if (visitor.hello.magic != Hello{}.magic || visitor.hello.cookie != cookie_) return false;
    if (m.ranks < 1 || m.ranks > kMostRanks || m.rank < 0 || m.rank >= m.ranks) return false;
    visitor.came = true;
    if (failure_.empty() && !meeting_) come(m);
  } else if (!meeting_ && failure_.empty()) {
    // Nothing more is expected of it; what comes is dropped.
    char bytes[64];
    const ssize_t n = recv(visitor.socket.get(), bytes, sizeof bytes, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
      fail(ncclRemoteError, fmt::format("rank {} left before all had come", visitor.hello.member.rank));
    }
  }
  return true;
}

void Root::serve() {
  std::vector<std::unique_ptr<Visitor>> visitors;
  for (;;) {
    std::vector<pollfd> descriptors{{wake_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
    for (const auto& visitor : visitors) descriptors.push_back({visitor->socket.get(), POLLIN, 0});
    poll(descriptors.data(), descriptors.size(), -1);
    std::uint64_t count = 0;
    if (descriptors[0].revents != 0 && read(wake_.get(), &count, sizeof count) < 0) count = 0;
    if (descriptors[1].revents != 0) {
      try {
        if (Socket socket = accept_from(listener_, [] { return false; })) {
          visitors.push_back(std::make_unique<Visitor>());
          visitors.back()->socket = std::move(socket);
        }
      } catch (const Error& e) {
        give_up(e.what());
      }
    }
    std::unique_lock lock(mutex_);
    std::erase_if(visitors, [&](const auto& visitor) { return !serve_visitor(*visitor); });
    const bool over = meeting_ || !failure_.empty();
    // Before the ranks hear of each other: they may want to listen here for their next communicator.
    if (over) listener_ = Socket();
    Notice notice;
    std::string payload;
    if (meeting_) {
      notice.status = Notice::complete;
      notice.communicator = meeting_->communicator;
      payload.assign(reinterpret_cast<const char*>(meeting_->members.data()), meeting_->members.size() * sizeof(Member));
    } else if (!failure_.empty()) {
      notice.status = Notice::failed;
      notice.result = static_cast<std::uint32_t>(result_);
      payload = failure_;
    } else {
      payload = presence();
    }
    const std::size_t came = members_.size();
    lock.unlock();
    notice.bytes = payload.size();
    payload.insert(0, reinterpret_cast<const char*>(&notice), sizeof notice);
    const auto end = steady_clock::now() + 10s;
    for (const auto& visitor : visitors) {
      if (!visitor->came || (!over && visitor->told == came)) continue;
      visitor->told = came;
      write_exactly(visitor->socket, payload.data(), payload.size(), [&] { return steady_clock::now() < end; });
    }
    if (over) break;
  }
  forget(cookie_, this);
}

}  // namespace sim::nccl

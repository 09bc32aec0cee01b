#include "engine/parallel/reach.h"

#include <poll.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <optional>
#include <thread>

#include "engine/parallel/wire.h"
#include "kernels/check.h"

namespace gannet::parallel {
namespace {

using std::chrono::milliseconds;

struct Attempt {
  Endpoint to;
  Connection connection;
  bool greeted = false;
};

std::string greeting(const World& world) {
  return Writer().text(magic).text(world.job).number(world.size).number(world.rank).bytes;
}

class Search {
 public:
  explicit Search(const World& world) : world_(world) {}

  // One round: knocks at the first `ports` ports of every address, all at a time, and listens for `patience`.
  std::optional<Reached> round(int ports, milliseconds patience) {
    const Resolved resolved = resolve(world_.address);
    if (resolved.endpoints.empty()) failure_ = resolved.failure;
    attempts_.clear();
    for (int port = world_.port; port < world_.port + ports && port <= 65535; ++port)
      for (const Endpoint& endpoint : resolved.endpoints) knock(endpoint.with_port(port));
    const Clock::time_point end = Clock::now() + patience;
    while (!attempts_.empty() && Clock::now() < end && stop_pending() == 0) {
      if (std::optional<Reached> reached = look()) return reached;
    }
    return std::nullopt;
  }

  const std::string& failure() const { return failure_; }  // of the last attempt that failed

 private:
  void knock(const Endpoint& to) {
    Socket socket = begin_to_connect(to);
    if (!socket.open()) {
      failure_ = std::strerror(errno);
      return;
    }
    attempts_.push_back({to, Connection(std::move(socket), Connection::longest_greeting)});
  }

  std::optional<Reached> look() {
    std::vector<pollfd> waits;
    for (const Attempt& attempt : attempts_)
      waits.push_back({attempt.connection.descriptor(), static_cast<short>(attempt.greeted ? POLLIN : POLLOUT), 0});
    if (::poll(waits.data(), waits.size(), 100) <= 0) return std::nullopt;
    for (std::size_t i = 0; i < attempts_.size(); ++i) {
      if (waits[i].revents == 0) continue;
      Attempt& attempt = attempts_[i];
      if (!attempt.greeted)
        greet(attempt);
      else if (hear(attempt))
        return Reached{std::move(attempt.connection), attempt.to.host()};
    }
    std::erase_if(attempts_, [](const Attempt& attempt) { return !attempt.connection.open(); });
    return std::nullopt;
  }

  void greet(Attempt& attempt) {
    if (const int error = outcome_of_connecting(attempt.connection.socket()); error != 0) {
      failure_ = std::strerror(error);
      attempt.connection.close("");
      return;
    }
    attempt.greeted = true;
    attempt.connection.send(Kind::hello, greeting(world_));
    attempt.connection.flush();
  }

  // Is it rank 0 of this job?
  bool hear(Attempt& attempt) {
    Connection& connection = attempt.connection;
    const std::vector<Message> messages = connection.receive();
    if (messages.empty() && connection.open()) return false;  // not all of it is there
    for (const Message& message : messages) {
      try {
        Reader words(message.body);
        const std::string_view spoken = words.text();
        if (message.kind == Kind::welcome && spoken == magic) return connection.open();
        if (message.kind != Kind::refusal || !spoken.starts_with(protocol)) break;
        const std::string why(words.text());
        if (!why.empty()) throw RuntimeError(why);
        failure_ = "rank 0 of another job is there";
        connection.close("");
        return false;
      } catch (const WireError&) {
        break;
      }
    }
    failure_ = "somebody else listens there";
    connection.close("");
    return false;
  }

  const World& world_;
  std::vector<Attempt> attempts_;
  std::string failure_ = "no answer";
};

}  // namespace

Reached reach_rank_0(const World& world, Clock::time_point deadline) {
  Search search(world);
  // Rank 0 mostly has the first port: the others have their turn when it is not there, more and more of them.
  for (int round = 1; Clock::now() < deadline; ++round) {
    const milliseconds patience = std::min(milliseconds(10000), milliseconds(1000 + 200 * round));
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    const int ports = round <= 2 ? 1 : std::min(4 * (round - 2), port_window);
    if (std::optional<Reached> reached = search.round(ports, std::min(patience, left))) return std::move(*reached);
    if (stop_pending() != 0) return {};
    std::this_thread::sleep_for(milliseconds(std::min(50 * round, 500)));
  }
  throw RuntimeError(fmt::format("rank {} ({}) did not find rank 0 at {}, port {} to {}: {}", world.rank, host_name(),
                                 world.address, world.port, world.port + port_window - 1, search.failure()));
}

int stop_pending() {
  sigset_t pending;
  if (::sigpending(&pending) != 0) return 0;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP})
    if (::sigismember(&pending, signal) == 1) return signal;
  return 0;
}

}  // namespace gannet::parallel

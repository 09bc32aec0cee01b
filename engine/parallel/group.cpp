#include "engine/parallel/group.h"

#include <algorithm>
#include <csignal>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "engine/parallel/desk.h"
#include "engine/parallel/hub.h"
#include "engine/parallel/spoke.h"
#include "engine/parallel/verdict.h"
#include "engine/parallel/wire.h"
#include "kernels/check.h"

namespace gannet {
namespace {

using parallel::Request;

// Signals are for the main thread, here and in the threads that a new one starts.
template <typename Function>
std::thread thread_without_signals(Function function) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(function));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

// 128 bits that two texts of a job have in common by no accident.
std::string digest(std::string_view text) {
  std::uint64_t a = 0xcbf29ce484222325, b = 0x9e3779b97f4a7c15;
  for (const char c : text) {
    a = (a ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    b = (b ^ (a >> 29) ^ static_cast<unsigned char>(c)) * 0xbf58476d1ce4e5b9;
  }
  parallel::Writer words;
  words.number(static_cast<std::int64_t>(text.size()));
  return words.number(static_cast<std::int64_t>(a)).number(static_cast<std::int64_t>(b)).bytes;
}

}  // namespace

struct Group::Implementation {
  Implementation(const World& world, const GroupOptions& options) : desk(world, options) {
    if (world.size == 1) {
      desk.met = {{parallel::host_name(), ""}};
      return;
    }
    if (world.rank == 0) hub.emplace(desk);
    thread = thread_without_signals([this] {
      if (hub)
        hub->run();
      else
        parallel::Spoke(desk).run();
    });
    desk.wait();
    if (desk.met.size() == static_cast<std::size_t>(world.size) && desk.text.empty()) return;
    thread.join();
    end_by_signal();
    throw RuntimeError(desk.text);
  }

  // A signal that came while this rank was waiting for others does what it does without a group.
  void end_by_signal() const {
    if (desk.signal == 0) return;
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, desk.signal);
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  }

  std::vector<std::string> exchange(const char* what, std::string_view mine) {
    if (desk.world.size == 1) return {std::string(mine)};
    desk.given_for = what;
    desk.given = mine;
    desk.ask(Request::exchange);
    return std::exchange(desk.received, {});
  }

  parallel::Desk desk;
  std::optional<parallel::Hub> hub;
  std::thread thread;
  const int exceptions = std::uncaught_exceptions();
  bool failed = false;
};

Group::Group(const World& world, const GroupOptions& options)
    : implementation_(std::make_unique<Implementation>(world, options)) {}

Group::~Group() {
  Implementation& self = *implementation_;
  if (!self.thread.joinable()) return;
  if (std::uncaught_exceptions() > self.exceptions && !self.failed) fail("it ended by an exception");
  self.desk.ask(Request::leave);
  self.thread.join();
}

const World& Group::world() const { return implementation_->desk.world; }

std::string Group::host(int rank) const { return implementation_->desk.met.at(static_cast<std::size_t>(rank)).host; }
std::string Group::address(int rank) const { return implementation_->desk.met.at(static_cast<std::size_t>(rank)).address; }

std::vector<std::string> Group::gather(std::string_view mine) { return implementation_->exchange("gather", mine); }

std::string Group::broadcast(std::string_view from_rank_0) {
  return std::move(implementation_->exchange("broadcast", rank() == 0 ? from_rank_0 : "").front());
}

void Group::require_equal(const std::string& what, std::string_view mine, const Difference& difference) {
  const std::vector<std::string> digests = gather(digest(mine));
  const auto same = [&](const std::string& other) { return other == digests[0]; };
  if (std::all_of(digests.begin(), digests.end(), same)) return;
  // Only those that differ need to be seen beside rank 0's, and each kind once.
  std::vector<std::string> others;
  int first = 0;
  for (int rank = 1; rank < size(); ++rank) {
    if (same(digests[static_cast<std::size_t>(rank)])) continue;
    if (first == 0) first = rank;
    others.push_back(parallel::name_of(rank, host(rank)));
  }
  std::string text = others[0];
  for (std::size_t i = 1; i < others.size(); ++i) text += (i + 1 < others.size() ? ", " : " and ") + others[i];
  text += fmt::format(" {} another {} than {}", others.size() == 1 ? "has" : "have", what, parallel::name_of(0, host(0)));
  if (difference) {
    const std::vector<std::string> all = gather(rank() == 0 || rank() == first ? mine : "");
    if (const std::string words = difference(all[0], all[static_cast<std::size_t>(first)]); !words.empty())
      text += ": " + words;
  }
  throw InputError(text);
}

void Group::at(std::int64_t step, std::string_view phase, bool watched) noexcept {
  implementation_->desk.position.set(step, phase, watched);
}

void Group::on_end(std::function<void(const std::string&)> callback) { implementation_->desk.ending.set(std::move(callback)); }

std::string Group::fail(const std::string& message) {
  Implementation& self = *implementation_;
  if (!self.thread.joinable()) return message;
  if (std::exchange(self.failed, true)) return self.desk.text;
  self.desk.text = message;
  self.desk.ask(Request::fail);
  return self.desk.text;
}

}  // namespace gannet

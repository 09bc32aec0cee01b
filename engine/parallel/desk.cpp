#include "engine/parallel/desk.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>

#include "kernels/check.h"

namespace gannet::parallel {
namespace {

using namespace std::chrono_literals;

constexpr auto longest_ending = 2s;

void print(const std::string& line) {
  std::size_t at = 0;
  while (at < line.size()) {
    const ssize_t count = ::write(STDERR_FILENO, line.data() + at, line.size() - at);
    if (count <= 0) return;
    at += static_cast<std::size_t>(count);
  }
}

// What the thread that prints and the one that waits for it share, however the process ends meanwhile.
struct Farewell {
  std::string line, message;
  Ending::Callback callback;
  std::atomic<bool> over{false};

  void run() {
    print(line);
    try {
      if (callback) callback(message);
    } catch (const std::exception& error) {
      print(fmt::format("gannet: error: {}\n", error.what()));
    }
    over = true;
  }
};

void raise(const Socket& event) {
  const std::uint64_t one = 1;
  while (::write(event.descriptor(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

}  // namespace

void Ending::set(Callback callback) {
  const std::lock_guard lock(mutex_);
  callback_ = std::move(callback);
}

void Ending::end(const std::string& prefix, const std::string& message) {
  const auto last_moment = std::chrono::steady_clock::now() + longest_ending;
  const auto farewell = std::make_shared<Farewell>();
  farewell->line = fmt::format("{}gannet: error: {}\n", prefix, message);
  farewell->message = message;
  {
    const std::lock_guard lock(mutex_);
    farewell->callback = callback_;
  }
  try {
    std::thread([farewell] { farewell->run(); }).detach();
    while (!farewell->over && std::chrono::steady_clock::now() < last_moment) std::this_thread::sleep_for(2ms);
  } catch (const std::system_error&) {  // no thread to be had
    pollfd out{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&out, 1, 0) == 1) print(farewell->line);
  }
  ::syscall(SYS_exit_group, 1);  // _exit, which tools may intercept to take locks
  std::abort();
}

Desk::Desk(const World& world_, const GroupOptions& options_)
    : world(world_), options(options_), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), answered_(::eventfd(0, EFD_CLOEXEC)) {
  if (!wake_.open() || !answered_.open()) throw RuntimeError(fmt::format("cannot make an event: {}", std::strerror(errno)));
}

void Desk::ask(Request request) {
  request_.store(static_cast<int>(request), std::memory_order_release);
  raise(wake_);
  wait();
}

void Desk::wait() {
  std::uint64_t count = 0;
  while (asked() != Request::none)
    if (::read(answered_.descriptor(), &count, sizeof count) < 0 && errno != EINTR)
      throw RuntimeError(fmt::format("cannot wait for the group's thread: {}", std::strerror(errno)));
}

void Desk::answer() {
  request_.store(static_cast<int>(Request::none), std::memory_order_release);
  raise(answered_);
}

void Desk::awake() {
  std::uint64_t count = 0;
  while (::read(wake_.descriptor(), &count, sizeof count) > 0) {
  }
}

double beat_seconds(const GroupOptions& options) { return std::clamp(options.silence_seconds / 8, 0.05, 1.0); }
double notice_seconds(const GroupOptions& options) {
  const double silence = options.silence_seconds;
  return std::min(0.85 * silence, std::max(silence - 2, silence / 2));
}

}  // namespace gannet::parallel

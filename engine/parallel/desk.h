// Where the main thread of a rank leaves what it wants of the group, and the group's thread what came of it. Neither ever holds
// a lock that the other one needs: one request is under way at a time, and whose turn it is is one atomic word.
#pragma once

#include <sys/eventfd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "engine/parallel/group.h"
#include "engine/parallel/position.h"
#include "engine/parallel/socket.h"

namespace gannet::parallel {

enum class Request : int { none, meet, exchange, fail, leave };

struct Met {
  std::string host, address;
};

// How this process ends when the job does.
class Ending {
 public:
  using Callback = std::function<void(const std::string&)>;
  void set(Callback callback);
  // Prints the message, calls the callback, and exits with 1: after two seconds at most, whatever either is stuck in, and
  // whatever locks the main thread holds.
  [[noreturn]] void end(const std::string& prefix, const std::string& message);

 private:
  std::mutex mutex_;  // held to copy a pointer
  Callback callback_;
};

class Desk {
 public:
  Desk(const World& world, const GroupOptions& options);

  // The main thread: asks, and waits for the answer. `meet` is asked from the beginning, before there is a thread to answer.
  void ask(Request request);
  void wait();
  // The group's thread: what is asked for, and that it is done.
  Request asked() const { return static_cast<Request>(request_.load(std::memory_order_acquire)); }
  void answer();
  int wake() const { return wake_.descriptor(); }  // readable when something is asked for
  void awake();                                    // makes it unreadable

  const World world;
  const GroupOptions options;
  PositionBoard position;
  Ending ending;
  std::vector<Met> met;               // answer to `meet`, unless that failed
  std::string given_for, given;       // with `exchange`: what it is, and this rank's part
  std::vector<std::string> received;  // its answer
  std::string text;  // with `fail`: the message; its answer, and that of `meet` that failed: what ended the job
  int signal = 0;    // that came while waiting for `meet`

 private:
  Socket wake_, answered_;  // events
  std::atomic<int> request_{static_cast<int>(Request::meet)};
};

// How often a rank says that it lives, how long it may be silent (so that all have ended within silence_seconds), and how long
// more evidence is waited for when one rank fails: what broke first may be the last to be heard of.
double beat_seconds(const GroupOptions& options);
double notice_seconds(const GroupOptions& options);
constexpr double settle_seconds = 0.4;
constexpr double look_seconds = 0.1;  // how often what the main thread is at is looked up
// For what is said last to reach the others, and for a main thread to end by itself after it failed.
constexpr double farewell_seconds = 1, unwind_seconds = 5;

}  // namespace gannet::parallel

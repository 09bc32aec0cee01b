#pragma once
// When the work of the streams is done: operations, what each waits for, and the threads that run them.
#include <driver_types.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "machine/launch.h"
#include "machine/memory.h"

namespace sim::runtime {

/// The one lock of the runtime: streams, events, graphs, modules and the scheduler. Not held while an operation runs.
using Lock = std::unique_lock<std::mutex>;

using Clock = std::vector<std::uint64_t>;  // by lane
void join(Clock& into, const Clock& other);

/// A kernel, a copy, a host function, …: anything that has a place in a stream. What it waits for exists before it does, so
/// there are no cycles.
struct Operation {
  enum class Kind : std::uint8_t {
    marker,      // nothing to run
    device,      // runs on the thread of its device
    host,        // a function of the program: it may wait for anything
    collective,  // it waits for others of its kind
  };
  enum class State : std::uint8_t { waiting, ready, running, done };

  Kind kind = Kind::marker;
  int device = 0;
  std::uint32_t number = 0;
  std::string name;
  Order order;
  Clock learned;               // what a collective learned from its peers while it ran has happened before what follows it
  bool after_failure = false;  // runs when its device has failed, too
  std::function<cudaError_t(Operation&)> run;

  State state = State::waiting;
  bool demanded = false;
  cudaError_t error = cudaSuccess;
  std::chrono::steady_clock::time_point started, finished;
  std::vector<std::shared_ptr<Operation>> before;  // not yet done
  std::vector<Operation*> after;                   // that wait for this one

  bool done() const { return state == State::done; }
  void learn(const Clock& clock);
  Clock clock() const;  // its own place included
};
using OperationPtr = std::shared_ptr<Operation>;

/// Operations run late: when the host waits for them, when it has done nothing for a while, when many are pending. In the fair
/// schedule all that were issued before run, in the order of issue; in the adversarial one only those that are waited for, the
/// ready ones in an order that the seed gives.
class Scheduler {
 public:
  explicit Scheduler(std::mutex& mutex) : mutex_(mutex) {}

  std::uint32_t next_number() { return ++numbers_; }

  void submit(const OperationPtr& operation, const std::vector<OperationPtr>& before);
  /// Returns when it is done. The caller's knowledge of it (Process::host_clock) is the caller's to note.
  void wait(Lock& lock, const OperationPtr& operation);
  /// One operation that `operation` waits for, or itself, is done, or was given a short time.
  void step(Lock& lock, const OperationPtr& operation);
  void demand(const OperationPtr& operation);
  void demand_all();
  /// Waits until no operation of the device (-1: of any) is pending.
  void drain(Lock& lock, int device);
  /// The same for the end of the program: gives up when nothing has ended for `patience` and names what still runs.
  std::string drain_for(Lock& lock, std::chrono::duration<double> patience);
  /// Blocks a host that is far ahead.
  void throttle(Lock& lock);

  std::size_t pending() const { return pending_.size(); }
  std::vector<OperationPtr> operations() const;  // pending ones

 private:
  using Key = std::pair<std::uint64_t, Operation*>;

  void start_thread(int device);
  void work(int device);
  void execute(Lock& lock, Operation* operation);
  void execute_aside(Lock& lock, const OperationPtr& operation);
  void finish(Operation& operation, cudaError_t error);
  void make_ready(Operation& operation);
  Operation* pick(int device);
  bool is_demanded(const Operation& operation) const;
  void wake(int device);
  void watch_idle();
  void report_stuck(const Operation& waited);

  std::mutex& mutex_;
  std::condition_variable done_;
  std::array<std::condition_variable, kMaxDevices> work_;
  std::array<std::thread, kMaxDevices> threads_;
  std::array<std::set<Key>, kMaxDevices> ready_;
  std::map<std::uint32_t, OperationPtr> pending_;
  std::uint32_t numbers_ = 0;
  std::uint32_t demanded_to_ = 0;  // all operations up to this number are demanded
  int running_ = 0, collectives_running_ = 0;
  bool idle_before_ = false, stuck_reported_ = false;
  std::chrono::steady_clock::time_point last_event_ = std::chrono::steady_clock::now();
};

}  // namespace sim::runtime

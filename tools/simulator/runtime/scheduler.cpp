#include "runtime/scheduler.h"

#include <algorithm>

#include "error.h"
#include "machine/options.h"
#include "runtime/interface.h"
#include "runtime/process.h"

namespace sim::runtime {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::size_t kManyPending = 512;      // the host has run far ahead: start
constexpr std::size_t kTooManyPending = 4096;  // and here it has to wait
constexpr auto kIdle = 200ms;      // the host does nothing: it may be spinning on memory that an operation is to write
constexpr auto kIdleAgain = 20ms;  // a host that did so once will do so again
constexpr auto kPatience = 20ms;   // for an operation that may block, before others go on

/// A random order of operations that depends on nothing but the seed (splitmix64).
std::uint64_t shuffled(std::uint64_t number) {
  std::uint64_t x = number + options().seed * 0x9e3779b97f4a7c15u + 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

/// Threads for operations that may block, used again.
class Aside {
 public:
  static Aside& instance() {
    static Aside* aside = new Aside;
    return *aside;
  }

  void run(std::function<void()> job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (jobs_.size() > idle_) std::thread([this] { loop(); }).detach();
    wake_.notify_one();
  }

 private:
  void loop() {
    Lock lock(mutex_);
    for (;;) {
      ++idle_;
      wake_.wait(lock, [&] { return !jobs_.empty(); });
      --idle_;
      const std::function<void()> job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  std::size_t idle_ = 0;
};

}  // namespace

void join(Clock& into, const Clock& other) {
  if (into.size() < other.size()) into.resize(other.size());
  for (std::size_t i = 0; i < other.size(); ++i) into[i] = std::max(into[i], other[i]);
}

void Operation::learn(const Clock& clock) {
  if (clock.empty()) return;
  join(learned, clock);
  join(order.after, clock);
}

Clock Operation::clock() const {
  Clock clock = order.after;
  if (clock.size() <= order.lane) clock.resize(order.lane + 1);
  clock[order.lane] = order.at;
  return clock;
}

void Scheduler::submit(const OperationPtr& operation, const std::vector<OperationPtr>& before) {
  for (const OperationPtr& b : before) {
    if (!b || b->done() || std::find(operation->before.begin(), operation->before.end(), b) != operation->before.end())
      continue;
    operation->before.push_back(b);
    b->after.push_back(operation.get());
  }
  pending_.emplace(operation->number, operation);
  last_event_ = steady_clock::now();
  start_thread(operation->device);
  if (operation->kind == Operation::Kind::collective && collectives_running_ > 0) demand(operation);
  if (operation->before.empty()) make_ready(*operation);
  if (pending_.size() > kManyPending) demand_all();
  wake(operation->device);  // also to watch for an idle host
}

void Scheduler::make_ready(Operation& operation) {
  operation.state = Operation::State::ready;
  if (operation.kind == Operation::Kind::marker && !operation.run) return finish(operation, cudaSuccess);
  const bool fair = options().schedule == Schedule::fair;
  ready_[operation.device].emplace(fair ? operation.number : shuffled(operation.number), &operation);
  if (is_demanded(operation)) wake(operation.device);
}

bool Scheduler::is_demanded(const Operation& operation) const { return operation.demanded || operation.number <= demanded_to_; }

Operation* Scheduler::pick(int device) {
  for (const auto& [key, operation] : ready_[device]) {
    if (!is_demanded(*operation)) continue;
    Operation* picked = operation;
    ready_[device].erase({key, operation});
    return picked;
  }
  return nullptr;
}

void Scheduler::wake(int device) { work_[device].notify_all(); }

void Scheduler::start_thread(int device) {
  if (!threads_[device].joinable()) threads_[device] = std::thread([this, device] { work(device); });
}

void Scheduler::work(int device) {
  Lock lock(mutex_);
  for (;;) {
    if (Operation* operation = pick(device)) {
      execute(lock, operation);
    } else if (pending_.empty() || running_ > 0) {
      work_[device].wait(lock);
    } else {
      work_[device].wait_for(lock, 10ms);
      watch_idle();
    }
  }
}

void Scheduler::execute(Lock& lock, Operation* operation) {
  const OperationPtr hold = pending_.at(operation->number);
  operation->state = Operation::State::running;
  operation->started = steady_clock::now();
  Device& device = Process::instance().devices[operation->device];
  if (device.failure != cudaSuccess && !operation->after_failure) return finish(*operation, device.failure);
  ++running_;
  if (operation->kind == Operation::Kind::host || operation->kind == Operation::Kind::collective)
    return execute_aside(lock, hold);
  lock.unlock();
  cudaError_t error = cudaSuccess;
  try {
    error = operation->run(*operation);
  } catch (const Error& e) {
    stop(e.what());
  } catch (const LaunchAbort& abort) {
    error = static_cast<cudaError_t>(abort.error);
  }
  lock.lock();
  --running_;
  finish(*operation, error);
}

void Scheduler::execute_aside(Lock& lock, const OperationPtr& operation) {
  if (operation->kind == Operation::Kind::collective && collectives_running_++ == 0) {
    for (const auto& [number, other] : pending_)
      if (other->kind == Operation::Kind::collective) demand(other);
  }
  Aside::instance().run([this, operation] {
    cudaError_t error = cudaSuccess;
    try {
      error = operation->run(*operation);
    } catch (const Error& e) {
      stop(e.what());
    }
    const Lock inner(mutex_);
    --running_;
    if (operation->kind == Operation::Kind::collective) --collectives_running_;
    finish(*operation, error);
  });
  // A short one ends before anything else of this device begins: the order stays the same from run to run.
  done_.wait_for(lock, kPatience, [&] { return operation->done(); });
}

void Scheduler::finish(Operation& operation, cudaError_t error) {
  const OperationPtr hold = pending_.at(operation.number);
  Device& device = Process::instance().devices[operation.device];
  if (error != cudaSuccess && device.failure == cudaSuccess) {
    device.failure = error;
    device.abort = true;
  }
  operation.error = error;
  operation.state = Operation::State::done;
  operation.finished = last_event_ = steady_clock::now();
  operation.run = nullptr;
  operation.before.clear();
  pending_.erase(operation.number);
  std::vector<Operation*> after;
  after.swap(operation.after);
  operation.learn(Clock(operation.learned));
  for (Operation* next : after) {
    next->learn(operation.learned);
    std::erase(next->before, hold);
    if (next->before.empty()) make_ready(*next);
  }
  done_.notify_all();
  if (running_ == 0 && !pending_.empty()) wake(operation.device);  // somebody has to watch for an idle host
}

void Scheduler::demand(const OperationPtr& operation) {
  if (options().schedule == Schedule::fair && operation->kind != Operation::Kind::collective) {
    demanded_to_ = std::max(demanded_to_, operation->number);
    for (int d = 0; d < kMaxDevices; ++d)
      if (!ready_[d].empty()) wake(d);
    return;
  }
  std::vector<Operation*> open{operation.get()};
  while (!open.empty()) {
    Operation* next = open.back();
    open.pop_back();
    if (next->demanded) continue;
    next->demanded = true;
    if (next->state == Operation::State::ready) wake(next->device);
    for (const OperationPtr& b : next->before) open.push_back(b.get());
  }
}

void Scheduler::demand_all() {
  if (pending_.empty()) return;
  demanded_to_ = std::max(demanded_to_, pending_.rbegin()->first);
  for (int d = 0; d < kMaxDevices; ++d)
    if (!ready_[d].empty()) wake(d);
}

void Scheduler::watch_idle() {
  if (pending_.empty() || running_ > 0) return;
  if (steady_clock::now() - last_event_ < (idle_before_ ? kIdleAgain : kIdle)) return;
  idle_before_ = true;
  demand_all();
}

void Scheduler::wait(Lock& lock, const OperationPtr& operation) {
  if (operation->done()) return;
  demand(operation);
  const auto begin = steady_clock::now();
  const auto patience = std::chrono::duration<double>(std::max(1.0, options().deadlock));
  while (!operation->done()) {
    done_.wait_for(lock, 1s);
    if (!operation->done() && steady_clock::now() - begin > patience && steady_clock::now() - last_event_ > patience)
      report_stuck(*operation);
  }
}

/// A kernel that runs long is no news, and collectives report their own; a host function that does not come back is.
void Scheduler::report_stuck(const Operation& waited) {
  if (stuck_reported_) return;
  for (const auto& [number, operation] : pending_) {
    if (operation->state != Operation::State::running) continue;
    if (operation->kind != Operation::Kind::host) return;
    stuck_reported_ = true;
    Finding finding{};
    finding.fault = Fault::deadlock;
    finding.message = fmt::format(
        "the host waits for '{}', which waits for the host function of operation {}, which has not returned for {:.0f} s",
        waited.name, number, options().deadlock);
    finding.place.kernel = operation->name;
    report(std::move(finding));
    return;
  }
}

void Scheduler::step(Lock& lock, const OperationPtr& operation) {
  if (operation->done()) return;
  if (options().schedule == Schedule::fair) {
    demand(operation);
    done_.wait_for(lock, kPatience, [&] { return operation->done(); });
    return;
  }
  // The first in its past that can run.
  OperationPtr next = operation;
  while (!next->before.empty()) next = next->before.front();
  demand(next);
  done_.wait_for(lock, kPatience, [&] { return next->done(); });
}

void Scheduler::drain(Lock& lock, int device) {
  for (;;) {
    OperationPtr last;
    for (const auto& [number, operation] : pending_)
      if (device < 0 || operation->device == device) last = operation;
    if (!last) return;
    demand_all();
    wait(lock, last);
  }
}

std::string Scheduler::drain_for(Lock& lock, std::chrono::duration<double> patience) {
  last_event_ = steady_clock::now();
  while (!pending_.empty()) {
    demand_all();
    done_.wait_for(lock, 50ms);
    if (pending_.empty() || steady_clock::now() - last_event_ < patience) continue;
    for (const auto& [number, operation] : pending_)
      if (operation->state == Operation::State::running) return operation->name;
    return pending_.begin()->second->name;
  }
  return {};
}

void Scheduler::throttle(Lock& lock) {
  if (pending_.size() < kTooManyPending) return;
  demand_all();
  done_.wait(lock, [&] { return pending_.size() < kTooManyPending / 2; });
}

std::vector<OperationPtr> Scheduler::operations() const {
  std::vector<OperationPtr> all;
  all.reserve(pending_.size());
  for (const auto& [number, operation] : pending_) all.push_back(operation);
  return all;
}

}  // namespace sim::runtime

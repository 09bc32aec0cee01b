#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>

#include "error.h"
#include "machine/checks.h"
#include "machine/executor.h"
#include "machine/occupancy.h"
#include "machine/options.h"
#include "machine/profile.h"

// How the blocks of a launch are spread over the host's cores.
namespace sim {
namespace {

using Clock = std::chrono::steady_clock;

// Block n in the order of the schedule: as numbered, or permuted by the seed.
class BlockOrder {
 public:
  BlockOrder(std::uint64_t count, const Launch& launch) : count_(count) {
    if (options().schedule != Schedule::adversarial || count < 2 || count >= std::uint64_t{1} << 32) return;
    std::mt19937_64 random(options().seed ^ (static_cast<std::uint64_t>(launch.operation) << 32));
    do {
      step_ = random() % std::min(count, std::uint64_t{1} << 31);
    } while (std::gcd(step_, count) != 1);
    start_ = random() % count;
  }
  // Grids have fewer than 2^63 blocks; the products of those that are permuted stay below 2^64.
  std::uint64_t at(std::uint64_t n) const { return (n * step_ + start_) % count_; }

 private:
  std::uint64_t count_, step_ = 1, start_ = 0;
};

struct Run {
  explicit Run(Launch& l) : launch(l), blocks(std::uint64_t{l.grid[0]} * l.grid[1] * l.grid[2]), order(blocks, l) {}

  Launch& launch;
  std::uint64_t blocks;
  BlockOrder order;
  std::atomic<std::uint64_t> next{0};
  std::atomic<bool> stopped{false};
  std::mutex mutex;
  int error = 0;
  std::exception_ptr exception;

  void stop(int code, std::exception_ptr thrown = nullptr) {
    const std::lock_guard lock(mutex);
    if (!stopped.exchange(true)) {
      error = code;
      exception = std::move(thrown);
    }
  }
};

// Kernels round to nearest and keep denormals, whatever the host's thread does (a program built with -ffast-math flushes them).
class FloatingState {
 public:
  FloatingState() { _mm_setcsr(0x1f80); }
  ~FloatingState() { _mm_setcsr(saved_); }
  FloatingState(const FloatingState&) = delete;
  FloatingState& operator=(const FloatingState&) = delete;

 private:
  unsigned saved_ = _mm_getcsr();
};

// Independent blocks, one after the other.
void run_blocks(Run& run, Worker& worker) {
  const FloatingState state;
  try {
    BlockExecutor executor(run.launch, worker);
    while (!run.stopped) {
      const std::uint64_t n = run.next++;
      if (n >= run.blocks) return;
      executor.start(run.order.at(n));
      while (!executor.turn()) {
        if (run.stopped) return;
      }
    }
  } catch (const LaunchAbort& abort) {
    run.stop(abort.error);
  } catch (...) {
    run.stop(719, std::current_exception());
  }
}

// Blocks that may wait for each other or depend on the order of their atomics: at most `resident` of them, those that a device
// would hold at once, take turns on one thread. Many would drive each other out of the caches, so there are few at first, and
// more when none of them ends: they may wait for one that has not begun.
void run_resident(Run& run, Worker& worker, std::uint64_t resident) {
  constexpr std::uint64_t kFew = 128;
  constexpr int kFruitless = 2;  // turns of all in which none ended
  const FloatingState state;
  try {
    std::vector<std::unique_ptr<BlockExecutor>> executors;
    std::vector<std::size_t> active;
    std::uint64_t next = 0, most = run.launch.cooperative ? resident : std::min(resident, kFew);
    int fruitless = 0;
    while (next < run.blocks || !active.empty()) {
      while (next < run.blocks && active.size() < most) {
        std::size_t place = 0;
        while (std::find(active.begin(), active.end(), place) != active.end()) ++place;
        if (place == executors.size()) executors.push_back(std::make_unique<BlockExecutor>(run.launch, worker));
        executors[place]->start(run.order.at(next++));
        active.push_back(place);
      }
      const std::size_t ended = std::erase_if(active, [&](std::size_t place) { return executors[place]->turn(); });
      fruitless = ended == 0 ? fruitless + 1 : 0;
      if (fruitless >= kFruitless && most < resident) {
        most = std::min(resident, 2 * most);
        fruitless = 0;
      }
    }
  } catch (const LaunchAbort& abort) {
    run.stop(abort.error);
  } catch (...) {
    run.stop(719, std::current_exception());
  }
}

// Threads that wait for the next launch: starting them anew would cost a short kernel more than its own time.
class Pool {
 public:
  static Pool& instance() {
    thread_local Pool pool;
    return pool;
  }
  ~Pool() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  template <class F>
  void run(int count, F f) {
    {
      const std::lock_guard lock(mutex_);
      while (static_cast<int>(threads_.size()) < count - 1) {
        threads_.emplace_back([this, n = static_cast<int>(threads_.size()) + 1] { serve(n); });
      }
      work_ = f;
      count_ = count;
      left_ = count - 1;
      ++round_;
    }
    wake_.notify_all();
    f(0);
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return left_ == 0; });
    work_ = nullptr;
  }

 private:
  void serve(int n) {
    std::uint64_t seen = 0;
    for (;;) {
      std::function<void(int)> work;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return ending_ || (round_ != seen && n < count_); });
        if (ending_) return;
        seen = round_;
        work = work_;
      }
      work(n);
      const std::lock_guard lock(mutex_);
      if (--left_ == 0) done_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> threads_;
  std::function<void(int)> work_;
  int count_ = 0, left_ = 0;
  std::uint64_t round_ = 0;
  bool ending_ = false;
};

// As many as the device's multiprocessors hold; a cooperative grid is there as a whole.
std::uint64_t resident_blocks(const Launch& launch, std::uint64_t blocks) {
  if (launch.cooperative) return blocks;
  const DeviceModel& model = device_model(options().architecture);
  const Occupancy o = occupancy(model, launch.block[0] * launch.block[1] * launch.block[2], launch.registers,
                                launch.kernel->static_shared_bytes + launch.dynamic_shared_bytes);
  return std::min(blocks,
                  static_cast<std::uint64_t>(model.multiprocessors) * static_cast<std::uint64_t>(std::max(o.blocks, 1)));
}

}  // namespace

int run(Launch& launch) {
  Run run(launch);
  const KernelCode& code = *launch.kernel->code;
  const bool profiled = !options().profile.empty();
  const bool together = code.order_dependent || launch.cooperative;
  static const int cores = static_cast<int>(std::thread::hardware_concurrency());  // asking opens a file
  int threads = options().threads > 0 ? options().threads : cores;
  threads =
      together ? 1 : static_cast<int>(std::min<std::uint64_t>(static_cast<std::uint64_t>(std::max(threads, 1)), run.blocks));
  std::vector<Worker> workers(static_cast<std::size_t>(threads));
  for (int n = 0; n < threads; ++n) {
    workers[n].index = n;
    if (profiled) workers[n].counters.resize(code.instructions);
  }
  if (together) {
    run_resident(run, workers[0], resident_blocks(launch, run.blocks));
  } else if (threads == 1) {
    run_blocks(run, workers[0]);
  } else {
    Pool::instance().run(threads, [&](int n) { run_blocks(run, workers[static_cast<std::size_t>(n)]); });
  }
  if (profiled) {
    Worker& all = workers.front();
    for (std::size_t n = 1; n < workers.size(); ++n) all.add(workers[n]);
    record_profile(launch, all);
  }
  if (run.exception != nullptr) std::rethrow_exception(run.exception);
  return run.error;
}

void watch(const Launch& launch, const Warp& warp) {
  const Options& o = options();
  if (o.instructions == 0 && o.timeout == 0) return;
  const bool too_many = o.instructions != 0 && warp.instructions > o.instructions;
  const bool too_long = o.timeout != 0 && std::chrono::duration<double>(Clock::now() - launch.started).count() > o.timeout;
  if (!too_many && !too_long) return;
  const Instruction& in = warp.frame->code->instructions.front();
  checks::report(warp, in, 0, Fault::timeout,
                 too_many ? fmt::format("a warp has run {} instructions", warp.instructions)
                          : fmt::format("the kernel has run for {} s", o.timeout));
  throw LaunchAbort{702};
}

}  // namespace sim

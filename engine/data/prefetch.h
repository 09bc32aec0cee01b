// Reads ahead: a thread fills slots in turn while the caller uses the ones before. Slots are allocated once.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

namespace gannet {

template <typename Slot>
class Prefetch {
 public:
  // The caller reads one slot, one is ready, one is being filled.
  static constexpr std::size_t slot_count = 3;

  // fill(slot) is called by the thread alone, once for each next() to come, in order.
  Prefetch(std::array<Slot, slot_count> slots, std::function<void(Slot&)> fill)
      : slots_(std::move(slots)), fill_(std::move(fill)), thread_([this](std::stop_token stop) { run(stop); }) {}

  // The next filled slot, valid until the next call. What fill throws is thrown here when its turn comes, and ever after.
  const Slot& next() {
    std::unique_lock lock(mutex_);
    if (reading_) {
      ++taken_;
      reading_ = false;
      changed_.notify_all();
    }
    changed_.wait(lock, [this] { return filled_ > taken_ || failure_ != nullptr; });
    if (filled_ == taken_) std::rethrow_exception(failure_);
    reading_ = true;
    return slots_[taken_ % slot_count];
  }

 private:
  void run(const std::stop_token& stop) {
    while (true) {
      std::size_t slot;
      {
        std::unique_lock lock(mutex_);
        if (!changed_.wait(lock, stop, [this] { return filled_ - taken_ < slot_count; })) return;
        slot = filled_ % slot_count;
      }
      std::exception_ptr failure;
      try {
        fill_(slots_[slot]);
      } catch (...) {
        failure = std::current_exception();
      }
      {
        const std::lock_guard lock(mutex_);
        if (failure == nullptr) ++filled_;
        failure_ = failure;
      }
      changed_.notify_all();
      if (failure != nullptr) return;
    }
  }

  std::array<Slot, slot_count> slots_;
  std::function<void(Slot&)> fill_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::size_t filled_ = 0;  // slots filled since the start
  std::size_t taken_ = 0;   // slots that the caller is done with
  bool reading_ = false;    // the caller holds slot taken_
  std::exception_ptr failure_;
  std::jthread thread_;  // last: stops and joins before anything it uses goes
};

}  // namespace gannet

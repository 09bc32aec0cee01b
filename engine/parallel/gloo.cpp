#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/buffer.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include <condition_variable>
#include <csignal>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/parallel/communicator.h"
#include "engine/parallel/gloo_exchange.h"
#include "kernels/check.h"

namespace gannet {
namespace {

// Threads that are started meanwhile get no signals. One that writes to a connection that broke would be sent SIGPIPE, and
// those of the terminal and of schedulers are the main thread's.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// What Gloo has the ranks tell each other while it connects them: each sets its part of it in the same order.
class Addresses final : public gloo::rendezvous::Store {
 public:
  explicit Addresses(Group& group) : group_(group) {}
  void set(const std::string& key, const std::vector<char>& data) override {
    for (const std::string& told : group_.gather(key + '\n' + std::string(data.begin(), data.end()))) {
      const std::size_t end = told.find('\n');
      values_[told.substr(0, end)] = {told.begin() + static_cast<std::ptrdiff_t>(end) + 1, told.end()};
    }
  }
  std::vector<char> get(const std::string& key) override { return values_.at(key); }
  void wait(const std::vector<std::string>&) override {}

 private:
  Group& group_;
  std::map<std::string, std::vector<char>> values_;
};

// The connections, and the thread that makes one reduction after the other.
class Worker {
 public:
  class Task {
   public:
    explicit Task(std::shared_ptr<Worker> worker) : worker_(std::move(worker)) {}
    virtual ~Task() = default;
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;

   protected:
    std::shared_ptr<Worker> worker_;

   private:
    friend class Worker;
    virtual void perform() = 0;
    virtual std::string description() const = 0;
    Task* next_ = nullptr;
    bool pending_ = false;
  };

  explicit Worker(Group& group) : context_(group.rank(), group.size()) {
    for (int rank = 0; rank < group.size(); ++rank) names_.push_back(fmt::format("rank {} ({})", rank, group.host(rank)));
    const SignalsBlocked blocked;
    const std::string address = group.size() == 1 ? "127.0.0.1" : group.address(group.rank());
    std::shared_ptr<gloo::transport::Device> device;
    try {
      device = gloo::transport::tcp::CreateDevice(gloo::transport::tcp::attr(address.c_str()));
    } catch (const std::exception& error) {
      throw RuntimeError(fmt::format("Gloo can not use the address {} of this host: {}", address, error.what()));
    }
    context_.setTimeout(std::chrono::milliseconds::zero());  // none: the group ends what takes too long, and says who did
    Addresses addresses(group);
    try {
      context_.connectFullMesh(addresses, device);
    } catch (const gloo::Exception& error) {
      throw RuntimeError(fmt::format("Gloo can not connect the ranks from {}: {}", address, error.what()));
    }
    for (int rank = 0; rank < group.size(); ++rank) {
      if (rank == group.rank()) continue;
      const auto& pair = context_.getPair(rank);
      const bool first = rank < group.rank();
      leaves_.push_back({pair->createRecvBuffer(first ? 0 : 1, &leave_, 1), pair->createSendBuffer(first ? 1 : 0, &leave_, 1)});
    }
    thread_ = std::thread([this] { work(); });
  }
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
      if (std::uncaught_exceptions() > 0) leaves_.clear();  // the others may not come to their ends
    }
    given_.notify_one();
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  gloo::Context& context() { return context_; }
  const std::vector<std::string>& names() const { return names_; }
  int take_slots(int count) { return std::exchange(slot_, slot_ + count); }

  void give(Task& task) {
    {
      const std::lock_guard lock(mutex_);
      task.pending_ = true;
      task.next_ = nullptr;
      (last_ == nullptr ? first_ : last_->next_) = &task;
      last_ = &task;
    }
    given_.notify_one();
  }
  void wait(const Task& task) {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return !task.pending_; });
    if (!failure_.empty()) throw RuntimeError(failure_);
  }
  // The task's memory is about to go, and nothing may come into it any more. Where it is under way, it and all others fail; so
  // they do when an exception ends this rank, to which others may be sending already.
  void drop(const Task& task) {
    std::unique_lock lock(mutex_);
    if ((task.pending_ || std::uncaught_exceptions() > 0) && failure_.empty())
      failure_ = fmt::format("{} was given up", task.description());
    if (failure_.empty()) return;
    lock.unlock();
    char nothing = 0;
    try {  // a wait that is over its time is what makes Gloo close all connections and wake who waits for them
      context_.createUnboundBuffer(&nothing, 1)->waitRecv(std::chrono::milliseconds(1));
    } catch (const std::exception&) {
    }
    lock.lock();
    done_.wait(lock, [&] { return !task.pending_; });
  }

 private:
  // Connections are closed when all ranks have what they were sent: Gloo does not give what came before the end of one to who
  // asks for it afterwards.
  void take_leave() {
    try {
      for (Leave& leave : leaves_) leave.from_here->send();
    } catch (const std::exception&) {  // as below
    }
    for (Leave& leave : leaves_) {
      try {
        leave.to_here->waitRecv();
      } catch (const std::exception&) {  // who is gone already needs nothing more
      }
    }
  }
  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      given_.wait(lock, [&] { return over_ || first_ != nullptr; });
      if (first_ == nullptr) {
        if (failure_.empty()) take_leave();
        return;
      }
      Task& task = *first_;
      first_ = task.next_;
      if (first_ == nullptr) last_ = nullptr;
      if (failure_.empty()) {
        lock.unlock();
        std::string failure;
        try {
          task.perform();
        } catch (const std::exception& error) {
          failure = fmt::format("{} over all ranks failed: {}", task.description(), error.what());
        }
        lock.lock();
        if (failure_.empty()) failure_ = failure;
      }
      task.pending_ = false;
      done_.notify_all();
    }
  }

  struct Leave {
    std::unique_ptr<gloo::transport::Buffer> to_here, from_here;
  };
  gloo::rendezvous::Context context_;
  std::vector<std::string> names_;
  char leave_ = 0;
  std::vector<Leave> leaves_;
  int slot_ = 2;  // after those of leave_
  std::mutex mutex_;
  std::condition_variable given_, done_;
  Task *first_ = nullptr, *last_ = nullptr;
  std::string failure_;  // for good: the ranks are not at the same place any more
  bool over_ = false;
  std::thread thread_;
};

class GlooAllReduce final : public kernels::Kernel, private Worker::Task {
 public:
  GlooAllReduce(std::shared_ptr<Worker> worker, const kernels::AllReduce& spec)
      : Task(std::move(worker)), combine_(spec.combine) {
    for (const TensorDesc& desc : spec.tensors) {
      const int slot = worker_->take_slots(GlooExchange::slots);
      exchanges_.push_back(std::make_unique<GlooExchange>(worker_->context(), worker_->names(), spec.combine, desc, slot));
      bytes_ += desc.bytes();
    }
  }
  ~GlooAllReduce() override { worker_->drop(*this); }

  void run(const kernels::Arguments& arguments) override {
    await();
    for (std::size_t i = 0; i < exchanges_.size(); ++i) exchanges_[i]->bind(arguments.inputs[i], arguments.outputs[i]);
    worker_->give(*this);
  }
  void await() override { worker_->wait(*this); }

 private:
  void perform() override {
    for (const auto& exchange : exchanges_) exchange->start();
    for (const auto& exchange : exchanges_) exchange->finish();
  }
  std::string description() const override {
    return fmt::format("the {} of {} bytes", combine_ == kernels::AllReduce::Combine::mean ? "mean" : "sum", bytes_);
  }

  kernels::AllReduce::Combine combine_;
  std::size_t bytes_ = 0;
  std::vector<std::unique_ptr<GlooExchange>> exchanges_;
};

class GlooCommunicator final : public Communicator {
 public:
  explicit GlooCommunicator(Group& group) : worker_(std::make_shared<Worker>(group)) {}
  std::string name() const override { return "Gloo over TCP"; }
  std::unique_ptr<kernels::Kernel> create(const kernels::AllReduce& spec) override {
    check_all_reduce(spec);
    return std::make_unique<GlooAllReduce>(worker_, spec);
  }

 private:
  std::shared_ptr<Worker> worker_;
};

}  // namespace

std::unique_ptr<Communicator> make_gloo_communicator(Group& group) { return std::make_unique<GlooCommunicator>(group); }

}  // namespace gannet

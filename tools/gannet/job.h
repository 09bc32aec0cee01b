// A command that may run as several processes: this one's place among them, what it computes on, and how they end.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "engine/parallel/ranks.h"
#include "tools/gannet/configuration.h"

namespace gannet::tool {

// The options --gpus and --processes.
void add_ranks_to(CLI::App& command, DeviceOptions& options);

// How many ranks the options ask for. InputError where they contradict each other.
int ranks_of(const DeviceOptions& options);

// The exit code of all ranks, when this process started them (--gpus N, --processes N); none in a rank or a process alone.
// Before signals are blocked and threads are made.
std::optional<int> start_ranks(const DeviceOptions& options);

class Job {
 public:
  // Meets the other ranks, where there are any, each with a device or a share of the processors of its own.
  Job(const DeviceOptions& options, const Config& config);

  kernels::Backend& backend() { return *backend_; }
  const Ranks* ranks() const { return ranks_ ? &*ranks_ : nullptr; }  // null: alone
  bool leads() const { return !group_ || group_->rank() == 0; }

  // Runs `body`. What it throws is told to the other ranks before it goes on its way.
  int run(const std::function<int()>& body);

 private:
  std::unique_ptr<Group> group_;
  std::unique_ptr<kernels::Backend> backend_;
  std::unique_ptr<Communicator> communicator_;
  std::optional<Ranks> ranks_;
};

}  // namespace gannet::tool

// Ranks of a test's job: processes of this machine.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/parallel/world.h"

namespace gannet {

// Memory of the test and of all processes that it starts afterwards; zero at first.
class SharedMemory {
 public:
  explicit SharedMemory(std::size_t bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  template <typename T>
  std::span<T> of() const {
    return {static_cast<T*>(data_), bytes_ / sizeof(T)};
  }

 private:
  void* data_;
  std::size_t bytes_;
};

struct EndOfProcess {
  int code = -1;   // with which it ended; -1: by a signal
  int signal = 0;  // that ended it
};

// The worlds of a job of `size` ranks on a port that was free.
std::vector<World> worlds_of_job(int size);

// Runs `rank` in a process of its own for each rank, which fails by failed expectations, exceptions, and after `seconds`.
// `meanwhile` runs here with the ids of the processes.
std::vector<EndOfProcess> run_ranks(int size, const std::function<void(const World&)>& rank,
                                    const std::function<void(std::span<const pid_t>)>& meanwhile = {}, int seconds = 60);

// The same, where each rank is a program: environment variables tell it which (world_from_environment).
std::vector<EndOfProcess> run_programs(int size, const std::vector<std::string>& command, int seconds = 60);

// Expects that all ended with 0.
void expect_success(const std::vector<EndOfProcess>& ends);

}  // namespace gannet

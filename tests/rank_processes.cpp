#include "tests/rank_processes.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace gannet {
namespace {

int free_port() {
  const int descriptor = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  const bool bound = bind(descriptor, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
                     getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &length) == 0;
  close(descriptor);
  if (!bound) throw std::runtime_error("no port is free");
  return ntohs(address.sin_port);
}

std::vector<EndOfProcess> ends_of(std::span<const pid_t> processes) {
  std::vector<EndOfProcess> ends;
  for (const pid_t process : processes) {
    int status = 0;
    if (waitpid(process, &status, 0) != process) throw std::runtime_error("a rank is lost");
    EndOfProcess end;
    if (WIFEXITED(status)) end.code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
    ends.push_back(end);
  }
  return ends;
}

pid_t started(const std::function<void()>& child, int seconds) {
  std::fflush(nullptr);  // or the child prints it again
  const pid_t process = fork();
  if (process < 0) throw std::runtime_error("a rank can not be started");
  if (process == 0) {
    alarm(static_cast<unsigned>(seconds));
    child();
  }
  return process;
}

}  // namespace

SharedMemory::SharedMemory(std::size_t bytes)
    : data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)), bytes_(bytes) {
  if (data_ == MAP_FAILED) throw std::bad_alloc();
}
SharedMemory::~SharedMemory() { munmap(data_, bytes_); }

std::vector<World> worlds_of_job(int size) {
  static int jobs = 0;
  const int port = free_port();
  const std::string job = "test-" + std::to_string(getpid()) + "-" + std::to_string(++jobs);
  std::vector<World> worlds;
  for (int rank = 0; rank < size; ++rank) worlds.push_back({rank, size, rank, size, "127.0.0.1", port, job, "test"});
  return worlds;
}

std::vector<EndOfProcess> run_ranks(int size, const std::function<void(const World&)>& rank,
                                    const std::function<void(std::span<const pid_t>)>& meanwhile, int seconds) {
  std::vector<pid_t> processes;
  for (const World& world : worlds_of_job(size)) {
    const auto child = [&] {
      int code = 1;
      try {
        rank(world);
        code = testing::Test::HasFailure() ? 1 : 0;
      } catch (const std::exception& error) {
        std::fprintf(stderr, "rank %d: %s\n", world.rank, error.what());
      }
      std::fflush(nullptr);
      _exit(code);
    };
    processes.push_back(started(child, seconds));
  }
  if (meanwhile) meanwhile(processes);
  return ends_of(processes);
}

std::vector<EndOfProcess> run_programs(int size, const std::vector<std::string>& command, int seconds) {
  std::vector<pid_t> processes;
  for (const World& world : worlds_of_job(size)) {
    const auto child = [&] {
      const auto set = [](const char* name, const std::string& value) { setenv(name, value.c_str(), 1); };
      set("RANK", std::to_string(world.rank));
      set("WORLD_SIZE", std::to_string(world.size));
      set("LOCAL_RANK", std::to_string(world.local_rank));
      set("LOCAL_WORLD_SIZE", std::to_string(world.local_size));
      set("MASTER_ADDR", world.address);
      set("MASTER_PORT", std::to_string(world.port));
      set("TORCHELASTIC_RUN_ID", world.job);
      std::vector<char*> words;
      for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
      words.push_back(nullptr);
      execv(words[0], words.data());
      std::perror(words[0]);
      _exit(127);
    };
    processes.push_back(started(child, seconds));
  }
  return ends_of(processes);
}

void expect_success(const std::vector<EndOfProcess>& ends) {
  for (std::size_t rank = 0; rank < ends.size(); ++rank)
    EXPECT_TRUE(ends[rank].code == 0) << "rank " << rank << " ended with code " << ends[rank].code << ", signal "
                                      << ends[rank].signal;
}

}  // namespace gannet

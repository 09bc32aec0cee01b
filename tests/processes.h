// Ranks of a job as processes: the test's own program, started again with `--rank SCENARIO`.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/temporary_folder.h"

namespace gannet {

using Variables = std::map<std::string, std::string>;

// The names in this process's environment that launchers set.
std::vector<std::string> variables_of_launchers();

double seconds_since(std::chrono::steady_clock::time_point start);
int free_port();  // the first of sixteen

// What is left when it goes away is killed.
class Process {
 public:
  // The output (both streams) goes to the file. The environment is this process's, less what launchers set, with `variables`.
  Process(const std::vector<std::string>& command, const Variables& variables, std::filesystem::path output);
  ~Process();
  Process(Process&& other) noexcept;
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  Process& operator=(Process&&) = delete;

  pid_t id() const { return id_; }
  void signal(int number) const;
  // Its exit code, or minus the signal that ended it; none when it has not ended in so many seconds.
  std::optional<int> wait(double seconds);
  std::string output() const;
  // Until the output has the text; false when it has not in so many seconds.
  bool says(const std::string& text, double seconds = 30) const;

 private:
  pid_t id_ = -1;
  std::optional<int> status_;
  std::filesystem::path output_;
};

class Job {
 public:
  // `size` ranks of this program. variables: beside those that say who they are.
  Job(int size, const std::string& scenario, const Variables& variables = {});

  void start(int rank);
  void start_all();
  Process& rank(int rank) { return *ranks_.at(static_cast<std::size_t>(rank)); }
  int size() const { return static_cast<int>(ranks_.size()); }
  int port() const { return port_; }
  Variables& variables() { return variables_; }
  // All of them have said "ready".
  bool ready() const;
  // Each rank's exit code, within so many seconds in all; -1000 for one that still runs.
  std::vector<int> wait(double seconds);
  std::vector<int> wait_but(int except, double seconds);

 private:
  TemporaryFolder folder_;
  std::string scenario_;
  Variables variables_;
  int port_;
  std::vector<std::optional<Process>> ranks_;
};

// The lines that say "error".
std::vector<std::string> errors_in(const std::string& output);

}  // namespace gannet

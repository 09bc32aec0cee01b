#include "tests/processes.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <random>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

namespace gannet {
namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// Of launchers that this test may itself run under.
bool is_of_launcher(const std::string& variable) {
  const std::string name = variable.substr(0, variable.find('='));
  for (const char* const prefix : {"OMPI_", "PMIX_", "SLURM_", "TORCHELASTIC_", "GANNET_JOB", "GANNET_PORT"})
    if (name.starts_with(prefix)) return true;
  for (const char* const other : {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})
    if (name == other) return true;
  return false;
}

}  // namespace

std::vector<std::string> variables_of_launchers() {
  std::vector<std::string> names;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (is_of_launcher(*variable)) names.push_back(std::string(*variable).substr(0, std::string(*variable).find('=')));
  return names;
}

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

int free_port() {
  // Below those that the system hands out, and a window apart from those of other tests.
  std::random_device random;
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const int first = 10000 + 16 * static_cast<int>(random() % 1200);
    bool free = true;
    for (int port = first; free && port < first + 16; ++port) {
      const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_in address{};
      address.sin_family = AF_INET;
      address.sin_port = htons(static_cast<std::uint16_t>(port));
      free = ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
      ::close(socket);
    }
    if (free) return first;
  }
  throw std::runtime_error("no ports are free");
}

Process::Process(const std::vector<std::string>& command, const Variables& variables, std::filesystem::path output)
    : output_(std::move(output)) {
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!is_of_launcher(*variable)) environment.emplace_back(*variable);
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  std::vector<char*> words, variable_words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  for (std::string& variable : environment) variable_words.push_back(variable.data());
  words.push_back(nullptr);
  variable_words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, output_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
  // As a shell would start it, whatever this test was started by (nohup).
  sigset_t all, none;
  ::sigfillset(&all);
  ::sigemptyset(&none);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  const int error = ::posix_spawnp(&id_, words[0], &actions, &attributes, words.data(), variable_words.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) throw std::runtime_error("cannot start " + command[0]);
}

Process::Process(Process&& other) noexcept
    : id_(std::exchange(other.id_, -1)), status_(other.status_), output_(std::move(other.output_)) {}

Process::~Process() {
  if (id_ < 0 || status_) return;
  ::kill(id_, SIGKILL);
  ::waitpid(id_, nullptr, 0);
}

void Process::signal(int number) const { ::kill(id_, number); }

std::optional<int> Process::wait(double seconds) {
  const Clock::time_point start = Clock::now();
  while (!status_) {
    int status = 0;
    if (::waitpid(id_, &status, WNOHANG) == id_)
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    else if (seconds_since(start) > seconds)
      break;
    else
      std::this_thread::sleep_for(2ms);
  }
  return status_;
}

std::string Process::output() const { return std::filesystem::exists(output_) ? read_text(output_) : ""; }

bool Process::says(const std::string& text, double seconds) const {
  const Clock::time_point start = Clock::now();
  while (output().find(text) == std::string::npos) {
    if (seconds_since(start) > seconds) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

Job::Job(int size, const std::string& scenario, const Variables& variables)
    : scenario_(scenario), variables_(variables), port_(free_port()), ranks_(static_cast<std::size_t>(size)) {
  variables_.try_emplace("GANNET_JOB", folder_.path().string());
  variables_.try_emplace("MASTER_ADDR", "127.0.0.1");
  variables_.try_emplace("MASTER_PORT", std::to_string(port_));
  variables_.try_emplace("WORLD_SIZE", std::to_string(size));
  variables_.try_emplace("LOCAL_WORLD_SIZE", std::to_string(size));
}

void Job::start(int rank) {
  Variables variables = variables_;
  variables["RANK"] = variables["LOCAL_RANK"] = std::to_string(rank);
  ranks_.at(static_cast<std::size_t>(rank))
      .emplace(std::vector<std::string>{std::filesystem::read_symlink("/proc/self/exe").string(), "--rank", scenario_},
               variables, folder_ / ("rank" + std::to_string(rank)));
}

void Job::start_all() {
  for (int rank = 0; rank < size(); ++rank) start(rank);
}

bool Job::ready() const {
  for (const std::optional<Process>& rank : ranks_)
    if (!rank->says("ready\n")) return false;
  return true;
}

std::vector<int> Job::wait(double seconds) { return wait_but(-1, seconds); }

std::vector<int> Job::wait_but(int except, double seconds) {
  const Clock::time_point start = Clock::now();
  std::vector<int> codes;
  for (int rank = 0; rank < size(); ++rank)
    if (rank != except) codes.push_back(this->rank(rank).wait(seconds - seconds_since(start)).value_or(-1000));
  return codes;
}

std::vector<std::string> errors_in(const std::string& output) {
  std::vector<std::string> errors;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);)
    if (line.find("error") != std::string::npos) errors.push_back(line);
  return errors;
}

}  // namespace gannet

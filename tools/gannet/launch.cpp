#include "tools/gannet/launch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <optional>

#include "kernels/check.h"

namespace gannet::tool {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double last_seconds = 2;
// Whoever signals a process and its group together means one signal.
constexpr double same_signal_seconds = 0.1;

double seconds_until(Clock::time_point moment) { return std::chrono::duration<double>(moment - Clock::now()).count(); }
Clock::time_point in(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

void say(const std::string& text) {
  std::fflush(stdout);
  fmt::print(stderr, "gannet: error: {}\n", text);
}

std::vector<std::string> own_command() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  std::vector<std::string> words;
  for (std::size_t at = 0; at < all.size(); at += words.back().size() + 1) words.emplace_back(all.c_str() + at);
  if (words.empty()) throw RuntimeError("cannot read /proc/self/cmdline, which says what the ranks are to run");
  return words;
}

// Free now. Should somebody take it before rank 0 does, that takes one of the next (see Group).
int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  const bool found = socket >= 0 && ::bind(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
                     ::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  const int error = errno;
  if (socket >= 0) ::close(socket);
  if (!found) throw RuntimeError(fmt::format("no port for the ranks to meet at: {}", ::strerror(error)));
  return ntohs(address.sin_port);
}

std::string job_name() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) throw RuntimeError("cannot draw a name for the job");
  return fmt::format("gannet {:016x}", number);
}

// This process's environment with these variables, which take the place of what it has by their names.
std::vector<std::string> environment_with(const std::vector<std::string>& variables) {
  std::vector<std::string> all = variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable, name = text.substr(0, text.find('=') + 1);
    const auto same = [&](const std::string& other) { return std::string_view(other).starts_with(name); };
    if (std::none_of(variables.begin(), variables.end(), same)) all.emplace_back(text);
  }
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// In the new process: nothing here may allocate or take a lock. `launcher`: the process that started it.
[[noreturn]] void become(const char* program, char* const* words, char* const* variables, pid_t launcher) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != launcher) ::_exit(1);  // it was killed before we asked to be told
  ::signal(SIGTTOU, SIG_IGN);               // a terminal may not want to be written to by other groups than its own
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::execve(program, words, variables);
  const char* const reason = ::strerrordesc_np(errno);
  const char* const parts[] = {"gannet: error: cannot start a rank: ", reason == nullptr ? "" : reason, "\n"};
  for (const char* const part : parts)
    if (::write(STDERR_FILENO, part, ::strlen(part)) < 0) break;
  ::_exit(1);
}

class Launcher {
 public:
  Launcher(int ranks, const LaunchOptions& options) : options_(options) {
    ::sigemptyset(&signals_);
    for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGTSTP}) ::sigaddset(&signals_, signal);
    struct sigaction hang_up {};
    if (::sigaction(SIGHUP, nullptr, &hang_up) == 0 && hang_up.sa_handler != SIG_IGN) ::sigaddset(&signals_, SIGHUP);
    ::sigprocmask(SIG_BLOCK, &signals_, &before_);
    try {
      start(ranks);
    } catch (...) {
      kill_all();
      ::sigprocmask(SIG_SETMASK, &before_, nullptr);
      throw;
    }
  }
  ~Launcher() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  int wait() {
    while (running() > 0) {
      const int signal = next_signal();
      if (signal == SIGCHLD)
        reap();
      else if (signal == SIGTSTP)
        stop_for_a_while();
      else if (signal > 0)
        pass_on(signal);
      if (deadline_ && seconds_until(*deadline_) <= 0) give_up();
    }
    return exit_code();
  }

 private:
  struct Rank {
    pid_t process;
    std::optional<int> code;  // that it ended with
  };

  void start(int ranks) {
    std::vector<std::string> words = options_.command.empty() ? own_command() : options_.command;
    // Of this very file, even when another one has taken its name since.
    const std::string program = options_.command.empty() ? "/proc/self/exe" : words[0];
    const std::vector<char*> word_pointers = pointers_to(words);
    const int port = free_port();
    const std::string job = job_name();
    const pid_t self = ::getpid();
    for (int rank = 0; rank < ranks; ++rank) {
      std::vector<std::string> variables =
          environment_with({fmt::format("RANK={}", rank), fmt::format("WORLD_SIZE={}", ranks),
                            fmt::format("LOCAL_RANK={}", rank), fmt::format("LOCAL_WORLD_SIZE={}", ranks),
                            "MASTER_ADDR=127.0.0.1", fmt::format("MASTER_PORT={}", port), "GANNET_JOB=" + job});
      const std::vector<char*> variable_pointers = pointers_to(variables);
      const pid_t process = ::fork();
      if (process == 0) become(program.c_str(), word_pointers.data(), variable_pointers.data(), self);
      if (process < 0) throw RuntimeError(fmt::format("cannot start rank {}: {}", rank, ::strerror(errno)));
      ::setpgid(process, process);  // whoever is first
      ranks_.push_back({process, std::nullopt});
    }
  }

  std::size_t running() const {
    return static_cast<std::size_t>(std::count_if(ranks_.begin(), ranks_.end(), [](const Rank& rank) { return !rank.code; }));
  }

  void signal_all(int signal) const {
    for (const Rank& rank : ranks_)
      if (!rank.code) ::kill(rank.process, signal);
  }

  void kill_all() {
    signal_all(SIGKILL);
    for (Rank& rank : ranks_)
      if (!rank.code) ::waitpid(rank.process, nullptr, 0);
  }

  // 0: the deadline has passed, or it is worth a look.
  int next_signal() const {
    if (!deadline_) return std::max(::sigwaitinfo(&signals_, nullptr), 0);
    const double seconds = std::clamp(seconds_until(*deadline_), 0.0, 3600.0);
    timespec wait{};
    wait.tv_sec = static_cast<time_t>(seconds);
    wait.tv_nsec = static_cast<long>((seconds - static_cast<double>(wait.tv_sec)) * 1e9);
    return std::max(::sigtimedwait(&signals_, nullptr, &wait), 0);
  }

  void reap() {
    for (std::size_t i = 0; i < ranks_.size(); ++i) {
      Rank& rank = ranks_[i];
      int status = 0;
      if (rank.code || ::waitpid(rank.process, &status, WNOHANG) != rank.process) continue;
      rank.code = WIFEXITED(status) ? WEXITSTATUS(status) : code_of(i, WTERMSIG(status));
      if (*rank.code == 0 || first_failed_ || *rank.code == 128 + passed_on_) continue;
      first_failed_ = i;
      deadline_ = in(options_.grace_seconds);
    }
  }

  // Of a rank that a signal has ended.
  int code_of(std::size_t rank, int signal) const {
    if (signal == passed_on_) return 128 + signal;  // it had come no further than to be ended by it
    if (!given_up_) {
      const char* const name = ::sigabbrev_np(signal);
      say(fmt::format("rank {} was ended by SIG{}{}", rank, name == nullptr ? std::to_string(signal) : name,
                      signal == SIGKILL ? ": killed by hand, or because memory ran out (dmesg tells)" : ""));
    }
    return 1;
  }

  void pass_on(int signal) {
    if (passed_on_ == 0) {
      passed_on_ = signal;
      passed_on_at_ = Clock::now();
      signal_all(signal);
      return;
    }
    if (-seconds_until(passed_on_at_) < same_signal_seconds || ended_by_ != 0) return;
    ended_by_ = signal;
    signal_all(signal);  // of which the second ends a rank as well
    deadline_ = in(last_seconds);
  }

  void stop_for_a_while() const {
    signal_all(SIGSTOP);
    ::raise(SIGSTOP);
    signal_all(SIGCONT);
  }

  void give_up() {
    if (first_failed_ && ended_by_ == 0)
      for (std::size_t i = 0; i < ranks_.size(); ++i)
        if (!ranks_[i].code)
          say(fmt::format("rank {} has not ended {} s after rank {} failed: it is killed", i, options_.grace_seconds,
                          *first_failed_));
    given_up_ = true;
    signal_all(SIGKILL);
    deadline_.reset();
  }

  int exit_code() const {
    if (ended_by_ != 0) return 128 + ended_by_;
    int code = 0;
    for (const Rank& rank : ranks_) {
      if (*rank.code == 0) continue;
      if (code != 0 && code != *rank.code) return 1;
      code = *rank.code;
    }
    return code;
  }

  const LaunchOptions& options_;
  sigset_t signals_, before_;
  std::vector<Rank> ranks_;
  std::optional<std::size_t> first_failed_;
  int passed_on_ = 0, ended_by_ = 0;  // the first signal, and the second
  Clock::time_point passed_on_at_;
  std::optional<Clock::time_point> deadline_;  // when who still runs is killed
  bool given_up_ = false;
};

}  // namespace

int launch(int ranks, const LaunchOptions& options) {
  std::fflush(nullptr);
  return Launcher(ranks, options).wait();
}

}  // namespace gannet::tool

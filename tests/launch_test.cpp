// Ranks started on this host: this program starts itself as the launcher, which starts it again as each rank.
#include "tools/gannet/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "engine/parallel/group.h"
#include "kernels/check.h"
#include "tests/processes.h"

namespace gannet {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// --- what a rank does -------------------------------------------------------------------------------------------------------

void say(const World& world, const std::string& text) {
  std::printf("rank %d %s\n", world.rank, text.c_str());
  std::fflush(stdout);
}

std::string word(const std::string& list, int index) {
  std::istringstream words(list);
  std::string one;
  for (int i = 0; i <= index; ++i) words >> one;
  return one;
}

// How often the signals come within so many seconds from the first on.
int count_signals(const World& world, double seconds, int* last) {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&set, signal);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  say(world, "ready");
  ::sigwait(&set, last);
  int count = 1;
  const timespec wait{static_cast<time_t>(seconds), static_cast<long>((seconds - static_cast<int>(seconds)) * 1e9)};
  while (::sigtimedwait(&set, nullptr, &wait) > 0) ++count;
  return count;
}

int run_rank(const std::string& scenario, const std::string& words) {
  const World world = world_from_environment();
  if (scenario == "codes") return std::atoi(word(words, world.rank).c_str());
  if (scenario == "environment") {
    say(world, fmt::format("of {} local {} of {} by {} at {} job {}", world.size, world.local_rank, world.local_size,
                           world.launcher, world.address, world.job));
    return 0;
  }
  if (scenario == "save") {
    int signal = 0;
    const int count = count_signals(world, 0.5, &signal);
    say(world, fmt::format("saved after {} of signal {}", count, signal));
    return 128 + signal;
  }
  if (scenario == "defiant") {
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
    say(world, "ready");
    if (world.rank == 0 && !words.empty()) return std::atoi(words.c_str());
    for (;;) ::pause();
  }
  if (scenario == "default") {
    say(world, "ready");
    for (;;) ::pause();
  }
  if (scenario == "ticks") {
    say(world, "ready");
    for (int i = 0; i < 60; ++i) {
      std::this_thread::sleep_for(50ms);
      say(world, "tick");
    }
    return 0;
  }
  if (scenario == "group") {
    GroupOptions options;
    options.silence_seconds = 3;
    Group group(world, options);
    say(world, fmt::format("process {}", ::getpid()));
    say(world, "ready");
    group.at(1, "steps");
    for (;;) {
      group.gather("");
      std::this_thread::sleep_for(1ms);
    }
  }
  return 99;
}

// --- the launcher
// -------------------------------------------------------------------------------------------------------------

class Launch : public testing::Test {
 protected:
  Process& start(int ranks, const std::string& scenario, const std::string& words = "") {
    command_ = {std::filesystem::read_symlink("/proc/self/exe").string(), "--ranks", std::to_string(ranks), scenario, words};
    ranks_ = ranks;
    return launcher_.emplace(command_, Variables{}, folder_ / "output");
  }
  bool ready() const { return all_say("ready"); }
  bool all_say(const std::string& text, double seconds = 30) const {
    for (int rank = 0; rank < ranks_; ++rank)
      if (!launcher_->says(fmt::format("rank {} {}", rank, text), seconds)) return false;
    return true;
  }
  std::string output() const { return launcher_->output(); }

  TemporaryFolder folder_;
  std::optional<Process> launcher_;
  std::vector<std::string> command_;
  int ranks_ = 0;
};

TEST_F(Launch, TellsRanksWhoTheyAre) {
  EXPECT_EQ(start(3, "environment").wait(30), 0);
  for (int rank = 0; rank < 3; ++rank)
    EXPECT_THAT(output(), HasSubstr(fmt::format("rank {} of 3 local {} of 3 by gannet at 127.0.0.1 job gannet ", rank, rank)));
}

TEST_F(Launch, ReturnsWhatAllAgreeOn) {
  EXPECT_EQ(start(3, "codes", "0 0 0").wait(30), 0);
  EXPECT_EQ(start(3, "codes", "2 2 2").wait(30), 2);
  EXPECT_EQ(start(3, "codes", "0 1 0").wait(30), 1);
  EXPECT_EQ(start(3, "codes", "1 2 1").wait(30), 1);
  EXPECT_EQ(start(3, "codes", "143 143 143").wait(30), 143);
  EXPECT_EQ(start(3, "codes", "143 1 143").wait(30), 1);
}

TEST_F(Launch, PassesASignalOnOnce) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    std::filesystem::remove(folder_ / "output");
    Process& launcher = start(3, "save");
    ASSERT_TRUE(ready()) << output();
    launcher.signal(signal);
    EXPECT_EQ(launcher.wait(30), 128 + signal);
    EXPECT_TRUE(all_say(fmt::format("saved after 1 of signal {}", signal), 0)) << output();
  }
}

TEST_F(Launch, TakesTwoSignalsAtATimeForOne) {
  Process& launcher = start(2, "save");
  ASSERT_TRUE(ready()) << output();
  launcher.signal(SIGSTOP);  // so that it finds both
  launcher.signal(SIGTERM);
  launcher.signal(SIGINT);
  launcher.signal(SIGCONT);
  launcher.wait(30);
  EXPECT_TRUE(all_say("saved after 1 of signal ", 0)) << output();
}

TEST_F(Launch, EndsAtTheSecondSignal) {
  Process& launcher = start(3, "defiant");
  ASSERT_TRUE(ready()) << output();
  launcher.signal(SIGINT);
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(launcher.wait(0), std::nullopt);
  const Clock::time_point start = Clock::now();
  launcher.signal(SIGTERM);
  EXPECT_EQ(launcher.wait(30), 128 + SIGTERM);
  EXPECT_LT(seconds_since(start), 4);
}

TEST_F(Launch, IsStoppedBeforeRanksHandleSignals) {
  Process& launcher = start(3, "default");
  ASSERT_TRUE(ready()) << output();
  launcher.signal(SIGTERM);
  EXPECT_EQ(launcher.wait(30), 128 + SIGTERM);
  EXPECT_THAT(output(), Not(HasSubstr("error")));
}

TEST_F(Launch, KillsWhoDoesNotEndAfterAFailure) {
  Process& launcher = start(3, "defiant", "1");
  const Clock::time_point start = Clock::now();
  EXPECT_EQ(launcher.wait(30), 1);
  EXPECT_GT(seconds_since(start), 1.5);
  EXPECT_LT(seconds_since(start), 8);
  EXPECT_THAT(output(), AllOf(HasSubstr("rank 1 has not ended 2 s after rank 0 failed: it is killed"),
                              HasSubstr("rank 2 has not ended 2 s after rank 0 failed: it is killed")));
}

// Descendants that the launcher leaves behind show themselves by what they say.
TEST_F(Launch, RanksSaveWhenItIsKilled) {
  Process& launcher = start(3, "save");
  ASSERT_TRUE(ready()) << output();
  launcher.signal(SIGKILL);
  EXPECT_EQ(launcher.wait(30), -SIGKILL);
  EXPECT_TRUE(all_say("saved after 1 of signal 15", 10)) << output();
}

TEST_F(Launch, StopsAndGoesOnWithItsRanks) {
  Process& launcher = start(2, "ticks");
  ASSERT_TRUE(all_say("tick")) << output();
  launcher.signal(SIGTSTP);
  std::this_thread::sleep_for(500ms);
  const std::string before = output();
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(output(), before);
  launcher.signal(SIGCONT);
  EXPECT_EQ(launcher.wait(30), 0);
  EXPECT_NE(output(), before);
}

TEST_F(Launch, SaysWhichRankWasKilled) {
  Process& launcher = start(4, "group");
  ASSERT_TRUE(ready()) << output();
  const std::string text = output(), name = "rank 2 process ";
  const pid_t victim = std::atoi(text.c_str() + text.find(name) + name.size());
  const Clock::time_point start = Clock::now();
  ::kill(victim, SIGKILL);
  EXPECT_EQ(launcher.wait(30), 1);
  EXPECT_LT(seconds_since(start), 3);
  EXPECT_THAT(output(), AllOf(HasSubstr("gannet: error: rank 2 was ended by SIGKILL"), HasSubstr("\ngannet: error: rank 2 ("),
                              HasSubstr("\nrank 3: gannet: error: rank 2 (")));
}

// A key pressed at a terminal signals the whole group in front: ranks are to hear of it once.
TEST_F(Launch, KeysOfATerminalCountOnce) {
  int terminal = -1;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const pid_t process = ::forkpty(&terminal, nullptr, nullptr, nullptr);
  if (process == 0) {
    ::execl(self.c_str(), self.c_str(), "--ranks", "2", "save", "", nullptr);
    ::_exit(127);
  }
  std::string text;
  bool pressed = false;
  std::array<char, 1024> buffer{};
  for (ssize_t count = 0; (count = ::read(terminal, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
    if (pressed || text.find("rank 0 ready") == std::string::npos || text.find("rank 1 ready") == std::string::npos) continue;
    pressed = ::write(terminal, "\x03", 1) == 1;
  }
  int status = 0;
  ::waitpid(process, &status, 0);
  ::close(terminal);
  EXPECT_EQ(WEXITSTATUS(status), 128 + SIGINT);
  EXPECT_THAT(text, AllOf(HasSubstr("rank 0 saved after 1 of signal 2"), HasSubstr("rank 1 saved after 1 of signal 2")));
}

}  // namespace
}  // namespace gannet

int main(int argc, char** argv) {
  if (argc == 5 && std::string(argv[1]) == "--ranks") {
    if (std::getenv("RANK") != nullptr) return gannet::run_rank(argv[3], argv[4]);
    gannet::tool::LaunchOptions options;
    options.grace_seconds = 2;
    return gannet::tool::launch(std::atoi(argv[2]), options);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

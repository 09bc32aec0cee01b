// The ranks of a job as processes: what they say to each other, and how they end together, whatever happens to one of them.
#include "engine/parallel/group.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>

#include "kernels/check.h"
#include "tests/message.h"
#include "tests/processes.h"

namespace gannet {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

// --- what a rank does -----------------------------------------------------------------------------------------------------

double setting(const char* name, double otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : std::atof(value);
}

void say(const std::string& text) {
  std::fputs((text + "\n").c_str(), stdout);
  std::fflush(stdout);
}

// Numbers that a broken transfer would not keep.
std::string many_bytes(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

void run_meet(Group& group) {
  std::string mine = "from " + std::to_string(group.rank());
  const std::vector<std::string> all = group.gather(mine);
  for (int rank = 0; rank < group.size(); ++rank) {
    if (all[static_cast<std::size_t>(rank)] != "from " + std::to_string(rank)) throw RuntimeError("gathered other bytes");
    say("address " + group.address(rank) + " host " + group.host(rank));
  }
  if (group.broadcast(mine) != "from 0") throw RuntimeError("broadcast gave other bytes");
  for (int i = 0; i < 200; ++i) {
    const auto given = group.gather(std::to_string(group.rank() * 1000 + i));
    for (int rank = 0; rank < group.size(); ++rank)
      if (given[static_cast<std::size_t>(rank)] != std::to_string(rank * 1000 + i)) throw RuntimeError("gathered another turn");
  }
  group.require_equal("nothing", "");
}

void run_large(Group& group) {
  constexpr std::size_t count = 20'000'000;
  if (group.broadcast(group.rank() == 0 ? many_bytes(count, 1) : "") != many_bytes(count, 1))
    throw RuntimeError("broadcast gave other bytes");
  const auto size = [](int rank) { return std::size_t{2'000'000} + std::size_t{11} * static_cast<std::size_t>(rank); };
  const auto all = group.gather(many_bytes(size(group.rank()), static_cast<unsigned>(group.rank())));
  for (int rank = 0; rank < group.size(); ++rank)
    if (all[static_cast<std::size_t>(rank)] != many_bytes(size(rank), static_cast<unsigned>(rank)))
      throw RuntimeError("gathered other bytes");
}

void run_unequal(Group& group) {
  const int odd = static_cast<int>(setting("TEST_ODD", 2));
  group.require_equal("length", "12345");
  group.require_equal("configuration", group.rank() >= odd ? "{batch: 32}" : "{batch: 16}",
                      [](const std::string& first, const std::string& other) { return first + " there, " + other + " here"; });
}

// Steps, each with something that all wait for, until somebody ends them.
void run_steps(Group& group) {
  say("ready");
  const auto steps = static_cast<std::int64_t>(setting("TEST_STEPS", 1e9));
  for (std::int64_t step = 1; step <= steps; ++step) {
    group.at(step, "discriminator");
    std::this_thread::sleep_for(1ms);
    group.at(step, "reduction");
    group.gather("");
  }
}

// The main thread is stuck, with the locks of both streams, and the callback needs one of them.
void run_stuck(Group& group) {
  group.on_end([](const std::string&) { std::fputs("never said\n", stderr); });
  say("ready");
  group.at(7, "collective", false);
  ::flockfile(stdout);
  ::flockfile(stderr);
  for (;;) ::pause();
}

// One hangs, the others wait for it.
void run_hang(Group& group) {
  say("ready");
  group.at(3, "discriminator");
  if (group.rank() == static_cast<int>(setting("TEST_WHO", 1)))
    for (;;) ::pause();
  group.at(3, "reduction");
  group.gather("");
}

// One is long in a phase that may last, the others wait for it.
void run_long_save(Group& group) {
  group.at(5, "checkpoint", group.rank() != 0);
  if (group.rank() == 0) std::this_thread::sleep_for(std::chrono::duration<double>(setting("TEST_SILENCE", 30) * 2));
  group.gather("");
}

void run_failing(Group& group) {
  say("ready");
  group.on_end([](const std::string& message) { say("called back: " + message); });
  group.at(12, "discriminator");
  group.gather("");
  if (group.rank() == static_cast<int>(setting("TEST_WHO", 1))) throw RuntimeError("the disk is full");
  group.at(12, "generator");
  if (setting("TEST_FOLLOW", 0) != 0) {  // as a collective fails whose other end is gone
    std::this_thread::sleep_for(100ms);
    throw RuntimeError("connection reset by peer");
  }
  group.gather("");
}

// Unwinding of a failed rank that never comes to its end.
struct Tarry {
  bool armed = false;
  ~Tarry() {
    if (armed)
      for (;;) ::pause();
  }
};

void run_leave(Group& group) {
  const int first = static_cast<int>(setting("TEST_FIRST", 0));
  const int place = (group.rank() - first + group.size()) % group.size();
  std::this_thread::sleep_for(place * 300ms);
}

int run_rank(const std::string& scenario) {
  GroupOptions options;
  options.silence_seconds = setting("TEST_SILENCE", 30);
  options.patience_seconds = setting("TEST_PATIENCE", 30);
  std::string message;
  int code = 1;
  const World world = world_from_environment();
  try {
    Group group(world, options);
    Tarry tarry;
    try {
      if (scenario == "meet") run_meet(group);
      if (scenario == "large") run_large(group);
      if (scenario == "unequal") run_unequal(group);
      if (scenario == "steps") run_steps(group);
      if (scenario == "stuck") run_stuck(group);
      if (scenario == "hang") run_hang(group);
      if (scenario == "save") run_long_save(group);
      if (scenario == "failing" || scenario == "tarry") run_failing(group);
      if (scenario == "throw" && group.rank() == 1) throw std::logic_error("nobody expects this");
      if (scenario == "throw") group.gather("");
      if (scenario == "leave") run_leave(group);
      if (scenario == "missing" && group.rank() != 1) group.gather("");
      return 0;
    } catch (const InputError& error) {
      code = 2;
      message = group.fail(error.what());
    } catch (const RuntimeError& error) {
      tarry.armed = scenario == "tarry";
      message = group.fail(error.what());
    }
  } catch (const RuntimeError& error) {
    message = error.what();
  } catch (const std::logic_error& error) {
    message = error.what();
  }
  say(rank_prefix() + "error: " + message);
  return code;
}

// --- what comes of it -------------------------------------------------------------------------------------------------------

// Each rank (but for one) has said one error, which has all these parts.
template <typename Matcher>
void expect_errors(Job& job, const Matcher& matcher, int but = -1) {
  for (int rank = 0; rank < job.size(); ++rank) {
    if (rank == but) continue;
    const std::string output = job.rank(rank).output();
    EXPECT_THAT(errors_in(output), ElementsAre(AllOf(matcher, StartsWith(rank == 0 ? "" : fmt::format("rank {}: ", rank)))))
        << "rank " << rank << " said: " << output;
  }
}

const Variables quick = {{"TEST_SILENCE", "4"}};

TEST(Group, MeetsGathersAndBroadcasts) {
  Job job(4, "meet");
  job.start_all();
  EXPECT_THAT(job.wait(60), Each(0));
  for (int rank = 0; rank < 4; ++rank) EXPECT_THAT(errors_in(job.rank(rank).output()), testing::IsEmpty());
  EXPECT_THAT(job.rank(3).output(), HasSubstr("address 127.0.0.1 host "));
}

TEST(Group, CarriesLargeTexts) {
  Job job(3, "large");
  job.start_all();
  EXPECT_THAT(job.wait(100), Each(0)) << job.rank(0).output() << job.rank(1).output();
}

TEST(Group, OfOneNeedsNobody) {
  Group group(World{});
  EXPECT_EQ(group.size(), 1);
  EXPECT_THAT(group.gather("a"), ElementsAre("a"));
  EXPECT_EQ(group.broadcast("b"), "b");
  group.require_equal("text", "c");
  group.at(1, "step");
  EXPECT_EQ(group.fail("broken"), "broken");
  EXPECT_FALSE(group.host(0).empty());
}

TEST(Group, NamesWhoDiffers) {
  Job job(4, "unequal", {{"TEST_ODD", "2"}});
  job.start_all();
  EXPECT_THAT(job.wait(60), Each(2));
  expect_errors(job,
                AllOf(HasSubstr("rank 2 ("), HasSubstr(" and rank 3 ("), HasSubstr("have another configuration than rank 0 ("),
                      HasSubstr("{batch: 16} there, {batch: 32} here")));
}

TEST(Group, EndsInAnyOrder) {
  for (int first = 0; first < 3; ++first) {
    Job job(3, "leave", {{"TEST_FIRST", std::to_string(first)}, {"TEST_SILENCE", "4"}});
    job.start_all();
    EXPECT_THAT(job.wait(60), Each(0)) << job.rank(0).output() << job.rank(1).output() << job.rank(2).output();
  }
}

TEST(Group, StartsInAnyOrder) {
  Job job(3, "meet");
  for (const int rank : {2, 1, 0}) {
    job.start(rank);
    std::this_thread::sleep_for(700ms);
  }
  EXPECT_THAT(job.wait(60), Each(0));
}

// The rank to which it is done, and how soon all others must have ended.
void ends_all(int signal, int rank, double seconds, const std::string& expected, const char* scenario = "steps") {
  Job job(4, scenario, quick);
  job.start_all();
  ASSERT_TRUE(job.ready());
  std::this_thread::sleep_for(300ms);
  const Clock::time_point start = Clock::now();
  job.rank(rank).signal(signal);
  EXPECT_THAT(job.wait_but(rank, 30), Each(1));
  EXPECT_LT(seconds_since(start), seconds);
  std::printf("all ended after %.2f s\n", seconds_since(start));
  expect_errors(job, AllOf(HasSubstr(fmt::format("rank {} (", rank)), HasSubstr(expected), HasSubstr(" at step ")), rank);
  if (signal != SIGSTOP) return;
  job.rank(rank).signal(SIGCONT);
  EXPECT_EQ(job.rank(rank).wait(5), 1);
  EXPECT_THAT(errors_in(job.rank(rank).output()), ElementsAre(HasSubstr(fmt::format("rank {} (", rank))));
}

TEST(Group, EndsWhenARankIsKilled) { ends_all(SIGKILL, 2, 3, "died"); }
TEST(Group, EndsWhenRank0IsKilled) { ends_all(SIGKILL, 0, 3, "died"); }
TEST(Group, EndsWhenARankCrashes) { ends_all(SIGSEGV, 1, 5, "died"); }
TEST(Group, EndsWhenARankIsStopped) { ends_all(SIGSTOP, 2, 5, "silent"); }
TEST(Group, EndsWhenRank0IsStopped) { ends_all(SIGSTOP, 0, 5, "silent"); }
TEST(Group, EndsThoughMainThreadsAreStuckWithLocks) { ends_all(SIGKILL, 1, 5, "died at step 7, in collective", "stuck"); }

TEST(Group, EndsWhenARankHangs) {
  for (const int who : {0, 1}) {
    Job job(3, "hang", {{"TEST_SILENCE", "4"}, {"TEST_WHO", std::to_string(who)}});
    job.start_all();
    ASSERT_TRUE(job.ready());
    const Clock::time_point start = Clock::now();
    EXPECT_THAT(job.wait(30), Each(1));
    EXPECT_LT(seconds_since(start), 6);
    expect_errors(job, AllOf(HasSubstr(fmt::format("rank {} (", who)), HasSubstr("hangs at step 3, in discriminator")));
  }
}

TEST(Group, WaitsForWhatMayLast) {
  Job job(3, "save", {{"TEST_SILENCE", "4"}});
  job.start_all();
  EXPECT_THAT(job.wait(60), Each(0)) << job.rank(0).output();
}

TEST(Group, SaysWhatARankFailedWith) {
  for (const int who : {0, 1}) {
    Job job(3, "failing", {{"TEST_WHO", std::to_string(who)}});
    job.start_all();
    const Clock::time_point start = Clock::now();
    EXPECT_THAT(job.wait(30), Each(1));
    EXPECT_LT(seconds_since(start), 10);
    expect_errors(job, HasSubstr("at step 12, in discriminator: the disk is full"));
    for (int rank = 0; rank < 3; ++rank)
      EXPECT_EQ(job.rank(rank).output().find("called back") != std::string::npos, rank != who) << job.rank(rank).output();
  }
}

TEST(Group, BlamesTheFirstThatFails) {
  Job job(4, "failing", {{"TEST_FOLLOW", "1"}, {"TEST_WHO", "2"}});
  job.start_all();
  EXPECT_THAT(job.wait(30), Each(1));
  expect_errors(job, HasSubstr("rank 2 ("));
  expect_errors(job, HasSubstr("the disk is full"));
}

TEST(Group, EndsARankThatDoesNotComeToItsEnd) {
  Job job(2, "tarry");
  job.start_all();
  EXPECT_THAT(job.wait(30), Each(1));
  expect_errors(job, HasSubstr("the disk is full"));
}

TEST(Group, TakesAnExceptionForAFailure) {
  Job job(3, "throw");
  job.start_all();
  EXPECT_THAT(job.wait(30), Each(1));
  EXPECT_THAT(errors_in(job.rank(2).output()), ElementsAre(AllOf(HasSubstr("rank 1 ("), HasSubstr("ended by an exception"))));
}

TEST(Group, EndsWhenOneLeavesThatIsWaitedFor) {
  Job job(3, "missing", quick);
  job.start_all();
  const std::vector<int> codes = job.wait(30);
  EXPECT_EQ(codes[0], 1);
  EXPECT_EQ(codes[2], 1);
  EXPECT_THAT(errors_in(job.rank(2).output()), ElementsAre(AllOf(HasSubstr("rank 1 ("), HasSubstr("has ended while rank "))));
}

TEST(Group, NamesTheRanksThatDoNotCome) {
  Job job(4, "meet", {{"TEST_PATIENCE", "2"}});
  job.start(0);
  job.start(2);
  EXPECT_EQ(job.rank(0).wait(30), 1);
  EXPECT_EQ(job.rank(2).wait(30), 1);
  for (const int rank : {0, 2})
    EXPECT_THAT(errors_in(job.rank(rank).output()),
                ElementsAre(AllOf(HasSubstr("ranks 1, 3 did not come within 2 s; here: rank 0 ("), HasSubstr(", rank 2 ("))));
}

TEST(Group, SaysWhereRank0WasLookedFor) {
  Job job(2, "meet", {{"TEST_PATIENCE", "2"}});
  job.start(1);
  EXPECT_EQ(job.rank(1).wait(30), 1);
  EXPECT_THAT(
      errors_in(job.rank(1).output()),
      ElementsAre(AllOf(HasSubstr(fmt::format("did not find rank 0 at 127.0.0.1, port {} to {}", job.port(), job.port() + 15)),
                        HasSubstr("Connection refused"))));
}

TEST(Group, EndsWhenOneDiesBeforeAllHaveCome) {
  Job job(3, "meet");
  job.start(0);
  job.start(1);
  std::this_thread::sleep_for(1500ms);
  job.rank(1).signal(SIGKILL);
  const Clock::time_point start = Clock::now();
  EXPECT_EQ(job.rank(0).wait(30), 1);
  EXPECT_LT(seconds_since(start), 5);
  EXPECT_THAT(errors_in(job.rank(0).output()), ElementsAre(AllOf(HasSubstr("rank 1 ("), HasSubstr("died at the start"))));
}

// --- who else may be there --------------------------------------------------------------------------------------------------

// Listens at the port; `greeting` to whoever comes.
class Listener {
 public:
  explicit Listener(int port, std::string greeting = "") : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int yes = 1;
    ::setsockopt(socket_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_ANY);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    listening_ = ::bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && ::listen(socket_, 64) == 0;
    thread_ = std::thread([this, greeting = std::move(greeting)] {
      for (int one = ::accept(socket_, nullptr, nullptr); one >= 0; one = ::accept(socket_, nullptr, nullptr)) {
        if (!greeting.empty()) ::send(one, greeting.data(), greeting.size(), MSG_NOSIGNAL);
        open_.push_back(one);
      }
    });
  }
  ~Listener() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    for (const int one : open_) ::close(one);
    ::close(socket_);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  bool listening() const { return listening_; }

 private:
  int socket_;
  bool listening_ = false;
  std::vector<int> open_;
  std::thread thread_;
};

TEST(Group, TakesTheNextPortWhenSomebodyHasTheFirst) {
  for (const char* const greeting : {"", "SSH-2.0-OpenSSH_9.2p1 Debian\r\n"}) {  // one that never says a word, one that does
    Job job(3, "meet");
    const Listener first(job.port(), greeting), second(job.port() + 1, greeting);
    ASSERT_TRUE(first.listening());
    job.start_all();
    EXPECT_THAT(job.wait(60), Each(0)) << job.rank(0).output() << job.rank(1).output();
  }
}

TEST(Group, SaysWhichPortsAreTaken) {
  Job job(2, "meet", {{"TEST_PATIENCE", "3"}});
  std::vector<std::unique_ptr<Listener>> listeners;
  for (int port = job.port(); port < job.port() + 16; ++port) listeners.push_back(std::make_unique<Listener>(port));
  job.start_all();
  EXPECT_THAT(job.wait(60), Each(1));
  EXPECT_THAT(errors_in(job.rank(0).output()),
              ElementsAre(AllOf(HasSubstr(fmt::format("from {} to {}", job.port(), job.port() + 15)), HasSubstr("in use"))));
}

TEST(Group, TwoJobsShareTheirPorts) {
  Job one(3, "meet"), two(3, "meet", {{"MASTER_PORT", std::to_string(one.port())}});
  for (int rank = 0; rank < 3; ++rank) {
    one.start(rank);
    two.start(rank);
  }
  EXPECT_THAT(one.wait(60), Each(0)) << one.rank(0).output() << one.rank(1).output();
  EXPECT_THAT(two.wait(60), Each(0)) << two.rank(0).output() << two.rank(1).output();
}

int connect_to(int port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  for (int attempt = 0; attempt < 2000; ++attempt) {
    if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return socket;
    std::this_thread::sleep_for(5ms);
  }
  return socket;
}

TEST(Group, DoesNotMindWhoElseKnocks) {
  Job job(3, "meet");
  job.start(0);
  std::vector<int> sockets;
  std::mt19937 random(3);
  for (int i = 0; i < 120; ++i) {
    sockets.push_back(connect_to(job.port()));
    std::string words;
    if (i % 4 == 1) words = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    if (i % 4 == 2) words = many_bytes(random() % 9000, static_cast<unsigned>(i));
    if (i % 4 == 3) words = std::string("\x20\0\0\0\1\x0e\0\0\0\0\0\0\0gannet", 19);  // a hello that breaks off
    if (!words.empty()) ::send(sockets.back(), words.data(), words.size(), MSG_NOSIGNAL);
    if (i % 5 == 0) ::close(std::exchange(sockets.back(), -1));
  }
  job.start(1);
  job.start(2);
  EXPECT_THAT(job.wait(60), Each(0)) << job.rank(0).output();
  for (const int socket : sockets)
    if (socket >= 0) ::close(socket);
}

TEST(Group, RefusesASecondOfARank) {
  Job job(3, "meet", {{"TEST_PATIENCE", "4"}});
  job.start(0);
  job.start(1);
  std::this_thread::sleep_for(1s);
  job.variables()["TEST_PATIENCE"] = "20";
  Job second(3, "meet", job.variables());
  second.start(1);
  EXPECT_EQ(second.rank(1).wait(20), 1);
  EXPECT_THAT(errors_in(second.rank(1).output()), ElementsAre(HasSubstr("another process is rank 1 (")));
  job.start(2);
  EXPECT_THAT(job.wait(30), Each(0)) << job.rank(0).output();
}

TEST(Group, RefusesAnotherSizeOfTheWorld) {
  Job job(2, "meet", {{"TEST_PATIENCE", "3"}});
  job.start(0);
  job.variables()["WORLD_SIZE"] = job.variables()["LOCAL_WORLD_SIZE"] = "3";
  job.start(1);
  EXPECT_THAT(job.wait(30), Each(1));
  EXPECT_THAT(errors_in(job.rank(1).output()), ElementsAre(HasSubstr("rank 1 is of a world of 3 ranks, and rank 0 (")));
}

TEST(Group, IsNotDisturbedByLoad) {
  Job job(4, "steps", {{"TEST_SILENCE", "4"}, {"TEST_STEPS", "400"}});
  std::atomic<bool> over{false};
  std::vector<std::thread> load;
  for (int i = 0; i < 8; ++i)
    load.emplace_back([&over] {
      while (!over) {
      }
    });
  job.start_all();
  EXPECT_THAT(job.wait(120), Each(0)) << job.rank(0).output();
  over = true;
  for (std::thread& thread : load) thread.join();
}

TEST(Group, EndsBySignalWhileItWaits) {
  Job job(2, "meet");
  job.start(0);
  std::this_thread::sleep_for(500ms);
  job.rank(0).signal(SIGTERM);
  EXPECT_EQ(job.rank(0).wait(10), -SIGTERM);
}

}  // namespace
}  // namespace gannet

int main(int argc, char** argv) {
  if (argc == 3 && std::string(argv[1]) == "--rank") return gannet::run_rank(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

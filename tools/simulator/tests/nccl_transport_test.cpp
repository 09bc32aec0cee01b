// The stand-in for NCCL below the API: addresses, the meeting of the ranks, the mesh of connections, collectives and
// reductions. Ranks are threads; a rank's identity as a process is forged where sockets are to be used between them.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

#include "error.h"
#include "nccl/collectives.h"
#include "nccl/failure.h"
#include "nccl/rendezvous.h"

namespace sim::nccl {
namespace {

using namespace std::chrono_literals;

TEST(NcclEndpoint, ParsesHostAndPort) {
  EXPECT_EQ(parse_endpoint("127.0.0.1:4711").text(), "127.0.0.1:4711");
  EXPECT_EQ(parse_endpoint("[::1]:80").text(), "[::1]:80");
  EXPECT_EQ(parse_endpoint("localhost:9").port, 9);
  for (const char* bad : {"", "127.0.0.1", "127.0.0.1:", "::1:80", "127.0.0.1:http:", ":x"})
    EXPECT_THROW(parse_endpoint(bad), Error) << bad;
}

TEST(NcclEndpoint, MatchesInterfacesAsTheVariableSays) {
  EXPECT_TRUE(interface_matches("eth", "eth0"));
  EXPECT_TRUE(interface_matches("ib,eth", "eth0"));
  EXPECT_FALSE(interface_matches("=eth", "eth0"));
  EXPECT_TRUE(interface_matches("=lo,eth0", "eth0"));
  EXPECT_FALSE(interface_matches("^eth", "eth0"));
  EXPECT_TRUE(interface_matches("^docker,lo", "eth0"));
  EXPECT_FALSE(interface_matches("^=eth0", "eth0"));
  EXPECT_TRUE(interface_matches("^=eth", "eth0"));
}

TEST(NcclEndpoint, TheVariableChoosesTheInterface) {
  setenv("NCCL_SOCKET_IFNAME", "lo", 1);
  EXPECT_TRUE(local_endpoint().text() == "127.0.0.1:0" || local_endpoint().text() == "[::1]:0") << local_endpoint().text();
  setenv("NCCL_SOCKET_IFNAME", "nosuch", 1);
  EXPECT_THROW(local_endpoint(), Error);
  unsetenv("NCCL_SOCKET_IFNAME");
}

enum class Ways { memory, sockets, mixed };

// Meshes of all ranks, connected through memory, through sockets, or (mixed) in pairs that share memory.
std::vector<std::shared_ptr<Mesh>> connected(int ranks, Ways ways) {
  std::vector<std::shared_ptr<Mesh>> meshes;
  for (int r = 0; r < ranks; ++r) meshes.push_back(Mesh::create(ranks));
  std::vector<std::vector<Link>> links(static_cast<std::size_t>(ranks));
  for (auto& list : links) list.resize(static_cast<std::size_t>(ranks));
  for (int a = 0; a < ranks; ++a) {
    for (int b = 0; b < a; ++b) {
      const auto i = static_cast<std::size_t>(a), j = static_cast<std::size_t>(b);
      if (ways == Ways::memory || (ways == Ways::mixed && a / 2 == b / 2)) {
        links[i][j] = meshes[j];
        links[j][i] = meshes[i];
        continue;
      }
      int pair[2];
      EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
      links[i][j] = Socket(pair[0]);
      links[j][i] = Socket(pair[1]);
    }
  }
  for (int r = 0; r < ranks; ++r) meshes[static_cast<std::size_t>(r)]->join(r, std::move(links[static_cast<std::size_t>(r)]));
  return meshes;
}

void on_all(int ranks, const std::function<void(int)>& body) {
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) threads.emplace_back(body, r);
  for (std::thread& t : threads) t.join();
}

Communication communication(CallKind kind, std::uint64_t count, ncclDataType_t type, const void* send, void* receive,
                            int peer = -1, std::uint64_t number = 0) {
  Communication c;
  c.call.kind = kind;
  c.call.count = count;
  c.call.type = type;
  c.call.peer = peer;
  c.number = number;
  c.send = static_cast<const std::byte*>(send);
  c.receive = static_cast<std::byte*>(receive);
  return c;
}

class NcclRanks : public testing::TestWithParam<std::tuple<Ways, int>> {};

TEST_P(NcclRanks, EveryCollectiveBringsTheDataWhereItBelongs) {
  const auto [ways, ranks] = GetParam();
  const auto n = static_cast<std::size_t>(ranks);
  std::uint64_t number = 0;
  const auto meshes = connected(ranks, ways);
  // Sizes around the number of ranks, and one that takes several rounds of a reduction.
  for (const std::size_t count : {std::size_t{1}, n + 1, std::size_t{4099}, std::size_t{5} << 20}) {
    const bool large = count > 1 << 20;
    if (large && (ranks == 1 || ranks == 8)) continue;
    const auto input = [&](std::size_t rank, std::size_t i) {
      return static_cast<std::int32_t>((i * 2654435761u + rank * 40503u) >> 7);
    };
    const int root = ranks - 1;
    for (const CallKind kind : {CallKind::all_reduce, CallKind::broadcast, CallKind::reduce, CallKind::all_gather,
                                CallKind::reduce_scatter, CallKind::all_to_all, CallKind::gather, CallKind::scatter}) {
      if (large && kind != CallKind::all_reduce && kind != CallKind::reduce_scatter) continue;
      for (const bool in_place : {false, true}) {
        if (in_place && (large || kind == CallKind::all_to_all)) continue;
        on_all(ranks, [&](int r) {
          const auto rank = static_cast<std::size_t>(r);
          Communication c = communication(kind, count, ncclInt32, nullptr, nullptr, root, number);
          const std::size_t sent = sent_elements(c.call, r, ranks), received = received_elements(c.call, r, ranks);
          std::vector<std::int32_t> buffer(std::max(sent, received), -1), other(received, -1);
          // In place: where the header says.
          const bool gathers = kind == CallKind::all_gather || (kind == CallKind::gather && r == root);
          const bool scatters = kind == CallKind::reduce_scatter || (kind == CallKind::scatter && r == root);
          std::int32_t* send = buffer.data() + (in_place && gathers ? rank * count : 0);
          std::int32_t* receive = in_place ? buffer.data() + (scatters ? rank * count : 0) : other.data();
          for (std::size_t i = 0; i < sent; ++i) send[i] = input(rank, i);
          c.send = reinterpret_cast<const std::byte*>(send);
          c.receive = reinterpret_cast<std::byte*>(receive);
          const Result result = collective(*meshes[rank], c, {});
          ASSERT_TRUE(result.outcome == Outcome::done && !result.mismatch);
          for (std::size_t i = 0; i < received; ++i) {
            std::uint32_t sum = 0;
            for (std::size_t p = 0; p < n; ++p)
              sum += static_cast<std::uint32_t>(input(p, kind == CallKind::reduce_scatter ? rank * count + i : i));
            std::int32_t expected = 0;
            switch (kind) {
              case CallKind::broadcast:
                expected = input(n - 1, i);
                break;
              case CallKind::all_gather:
              case CallKind::gather:
                expected = input(i / count, i % count);
                break;
              case CallKind::all_to_all:
                expected = input(i / count, rank * count + i % count);
                break;
              case CallKind::scatter:
                expected = input(n - 1, rank * count + i);
                break;
              default:
                expected = static_cast<std::int32_t>(sum);
            }
            ASSERT_EQ(receive[i], expected)
                << name_of(kind) << " count " << count << " rank " << r << " element " << i << (in_place ? " in place" : "");
          }
        });
        ++number;
      }
    }
  }
}

TEST_P(NcclRanks, LargeTransfersInBothDirectionsDoNotBlockEachOther) {
  const auto [ways, ranks] = GetParam();
  if (ranks == 1) return;
  const auto meshes = connected(ranks, ways);
  constexpr std::size_t kBytes = std::size_t{8} << 20;
  on_all(ranks, [&](int r) {
    std::vector<std::vector<std::uint8_t>> out, in;
    std::vector<Communication> all;
    for (int p = 0; p < ranks; ++p) {
      out.emplace_back(kBytes, static_cast<std::uint8_t>(r * 16 + p));
      in.emplace_back(kBytes, 0xff);
      all.push_back(communication(CallKind::send, kBytes, ncclUint8, out.back().data(), nullptr, p));
      all.push_back(communication(CallKind::receive, kBytes, ncclUint8, nullptr, in.back().data(), p));
    }
    const Result result = point_to_point(*meshes[static_cast<std::size_t>(r)], all, {});
    ASSERT_TRUE(result.outcome == Outcome::done && !result.mismatch);
    for (int p = 0; p < ranks; ++p) {
      const auto& got = in[static_cast<std::size_t>(p)];
      ASSERT_TRUE(
          std::all_of(got.begin(), got.end(), [&](std::uint8_t x) { return x == static_cast<std::uint8_t>(p * 16 + r); }));
    }
  });
}

TEST_P(NcclRanks, AMismatchIsFoundByAllRanksAndNamesTheSameTwo) {
  const auto [ways, ranks] = GetParam();
  if (ranks == 1) return;
  const auto meshes = connected(ranks, ways);
  on_all(ranks, [&, ranks = ranks](int r) {
    std::vector<float> mine(64);
    const std::uint64_t count = r == ranks - 1 ? 17 : 16;
    const Result result = collective(*meshes[static_cast<std::size_t>(r)],
                                     communication(CallKind::all_reduce, count, ncclFloat32, mine.data(), mine.data()), {});
    ASSERT_TRUE(result.mismatch);
    EXPECT_EQ(result.mismatch->ranks[0], 0);
    EXPECT_EQ(result.mismatch->ranks[1], ranks - 1);
    EXPECT_EQ(text_of(result.mismatch->calls[0]), "ncclAllReduce(count 16, float32, sum)");
    EXPECT_EQ(text_of(result.mismatch->calls[1]), "ncclAllReduce(count 17, float32, sum)");
  });
}

TEST_P(NcclRanks, ALeavingRankEndsTheWaitOfTheOthers) {
  const auto [ways, ranks] = GetParam();
  if (ranks == 1) return;
  const auto meshes = connected(ranks, ways);
  on_all(ranks, [&, ranks = ranks](int r) {
    Mesh& mesh = *meshes[static_cast<std::size_t>(r)];
    std::vector<float> mine(16, 1);
    // The last communication that all took part in is complete even though one leaves at once.
    Result result = collective(mesh, communication(CallKind::all_reduce, 16, ncclFloat32, mine.data(), mine.data()), {});
    ASSERT_EQ(result.outcome, Outcome::done);
    ASSERT_EQ(mine[15], static_cast<float>(ranks));
    if (r == ranks - 1) return mesh.close();
    result = collective(mesh, communication(CallKind::all_reduce, 16, ncclFloat32, mine.data(), mine.data(), -1, 1), {});
    EXPECT_EQ(result.outcome, Outcome::gone);
    EXPECT_EQ(result.gone, ranks - 1);
    EXPECT_EQ(mesh.why_gone(ranks - 1), "has destroyed or aborted its communicator");
  });
}

TEST_P(NcclRanks, AnInterruptEndsAWaitAndTheMemoryIsNotTouchedAfterwards) {
  const auto [ways, ranks] = GetParam();
  if (ranks == 1) return;
  const auto meshes = connected(ranks, ways);
  std::vector<std::uint8_t> target(1 << 20, 7);
  std::vector<std::uint8_t> source(1 << 20, 9);
  const auto transfer = [](int peer, bool outgoing, std::vector<std::uint8_t>& data) {
    std::vector<Transfer> list(1);
    list[0].peer = peer;
    list[0].outgoing = outgoing;
    list[0].data = reinterpret_cast<std::byte*>(data.data());
    list[0].bytes = data.size();
    return list;
  };
  std::vector<Transfer> in = transfer(1, false, target), out = transfer(0, true, source);
  meshes[0]->start(in[0]);
  std::thread waits([&] {
    Patience patience;
    EXPECT_EQ(meshes[0]->finish(in, patience), Outcome::interrupted);
  });
  std::this_thread::sleep_for(100ms);
  meshes[0]->interrupt();
  waits.join();
  // Only now is it sent. Through a connection it is dropped on arrival; from memory nobody takes it.
  std::atomic<bool> stop{false};
  std::thread sends([&] {
    Patience patience;
    patience.stop = &stop;
    meshes[1]->start(out[0]);
    EXPECT_EQ(meshes[1]->finish(out, patience), ways == Ways::sockets ? Outcome::done : Outcome::stopped);
  });
  std::this_thread::sleep_for(200ms);
  stop = true;
  sends.join();
  EXPECT_TRUE(std::all_of(target.begin(), target.end(), [](std::uint8_t x) { return x == 7; }));
}

TEST_P(NcclRanks, SaysOnceWhoWaitsForWhom) {
  const auto [ways, ranks] = GetParam();
  if (ranks < 3) return;
  const auto meshes = connected(ranks, ways);
  std::vector<std::string> said(static_cast<std::size_t>(ranks));
  std::atomic<bool> stop{false};
  // Ranks 0, 3, … wait in a collective, rank 1 sends to rank 0, rank 2 does nothing.
  on_all(ranks, [&](int r) {
    if (r == 2) {
      std::this_thread::sleep_for(1500ms);
      stop = true;
      return;
    }
    Conditions conditions;
    conditions.stop = &stop;
    conditions.seconds = 0.3;
    conditions.say = [&](const std::string& text) { said[static_cast<std::size_t>(r)] += text; };
    Mesh& mesh = *meshes[static_cast<std::size_t>(r)];
    std::vector<float> mine(16);
    if (r == 1) {
      point_to_point(mesh, {communication(CallKind::send, 4, ncclFloat32, mine.data(), nullptr, 0)}, conditions);
    } else {
      collective(mesh, communication(CallKind::all_reduce, 16, ncclFloat32, mine.data(), mine.data()), conditions);
    }
  });
  EXPECT_EQ(
      said[0],
      "rank 0 of " + std::to_string(ranks) +
          " has waited 0.3 s in ncclAllReduce(count 16, float32, sum), number 1 of the collectives of its "
          "communicator: rank 1 has not called it, it is in ncclSend(count 4, float32, to rank 0); rank 2 has not called it");
  EXPECT_NE(
      said[1].find("rank 0 has not called the ncclRecv that belongs to it, it is in ncclAllReduce(count 16, float32, sum)"),
      std::string::npos)
      << said[1];
}

std::string name_of_ranks(const testing::TestParamInfo<std::tuple<Ways, int>>& info) {
  constexpr std::array<const char*, 3> kNames = {"Memory", "Sockets", "Mixed"};
  return kNames[static_cast<std::size_t>(std::get<0>(info.param))] + std::to_string(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Ranks, NcclRanks,
                         testing::Combine(testing::Values(Ways::memory, Ways::sockets, Ways::mixed),
                                          testing::Values(1, 2, 3, 8)),
                         name_of_ranks);

Member member(int rank, int ranks, const Mesh& mesh, const Door& door) {
  Member m;
  m.rank = rank;
  m.ranks = ranks;
  m.process = process_identity();
  m.mesh = mesh.serial();
  m.listener = door.endpoint;
  return m;
}

// One rank: comes, connects, adds its number to that of the others. Returns 0 when the sum is right.
int rank_main(const ncclUniqueId& id, int rank, int ranks) {
  try {
    const auto mesh = Mesh::create(ranks);
    const Door door = open_door();
    const Meeting meeting = meet(id, member(rank, ranks, *mesh, door), {});
    connect(mesh, rank, meeting, door, {});
    std::int32_t value = rank + 1;
    const Result result = collective(*mesh, communication(CallKind::all_reduce, 1, ncclInt32, &value, &value), {});
    mesh->close();
    return result.outcome == Outcome::done && value == ranks * (ranks + 1) / 2 ? 0 : 1;
  } catch (const Failure& failure) {
    std::fprintf(stderr, "rank %d: %s\n", rank, failure.what());
    return 2;
  }
}

int processes(const ncclUniqueId& id, int ranks, int first) {
  std::vector<pid_t> children;
  for (int r = first; r < ranks; ++r) {
    const pid_t child = fork();
    if (child == 0) _exit(rank_main(id, r, ranks));
    children.push_back(child);
  }
  int bad = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    if (status != 0) ++bad;
  }
  return bad;
}

TEST(NcclMeeting, ThreadsAndProcessesMeet) {
  const ncclUniqueId id = make_unique_id();
  std::vector<int> status(2, -1);
  // Children are forked before threads exist that could hold locks.
  std::vector<pid_t> children;
  for (int r = 2; r < 4; ++r) {
    const pid_t child = fork();
    if (child == 0) _exit(rank_main(id, r, 4));
    children.push_back(child);
  }
  on_all(2, [&](int r) { status[static_cast<std::size_t>(r)] = rank_main(id, r, 4); });
  EXPECT_EQ(status, std::vector<int>(2, 0));
  for (const pid_t child : children) {
    int code = -1;
    waitpid(child, &code, 0);
    EXPECT_EQ(code, 0);
  }
}

TEST(NcclMeeting, AnAgreedAddressServesOneCommunicatorAfterTheOther) {
  setenv("NCCL_COMM_ID", "127.0.0.1:47633", 1);
  const ncclUniqueId id = make_unique_id(), again = make_unique_id();
  unsetenv("NCCL_COMM_ID");
  EXPECT_EQ(std::memcmp(&id, &again, sizeof id), 0);
  for (int n = 0; n < 3; ++n) EXPECT_EQ(processes(id, 3, 0), 0);
}

TEST(NcclMeeting, AnIdServesOneCommunicator) {
  const ncclUniqueId id = make_unique_id();
  on_all(2, [&](int r) { EXPECT_EQ(rank_main(id, r, 2), 0); });
  EXPECT_EQ(rank_main(id, 0, 1), 2);
}

TEST(NcclMeeting, ContradictionsAreRefused) {
  for (const bool same_rank : {true, false}) {
    const ncclUniqueId id = make_unique_id();
    on_all(2, [&](int r) {
      const auto mesh = Mesh::create(3);
      try {
        meet(id, member(same_rank ? 1 : r, same_rank ? 2 : 2 + r, *mesh, {}), {});
        ADD_FAILURE();
      } catch (const Failure& failure) {
        EXPECT_EQ(failure.result, ncclInvalidUsage);
        EXPECT_NE(std::string(failure.what()).find(same_rank ? "two callers say that they are rank 1" : "ranks, another said"),
                  std::string::npos)
            << failure.what();
      }
    });
  }
  ncclUniqueId garbage{};
  EXPECT_THROW(meet(garbage, Member{}, {}), Failure);
}

TEST(NcclMeeting, SaysHowManyHaveCome) {
  const ncclUniqueId id = make_unique_id();
  std::atomic<bool> cancel{false};
  std::vector<std::string> said(4);
  on_all(2, [&](int r) {
    const auto mesh = Mesh::create(4);
    Waiting waiting;
    waiting.cancel = &cancel;
    waiting.seconds = 0.3;
    waiting.complain = [&](const std::string& text) {
      said[static_cast<std::size_t>(r)] += text;
      if (r == 0) {
        std::this_thread::sleep_for(300ms);
        cancel = true;
      }
    };
    EXPECT_THROW(meet(id, member(2 * r, 4, *mesh, {}), waiting), Failure);
  });
  EXPECT_EQ(said[0], "2 of 4 ranks have come, missing: 1, 3");
}

TEST(NcclMeeting, AProcessThatDiesMeanwhileEndsTheMeeting) {
  const ncclUniqueId id = make_unique_id();
  const pid_t child = fork();
  if (child == 0) {
    alarm(1);
    _exit(rank_main(id, 1, 3));
  }
  const auto mesh = Mesh::create(3);
  try {
    meet(id, member(0, 3, *mesh, {}), {});
    ADD_FAILURE();
  } catch (const Failure& failure) {
    EXPECT_EQ(failure.result, ncclRemoteError);
  }
  int status = 0;
  waitpid(child, &status, 0);
}

TEST(NcclMeeting, APeerThatIsKilledIsNoticed) {
  const ncclUniqueId id = make_unique_id();
  const pid_t child = fork();
  if (child == 0) {
    const auto mesh = Mesh::create(2);
    const Door door = open_door();
    connect(mesh, 1, meet(id, member(1, 2, *mesh, door), {}), door, {});
    std::this_thread::sleep_for(300ms);
    kill(getpid(), SIGKILL);
  }
  const auto mesh = Mesh::create(2);
  const Door door = open_door();
  connect(mesh, 0, meet(id, member(0, 2, *mesh, door), {}), door, {});
  std::vector<std::uint8_t> data(1 << 20);
  const Result result =
      collective(*mesh, communication(CallKind::all_reduce, data.size(), ncclUint8, data.data(), data.data()), {});
  EXPECT_EQ(result.outcome, Outcome::gone);
  EXPECT_EQ(mesh->why_gone(1), "can not be reached any more: its process has ended");
  int status = 0;
  waitpid(child, &status, 0);
}

TEST(NcclMeeting, StrangersDoNotDisturb) {
  const ncclUniqueId id = make_unique_id();
  // The root's port is not public; any listener of a rank is open to garbage as well.
  const Door door = open_door();
  const Socket stranger = connect_to(door.endpoint, Refused::fail, [] { return true; });
  const std::string garbage(100, 'x');
  ASSERT_EQ(write_exactly(stranger, garbage.data(), garbage.size(), [] { return true; }), Io::done);
  const pid_t child = fork();
  if (child == 0) _exit(rank_main(id, 1, 2));
  const auto mesh = Mesh::create(2);
  const Meeting meeting = meet(id, member(0, 2, *mesh, door), {});
  connect(mesh, 0, meeting, door, {});
  std::int32_t value = 1;
  EXPECT_EQ(collective(*mesh, communication(CallKind::all_reduce, 1, ncclInt32, &value, &value), {}).outcome, Outcome::done);
  EXPECT_EQ(value, 3);
  mesh->close();
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace sim::nccl

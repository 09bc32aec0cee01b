#include "nccl/rendezvous.h"

#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "error.h"
#include "nccl/failure.h"
#include "nccl/root.h"

namespace sim::nccl {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

/// What an ncclUniqueId holds.
struct Id {
  char magic[8] = {'g', 'a', 'n', 'n', 'e', 't', '0', '1'};
  Identity cookie{};
  Identity process{};        // that listens
  Endpoint endpoint;         // none: only ranks of that process can come
  std::uint32_t agreed = 0;  // the address is that of NCCL_COMM_ID; rank 0 listens there
};
static_assert(sizeof(Id) <= sizeof(ncclUniqueId) && std::is_trivially_copyable_v<Id> && std::is_trivially_copyable_v<Member>);

Id parse(const ncclUniqueId& id) {
  Id result;
  std::memcpy(static_cast<void*>(&result), id.internal, sizeof result);
  if (std::memcmp(result.magic, Id{}.magic, sizeof result.magic) != 0) {
    throw Failure(ncclInvalidArgument, "this is no ncclUniqueId of ncclGetUniqueId");
  }
  return result;
}

ncclUniqueId pack(const Id& id) {
  ncclUniqueId result{};
  std::memcpy(result.internal, &id, sizeof id);
  return result;
}

std::uint64_t hash(std::string_view text) {
  std::uint64_t h = 0xcbf29ce484222325;
  for (const char c : text) h = (h ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  return h;
}

Identity g_process{};
pthread_once_t g_once = PTHREAD_ONCE_INIT;

// Complains once, and ends when the call is cancelled.
class Patient {
 public:
  Patient(const Waiting& waiting, std::string news) : waiting_(waiting), news_(std::move(news)) {}
  void hear(std::string news) { news_ = std::move(news); }
  bool cancelled() const { return waiting_.cancel != nullptr && *waiting_.cancel; }
  bool operator()() {
    if (cancelled()) return false;
    if (!complained_ && waiting_.complain && steady_clock::now() - since_ > std::chrono::duration<double>(waiting_.seconds)) {
      complained_ = true;
      waiting_.complain(news_);
    }
    return true;
  }

 private:
  const Waiting& waiting_;
  std::string news_;
  steady_clock::time_point since_ = steady_clock::now();
  bool complained_ = false;
};

// None: the root closed the connection before it said a word.
std::optional<Meeting> meet_through(const Socket& socket, const Id& id, const Member& mine, Patient& patient) {
  const KeepWaiting keep_waiting = std::ref(patient);
  const Failure gone(ncclRemoteError, "the process where the ranks meet, {}, is gone", id.endpoint.text());
  const Failure cancelled(ncclInternalError, "the communicator was aborted while it was made");
  Hello hello;
  hello.cookie = id.cookie;
  hello.member = mine;
  bool heard = false;
  const auto check = [&](Io io) {
    if (io == Io::stopped) throw cancelled;
    return io == Io::done;
  };
  if (!check(write_exactly(socket, &hello, sizeof hello, keep_waiting))) return std::nullopt;
  for (;;) {
    Notice notice;
    if (!check(read_exactly(socket, &notice, sizeof notice, keep_waiting))) {
      if (!heard) return std::nullopt;
      throw gone;
    }
    heard = true;
    std::string payload(notice.bytes, '\0');
    if (!check(read_exactly(socket, payload.data(), payload.size(), keep_waiting))) throw gone;
    if (notice.status == Notice::waiting) {
      patient.hear(payload);
      continue;
    }
    if (notice.status == Notice::failed)
      throw Failure(static_cast<ncclResult_t>(notice.result), "the ranks of the communicator could not meet: {}", payload);
    Meeting meeting;
    meeting.communicator = notice.communicator;
    meeting.members.resize(payload.size() / sizeof(Member));
    std::memcpy(static_cast<void*>(meeting.members.data()), payload.data(), meeting.members.size() * sizeof(Member));
    return meeting;
  }
}

Meeting meet_remotely(const Id& id, const Member& mine, const Waiting& waiting) {
  Patient patient(waiting, fmt::format("nobody listens at {} yet", id.endpoint.text()));
  // The address in an id of ncclGetUniqueId is listened at before anybody knows it; rank 0 may come late to one that was agreed
  // upon.
  const Refused refused = id.agreed != 0 ? Refused::retry : Refused::fail;
  for (;;) {
    Socket socket;
    try {
      socket = connect_to(id.endpoint, refused, std::ref(patient));
    } catch (const Error& e) {
      throw Failure(ncclSystemError, "{} (the process that called ncclGetUniqueId has ended, or its id was used before)",
                    e.what());
    }
    if (!socket) throw Failure(ncclInternalError, "the communicator was aborted while it was made");
    patient.hear("the root has not answered");
    if (auto meeting = meet_through(socket, id, mine, patient)) return *meeting;
    if (id.agreed == 0)
      throw Failure(ncclRemoteError, "the process where the ranks meet, {}, is gone, or the id was used before",
                    id.endpoint.text());
    if (!patient()) throw Failure(ncclInternalError, "the communicator was aborted while it was made");
    std::this_thread::sleep_for(20ms);
  }
}

std::shared_ptr<Root> open_agreed(const Id& id, const Waiting& waiting) {
  Patient patient(waiting, "");
  const auto end = steady_clock::now() + 20s;
  for (;;) {
    try {
      return Root::open(id.cookie, id.endpoint);
    } catch (const Error& e) {
      // The last communicator of this address may still be on its way out.
      if (steady_clock::now() > end || patient.cancelled()) throw Failure(ncclSystemError, "NCCL_COMM_ID: {}", e.what());
    }
    std::this_thread::sleep_for(20ms);
  }
}

}  // namespace

Identity random_identity() {
  Identity result{};
  if (getrandom(result.data(), sizeof result, 0) != sizeof result) throw Failure(ncclSystemError, "no random numbers");
  return result;
}

Identity process_identity() {
  pthread_once(&g_once, [] {
    g_process = random_identity();
    pthread_atfork(nullptr, nullptr, [] { g_process = random_identity(); });
  });
  return g_process;
}

std::uint64_t host_identity() {
  if (const char* set = std::getenv("NCCL_HOSTID"); set != nullptr && *set != '\0') return hash(set);
  char name[256] = {};
  gethostname(name, sizeof name - 1);
  std::string boot;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id") >> std::ws, boot);
  struct stat network {};
  stat("/proc/self/ns/net", &network);
  return hash(fmt::format("{}|{}|{}", name, boot, network.st_ino));
}

ncclUniqueId make_unique_id() {
  Id id;
  try {
    if (const char* agreed = std::getenv("NCCL_COMM_ID"); agreed != nullptr && *agreed != '\0') {
      id.agreed = 1;
      id.endpoint = parse_endpoint(agreed);
      id.cookie = {hash(agreed), 0};
    } else {
      id.cookie = random_identity();
      id.process = process_identity();
      id.endpoint = Root::open(id.cookie, local_endpoint())->endpoint();
    }
  } catch (const Error& e) {
    throw Failure(ncclSystemError, "{}", e.what());
  }
  return pack(id);
}

ncclUniqueId make_private_id() {
  Id id;
  id.cookie = random_identity();
  id.process = process_identity();
  Root::open(id.cookie, Endpoint{});
  return pack(id);
}

Meeting meet(const ncclUniqueId& unique, const Member& mine, const Waiting& waiting) {
  const Id id = parse(unique);
  if (id.agreed != 0) return mine.rank == 0 ? open_agreed(id, waiting)->meet(mine, waiting) : meet_remotely(id, mine, waiting);
  if (id.process == process_identity()) {
    const std::shared_ptr<Root> root = Root::find(id.cookie);
    if (!root) throw Failure(ncclInvalidUsage, "the id was used before: an ncclUniqueId serves one communicator");
    return root->meet(mine, waiting);
  }
  if (!id.endpoint.valid())
    throw Failure(ncclSystemError, "the process that made the id has no network interface: other processes can not reach it");
  return meet_remotely(id, mine, waiting);
}

void release(const ncclUniqueId& unique) {
  const Id id = parse(unique);
  if (id.agreed != 0 || id.process != process_identity()) return;
  if (const std::shared_ptr<Root> root = Root::find(id.cookie)) root->give_up("the id was not needed");
}

Door open_door() {
  Door door;
  try {
    if (const Endpoint endpoint = local_endpoint(); endpoint.valid()) {
      door.listener = listen_at(endpoint);
      door.endpoint = endpoint_of(door.listener);
    }
  } catch (const Error& e) {
    throw Failure(ncclSystemError, "{}", e.what());
  }
  return door;
}

void connect(const std::shared_ptr<Mesh>& mesh, int rank, const Meeting& meeting, const Door& door, const Waiting& waiting) {
  struct Greeting {
    Identity communicator{};
    std::int64_t rank = 0;
  };
  Patient patient(waiting, "not all of the other ranks have connected");
  const KeepWaiting keep_waiting = std::ref(patient);
  const auto fail_when = [&](bool cancelled) {
    if (cancelled) throw Failure(ncclInternalError, "the communicator was aborted while it was made");
  };
  const int ranks = static_cast<int>(meeting.members.size());
  std::vector<Link> links(static_cast<std::size_t>(ranks));
  int expected = 0;
  try {
    for (int r = 0; r < ranks; ++r) {
      if (r == rank) continue;
      const Member& member = meeting.members[static_cast<std::size_t>(r)];
      if (member.process == process_identity()) {
        std::shared_ptr<Mesh> local = Mesh::find(member.mesh);
        if (!local) throw Failure(ncclRemoteError, "rank {} has left", r);
        links[static_cast<std::size_t>(r)] = std::move(local);
      } else if (r > rank) {
        ++expected;
      } else {
        if (!member.listener.valid()) throw Failure(ncclSystemError, "rank {} has no network interface", r);
        Socket socket = connect_to(member.listener, Refused::fail, keep_waiting);
        fail_when(!socket);
        const Greeting greeting{meeting.communicator, rank};
        const Io io = write_exactly(socket, &greeting, sizeof greeting, keep_waiting);
        fail_when(io == Io::stopped);
        if (io == Io::closed) throw Failure(ncclRemoteError, "rank {} has left", r);
        links[static_cast<std::size_t>(r)] = std::move(socket);
      }
    }
    if (expected > 0 && !door.listener)
      throw Failure(ncclSystemError, "there is no network interface that other processes could reach");
    while (expected > 0) {
      Socket socket = accept_from(door.listener, keep_waiting);
      fail_when(!socket);
      Greeting greeting;
      const auto end = steady_clock::now() + 5s;
      const Io io =
          read_exactly(socket, &greeting, sizeof greeting, [&] { return keep_waiting() && steady_clock::now() < end; });
      const bool known =
          io == Io::done && greeting.communicator == meeting.communicator && greeting.rank > rank && greeting.rank < ranks;
      if (!known) continue;  // a stranger
      links[static_cast<std::size_t>(greeting.rank)] = std::move(socket);
      --expected;
    }
  } catch (const Error& e) {
    throw Failure(ncclSystemError, "{}", e.what());
  }
  mesh->join(rank, std::move(links), fmt::format("communicator {:08x}", meeting.communicator[0] & 0xffffffff));
}

}  // namespace sim::nccl

// How the ranks of a communicator find each other.
#include <algorithm>
#include <cstring>
#include <mutex>

#include "machine/options.h"
#include "nccl/communicator.h"
#include "runtime/interface.h"

namespace sim::nccl {
namespace {

Waiting waiting_for(const ncclComm& comm, std::string who) {
  Waiting waiting;
  waiting.cancel = &comm.cancel;
  waiting.seconds = options().deadlock;
  waiting.complain = [who = std::move(who), seconds = waiting.seconds](const std::string& news) {
    say(fmt::format("{} has waited {:g} s for the other ranks: {}", who, seconds, news));
  };
  return waiting;
}

Member member_of(const ncclComm& comm, const Mesh& mesh, const Door& door) {
  Member member;
  member.rank = comm.rank;
  member.ranks = comm.ranks;
  member.device = comm.device;
  member.host = host_identity();
  member.process = process_identity();
  member.mesh = mesh.serial();
  member.listener = door.endpoint;
  return member;
}

// A device can serve one rank. Devices of two simulated processes are different ones, but would be the same on a real machine.
void check_devices(const ncclComm& comm, const std::vector<Member>& members) {
  for (std::size_t b = 0; b < members.size(); ++b) {
    for (std::size_t a = 0; a < b; ++a) {
      if (members[a].host != members[b].host || members[a].device != members[b].device) continue;
      if (members[a].process == members[b].process) {
        throw Failure(ncclInvalidUsage, "Duplicate GPU detected : rank {} and rank {} both on CUDA device {}", a, b,
                      members[a].device);
      }
      if (comm.rank != static_cast<int>(a)) continue;
      Finding finding{};
      finding.fault = Fault::api_misuse;
      finding.warning = true;
      finding.message = fmt::format(
          "ranks {} and {} are processes of one machine that both use device {}; unless CUDA_VISIBLE_DEVICES makes them "
          "different GPUs, NCCL refuses that (ncclInvalidUsage)",
          a, b, members[a].device);
      finding.place.kernel = "ncclCommInitRank";
      runtime::report(finding);
      return;
    }
  }
}

void take(ncclComm& comm, std::shared_ptr<Mesh> mesh, const Identity& identity) {
  const std::lock_guard lock(comm.mutex);
  const auto n = static_cast<std::size_t>(comm.ranks);
  comm.identity = identity;
  comm.sends.assign(n, 0);
  comm.receives.assign(n, 0);
  comm.connected_sends.assign(n, false);
  comm.connected_receives.assign(n, false);
  // Aborted meanwhile.
  if (comm.destroyed || comm.cancel) mesh->close();
  comm.mesh = std::move(mesh);
}

}  // namespace

void make(ncclComm& comm, const ncclUniqueId& id) {
  const Door door = open_door();
  const std::shared_ptr<Mesh> mesh = Mesh::create(comm.ranks);
  const Waiting waiting = waiting_for(comm, fmt::format("ncclCommInitRank: rank {} of {}", comm.rank, comm.ranks));
  const Meeting meeting = meet(id, member_of(comm, *mesh, door), waiting);
  check_devices(comm, meeting.members);
  connect(mesh, comm.rank, meeting, door, waiting);
  take(comm, mesh, meeting.communicator);
}

void make_from(ncclComm& comm, ncclComm& parent, std::uint64_t number, const std::vector<int>& members, int color, int key) {
  const std::string who = fmt::format("ncclCommSplit or ncclCommShrink: rank {} of {}", parent.rank, parent.ranks);
  const Waiting waiting = waiting_for(comm, who);
  const Door door = open_door();
  const std::shared_ptr<Mesh> mesh = Mesh::create(parent.ranks);
  comm.ranks = static_cast<int>(members.size());
  comm.rank = parent.rank;
  Member mine = member_of(comm, *mesh, door);
  mine.color = color;
  mine.key = key;
  Mesh& exchange = *parent.mesh;
  for (const int r : members) {
    if (r != parent.rank) exchange.tell(r, Channel::management, number, {reinterpret_cast<const char*>(&mine), sizeof mine});
  }
  std::vector<Member> all;
  for (const int r : members) {
    if (r == parent.rank) {
      all.push_back(mine);
      continue;
    }
    Patience patience;
    patience.stop = &comm.cancel;
    patience.seconds = waiting.seconds;
    patience.uninterruptible = true;
    patience.complain = [&](const std::vector<int>&) { waiting.complain(fmt::format("rank {} has not called it", r)); };
    std::string message;
    const Outcome outcome = exchange.hear(r, Channel::management, number, message, patience);
    if (outcome == Outcome::gone) throw Failure(ncclRemoteError, "{}: rank {} {}", who, r, exchange.why_gone(r));
    if (outcome != Outcome::done) throw Failure(ncclInternalError, "the communicator was aborted while it was made");
    Member member;
    std::memcpy(static_cast<void*>(&member), message.data(), std::min(message.size(), sizeof member));
    if (member.ranks != mine.ranks) {
      throw Failure(ncclInvalidUsage, "{}: rank {} makes a communicator of {} ranks, this one of {}", who, r, member.ranks,
                    mine.ranks);
    }
    all.push_back(member);
  }
  if (color == NCCL_SPLIT_NOCOLOR) return;
  std::erase_if(all, [&](const Member& m) { return m.color != color; });
  std::sort(all.begin(), all.end(),
            [](const Member& a, const Member& b) { return std::pair(a.key, a.rank) < std::pair(b.key, b.rank); });
  Meeting meeting;
  // The same for all members of this communicator, and for nobody else.
  meeting.communicator = {parent.identity[0] * 0x9e3779b97f4a7c15u + number + 1,
                          parent.identity[1] ^ static_cast<std::uint32_t>(color)};
  meeting.members = all;
  comm.rank = static_cast<int>(std::find_if(all.begin(), all.end(), [&](const Member& m) { return m.rank == parent.rank; }) -
                               all.begin());
  comm.ranks = static_cast<int>(all.size());
  connect(mesh, comm.rank, meeting, door, waiting);
  take(comm, mesh, meeting.communicator);
}

}  // namespace sim::nccl

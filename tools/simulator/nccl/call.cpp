#include "nccl/call.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace sim::nccl {

bool is_point_to_point(CallKind kind) { return kind == CallKind::send || kind == CallKind::receive; }

bool reduces(CallKind kind) {
  return kind == CallKind::all_reduce || kind == CallKind::reduce || kind == CallKind::reduce_scatter;
}

bool has_root(CallKind kind) {
  return kind == CallKind::broadcast || kind == CallKind::reduce || kind == CallKind::gather || kind == CallKind::scatter;
}

std::string_view name_of(CallKind kind) {
  constexpr std::array<std::string_view, 10> kNames = {"ncclAllReduce",     "ncclBroadcast", "ncclReduce", "ncclAllGather",
                                                       "ncclReduceScatter", "ncclAlltoAll",  "ncclGather", "ncclScatter",
                                                       "ncclSend",          "ncclRecv"};
  return kNames.at(static_cast<std::size_t>(kind));
}

std::string text_of(const Announcement& call) {
  std::string text = fmt::format("{}(count {}, {}", name_of(call.kind), call.count, name_of(call.type));
  if (reduces(call.kind)) text += fmt::format(", {}", name_of(call.op));
  if (has_root(call.kind)) text += fmt::format(", root {}", call.peer);
  if (call.kind == CallKind::send) text += fmt::format(", to rank {}", call.peer);
  if (call.kind == CallKind::receive) text += fmt::format(", from rank {}", call.peer);
  return text + ")";
}

bool match(const Announcement& a, const Announcement& b) {
  if (a.count != b.count || a.type != b.type) return false;
  if (is_point_to_point(a.kind)) return is_point_to_point(b.kind) && a.kind != b.kind;
  if (a.kind != b.kind) return false;
  return (!reduces(a.kind) || a.op == b.op) && (!has_root(a.kind) || a.peer == b.peer);
}

std::string pack(const Announcement& call, const Clock& before) {
  std::string message(reinterpret_cast<const char*>(&call), sizeof call);
  message.append(reinterpret_cast<const char*>(before.data()), before.size() * sizeof before[0]);
  return message;
}

Announcement unpack(std::string_view message) {
  Announcement call;
  std::memcpy(static_cast<void*>(&call), message.data(), std::min(message.size(), sizeof call));
  return call;
}

Clock unpack_clock(std::string_view message) {
  Clock clock(message.size() <= sizeof(Announcement) ? 0 : (message.size() - sizeof(Announcement)) / sizeof(Clock::value_type));
  if (!clock.empty()) std::memcpy(clock.data(), message.data() + sizeof(Announcement), clock.size() * sizeof clock[0]);
  return clock;
}

// The one that sends does not learn when its data arrives: it may be on its way when the sender goes on.
bool waits_for(const Announcement& call, int rank, int other) {
  if (call.count == 0 || rank == other) return false;
  switch (call.kind) {
    case CallKind::all_reduce:
    case CallKind::all_gather:
    case CallKind::reduce_scatter:
    case CallKind::all_to_all:
      return true;
    case CallKind::broadcast:
    case CallKind::scatter:
      return other == call.peer;
    case CallKind::reduce:
    case CallKind::gather:
      return rank == call.peer;
    case CallKind::send:
      return false;
    case CallKind::receive:
      return other == call.peer;
  }
  return false;
}

std::uint64_t sent_elements(const Announcement& call, int rank, int ranks) {
  const auto n = static_cast<std::uint64_t>(ranks);
  switch (call.kind) {
    case CallKind::all_reduce:
    case CallKind::reduce:
    case CallKind::all_gather:
    case CallKind::gather:
    case CallKind::send:
      return call.count;
    case CallKind::broadcast:
      return rank == call.peer ? call.count : 0;
    case CallKind::reduce_scatter:
    case CallKind::all_to_all:
      return n * call.count;
    case CallKind::scatter:
      return rank == call.peer ? n * call.count : 0;
    case CallKind::receive:
      return 0;
  }
  return 0;
}

std::uint64_t received_elements(const Announcement& call, int rank, int ranks) {
  const auto n = static_cast<std::uint64_t>(ranks);
  switch (call.kind) {
    case CallKind::all_reduce:
    case CallKind::broadcast:
    case CallKind::reduce_scatter:
    case CallKind::scatter:
    case CallKind::receive:
      return call.count;
    case CallKind::reduce:
      return rank == call.peer ? call.count : 0;
    case CallKind::all_gather:
    case CallKind::all_to_all:
      return n * call.count;
    case CallKind::gather:
      return rank == call.peer ? n * call.count : 0;
    case CallKind::send:
      return 0;
  }
  return 0;
}

}  // namespace sim::nccl

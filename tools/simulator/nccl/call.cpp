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

std::string pack(const Announcement& call) { return {reinterpret_cast<const char*>(&call), sizeof call}; }

Announcement unpack(std::string_view message) {
  Announcement call;
  std::memcpy(static_cast<void*>(&call), message.data(), std::min(message.size(), sizeof call));
  return call;
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

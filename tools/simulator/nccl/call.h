#pragma once
#include <nccl.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nccl/reduction.h"

namespace sim::nccl {

enum class CallKind : std::uint32_t {
  all_reduce,
  broadcast,
  reduce,
  all_gather,
  reduce_scatter,
  all_to_all,
  gather,
  scatter,
  send,
  receive
};

/// What a rank tells the others of a communication that it has begun: they must agree.
struct Announcement {
  CallKind kind = CallKind::all_reduce;
  ncclDataType_t type = ncclInt8;
  Operator op = Operator::sum;
  std::int32_t peer = -1;  // root, destination or source
  std::uint64_t count = 0;
  std::uint64_t scalar = 0;  // of scaled_sum; ranks may differ in it
};

bool is_point_to_point(CallKind kind);
bool reduces(CallKind kind);
bool has_root(CallKind kind);
std::string_view name_of(CallKind kind);        // "ncclAllReduce"
std::string text_of(const Announcement& call);  // "ncclAllReduce(count 4, float32, sum)"
/// Can the two be the same collective of two ranks, or the two ends of a transfer?
bool match(const Announcement& a, const Announcement& b);

/// What has happened before a communication, by the lanes of sim::Order; of use to ranks of the same process only.
using Clock = std::vector<std::uint64_t>;

std::string pack(const Announcement& call, const Clock& before = {});
Announcement unpack(std::string_view message);
Clock unpack_clock(std::string_view message);
/// Does rank `rank` know at the end of the communication that rank `other` had begun it?
bool waits_for(const Announcement& call, int rank, int other);

/// Elements of the buffers, for a communicator of so many ranks; 0 where the rank does not use the buffer.
std::uint64_t sent_elements(const Announcement& call, int rank, int ranks);
std::uint64_t received_elements(const Announcement& call, int rank, int ranks);

}  // namespace sim::nccl

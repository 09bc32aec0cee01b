#pragma once
// What a mesh keeps of each of its peers.
#include <algorithm>
#include <cstring>
#include <set>

#include "nccl/mesh.h"

namespace sim::nccl {

enum class FrameKind : std::uint32_t {
  tell,      // a message follows
  ready,     // the receiver knows where the data goes
  data,      // the data follows
  received,  // the receiver has all of it
  goodbye,   // the rank leaves
};

struct FrameHeader {
  std::uint32_t magic = 0x6e636c01;
  FrameKind kind = FrameKind::tell;
  std::uint32_t channel = 0, step = 0;
  std::uint64_t operation = 0;  // of the key, or the message's number
  std::uint64_t bytes = 0;      // what follows; of `ready`: what is expected
};
static_assert(sizeof(FrameHeader) == 32);

struct Mesh::Frame {
  FrameHeader header;
  std::string message;              // payload of `tell`
  const std::byte* data = nullptr;  // payload of `data`; null when it was withdrawn: zeros are sent instead
  Transfer* transfer = nullptr;     // that `data` or `received` belongs to
  std::size_t sent = 0;             // bytes of header and payload
};

/// A sender of this process has data for this rank.
struct Mesh::Offer {
  std::shared_ptr<Mesh> from;
  int rank = 0;  // of the sender
  Transfer* transfer = nullptr;
};

struct Mesh::Peer {
  int rank = 0;
  std::shared_ptr<Mesh> local;
  Socket socket;
  bool gone = false;
  bool said_goodbye = false;
  std::map<std::pair<Channel, std::uint64_t>, std::string> inbox;
  // of a connection
  std::deque<Frame> out;
  std::set<Key> ready;  // it waits for these
  FrameHeader incoming;
  std::size_t header_read = 0, payload_read = 0;
  std::string message;              // payload of an incoming `tell`
  Transfer* destination = nullptr;  // payload of incoming `data`; null when it was withdrawn: it is dropped
};

}  // namespace sim::nccl

// The connections of a mesh: frames, written and read without blocking, by whoever has something to send and by the mesh's own
// thread.
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <chrono>

#include "nccl/mesh_peer.h"

namespace sim::nccl {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::size_t kPiece = std::size_t{1} << 20;  // bytes of one system call: the mesh is locked meanwhile
constexpr std::size_t kLongestMessage = std::size_t{1} << 24;
constexpr auto kLinger = 5s;  // a closed mesh tries to say goodbye that long

// Stand in for data that was withdrawn when a part of it had been sent, and take what nobody wants any more.
const std::array<std::byte, 1 << 16> kZeros{};
std::byte* scrap() {
  thread_local std::array<std::byte, 1 << 16> bytes;
  return bytes.data();
}

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR; }

}  // namespace

void Mesh::wake() {
  const std::uint64_t one = 1;
  if (write(wake_.get(), &one, sizeof one) < 0) return;  // it is awake already
}

void Mesh::push(Peer& p, Frame frame) {
  if (p.gone || closed_) return;
  p.out.push_back(std::move(frame));
  transmit(p);
  if (!p.out.empty()) wake();
}

void Mesh::lose(Peer& p) {
  p.gone = true;
  p.out.clear();
  p.destination = nullptr;
  p.socket = Socket();
  changed_.notify_all();
}

void Mesh::transmit(Peer& p) {
  std::size_t budget = kPiece;
  while (!p.out.empty() && !p.gone && budget > 0) {
    Frame& frame = p.out.front();
    const bool is_data = frame.header.kind == FrameKind::data;
    const std::size_t payload = is_data || frame.header.kind == FrameKind::tell ? frame.header.bytes : 0;
    while (frame.sent < sizeof(FrameHeader) + payload && budget > 0) {
      std::array<iovec, 2> pieces{};
      std::size_t count = 0;
      if (frame.sent < sizeof(FrameHeader)) {
        pieces[count++] = {reinterpret_cast<std::byte*>(&frame.header) + frame.sent, sizeof(FrameHeader) - frame.sent};
      }
      const std::size_t at = frame.sent < sizeof(FrameHeader) ? 0 : frame.sent - sizeof(FrameHeader);
      if (std::size_t rest = std::min(payload - at, budget); rest > 0) {
        const void* from = nullptr;
        if (!is_data) {
          from = frame.message.data() + at;
        } else if (frame.data != nullptr) {
          from = frame.data + at;
        } else {
          from = kZeros.data();
          rest = std::min(rest, kZeros.size());
        }
        pieces[count++] = {const_cast<void*>(from), rest};
      }
      msghdr message{};
      message.msg_iov = pieces.data();
      message.msg_iovlen = count;
      const ssize_t n = sendmsg(p.socket.get(), &message, MSG_NOSIGNAL);
      if (n < 0) {
        // What the peer sent before it left is still to be read: receive() notices the end.
        if (!would_block()) p.out.clear();
        return;
      }
      frame.sent += static_cast<std::size_t>(n);
      budget -= std::min(budget, static_cast<std::size_t>(n));
      ++progress_;
    }
    if (frame.sent < sizeof(FrameHeader) + payload) return;
    if (frame.header.kind == FrameKind::received && frame.transfer != nullptr) {
      frame.transfer->done = true;
      changed_.notify_all();
    }
    p.out.pop_front();
  }
}

void Mesh::accept_frame(Peer& p) {
  const FrameHeader& header = p.incoming;
  const Key key{header.operation, header.step};
  switch (header.kind) {
    case FrameKind::tell:
      p.inbox[{static_cast<Channel>(header.channel), header.operation}] = std::move(p.message);
      p.message.clear();
      break;
    case FrameKind::ready: {
      const auto found = sends_.find({p.rank, key});
      if (found == sends_.end()) {
        p.ready.insert(key);
        break;
      }
      Frame frame;
      frame.header.kind = FrameKind::data;
      frame.header.step = key.step;
      frame.header.operation = key.operation;
      frame.header.bytes = found->second->bytes;
      frame.data = found->second->data;
      frame.transfer = found->second;
      push(p, std::move(frame));
      break;
    }
    case FrameKind::data: {
      Frame frame;
      frame.header.kind = FrameKind::received;
      frame.header.step = key.step;
      frame.header.operation = key.operation;
      frame.transfer = std::exchange(p.destination, nullptr);
      push(p, std::move(frame));
      break;
    }
    case FrameKind::received:
      if (const auto found = sends_.find({p.rank, key}); found != sends_.end()) {
        found->second->done = true;
        sends_.erase(found);
      }
      break;
    case FrameKind::goodbye:
      p.said_goodbye = true;
      break;
  }
  p.header_read = p.payload_read = 0;
  ++progress_;
  changed_.notify_all();
}

void Mesh::begin_payload(Peer& p) {
  const FrameHeader& header = p.incoming;
  if (header.kind == FrameKind::tell) p.message.resize(header.bytes);
  if (header.kind == FrameKind::data) {
    const auto found = receives_.find({p.rank, Key{header.operation, header.step}});
    if (found != receives_.end() && found->second->bytes == header.bytes) {
      p.destination = found->second;
      receives_.erase(found);
    }
  }
}

void Mesh::receive(Peer& p) {
  std::size_t budget = kPiece;
  while (budget > 0 && !p.gone) {
    std::byte* to = nullptr;
    std::size_t want = 0;
    const bool in_header = p.header_read < sizeof(FrameHeader);
    if (in_header) {
      to = reinterpret_cast<std::byte*>(&p.incoming) + p.header_read;
      want = sizeof(FrameHeader) - p.header_read;
    } else {
      want = std::min<std::size_t>(p.incoming.bytes - p.payload_read, budget);
      if (p.incoming.kind == FrameKind::tell) {
        to = reinterpret_cast<std::byte*>(p.message.data()) + p.payload_read;
      } else if (p.destination != nullptr) {
        to = p.destination->data + p.payload_read;
      } else {
        to = scrap();
        want = std::min(want, std::size_t{1} << 16);
      }
    }
    const ssize_t n = recv(p.socket.get(), to, want, 0);
    if (n <= 0) {
      if (n == 0 || !would_block()) lose(p);
      return;
    }
    budget -= std::min(budget, static_cast<std::size_t>(n));
    ++progress_;
    if (in_header) {
      p.header_read += static_cast<std::size_t>(n);
      if (p.header_read < sizeof(FrameHeader)) continue;
      const FrameHeader& header = p.incoming;
      const bool known = header.magic == FrameHeader{}.magic && header.kind <= FrameKind::goodbye &&
                         (header.kind != FrameKind::tell || header.bytes <= kLongestMessage);
      if (!known) return lose(p);
      begin_payload(p);
      const bool has_payload = (header.kind == FrameKind::tell || header.kind == FrameKind::data) && header.bytes > 0;
      if (!has_payload) accept_frame(p);
    } else {
      p.payload_read += static_cast<std::size_t>(n);
      if (p.payload_read == p.incoming.bytes) accept_frame(p);
    }
  }
}

void Mesh::serve() {
  std::vector<pollfd> descriptors;
  std::vector<Peer*> polled;
  steady_clock::time_point end = steady_clock::time_point::max();
  Lock lock(mutex_);
  for (;;) {
    descriptors.assign(1, {wake_.get(), POLLIN, 0});
    polled.clear();
    bool unsent = false;
    for (const auto& p : peers_) {
      if (!p->socket) continue;
      unsent |= !p->out.empty();
      descriptors.push_back({p->socket.get(), static_cast<short>(POLLIN | (p->out.empty() ? 0 : POLLOUT)), 0});
      polled.push_back(p.get());
    }
    if (closed_) {
      if (end == steady_clock::time_point::max()) end = steady_clock::now() + kLinger;
      // Reading goes on until the peers leave, too: a connection that is closed with something unread loses what it has not
      // sent.
      if (!unsent) {
        for (Peer* p : polled) shutdown(p->socket.get(), SHUT_WR);
      }
      if (polled.empty() || steady_clock::now() >= end) break;
    }
    const int timeout = closed_ ? 50 : -1;
    lock.unlock();
    poll(descriptors.data(), descriptors.size(), timeout);
    lock.lock();
    std::uint64_t count = 0;
    if (descriptors[0].revents != 0 && read(wake_.get(), &count, sizeof count) < 0) count = 0;
    for (std::size_t i = 0; i < polled.size(); ++i) {
      const short events = descriptors[i + 1].revents;
      if ((events & POLLOUT) != 0) transmit(*polled[i]);
      if ((events & (POLLIN | POLLERR | POLLHUP)) != 0 && polled[i]->socket) receive(*polled[i]);
    }
    changed_.notify_all();
  }
  for (const auto& p : peers_) {
    if (p->socket) lose(*p);
  }
}

}  // namespace sim::nccl

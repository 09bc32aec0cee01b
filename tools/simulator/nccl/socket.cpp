#include "nccl/socket.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "error.h"

namespace sim::nccl {
namespace {

using namespace std::chrono_literals;

constexpr int kTick = 50;  // milliseconds between two looks at KeepWaiting

void set(const Socket& socket, int level, int option, int value) {
  setsockopt(socket.get(), level, option, &value, sizeof value);
}

// Small messages leave at once; a host that has vanished is noticed within half a minute, or two when data is under way to it.
void prepare(const Socket& socket) {
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 5);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, 4);
  set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 120'000);
}

bool await(const Socket& socket, short events, const KeepWaiting& keep_waiting) {
  for (;;) {
    pollfd descriptor{socket.get(), events, 0};
    if (poll(&descriptor, 1, kTick) > 0) return true;
    if (!keep_waiting()) return false;
  }
}

bool is_own(const Socket& socket, const Endpoint& peer) {
  const Endpoint own = endpoint_of(socket);
  return own.port == peer.port && own.family == peer.family && std::memcmp(own.bytes, peer.bytes, sizeof own.bytes) == 0;
}

bool would_block(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

}  // namespace

Socket::~Socket() {
  if (descriptor_ >= 0) close(descriptor_);
}

Socket listen_at(const Endpoint& endpoint) {
  Socket result(socket(endpoint.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!result) throw Error("no socket: {}", std::strerror(errno));
  set(result, SOL_SOCKET, SO_REUSEADDR, 1);
  sockaddr_storage address;
  const socklen_t length = endpoint.to(address);
  if (bind(result.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0 || listen(result.get(), 1024) != 0) {
    throw Error("can not listen at {}: {}", endpoint.text(), std::strerror(errno));
  }
  return result;
}

Endpoint endpoint_of(const Socket& socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw Error("a socket has no address: {}", std::strerror(errno));
  }
  return Endpoint::from(reinterpret_cast<const sockaddr&>(address));
}

Socket accept_from(const Socket& listener, const KeepWaiting& keep_waiting) {
  for (;;) {
    if (!await(listener, POLLIN, keep_waiting)) return {};
    Socket result(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (result) {
      prepare(result);
      return result;
    }
    if (!would_block(errno) && errno != ECONNABORTED) throw Error("can not accept a connection: {}", std::strerror(errno));
  }
}

Socket connect_to(const Endpoint& endpoint, Refused refused, const KeepWaiting& keep_waiting) {
  for (;;) {
    Socket result(socket(endpoint.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!result) throw Error("no socket: {}", std::strerror(errno));
    sockaddr_storage address;
    const socklen_t length = endpoint.to(address);
    int error = connect(result.get(), reinterpret_cast<const sockaddr*>(&address), length) == 0 ? 0 : errno;
    if (error == EINPROGRESS || error == EINTR) {
      if (!await(result, POLLOUT, keep_waiting)) return {};
      socklen_t size = sizeof error;
      getsockopt(result.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    }
    // A free port of one's own machine may be given to the connecting end itself, which is then connected with itself.
    if (error == 0 && is_own(result, endpoint)) error = ECONNREFUSED;
    if (error == 0) {
      prepare(result);
      return result;
    }
    const bool not_yet = error == ECONNREFUSED || error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH;
    if (refused == Refused::fail || !not_yet) throw Error("can not connect to {}: {}", endpoint.text(), std::strerror(error));
    if (!keep_waiting()) return {};
    std::this_thread::sleep_for(20ms);
  }
}

Io read_exactly(const Socket& socket, void* data, std::size_t bytes, const KeepWaiting& keep_waiting) {
  auto* at = static_cast<std::byte*>(data);
  while (bytes > 0) {
    const ssize_t n = recv(socket.get(), at, bytes, 0);
    if (n > 0) {
      at += n;
      bytes -= static_cast<std::size_t>(n);
    } else if (n == 0 || !would_block(errno)) {
      return Io::closed;
    } else if (!await(socket, POLLIN, keep_waiting)) {
      return Io::stopped;
    }
  }
  return Io::done;
}

Io write_exactly(const Socket& socket, const void* data, std::size_t bytes, const KeepWaiting& keep_waiting) {
  const auto* at = static_cast<const std::byte*>(data);
  while (bytes > 0) {
    const ssize_t n = send(socket.get(), at, bytes, MSG_NOSIGNAL);
    if (n > 0) {
      at += n;
      bytes -= static_cast<std::size_t>(n);
    } else if (!would_block(errno)) {
      return Io::closed;
    } else if (!await(socket, POLLOUT, keep_waiting)) {
      return Io::stopped;
    }
  }
  return Io::done;
}

}  // namespace sim::nccl

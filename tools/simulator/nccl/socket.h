#pragma once
#include <cstddef>
#include <functional>
#include <optional>
#include <utility>

#include "nccl/endpoint.h"

namespace sim::nccl {

/// A file descriptor that is closed with its owner.
class Socket {
 public:
  Socket() = default;
  explicit Socket(int descriptor) : descriptor_(descriptor) {}
  Socket(Socket&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Socket();

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

/// Asked while a call waits, about 20 times a second: false ends the wait.
using KeepWaiting = std::function<bool()>;

/// Non-blocking, listens at the endpoint (port 0: any; see endpoint_of). Throws Error.
Socket listen_at(const Endpoint& endpoint);
Endpoint endpoint_of(const Socket& socket);

/// Waits for a connection; none when it need not wait any longer. The socket is non-blocking, with keep-alive.
Socket accept_from(const Socket& listener, const KeepWaiting& keep_waiting);

enum class Refused { fail, retry };
/// None when it need not wait any longer. Throws Error when nobody can be reached there; `retry`: nobody listens there yet.
Socket connect_to(const Endpoint& endpoint, Refused refused, const KeepWaiting& keep_waiting);

enum class Io { done, stopped, closed };
Io read_exactly(const Socket& socket, void* data, std::size_t bytes, const KeepWaiting& keep_waiting);
Io write_exactly(const Socket& socket, const void* data, std::size_t bytes, const KeepWaiting& keep_waiting);

}  // namespace sim::nccl

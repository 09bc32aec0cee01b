// TCP sockets, as the ranks of a job need them: none of them blocks, none is inherited by another program.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

namespace gannet::parallel {

// How many ports, from the one that is named, rank 0 tries to listen on and the others look for it at.
constexpr int port_window = 16;

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

  int descriptor() const { return descriptor_; }
  bool open() const { return descriptor_ >= 0; }

 private:
  int descriptor_ = -1;
};

struct Endpoint {
  sockaddr_storage address{};
  socklen_t size = 0;

  std::string host() const;  // the number; of an IPv4 address within IPv6, the IPv4 one
  bool is_loopback() const;
  Endpoint with_port(int port) const;
};

// What the name stands for, each address once. None, with the reason, when it stands for nothing (yet).
struct Resolved {
  std::vector<Endpoint> endpoints;
  std::string failure;
};
Resolved resolve(const std::string& host);

// A socket that listens on the first free port of the window at all addresses of this host, or at the given one alone.
// RuntimeError when all ports are taken.
Socket listen_within_window(int first_port, const Endpoint* only_at = nullptr);
// Somebody who knocked; not open when there is nobody.
Socket accept_from(const Socket& listener);
// Begins to connect; not open when that failed at once, with errno saying why.
Socket begin_to_connect(const Endpoint& to);
// Once it can be written to: 0, or the errno that the attempt ended with.
int outcome_of_connecting(const Socket& socket);
// Sends at once, notices hosts that are gone.
void keep_alive(const Socket& socket);

Endpoint peer_of(const Socket& socket);
std::string host_name();  // that this machine gives itself

}  // namespace gannet::parallel

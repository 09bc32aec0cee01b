#include "engine/parallel/socket.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

#include "kernels/check.h"

namespace gannet::parallel {
namespace {

constexpr int kind = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

const sockaddr* plain(const Endpoint& endpoint) { return reinterpret_cast<const sockaddr*>(&endpoint.address); }

std::optional<in_addr> ipv4_of(const Endpoint& endpoint) {
  in_addr address{};
  if (endpoint.address.ss_family == AF_INET) return reinterpret_cast<const sockaddr_in&>(endpoint.address).sin_addr;
  if (endpoint.address.ss_family != AF_INET6) return std::nullopt;
  const in6_addr& wide = reinterpret_cast<const sockaddr_in6&>(endpoint.address).sin6_addr;
  if (!IN6_IS_ADDR_V4MAPPED(&wide)) return std::nullopt;
  std::memcpy(&address, wide.s6_addr + 12, sizeof address);
  return address;
}

void set(int descriptor, int level, int option, int value) {
  ::setsockopt(descriptor, level, option, &value, sizeof value);  // what a system lacks, heartbeats make up for
}

Endpoint everywhere(int family) {
  Endpoint endpoint;
  endpoint.address.ss_family = static_cast<sa_family_t>(family);
  endpoint.size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  return endpoint;  // all zeros: any address
}

// Not open with errno EADDRINUSE (or what else went wrong).
Socket listen_at(const Endpoint& endpoint) {
  Socket socket(::socket(endpoint.address.ss_family, kind, 0));
  if (!socket.open()) return socket;
  set(socket.descriptor(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (endpoint.address.ss_family == AF_INET6) set(socket.descriptor(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (::bind(socket.descriptor(), plain(endpoint), endpoint.size) == 0 && ::listen(socket.descriptor(), SOMAXCONN) == 0)
    return socket;
  const int error = errno;
  socket = Socket();
  errno = error;
  return socket;
}

}  // namespace

Socket::~Socket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string Endpoint::host() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (const auto ipv4 = ipv4_of(*this)) return ::inet_ntop(AF_INET, &*ipv4, text.data(), text.size());
  if (address.ss_family != AF_INET6) return "";
  const auto& wide = reinterpret_cast<const sockaddr_in6&>(address);
  std::string host = ::inet_ntop(AF_INET6, &wide.sin6_addr, text.data(), text.size());
  std::array<char, IF_NAMESIZE> interface {};
  if (wide.sin6_scope_id != 0 && ::if_indextoname(wide.sin6_scope_id, interface.data()) != nullptr)
    host += std::string("%") + interface.data();
  return host;
}

bool Endpoint::is_loopback() const {
  if (const auto ipv4 = ipv4_of(*this)) return ntohl(ipv4->s_addr) >> 24 == 127;
  return address.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

Endpoint Endpoint::with_port(int port) const {
  Endpoint other = *this;
  if (address.ss_family == AF_INET6)
    reinterpret_cast<sockaddr_in6&>(other.address).sin6_port = htons(static_cast<std::uint16_t>(port));
  else
    reinterpret_cast<sockaddr_in&>(other.address).sin_port = htons(static_cast<std::uint16_t>(port));
  return other;
}

Resolved resolve(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  Resolved resolved;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, ::freeaddrinfo);
  if (error != 0) {
    resolved.failure = fmt::format("{}: {}", host, error == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(error));
    return resolved;
  }
  for (const addrinfo* item = list.get(); item != nullptr; item = item->ai_next) {
    if (item->ai_family != AF_INET && item->ai_family != AF_INET6) continue;
    Endpoint& endpoint = resolved.endpoints.emplace_back();
    std::memcpy(&endpoint.address, item->ai_addr, item->ai_addrlen);
    endpoint.size = item->ai_addrlen;
  }
  if (resolved.endpoints.empty()) resolved.failure = host + " has no address";
  return resolved;
}

Socket listen_within_window(int first_port, const Endpoint* only_at) {
  std::string why;
  for (int port = first_port; port < first_port + port_window && port <= 65535; ++port) {
    Socket socket = listen_at((only_at != nullptr ? *only_at : everywhere(AF_INET6)).with_port(port));
    if (!socket.open() && only_at == nullptr && errno == EAFNOSUPPORT) socket = listen_at(everywhere(AF_INET).with_port(port));
    if (socket.open()) return socket;
    why = std::strerror(errno);
  }
  throw RuntimeError(
      fmt::format("rank 0 can not listen on any port from {} to {} of {}: {}; GANNET_PORT names another first one", first_port,
                  first_port + port_window - 1, host_name(), why));
}

Socket accept_from(const Socket& listener) {
  return Socket(::accept4(listener.descriptor(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

Socket begin_to_connect(const Endpoint& to) {
  Socket socket(::socket(to.address.ss_family, kind, 0));
  if (!socket.open() || ::connect(socket.descriptor(), plain(to), to.size) == 0 || errno == EINPROGRESS) return socket;
  const int error = errno;
  socket = Socket();
  errno = error;
  return socket;
}

int outcome_of_connecting(const Socket& socket) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket.descriptor(), SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

void keep_alive(const Socket& socket) {
  set(socket.descriptor(), IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket.descriptor(), SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket.descriptor(), IPPROTO_TCP, TCP_KEEPIDLE, 10);
  set(socket.descriptor(), IPPROTO_TCP, TCP_KEEPINTVL, 5);
  set(socket.descriptor(), IPPROTO_TCP, TCP_KEEPCNT, 4);
}

Endpoint peer_of(const Socket& socket) {
  Endpoint endpoint;
  endpoint.size = sizeof endpoint.address;
  if (::getpeername(socket.descriptor(), reinterpret_cast<sockaddr*>(&endpoint.address), &endpoint.size) != 0) return {};
  return endpoint;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

}  // namespace gannet::parallel

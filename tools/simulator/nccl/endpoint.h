#pragma once
#include <netinet/in.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sim::nccl {

/// A TCP address, IPv4 or IPv6, of a fixed size: it is part of ncclUniqueId and of what ranks tell each other.
struct Endpoint {
  std::uint16_t family = AF_UNSPEC;  // AF_UNSPEC: none
  std::uint16_t port = 0;            // host order
  std::uint32_t scope = 0;           // of a link-local IPv6 address
  std::uint8_t bytes[16] = {};       // network order; IPv4 in the first four

  bool valid() const { return family != AF_UNSPEC; }
  std::string text() const;  // "10.0.0.1:4711", "[fd00::2]:4711"
  socklen_t to(sockaddr_storage& storage) const;
  static Endpoint from(const sockaddr& address);
};

/// "host:port" or "[ipv6]:port", names resolved. Throws Error.
Endpoint parse_endpoint(std::string_view text);

/// What NCCL_SOCKET_IFNAME means: prefixes by commas, "=" before the list for whole names, "^" to exclude.
bool interface_matches(std::string_view pattern, std::string_view name);

/// Address (port 0) of the interface that NCCL_SOCKET_IFNAME names, else of the first that is up and is neither loopback nor of
/// a container bridge, else of a bridge, else loopback. NCCL_SOCKET_FAMILY (AF_INET, AF_INET6) restricts; without it IPv4 goes
/// first. Throws Error when the environment names an interface that is not there; returns none when the machine has no address
/// at all.
Endpoint local_endpoint();

}  // namespace sim::nccl

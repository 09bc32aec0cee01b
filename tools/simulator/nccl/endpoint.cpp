#include "nccl/endpoint.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "error.h"

namespace sim::nccl {
namespace {

bool is_link_local(const sockaddr& address) {
  return address.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6&>(address).sin6_addr);
}

bool is_bridge(std::string_view name) { return name.starts_with("docker") || name.starts_with("virbr"); }

}  // namespace

socklen_t Endpoint::to(sockaddr_storage& storage) const {
  std::memset(&storage, 0, sizeof storage);
  if (family == AF_INET) {
    auto& in = reinterpret_cast<sockaddr_in&>(storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, bytes, 4);
    return sizeof in;
  }
  auto& in = reinterpret_cast<sockaddr_in6&>(storage);
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(port);
  in.sin6_scope_id = scope;
  std::memcpy(&in.sin6_addr, bytes, 16);
  return sizeof in;
}

Endpoint Endpoint::from(const sockaddr& address) {
  Endpoint result;
  result.family = address.sa_family;
  if (address.sa_family == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address);
    result.port = ntohs(in.sin_port);
    std::memcpy(result.bytes, &in.sin_addr, 4);
  } else {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(address);
    result.port = ntohs(in.sin6_port);
    result.scope = in.sin6_scope_id;
    std::memcpy(result.bytes, &in.sin6_addr, 16);
  }
  return result;
}

std::string Endpoint::text() const {
  if (!valid()) return "no address";
  char buffer[INET6_ADDRSTRLEN] = {};
  inet_ntop(family, bytes, buffer, sizeof buffer);
  return family == AF_INET ? fmt::format("{}:{}", buffer, port) : fmt::format("[{}]:{}", buffer, port);
}

Endpoint parse_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon + 1 == text.size()) throw Error("'{}' is not host:port", text);
  std::string host(text.substr(0, colon));
  const std::string port(text.substr(colon + 1));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string::npos) {
    throw Error("'{}' is not [ipv6]:port", text);
  }
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    throw Error("address '{}': {}", text, gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, &freeaddrinfo);
  return Endpoint::from(*list->ai_addr);
}

bool interface_matches(std::string_view pattern, std::string_view name) {
  const bool exclude = pattern.starts_with('^');
  if (exclude) pattern.remove_prefix(1);
  const bool exact = pattern.starts_with('=');
  if (exact) pattern.remove_prefix(1);
  bool found = false;
  while (!pattern.empty()) {
    const std::string_view item = pattern.substr(0, pattern.find(','));
    pattern.remove_prefix(std::min(pattern.size(), item.size() + 1));
    // An item may name a port, which only has a meaning for InfiniBand.
    const std::string_view wanted = item.substr(0, item.find(':'));
    if (!wanted.empty() && (exact ? name == wanted : name.starts_with(wanted))) found = true;
  }
  return found != exclude;
}

Endpoint local_endpoint() {
  const char* pattern = std::getenv("NCCL_SOCKET_IFNAME");
  const char* family_name = std::getenv("NCCL_SOCKET_FAMILY");
  int only = AF_UNSPEC;
  if (family_name != nullptr && std::strcmp(family_name, "AF_INET") == 0) only = AF_INET;
  if (family_name != nullptr && std::strcmp(family_name, "AF_INET6") == 0) only = AF_INET6;

  ifaddrs* found = nullptr;
  if (getifaddrs(&found) != 0) throw Error("the network interfaces can not be listed: {}", std::strerror(errno));
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> list(found, &freeifaddrs);
  const bool named = pattern != nullptr && *pattern != '\0';
  Endpoint best;
  int best_badness = 0;
  for (const ifaddrs* i = list.get(); i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || (i->ifa_flags & IFF_UP) == 0) continue;
    const int family = i->ifa_addr->sa_family;
    if ((family != AF_INET && family != AF_INET6) || (only != AF_UNSPEC && family != only)) continue;
    if (named && !interface_matches(pattern, i->ifa_name)) continue;
    if (is_link_local(*i->ifa_addr) && !named) continue;
    int badness = (i->ifa_flags & IFF_LOOPBACK) != 0  ? 16
                  : is_bridge(i->ifa_name)            ? 8
                  : (i->ifa_flags & IFF_RUNNING) == 0 ? 4
                                                      : 0;
    badness += is_link_local(*i->ifa_addr) ? 2 : family == AF_INET6 ? 1 : 0;
    if (!best.valid() || badness < best_badness) {
      best = Endpoint::from(*i->ifa_addr);
      best_badness = badness;
    }
  }
  best.port = 0;
  if (named && !best.valid()) throw Error("no interface that is up matches NCCL_SOCKET_IFNAME={}", pattern);
  return best;
}

}  // namespace sim::nccl

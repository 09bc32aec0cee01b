#include "engine/parallel/connection.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace gannet::parallel {
namespace {

constexpr std::size_t header_size = 5;  // the length of the body in 4 bytes, the kind
constexpr std::size_t part_size = std::size_t{1} << 18;
constexpr std::size_t at_once = std::size_t{1} << 22;  // received before others have their turn

void append(std::string& out, Kind kind, std::string_view body) {
  const auto size = static_cast<std::uint32_t>(body.size());
  for (int shift = 0; shift < 32; shift += 8) out += static_cast<char>(size >> shift);
  out += static_cast<char>(kind);
  out += body;
}

std::size_t size_at(const char* bytes) {
  std::size_t size = 0;
  for (std::size_t i = 4; i-- > 0;) size = size << 8 | static_cast<unsigned char>(bytes[i]);
  return size;
}

}  // namespace

void Connection::close(std::string why) {
  if (!open()) return;
  socket_ = Socket();
  why_closed_ = std::move(why);
  out_.clear();
  long_.clear();
}

void Connection::send(Kind kind, std::string_view body) {
  if (open()) append(out_, kind, body.substr(0, longest_message));
}

void Connection::send_long(std::shared_ptr<const std::string> body) {
  if (open()) long_.push_back({std::move(body)});
}

void Connection::next_part() {
  Long& next = long_.front();
  const std::string_view part = std::string_view(*next.body).substr(next.sent, part_size);
  next.sent += part.size();
  const bool last = next.sent == next.body->size();
  append(out_, last ? Kind::last_part : Kind::part, part);
  if (last) long_.pop_front();
}

void Connection::flush() {
  while (has_to_send()) {
    if (out_.empty()) next_part();
    const ssize_t sent = ::send(socket_.descriptor(), out_.data() + out_sent_, out_.size() - out_sent_, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
    if (sent < 0) {
      // What the other side said before it went is still to be read: receive() will find the end.
      out_.clear();
      out_sent_ = 0;
      long_.clear();
      return;
    }
    out_sent_ += static_cast<std::size_t>(sent);
    if (out_sent_ < out_.size()) continue;
    out_.clear();
    out_sent_ = 0;
  }
}

void Connection::finish_sending() {
  if (open()) ::shutdown(socket_.descriptor(), SHUT_WR);
}

std::vector<Message> Connection::receive() {
  std::vector<Message> messages;
  std::size_t received = 0;
  while (open() && received < at_once) {
    const std::size_t had = in_.size();
    in_.resize(had + header_size + part_size);
    const ssize_t count = ::recv(socket_.descriptor(), in_.data() + had, in_.size() - had, 0);
    const int error = errno;
    in_.resize(had + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count < 0 && error == EINTR) continue;
    if (count < 0 && (error == EAGAIN || error == EWOULDBLOCK)) break;
    if (count <= 0) {
      close(count == 0 ? "closed by the other side" : std::strerror(error));
      break;
    }
    received += static_cast<std::size_t>(count);
    received_ += static_cast<std::uint64_t>(count);
    std::size_t at = 0;
    while (in_.size() - at >= header_size) {
      const std::size_t size = size_at(in_.data() + at);
      if (size > longest_) {
        close("what came is no message of a rank");
        return messages;
      }
      if (in_.size() - at < header_size + size) break;
      messages.push_back({static_cast<Kind>(in_[at + 4]), in_.substr(at + header_size, size)});
      at += header_size + size;
    }
    in_.erase(0, at);
  }
  return messages;
}

}  // namespace gannet::parallel

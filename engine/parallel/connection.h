// A connection between two ranks: whole messages in both directions, and long ones in parts, so that short ones overtake them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/parallel/socket.h"

namespace gannet::parallel {

enum class Kind : std::uint8_t {
  hello = 1,  // rank to rank 0: magic, version, job, size, rank
  welcome,    // rank 0: magic
  refusal,    // rank 0: magic, why; of another job: an empty text
  join,       // rank: its host, where it found rank 0
  beat,       // both: step, phase, is it watched, milliseconds in it
  exchange,   // rank: what the following parts are for
  part,       // of a long message; from rank 0 everybody's host and address first, then what all have given
  last_part,
  failure,  // rank: what it failed with
  end,      // both: what ended the job
  leave,    // rank: it is done
  leave_seen,
};

struct Message {
  Kind kind;
  std::string body;
};

class Connection {
 public:
  Connection() = default;
  explicit Connection(Socket socket, std::size_t longest = longest_message) : socket_(std::move(socket)), longest_(longest) {}

  int descriptor() const { return socket_.descriptor(); }
  const Socket& socket() const { return socket_; }
  bool open() const { return socket_.open(); }
  // Why it is not open: "closed by the other side", or what the system says.
  const std::string& why_closed() const { return why_closed_; }
  void close(std::string why);
  void trust() { longest_ = longest_message; }  // who spoke is known by now

  void send(Kind kind, std::string_view body = {});
  void send_long(std::shared_ptr<const std::string> body);
  bool has_to_send() const { return open() && (!out_.empty() || !long_.empty()); }
  void flush();  // as much as goes without waiting
  void finish_sending();
  // What has come. The connection may be closed afterwards.
  std::vector<Message> receive();
  std::uint64_t received() const { return received_; }  // bytes, so far

  // Of one who has not shown yet that it is a rank.
  static constexpr std::size_t longest_greeting = 4096, longest_message = 1 << 20;

 private:
  struct Long {
    std::shared_ptr<const std::string> body;
    std::size_t sent = 0;
  };
  void next_part();

  Socket socket_;
  std::size_t longest_ = longest_message;
  std::string why_closed_;
  std::string in_;
  std::uint64_t received_ = 0;
  std::string out_;  // what is next
  std::size_t out_sent_ = 0;
  std::deque<Long> long_;
};

}  // namespace gannet::parallel

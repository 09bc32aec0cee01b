#include "engine/parallel/hub.h"

#include <algorithm>
#include <utility>

#include "engine/parallel/wire.h"
#include "kernels/check.h"

namespace gannet::parallel {
namespace {

constexpr std::size_t most_strangers = 64;
constexpr double greeting_seconds = 10, joining_seconds = 30;

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

// Whose ranks are all on one host, and know it, need not be reached from elsewhere.
Socket listen_for(const World& world) {
  if (world.local_size == world.size && world.launcher != "environment")
    for (const Endpoint& endpoint : resolve(world.address).endpoints)
      if (endpoint.is_loopback()) return listen_within_window(world.port, &endpoint);
  return listen_within_window(world.port);
}

Clock::time_point after(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

Hub::Hub(Desk& desk)
    : desk_(desk),
      pace_(desk.options),
      listener_(listen_for(desk.world)),
      members_(static_cast<std::size_t>(desk.world.size)),
      standings_(members_.size()),
      patience_(after(desk.options.patience_seconds)) {
  standings_[0].here = true;
  standings_[0].host = host_name();
}

void Hub::run() {
  while (!done_) {
    wait();
    pass_time();
    if (met_ || !verdict_.empty())
      listener_ = Socket();
    else
      accept_all();
    for (std::size_t rank = 1; rank < members_.size(); ++rank) hear_member(rank);
    take_request();
    if (verdict_.empty()) {
      meet();
      exchange();
      judge();
    }
    if (pace_.beat_is_due(standings_[0].at.version != said_)) beat();
    flush();
    if (!verdict_.empty())
      conclude();
    else if (all_left()) {
      done_ =
          std::none_of(members_.begin(), members_.end(), [](const Member& member) { return member.connection.has_to_send(); });
      if (done_) desk_.answer();
    }
  }
}

void Hub::wait() {
  waits_.clear();
  waits_.push_back({desk_.wake(), POLLIN, 0});
  waits_.push_back({listener_.descriptor(), POLLIN, 0});  // poll ignores those below 0
  const auto add = [this](const Connection& connection) {
    waits_.push_back({connection.descriptor(), static_cast<short>(POLLIN | (connection.has_to_send() ? POLLOUT : 0)), 0});
  };
  for (const Member& member : members_) add(member.connection);
  for (const Stranger& stranger : strangers_) add(stranger.connection);
  wait_ = std::min(beat_seconds(desk_.options), look_seconds);
  if (settled_ || !met_) wait_ = std::min(wait_, 0.05);
  if (!verdict_.empty()) wait_ = 0.01;
  ::poll(waits_.data(), waits_.size(), static_cast<int>(wait_ * 1000));
  desk_.awake();
}

void Hub::pass_time() {
  const Clock::duration pause = pace_.pass(wait_);
  unwatched_ += pause;
  for (Member& member : members_) {
    member.heard += pause;
    member.at_since += pause;
  }
  standings_[0].at = desk_.position.look(pace_.awake());
  members_[0].heard = members_[0].at_since = pace_.now();
}

void Hub::accept_all() {
  for (Socket socket = accept_from(listener_); socket.open(); socket = accept_from(listener_)) {
    if (strangers_.size() == most_strangers) {
      const auto oldest = std::find_if(strangers_.begin(), strangers_.end(), [](const Stranger& one) { return one.rank == 0; });
      strangers_.erase(oldest == strangers_.end() ? strangers_.begin() : oldest);
    }
    keep_alive(socket);
    strangers_.push_back({Connection(std::move(socket), Connection::longest_greeting), pace_.now()});
  }
  for (Stranger& stranger : strangers_) {
    hear_stranger(stranger);
    const double limit = stranger.rank == 0 ? greeting_seconds : joining_seconds;
    if (seconds_between(stranger.since, pace_.now()) > limit) stranger.connection.close("");
    if (!stranger.connection.open() && stranger.rank == 0) ++refused_;
  }
  std::erase_if(strangers_, [](const Stranger& stranger) { return !stranger.connection.open(); });
}

void Hub::hear_stranger(Stranger& stranger) {
  for (const Message& message : stranger.connection.receive()) {
    try {
      if (message.kind == Kind::hello && stranger.rank == 0)
        hear_hello(stranger, message.body);
      else if (message.kind == Kind::join && stranger.rank != 0)
        return join(stranger, message.body);
      else
        throw WireError("not what a rank says");
    } catch (const WireError& error) {
      stranger.connection.close(error.what());
    }
  }
}

void Hub::hear_hello(Stranger& stranger, const std::string& body) {
  Reader words(body);
  const std::string_view spoken = words.text();
  if (spoken != magic) {
    if (!spoken.starts_with(protocol)) throw WireError("not what a rank says");
    return refuse(stranger, "rank 0 runs another version of gannet");
  }
  if (words.text() != desk_.world.job) return refuse(stranger, "");
  const std::int64_t size = words.number(), rank = words.number();
  const std::string self = name_of(0, standings_[0].host);
  if (size != desk_.world.size)
    return refuse(stranger,
                  fmt::format("rank {} is of a world of {} ranks, and {} of one of {}", rank, size, self, desk_.world.size));
  if (rank < 1 || rank >= size) return refuse(stranger, fmt::format("{} knows no other rank {}", self, rank));
  const Standing& standing = standings_[static_cast<std::size_t>(rank)];
  if (standing.here)
    return refuse(stranger, fmt::format("another process is {} already", name_of(static_cast<int>(rank), standing.host)));
  stranger.rank = static_cast<int>(rank);
  stranger.connection.send(Kind::welcome, Writer().text(magic).bytes);
}

void Hub::refuse(Stranger& stranger, const std::string& why) {
  stranger.connection.send(Kind::refusal, Writer().text(magic).text(why).bytes);
  stranger.connection.flush();
  stranger.connection.close("");
}

void Hub::join(Stranger& stranger, const std::string& body) {
  const auto rank = static_cast<std::size_t>(stranger.rank);
  Reader words(body);
  Standing& standing = standings_[rank];
  if (standing.here) throw WireError("the rank is here already");
  standing.host = words.text();
  standing.here = true;
  Member& member = members_[rank];
  member.seen_at = words.text();
  member.address = peer_of(stranger.connection.socket()).host();
  member.heard = member.at_since = pace_.now();
  member.connection = std::move(stranger.connection);
  member.connection.trust();
}

void Hub::hear_member(std::size_t rank) {
  Member& member = members_[rank];
  if (!member.connection.open()) return;
  const std::uint64_t before = member.connection.received();
  std::vector<Message> messages = member.connection.receive();
  if (member.connection.received() != before) member.heard = pace_.now();
  for (Message& message : messages) {
    try {
      hear(rank, message);
    } catch (const WireError& error) {
      member.connection.close(error.what());
    }
  }
  Standing& standing = standings_[rank];
  if (member.connection.open() || standing.left || standing.failed || standing.lost) return;
  standing.lost = events_++;
  standing.why_lost = member.connection.why_closed();
}

void Hub::hear(std::size_t rank, Message& message) {
  Member& member = members_[rank];
  Standing& standing = standings_[rank];
  switch (message.kind) {
    case Kind::beat:
      standing.at = Position::from(message.body);
      member.at_since = pace_.now();
      return;
    case Kind::exchange:
      member.exchanging = std::move(message.body);
      return;
    case Kind::part:
    case Kind::last_part:
      member.incoming += message.body;
      member.ready = message.kind == Kind::last_part;
      return;
    case Kind::failure:
      standing.failure = std::move(message.body);
      standing.failed = events_++;
      return;
    case Kind::end:  // it gave this rank up
      return end(message.body);
    case Kind::leave:
      standing.left = true;
      return member.connection.send(Kind::leave_seen);
    default:
      throw WireError("not what a rank says to rank 0");
  }
}

void Hub::take_request() {
  const Request request = desk_.asked();
  Member& self = members_[0];
  if (request == Request::exchange && !self.ready) {
    self.exchanging = desk_.given_for;
    self.incoming = std::move(desk_.given);
    self.ready = true;
  }
  if (request == Request::fail && !standings_[0].failed) {
    standings_[0].failure = desk_.text;
    standings_[0].failed = events_++;
  }
  if (request == Request::leave) standings_[0].left = true;
}

void Hub::meet() {
  if (met_ || !std::all_of(standings_.begin(), standings_.end(), [](const Standing& standing) { return standing.here; }))
    return;
  met_ = true;
  strangers_.clear();
  // Who came from this very host is where rank 0 is.
  std::string& own = members_[0].address;
  for (const Member& member : members_)
    if (own.empty() || (is_loopback(own) && !member.seen_at.empty())) own = member.seen_at;
  Writer words;
  for (std::size_t rank = 0; rank < members_.size(); ++rank) {
    std::string& address = members_[rank].address;
    if (is_loopback(address)) address = own;
    desk_.met.push_back({standings_[rank].host, address});
    words.text(standings_[rank].host).text(address);
  }
  const auto all = std::make_shared<const std::string>(std::move(words.bytes));
  for (Member& member : members_) member.connection.send_long(all);
  unwatched_ = pace_.now();
  desk_.answer();
}

void Hub::exchange() {
  const auto ready = [](const Member& member) { return member.ready; };
  if (!met_ || !std::all_of(members_.begin(), members_.end(), ready)) return;
  for (std::size_t rank = 1; rank < members_.size(); ++rank)
    if (members_[rank].exchanging != members_[0].exchanging)
      return end(fmt::format("{} wants to {}, and {} to {}: they do not run the same program",
                             name_of(static_cast<int>(rank), standings_[rank].host), members_[rank].exchanging,
                             name_of(0, standings_[0].host), members_[0].exchanging));
  Writer words;
  std::size_t size = 0;
  for (const Member& member : members_) size += 8 + member.incoming.size();
  words.bytes.reserve(size);
  for (const Member& member : members_) words.text(member.incoming);
  const auto all = std::make_shared<const std::string>(std::move(words.bytes));
  desk_.received.clear();
  for (Member& member : members_) {
    desk_.received.push_back(std::exchange(member.incoming, {}));
    member.connection.send_long(all);
    member.ready = false;
  }
  desk_.answer();
}

bool Hub::all_left() const {
  return std::all_of(standings_.begin(), standings_.end(), [](const Standing& standing) { return standing.left; });
}

void Hub::beat() {
  const std::string body = standings_[0].at.bytes();
  said_ = standings_[0].at.version;
  for (std::size_t rank = 1; rank < members_.size(); ++rank)
    if (!standings_[rank].left) members_[rank].connection.send(Kind::beat, body);
}

void Hub::flush() {
  for (Member& member : members_) member.connection.flush();
  for (Stranger& stranger : strangers_) stranger.connection.flush();
}

}  // namespace gannet::parallel

#include "engine/parallel/spoke.h"

#include <poll.h>

#include <cstring>
#include <utility>

#include "engine/parallel/verdict.h"
#include "engine/parallel/wire.h"
#include "kernels/check.h"

namespace gannet::parallel {
namespace {

// That rank 0 has for its verdict, after this rank has told it of its failure.
constexpr double verdict_seconds = settle_seconds + 3;

}  // namespace

void Spoke::run() {
  const World& world = desk_.world;
  try {
    const auto patience = std::chrono::duration<double>(desk_.options.patience_seconds);
    Reached reached = reach_rank_0(world, Clock::now() + std::chrono::duration_cast<Clock::duration>(patience));
    connection_ = std::move(reached.connection);
    if (!connection_.open()) {
      desk_.signal = stop_pending();
      throw RuntimeError(fmt::format("stopped by SIG{} before all ranks had come", ::sigabbrev_np(desk_.signal)));
    }
    keep_alive(connection_.socket());
    connection_.trust();
    connection_.send(Kind::join, Writer().text(host_name()).text(reached.address).bytes);
    connection_.flush();
  } catch (const RuntimeError& error) {
    desk_.text = error.what();
    return desk_.answer();
  }
  pace_.pass(0);  // the search is no pause
  heard_ = pace_.now();
  while (!done_) {
    wait();
    heard_ += pace_.pass(wait_);
    at_ = desk_.position.look(pace_.awake());
    const std::uint64_t before = connection_.received();
    std::vector<Message> messages = connection_.receive();
    if (connection_.received() != before) heard_ = pace_.now();
    for (Message& message : messages) {
      try {
        hear(message);
      } catch (const WireError& error) {
        connection_.close(error.what());
      }
    }
    take_request();
    if (verdict_.empty() && !left_) judge();
    if (pace_.beat_is_due(at_.version != said_)) beat();
    connection_.flush();
    if (!verdict_.empty())
      conclude();
    else if (left_ && leaving_) {
      done_ = true;
      desk_.answer();
    }
  }
}

void Spoke::wait() {
  pollfd waits[] = {{desk_.wake(), POLLIN, 0},
                    {connection_.descriptor(), static_cast<short>(POLLIN | (connection_.has_to_send() ? POLLOUT : 0)), 0}};
  wait_ = verdict_.empty() ? std::min(beat_seconds(desk_.options), look_seconds) : 0.01;
  if (!met_ || failing_) wait_ = std::min(wait_, 0.05);
  ::poll(waits, 2, static_cast<int>(wait_ * 1000));
  desk_.awake();
}

std::string Spoke::rank_0() const {
  return desk_.met.empty() ? fmt::format("rank 0 ({})", desk_.world.address) : name_of(0, desk_.met[0].host);
}

void Spoke::hear(Message& message) {
  switch (message.kind) {
    case Kind::beat:
      at_rank_0_ = Position::from(message.body);
      return;
    case Kind::part:
      incoming_ += message.body;
      return;
    case Kind::last_part:
      incoming_ += message.body;
      return whole(std::exchange(incoming_, {}));
    case Kind::end:
      return end(message.body);
    case Kind::leave_seen:
      left_ = true;
      return;
    default:
      throw WireError("not what rank 0 says");
  }
}

// First who has met, then what comes of exchanges.
void Spoke::whole(const std::string& message) {
  Reader words(message);
  if (!met_) {
    for (int rank = 0; rank < desk_.world.size; ++rank) {
      const std::string_view host = words.text(), address = words.text();
      desk_.met.push_back({std::string(host), std::string(address)});
    }
    met_ = true;
    return desk_.answer();
  }
  if (!exchanging_) throw WireError("an answer that nobody asked for");
  desk_.received.clear();
  for (int rank = 0; rank < desk_.world.size; ++rank) desk_.received.emplace_back(words.text());
  exchanging_ = false;
  desk_.answer();
}

void Spoke::take_request() {
  const Request request = desk_.asked();
  if (request == Request::exchange && !exchanging_) {
    exchanging_ = true;
    connection_.send(Kind::exchange, desk_.given_for);
    connection_.send_long(std::make_shared<const std::string>(std::move(desk_.given)));
  }
  if (request == Request::fail && !failing_) {
    failing_ = pace_.now();
    failure_ = desk_.text;
    beat();
    connection_.send(Kind::failure, failure_);
  }
  if (request == Request::leave && !leaving_) {
    leaving_ = true;
    beat();
    connection_.send(Kind::leave);
  }
}

void Spoke::beat() {
  connection_.send(Kind::beat, at_.bytes());
  said_ = at_.version;
}

void Spoke::judge() {
  if (!connection_.open()) return end(death_of(rank_0(), at_rank_0_, connection_.why_closed()));
  const double unheard = seconds_between(heard_, pace_.now());
  if (unheard > notice_seconds(desk_.options)) return end(silence_of(rank_0(), at_rank_0_, unheard, desk_.options));
  if (failing_ && seconds_between(*failing_, pace_.now()) > verdict_seconds)
    return end(fmt::format("{} failed {}: {}", name_of(desk_.world.rank, host_name()), at_.text(), failure_));
  if (met_) return;
  desk_.signal = stop_pending();
  if (desk_.signal != 0)
    end(fmt::format("{} was stopped by SIG{} before all ranks had come", name_of(desk_.world.rank, host_name()),
                    ::sigabbrev_np(desk_.signal)));
}

void Spoke::end(const std::string& text) {
  if (!verdict_.empty()) return;
  verdict_ = text;
  ended_ = pace_.now();
  connection_.send(Kind::end, text);  // rank 0 may only have been stopped for a while
}

void Spoke::conclude() {
  if (connection_.has_to_send() && seconds_between(ended_, pace_.now()) < farewell_seconds) return;
  const Request request = desk_.asked();
  if (request == Request::meet || request == Request::fail || (request == Request::leave && failed_)) {
    failed_ = request == Request::fail;
    done_ = !failed_;
    answered_ = pace_.now();
    desk_.text = verdict_;
    return desk_.answer();
  }
  if (!failed_ || seconds_between(answered_, pace_.now()) > unwind_seconds)
    desk_.ending.end(rank_prefix(desk_.world), verdict_);
}

}  // namespace gannet::parallel

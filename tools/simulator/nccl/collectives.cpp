#include "nccl/collectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>

namespace sim::nccl {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr std::size_t kStaging = std::size_t{16} << 20;  // bytes that a reduction receives at a time
constexpr auto kMismatchCollects = 1s;                   // after a mismatch, so that all ranks name the same two

// A rank that is waited for may be in something else: what it has announced and nobody has answered.
std::string whereabouts(const Mesh& mesh, int rank) {
  std::string text;
  for (const auto& [channel, message] : mesh.untaken(rank)) {
    if (channel > Channel::receive) continue;
    text += fmt::format("{}{}", text.empty() ? ", it is in " : " and ", text_of(unpack(message)));
  }
  return text;
}

std::string waiting_text(const Mesh& mesh, const Communication& mine, double seconds) {
  const char* list = is_point_to_point(mine.call.kind) ? "its transfers with that rank in" : "the collectives of";
  return fmt::format("rank {} of {} has waited {:g} s in {}, number {} of {} {}: ", mesh.rank(), mesh.size(), seconds,
                     text_of(mine.call), mine.number + 1, list, mesh.name());
}

void join(Clock& into, const Clock& other) {
  if (into.size() < other.size()) into.resize(other.size());
  for (std::size_t i = 0; i < other.size(); ++i) into[i] = std::max(into[i], other[i]);
}

class Collective {
 public:
  Collective(Mesh& mesh, const Communication& mine, const Conditions& conditions)
      : mesh_(mesh),
        mine_(mine),
        ranks_(mesh.size()),
        rank_(mesh.rank()),
        bytes_(size_of(mine.call.type)),
        before_(conditions.before) {
    patience_.stop = conditions.stop;
    patience_.seconds = conditions.seconds;
    patience_.complain = [this, &conditions](const std::vector<int>& ranks) {
      std::string text = waiting_text(mesh_, mine_, conditions.seconds);
      bool first = true;
      for (const int r : ranks) {
        text += fmt::format("{}rank {} {}{}", first ? "" : "; ", r,
                            heard_.contains(r) ? "has called it, its data has not come" : "has not called it",
                            whereabouts(mesh_, r));
        first = false;
      }
      conditions.say(text);
    };
  }

  Result run() {
    Result result = announce();
    if (result.mismatch || result.outcome != Outcome::done) return result;
    result.outcome = move();
    if (result.outcome == Outcome::gone) {
      for (int r = 0; r < ranks_ && result.gone < 0; ++r) {
        if (r != rank_ && mesh_.is_gone(r)) result.gone = r;
      }
    }
    return result;
  }

 private:
  // All ranks tell each other what they are about to do.
  Result announce() {
    heard_.emplace(rank_, mine_.call);
    for (int r = 0; r < ranks_; ++r) {
      if (r != rank_) mesh_.tell(r, Channel::collective, mine_.number, pack(mine_.call, mesh_.is_local(r) ? before_ : Clock{}));
    }
    Result result;
    auto deadline = steady_clock::time_point::max();
    while (static_cast<int>(heard_.size()) < ranks_) {
      const auto missing = [&] {
        std::vector<int> list;
        for (int r = 0; r < ranks_; ++r) {
          if (!heard_.contains(r)) list.push_back(r);
        }
        return list;
      };
      const auto news = [&] {
        const std::vector<int> list = missing();
        return steady_clock::now() > deadline ||
               std::any_of(list.begin(), list.end(), [&](int r) { return mesh_.heard(r, Channel::collective, mine_.number); });
      };
      const Outcome outcome = mesh_.wait(news, missing, patience_);
      if (outcome != Outcome::done) {
        if (deadline != steady_clock::time_point::max()) break;
        result.outcome = outcome;
        for (const int r : missing()) {
          if (outcome == Outcome::gone && mesh_.is_gone(r)) result.gone = r;
        }
        return result;
      }
      for (const int r : missing()) {
        const std::optional<std::string> message = mesh_.take(r, Channel::collective, mine_.number);
        if (!message) continue;
        const Announcement call = unpack(*message);
        heard_.emplace(r, call);
        if (mesh_.is_local(r) && waits_for(mine_.call, rank_, r)) join(result.learned, unpack_clock(*message));
        if (!match(call, mine_.call) && deadline == steady_clock::time_point::max())
          deadline = steady_clock::now() + kMismatchCollects;
      }
      if (steady_clock::now() > deadline) break;
    }
    const auto& [first_rank, first] = *heard_.begin();
    for (const auto& [r, call] : heard_) {
      if (match(first, call)) continue;
      result.mismatch = Mismatch{{first_rank, r}, {first, call}};
      break;
    }
    return result;
  }

  Outcome move() {
    switch (mine_.call.kind) {
      case CallKind::all_reduce:
      case CallKind::reduce:
      case CallKind::reduce_scatter:
        return reductions();
      default:
        break;
    }
    const std::size_t block = mine_.call.count * bytes_;
    const int root = mine_.call.peer;
    std::vector<Transfer> transfers;
    const auto at = [&](int r) { return static_cast<std::size_t>(r) * block; };
    const std::byte* own_from = nullptr;
    std::byte* own_to = nullptr;
    for (int r = 0; r < ranks_; ++r) {
      const std::byte* from = nullptr;
      std::byte* to = nullptr;
      switch (mine_.call.kind) {
        case CallKind::broadcast:
          if (rank_ == root) from = mine_.send;
          if (r == root) to = mine_.receive;
          break;
        case CallKind::all_gather:
          from = mine_.send;
          to = mine_.receive + at(r);
          break;
        case CallKind::all_to_all:
          from = mine_.send + at(r);
          to = mine_.receive + at(r);
          break;
        case CallKind::gather:
          if (r == root) from = mine_.send;
          if (rank_ == root) to = mine_.receive + at(r);
          break;
        default:  // scatter
          if (rank_ == root) from = mine_.send + at(r);
          if (r == root) to = mine_.receive;
          break;
      }
      if (r == rank_) {
        own_from = from;
        own_to = to;
        continue;
      }
      if (from != nullptr) transfers.push_back(outgoing(r, 0, from, block));
      if (to != nullptr) transfers.push_back(incoming(r, 0, to, block));
    }
    for (Transfer& t : transfers) mesh_.start(t);
    if (own_from != nullptr && own_to != nullptr && own_from != own_to) std::memmove(own_to, own_from, block);
    return mesh_.finish(transfers, patience_);
  }

  // Each rank reduces a part of the elements, in the order of the ranks, and gives the result to those that need it.
  Outcome reductions() {
    const auto ranks = static_cast<std::size_t>(ranks_);
    const bool scatters = mine_.call.kind == CallKind::reduce_scatter;
    const std::size_t part_limit = std::max<std::size_t>(kStaging / bytes_ / ranks, 1);
    const std::size_t round_limit = scatters ? part_limit : part_limit * ranks;
    std::vector<std::uint64_t> scalars;
    for (const auto& [r, call] : heard_) scalars.push_back(call.scalar);
    std::vector<std::byte> staging;
    std::uint32_t step = 0;
    for (std::size_t begin = 0; begin < mine_.call.count; begin += round_limit) {
      const std::size_t n = std::min(round_limit, mine_.call.count - begin);
      // Elements [first(r), first(r + 1)) of this round are rank r's.
      const auto first = [&](int r) { return scatters ? 0 : n * static_cast<std::size_t>(r) / ranks; };
      const auto length = [&](int r) { return scatters ? n : first(r + 1) - first(r); };
      const auto position = [&](int r) {
        return (begin + (scatters ? static_cast<std::size_t>(r) * mine_.call.count : first(r))) * bytes_;
      };
      const std::size_t part = length(rank_) * bytes_;
      staging.resize(std::max<std::size_t>(part * ranks, 1));

      std::vector<Transfer> transfers;
      std::vector<const std::byte*> inputs;
      for (int r = 0; r < ranks_; ++r) {
        std::byte* stage = staging.data() + static_cast<std::size_t>(r) * part;
        inputs.push_back(r == rank_ ? mine_.send + position(r) : stage);
        if (r == rank_) continue;
        if (part > 0) transfers.push_back(incoming(r, step, stage, part));
        if (length(r) > 0) transfers.push_back(outgoing(r, step, mine_.send + position(r), length(r) * bytes_));
      }
      for (Transfer& t : transfers) mesh_.start(t);
      if (const Outcome outcome = mesh_.finish(transfers, patience_); outcome != Outcome::done) return outcome;

      const bool keeps = mine_.call.kind != CallKind::reduce || rank_ == mine_.call.peer;
      std::byte* result = scatters ? mine_.receive + begin * bytes_ : keeps ? mine_.receive + position(rank_) : staging.data();
      reduce(mine_.call.type, mine_.call.op, inputs, scalars, result, length(rank_));

      transfers.clear();
      for (int r = 0; r < ranks_ && !scatters; ++r) {
        if (r == rank_) continue;
        const bool wanted = mine_.call.kind == CallKind::all_reduce || r == mine_.call.peer;
        if (wanted && part > 0) transfers.push_back(outgoing(r, step + 1, result, part));
        if (keeps && length(r) > 0) transfers.push_back(incoming(r, step + 1, mine_.receive + position(r), length(r) * bytes_));
      }
      for (Transfer& t : transfers) mesh_.start(t);
      if (const Outcome outcome = mesh_.finish(transfers, patience_); outcome != Outcome::done) return outcome;
      step += 2;
    }
    return Outcome::done;
  }

  Transfer transfer(int peer, std::uint32_t step, std::byte* data, std::size_t bytes, bool out) const {
    Transfer t;
    t.peer = peer;
    t.key = {mine_.number << 1, step};
    t.outgoing = out;
    t.data = data;
    t.bytes = bytes;
    return t;
  }
  Transfer incoming(int peer, std::uint32_t step, std::byte* data, std::size_t bytes) const {
    return transfer(peer, step, data, bytes, false);
  }
  Transfer outgoing(int peer, std::uint32_t step, const std::byte* data, std::size_t bytes) const {
    return transfer(peer, step, const_cast<std::byte*>(data), bytes, true);
  }

  Mesh& mesh_;
  const Communication& mine_;
  const int ranks_, rank_;
  const std::size_t bytes_;
  const Clock before_;
  Patience patience_;
  std::map<int, Announcement> heard_;
};

}  // namespace

Result collective(Mesh& mesh, const Communication& mine, const Conditions& conditions) {
  return Collective(mesh, mine, conditions).run();
}

Result point_to_point(Mesh& mesh, const std::vector<Communication>& mine, const Conditions& conditions) {
  struct Half {
    const Communication* communication;
    Transfer transfer;
    bool matched = false;
  };
  std::vector<Half> halves;
  std::vector<const Communication*> to_self, from_self;
  for (const Communication& c : mine) {
    const bool out = c.call.kind == CallKind::send;
    if (c.call.peer == mesh.rank()) {
      (out ? to_self : from_self).push_back(&c);
      continue;
    }
    Half& half = halves.emplace_back();
    half.communication = &c;
    half.transfer.peer = c.call.peer;
    half.transfer.key = {c.number << 1 | 1, 0};
    half.transfer.outgoing = out;
    half.transfer.data = out ? const_cast<std::byte*>(c.send) : c.receive;
    half.transfer.bytes = c.call.count * size_of(c.call.type);
    mesh.tell(c.call.peer, out ? Channel::send : Channel::receive, c.number,
              pack(c.call, out && mesh.is_local(c.call.peer) ? conditions.before : Clock{}));
  }
  for (std::size_t i = 0; i < std::min(to_self.size(), from_self.size()); ++i) {
    const Communication &from = *to_self[i], &to = *from_self[i];
    if (!match(from.call, to.call)) return {Outcome::done, Mismatch{{mesh.rank(), mesh.rank()}, {from.call, to.call}}, -1, {}};
    if (from.call.count > 0) std::memmove(to.receive, from.send, from.call.count * size_of(from.call.type));
  }

  const auto other_channel = [](const Half& half) { return half.transfer.outgoing ? Channel::receive : Channel::send; };
  const auto awaited = [&] {
    std::vector<int> ranks;
    for (const Half& half : halves) {
      if (!half.transfer.done) ranks.push_back(half.transfer.peer);
    }
    return ranks;
  };
  Patience patience;
  patience.stop = conditions.stop;
  patience.seconds = conditions.seconds;
  patience.complain = [&](const std::vector<int>&) {
    std::string text;
    for (const Half& half : halves) {
      if (half.transfer.done) continue;
      const int peer = half.transfer.peer;
      if (!text.empty()) text += "; ";
      text += waiting_text(mesh, *half.communication, conditions.seconds);
      text += half.matched ? fmt::format("rank {} has called {}, the data has not come", peer,
                                         half.transfer.outgoing ? "ncclRecv" : "ncclSend")
                           : fmt::format("rank {} has not called the {} that belongs to it{}", peer,
                                         half.transfer.outgoing ? "ncclRecv" : "ncclSend", whereabouts(mesh, peer));
    }
    conditions.say(text);
  };
  Result result;
  for (;;) {
    const auto ready = [&] {
      return std::all_of(halves.begin(), halves.end(), [](const Half& half) { return half.transfer.done; }) ||
             std::any_of(halves.begin(), halves.end(), [&](const Half& half) {
               return !half.matched && mesh.heard(half.transfer.peer, other_channel(half), half.communication->number);
             });
    };
    result.outcome = mesh.wait(ready, awaited, patience);
    if (result.outcome != Outcome::done) break;
    bool news = false;
    for (Half& half : halves) {
      if (half.matched) continue;
      const std::optional<std::string> message = mesh.take(half.transfer.peer, other_channel(half), half.communication->number);
      if (!message) continue;
      const Announcement theirs = unpack(*message);
      if (!match(theirs, half.communication->call)) {
        // The sender is named first by both.
        result.mismatch = half.transfer.outgoing
                              ? Mismatch{{mesh.rank(), half.transfer.peer}, {half.communication->call, theirs}}
                              : Mismatch{{half.transfer.peer, mesh.rank()}, {theirs, half.communication->call}};
        break;
      }
      if (mesh.is_local(half.transfer.peer) && waits_for(half.communication->call, mesh.rank(), half.transfer.peer))
        join(result.learned, unpack_clock(*message));
      news = half.matched = true;
      mesh.start(half.transfer);
    }
    if (result.mismatch) break;
    if (!news) return result;  // all done
  }
  for (Half& half : halves) {
    if (half.matched) mesh.withdraw(half.transfer);
    if (result.outcome == Outcome::gone && !half.transfer.done && mesh.is_gone(half.transfer.peer))
      result.gone = half.transfer.peer;
  }
  return result;
}

}  // namespace sim::nccl

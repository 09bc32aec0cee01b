// How rank 0 finds that a job has ended, and how it says so.
#include <algorithm>
#include <cstring>

#include "engine/parallel/hub.h"
#include "engine/parallel/wire.h"
#include "kernels/check.h"

namespace gannet::parallel {

void Hub::judge_losses() {
  const auto broken = [](const Standing& standing) { return standing.lost || standing.failed; };
  if (std::none_of(standings_.begin(), standings_.end(), broken)) return;
  if (!settled_)
    settled_ = pace_.now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(settle_seconds));
  const bool all = std::all_of(standings_.begin(), standings_.end(),
                               [&](const Standing& standing) { return broken(standing) || standing.left; });
  if (all || pace_.now() >= *settled_) end(verdict_of_losses(standings_));
}

void Hub::judge() {
  const Clock::time_point now = pace_.now();
  for (const Standing& standing : standings_)
    if (standing.here && !standing.left && !standing.at.watched) unwatched_ = now;
  for (std::size_t rank = 0; rank < members_.size(); ++rank) {
    Standing& standing = standings_[rank];
    standing.unheard = seconds_between(members_[rank].heard, now);
    const double in_phase = standing.at.seconds + seconds_between(members_[rank].at_since, now);
    standing.stuck = standing.at.watched ? std::min(in_phase, seconds_between(unwatched_, now)) : 0;
  }
  judge_losses();
  if (settled_ || !verdict_.empty()) return;
  if (const std::optional<std::string> silence = verdict_of_silence(standings_, desk_.options)) return end(*silence);
  const auto waiting = std::find_if(members_.begin(), members_.end(), [](const Member& member) { return member.ready; });
  const auto left = std::find_if(standings_.begin(), standings_.end(), [](const Standing& standing) { return standing.left; });
  if (waiting != members_.end() && left != standings_.end()) {
    const auto who = static_cast<std::size_t>(waiting - members_.begin());
    return end(fmt::format("{} has ended while {} waits for it to {}",
                           name_of(static_cast<int>(left - standings_.begin()), left->host),
                           name_of(static_cast<int>(who), standings_[who].host), waiting->exchanging));
  }
  if (met_) return;
  if (now > patience_) return end(verdict_of_absence(standings_, desk_.options, refused_));
  desk_.signal = stop_pending();
  if (desk_.signal != 0)
    end(fmt::format("{} was stopped by SIG{} before all ranks had come", name_of(0, standings_[0].host),
                    ::sigabbrev_np(desk_.signal)));
}

void Hub::end(const std::string& text) {
  if (!verdict_.empty()) return;
  verdict_ = text;
  ended_ = pace_.now();
  for (Member& member : members_) member.connection.send(Kind::end, text);
  strangers_.clear();
}

void Hub::conclude() {
  const double since = seconds_between(ended_, pace_.now());
  const auto busy = [](const Member& member) { return member.connection.has_to_send(); };
  const bool said = since > farewell_seconds || std::none_of(members_.begin(), members_.end(), busy);
  // Closing on what a rank has just said could take the last word from it.
  const bool gone = since > farewell_seconds || std::none_of(members_.begin(), members_.end(),
                                                             [](const Member& member) { return member.connection.open(); });
  if (!said) return;
  const Request request = desk_.asked();
  if (request == Request::fail) {
    desk_.text = verdict_;
    failed_ = true;
    answered_ = pace_.now();
    return desk_.answer();
  }
  if (request == Request::meet || (request == Request::leave && failed_)) {
    if (!gone) return;
    desk_.text = verdict_;
    done_ = true;
    return desk_.answer();
  }
  const bool overdue = seconds_between(answered_, pace_.now()) > unwind_seconds;
  if (failed_ ? overdue : gone) desk_.ending.end(rank_prefix(desk_.world), verdict_);
}

}  // namespace gannet::parallel

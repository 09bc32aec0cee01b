#include "engine/parallel/verdict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "engine/parallel/desk.h"

namespace gannet::parallel {
namespace {

constexpr std::size_t most_named = 8;

std::string list(std::vector<std::string> names) {
  const std::size_t count = names.size();
  if (count > most_named) names.resize(most_named);
  std::string text = fmt::format("{}", fmt::join(names, ", "));
  if (count > most_named) text += fmt::format(" and {} more", count - most_named);
  return text;
}

// By the order of `which`, a member of Standing.
std::vector<std::size_t> ordered(std::span<const Standing> ranks, std::optional<int> Standing::*which) {
  std::vector<std::size_t> found;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    if (ranks[rank].*which) found.push_back(rank);
  std::sort(found.begin(), found.end(), [&](std::size_t a, std::size_t b) { return *(ranks[a].*which) < *(ranks[b].*which); });
  return found;
}

std::string named(std::span<const Standing> ranks, std::size_t rank) {
  return name_of(static_cast<int>(rank), ranks[rank].host);
}

// "; the others: rank 0 at step 3, in draw (0.2 s), …"
std::string others(std::span<const Standing> ranks, std::size_t but) {
  std::vector<std::string> texts;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank)
    if (rank != but && !ranks[rank].left)
      texts.push_back(fmt::format("rank {} {} ({:.1f} s)", rank, ranks[rank].at.text(), ranks[rank].stuck));
  return texts.empty() ? "" : "; the others: " + list(std::move(texts));
}

}  // namespace

std::string name_of(int rank, const std::string& host) { return fmt::format("rank {} ({})", rank, host); }

std::string death_of(const std::string& rank, const Position& at, const std::string& why_closed) {
  return fmt::format("{} died {}: its process was killed, crashed or ended without a word, or its host went down ({})", rank,
                     at.text(), why_closed);
}

std::string silence_of(const std::string& rank, const Position& at, double seconds, const GroupOptions& options) {
  return fmt::format("{} has been silent for {:.1f} s, last {}: its process or host was stopped, or cut off (limit: {} s)",
                     rank, seconds, at.text(), options.silence_seconds);
}

std::string verdict_of_losses(std::span<const Standing> ranks) {
  const std::vector<std::size_t> lost = ordered(ranks, &Standing::lost), failed = ordered(ranks, &Standing::failed);
  if (lost.empty()) {
    const std::string& first = ranks[failed.front()].failure;
    const bool all = failed.size() == ranks.size() &&
                     std::all_of(ranks.begin(), ranks.end(), [&](const Standing& rank) { return rank.failure == first; });
    if (all) return first;  // it concerns nobody more than others
    return fmt::format("{} failed {}: {}", named(ranks, failed.front()), ranks[failed.front()].at.text(), first);
  }
  const Standing& first = ranks[lost.front()];
  std::string text = death_of(named(ranks, lost.front()), first.at, first.why_lost);
  if (lost.size() == 1) return text;
  std::vector<std::string> more;
  for (std::size_t i = 1; i < lost.size(); ++i) more.push_back(named(ranks, lost[i]));
  return text + "; and then " + list(std::move(more));
}

std::optional<std::string> verdict_of_silence(std::span<const Standing> ranks, const GroupOptions& options) {
  const double notice = notice_seconds(options);
  std::optional<std::size_t> silent, hung, last;
  bool late = false;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const Standing& standing = ranks[rank];
    if (!standing.here || standing.left) continue;
    late |= standing.unheard > 3 * beat_seconds(options);
    if (standing.unheard > notice && (!silent || standing.unheard > ranks[*silent].unheard)) silent = rank;
    const auto come = [](const Standing& one) { return std::tuple(one.at.step, one.at.turn, -one.stuck); };
    if (!last || come(standing) < come(ranks[*last])) last = rank;
    if (standing.stuck > notice) hung = rank;
  }
  if (silent) {
    const Standing& standing = ranks[*silent];
    return silence_of(named(ranks, *silent), standing.at, standing.unheard, options);
  }
  if (!hung || late) return std::nullopt;
  const Standing &standing = ranks[*last], &waiting = ranks[*hung];
  if (standing.stuck < notice / 2)
    return fmt::format("{} has been {} for {:.1f} s (limit: {} s), and waits for {}, which is {}", named(ranks, *hung),
                       waiting.at.text(), waiting.stuck, options.silence_seconds, named(ranks, *last), standing.at.text());
  return fmt::format("{} hangs {}, since {:.1f} s (limit: {} s){}", named(ranks, *last), standing.at.text(), standing.stuck,
                     options.silence_seconds, others(ranks, *last));
}

std::string verdict_of_absence(std::span<const Standing> ranks, const GroupOptions& options, int strangers) {
  std::vector<std::string> absent, here;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    if (ranks[rank].here)
      here.push_back(named(ranks, rank));
    else
      absent.push_back(fmt::format("{}", rank));
  }
  std::string text = fmt::format("rank{} {} did not come within {} s; here: {}", absent.size() == 1 ? "" : "s",
                                 list(std::move(absent)), options.patience_seconds, list(std::move(here)));
  if (strangers > 0) text += fmt::format("; {} connection{} of nobody of this job", strangers, strangers == 1 ? "" : "s");
  return text;
}

}  // namespace gannet::parallel

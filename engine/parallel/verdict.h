// What ended a job, judged from what rank 0 knows of each rank.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "engine/parallel/group.h"
#include "engine/parallel/position.h"

namespace gannet::parallel {

// Of one rank. `order`: what happened earlier has a lower one.
struct Standing {
  bool here = false;  // has joined
  std::string host;
  Position at;
  double unheard = 0;       // seconds
  double stuck = 0;         // seconds in a watched phase, while all others were in one too
  bool left = false;        // took leave
  std::optional<int> lost;  // order: its connection closed though it had not taken leave
  std::string why_lost;
  std::optional<int> failed;  // order: it said so
  std::string failure;        // what it said
};

std::string name_of(int rank, const std::string& host);  // "rank 2 (node02)"
std::string death_of(const std::string& rank, const Position& at, const std::string& why_closed);
std::string silence_of(const std::string& rank, const Position& at, double seconds, const GroupOptions& options);

// The end of a job of which a rank was lost or failed. Who went without a word comes before who complains: the complaints
// mostly follow from that.
std::string verdict_of_losses(std::span<const Standing> ranks);
// A rank that is silent, or hangs: it is the one that has come least far; none when all is well. A rank that is late
// already is waited for before another one, which may be waiting for it, is called hung.
std::optional<std::string> verdict_of_silence(std::span<const Standing> ranks, const GroupOptions& options);
// Who did not come in time. strangers: how many knocked that are of no such job.
std::string verdict_of_absence(std::span<const Standing> ranks, const GroupOptions& options, int strangers);

}  // namespace gannet::parallel

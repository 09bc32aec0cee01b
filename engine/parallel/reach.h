// How a rank finds rank 0.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "engine/parallel/connection.h"
#include "engine/parallel/world.h"

namespace gannet::parallel {

using Clock = std::chrono::steady_clock;

inline double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// What both sides say first: who speaks another protocol, or of another job, is nobody that a rank knows.
constexpr std::string_view magic = "gannet group 1", protocol = "gannet group ";

struct Reached {
  Connection connection;  // greeted: rank 0 waits for `join`
  std::string address;    // at which rank 0 was reached
};

// Tries every address of rank 0's host and every port of the window, until rank 0 of this job answers. RuntimeError when the
// deadline passes, or when rank 0 knows this rank and does not want it. Gives up with a connection that is not open when a
// signal waits that would end this process (see stop_pending).
Reached reach_rank_0(const World& world, Clock::time_point deadline);

// SIGINT, SIGTERM or SIGHUP, when it is blocked and has come: whoever is still waiting for others should wait no longer. 0:
// none.
int stop_pending();

}  // namespace gannet::parallel

// `--gpus N` and `--processes N`: this command N times on this host, as the ranks of one job.
#pragma once

#include <string>
#include <vector>

namespace gannet::tool {

struct LaunchOptions {
  double grace_seconds = 5;          // after a rank has failed, of which the others hear: then who is still there is killed
  std::vector<std::string> command;  // what a rank runs; empty: this very program with its own words
};

// Starts the ranks and waits for all of them. They find each other by their environment (see world_from_environment), write to
// the same terminal, and have process groups of their own, so that a key pressed there signals this process alone: SIGINT,
// SIGTERM and SIGHUP are passed on once, a second one ends all at once, SIGTSTP stops all until this process goes on. Should
// this process be killed, the ranks get SIGTERM.
//
// The exit code: 0 when all have ended with it; what all that failed agree on (2, or 128 + N of signal N); else 1. Says which
// rank was ended by which signal. RuntimeError when a rank can not be started.
int launch(int ranks, const LaunchOptions& options = {});

}  // namespace gannet::tool

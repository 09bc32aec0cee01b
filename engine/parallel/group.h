// The ranks of a job as processes: they find each other, compare what must be equal, watch each other, and end together.
//
// Rank 0 listens; every other rank keeps one connection to it, from a thread of its own that says each second that this rank
// lives, and at which step and phase it is. What one rank reports - a failure, a connection that broke, a silence - rank 0
// passes on, and every rank ends. No file takes part, and who knocks must name the job, so that nothing stale is met.
//
// A rank that dies is noticed at once, one that is silent or hangs after most of silence_seconds, so that all have ended within
// them: also a rank whose main thread is stuck, and one that was only stopped for a while, when it goes on.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/parallel/world.h"

namespace gannet {

struct GroupOptions {
  double silence_seconds = 30;   // a rank unheard of for so long, or that long in one phase of a step, ends the job
  double patience_seconds = 60;  // for all ranks to come together at the start
};

// All is called by one thread, but for at().
class Group {
 public:
  // Returns when all ranks have met. RuntimeError names the ranks that did not come, or says which ports are taken. A signal
  // that is blocked and comes meanwhile (SIGINT, SIGTERM, SIGHUP) ends this process as if it were not.
  explicit Group(const World& world, const GroupOptions& options = {});
  // Takes leave, so that the others do not take the end for a failure. A rank that ends by an exception calls fail() before;
  // for one that does not, this does. Rank 0 waits until all others have taken leave, and watches them meanwhile.
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  const World& world() const;
  int rank() const { return world().rank; }
  int size() const { return world().size; }
  std::string host(int rank) const;     // the name that the rank's machine gives itself
  std::string address(int rank) const;  // where others can reach it: its number as rank 0 sees it, rank 0's as others found it

  // Everybody gives bytes and gets everybody's, by rank. All ranks call these in the same order. For the start and the end of a
  // job and for seldom things in between, not for steps. They wait as long as the others live.
  std::vector<std::string> gather(std::string_view mine);
  std::string broadcast(std::string_view from_rank_0);
  // InputError in every rank when `mine` is not the same everywhere: "rank 2 (host b) has another WHAT than rank 0 (host a):
  // …". `difference` says in words how two of them differ; by default nothing more is said.
  using Difference = std::function<std::string(const std::string& first, const std::string& other)>;
  void require_equal(const std::string& what, std::string_view mine, const Difference& difference = {});

  // What this rank is at, for the messages of all. Takes no lock, allocates nothing. Of a long `phase` the beginning is
  // kept. A phase that is watched may not last longer than silence_seconds; one that is not (drawing, saving, planning)
  // may, and while one rank is in such a phase, the others may wait for it in one that is watched. The phases of a step come in
  // the same order on all ranks: of several ranks that hang, the one that has come least far is named.
  void at(std::int64_t step, std::string_view phase, bool watched = true) noexcept;

  // When another rank ends the job, this process prints "gannet: error: MESSAGE" (beginning with "rank R: " where R is not 0),
  // calls this once, by a thread of the group, and exits with 1: after two seconds at most, even if it has not returned.
  void on_end(std::function<void(const std::string& message)> callback);
  // This rank fails with `message`: every other rank ends by itself, saying which rank, on which host, at which step and phase,
  // and why. Returns what this one should print before it exits: the same, or what went wrong elsewhere before, for which this
  // failure only was a consequence. Takes half a second. Who does not come to its end within five more is ended.
  std::string fail(const std::string& message);

 private:
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace gannet

// Rank 0's side of a group: meets the others, passes on what they give each other, watches them, and says when all must end.
#pragma once

#include <poll.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/parallel/connection.h"
#include "engine/parallel/desk.h"
#include "engine/parallel/pace.h"
#include "engine/parallel/verdict.h"

namespace gannet::parallel {

class Hub {
 public:
  // Listens. RuntimeError when no port is free.
  explicit Hub(Desk& desk);
  // The group's thread: until this rank and all others have taken leave, or the meeting or this rank has failed.
  void run();

 private:
  struct Member {
    Connection connection;         // not open for rank 0 itself
    std::string address, seen_at;  // its own; where it found rank 0
    Clock::time_point heard, at_since;
    std::string incoming, exchanging;
    bool ready = false;  // has given its part of an exchange
  };
  struct Stranger {  // until it has shown that it is a rank
    Connection connection;
    Clock::time_point since;
    int rank = 0;  // that it says it is; 0: nothing yet
  };

  void wait();
  void pass_time();
  void accept_all();
  void hear_stranger(Stranger& stranger);
  void hear_hello(Stranger& stranger, const std::string& body);
  void refuse(Stranger& stranger, const std::string& why);
  void join(Stranger& stranger, const std::string& body);
  void hear_member(std::size_t rank);
  void hear(std::size_t rank, Message& message);
  void take_request();
  void meet();
  void exchange();
  void judge();
  void judge_losses();
  void beat();
  void flush();
  void end(const std::string& text);
  void conclude();
  bool all_left() const;

  Desk& desk_;
  Pace pace_;
  Socket listener_;
  std::vector<Member> members_;      // by rank
  std::vector<Standing> standings_;  // by rank
  std::vector<Stranger> strangers_;
  int refused_ = 0;
  const Clock::time_point patience_;  // until when all must have met
  std::vector<pollfd> waits_;
  double wait_ = 0;
  bool met_ = false, done_ = false;
  int events_ = 0;
  unsigned said_ = 0;  // the version of this rank's position that the others know
  std::optional<Clock::time_point> settled_;
  Clock::time_point unwatched_;  // when a rank last was in a phase that may last
  std::string verdict_;
  Clock::time_point ended_, answered_;
  bool failed_ = false;  // was the main thread told, after it failed?
};

}  // namespace gannet::parallel

// The side of a group of every rank but rank 0: finds rank 0, says that this rank lives, and ends it when the job has ended.
#pragma once

#include <optional>
#include <string>

#include "engine/parallel/connection.h"
#include "engine/parallel/desk.h"
#include "engine/parallel/pace.h"

namespace gannet::parallel {

class Spoke {
 public:
  explicit Spoke(Desk& desk) : desk_(desk), pace_(desk.options) {}
  // The group's thread: until this rank has taken leave, or the meeting or this rank has failed.
  void run();

 private:
  void wait();
  void hear(Message& message);
  void whole(const std::string& message);
  void take_request();
  void beat();
  void judge();
  void end(const std::string& text);
  void conclude();
  std::string rank_0() const;

  Desk& desk_;
  Pace pace_;
  Connection connection_;
  std::string incoming_;
  double wait_ = 0;
  Clock::time_point heard_;
  Position at_, at_rank_0_;
  unsigned said_ = 0;  // the version of the position that rank 0 knows
  bool met_ = false, left_ = false, done_ = false;
  bool exchanging_ = false, leaving_ = false;  // has this been sent?
  std::optional<Clock::time_point> failing_;
  std::string failure_;
  std::string verdict_;
  Clock::time_point ended_, answered_;
  bool failed_ = false;  // was the main thread told, after it failed?
};

}  // namespace gannet::parallel

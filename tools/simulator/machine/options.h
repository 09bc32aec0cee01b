#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sim {

enum class Schedule { fair, adversarial };
enum class Approximation { rounded, perturbed };

/// What `gannet-sim` was told, handed to the program's process in the environment.
struct Options {
  int architecture = 80;  // sm_80
  int devices = 1;        // 1 to 16
  int threads = 0;        // host threads that run blocks; 0: one a core
  bool memcheck = false, initcheck = false, racecheck = false, synccheck = false, leakcheck = false;
  Schedule schedule = Schedule::fair;
  std::uint64_t seed = 0;
  Approximation approximation = Approximation::rounded;
  std::string profile;             // empty: off; "-": table to standard error; else a JSON file
  double timeout = 0;              // a launch that runs longer (seconds) is stopped; 0: never
  double deadlock = 10;            // a communication that waits longer for its peers (seconds) is reported
  std::uint64_t instructions = 0;  // a launch with more warp instructions is stopped as endless; 0: never

  bool any_check() const { return memcheck || initcheck || racecheck || synccheck; }

  /// One option: `gannet-sim --name VALUE` is `GANNET_SIM_NAME=VALUE` in the environment of the program.
  struct Description {
    std::string_view name;         // "arch"
    std::string_view environment;  // "GANNET_SIM_ARCH"
    std::string_view value;        // "sm_80"
    std::string_view help;
  };
  static std::span<const Description> descriptions();
  /// Throws Error for a value that is none, or an option that is none.
  void set(std::string_view name, std::string_view value);

  /// From GANNET_SIM_… variables; throws Error for a value that is none. Command line and environment share this one
  /// description.
  static Options from_environment();
};

const Options& options();  // of this process, read once

}  // namespace sim

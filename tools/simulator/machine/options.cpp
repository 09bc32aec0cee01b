#include "machine/options.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "error.h"
#include "machine/device.h"
#include "machine/memory.h"

namespace sim {
namespace {

constexpr std::array<Options::Description, 11> kDescriptions = {{
    {"arch", "GANNET_SIM_ARCH", "sm_80", "model of the devices: sm_75, sm_80, sm_86, sm_87, sm_89, sm_90, sm_100, sm_120"},
    {"devices", "GANNET_SIM_DEVICES", "1", "how many devices there are, 1 to 16"},
    {"threads", "GANNET_SIM_THREADS", "0", "host threads that run thread blocks; 0: one a core"},
    {"check", "GANNET_SIM_CHECK", "", "checks, by commas: memcheck, initcheck, racecheck, synccheck, leakcheck; all; none"},
    {"schedule", "GANNET_SIM_SCHEDULE", "fair", "fair, or adversarial: an order that hides as little as it may"},
    {"seed", "GANNET_SIM_SEED", "0", "of the adversarial schedule and of perturbed functions"},
    {"approximation", "GANNET_SIM_APPROXIMATION", "rounded",
     "approximate functions: rounded, or perturbed within the manual's bounds"},
    {"profile", "GANNET_SIM_PROFILE", "", "counters to this JSON file; -: a table to standard error"},
    {"timeout", "GANNET_SIM_TIMEOUT", "0", "a launch that runs longer (seconds) is stopped; 0: never"},
    {"deadlock", "GANNET_SIM_DEADLOCK", "10", "a communication that waits longer (seconds) is reported"},
    {"instructions", "GANNET_SIM_INSTRUCTIONS", "0", "a launch with more warp instructions is stopped; 0: never"},
}};

template <class T>
T number(std::string_view name, std::string_view text, T least, T most) {
  T value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || result.ec != std::errc() || result.ptr != text.data() + text.size() || !(value >= least) ||
      !(value <= most)) {
    throw Error("option {}: '{}' is not a number from {} to {}", name, text, least, most);
  }
  return value;
}

int architecture(std::string_view text) {
  std::string_view digits = text;
  for (std::string_view prefix : {"sm_", "compute_"}) {
    if (digits.starts_with(prefix)) digits.remove_prefix(prefix.size());
  }
  // sm_90a and its like have instructions of their own that are not simulated; the device is the same.
  if (digits.ends_with('a') || digits.ends_with('f')) digits.remove_suffix(1);
  return device_model(number("arch", digits, 1, 999)).architecture;
}

void set_checks(Options& options, std::string_view text) {
  options.memcheck = options.initcheck = options.racecheck = options.synccheck = options.leakcheck = false;
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), name.size() + 1));
    const bool all = name == "all";
    if (!all && name != "none" && name != "memcheck" && name != "initcheck" && name != "racecheck" && name != "synccheck" &&
        name != "leakcheck") {
      throw Error("option check: there is no check '{}'", name);
    }
    options.memcheck |= all || name == "memcheck";
    options.initcheck |= all || name == "initcheck";
    options.racecheck |= all || name == "racecheck";
    options.synccheck |= all || name == "synccheck";
    options.leakcheck |= all || name == "leakcheck";
  }
}

}  // namespace

std::span<const Options::Description> Options::descriptions() { return kDescriptions; }

void Options::set(std::string_view name, std::string_view value) {
  if (name == "arch") {
    this->architecture = sim::architecture(value);
  } else if (name == "devices") {
    devices = number(name, value, 1, kMaxDevices);
  } else if (name == "threads") {
    threads = number(name, value, 0, 1024);
  } else if (name == "check") {
    set_checks(*this, value);
  } else if (name == "schedule") {
    if (value != "fair" && value != "adversarial") throw Error("option schedule: '{}' is neither fair nor adversarial", value);
    schedule = value == "fair" ? Schedule::fair : Schedule::adversarial;
  } else if (name == "seed") {
    seed = number<std::uint64_t>(name, value, 0, UINT64_MAX);
  } else if (name == "approximation") {
    if (value != "rounded" && value != "perturbed")
      throw Error("option approximation: '{}' is neither rounded nor perturbed", value);
    approximation = value == "rounded" ? Approximation::rounded : Approximation::perturbed;
  } else if (name == "profile") {
    profile = value;
  } else if (name == "timeout") {
    timeout = number(name, value, 0.0, 1e9);
  } else if (name == "deadlock") {
    deadlock = number(name, value, 0.0, 1e9);
  } else if (name == "instructions") {
    instructions = number<std::uint64_t>(name, value, 0, UINT64_MAX);
  } else {
    throw Error("there is no option '{}'", name);
  }
}

Options Options::from_environment() {
  Options result;
  for (const Description& option : kDescriptions) {
    if (const char* value = std::getenv(std::string(option.environment).c_str()); value != nullptr && *value != '\0')
      result.set(option.name, value);
  }
  return result;
}

const Options& options() {
  static const auto* const result =
      new Options(Options::from_environment());  // never destroyed: it is read while the process ends
  return *result;
}

}  // namespace sim

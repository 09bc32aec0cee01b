#pragma once
#include <array>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sim {

/// What the checks look for; `check` names the tool of compute-sanitizer that looks for the same.
enum class Fault : std::uint8_t {
  // memcheck
  out_of_bounds,
  misaligned,
  use_after_free,
  invalid_address,
  host_memory,
  peer_access,
  read_only,
  invalid_free,
  double_free,
  leak,
  stack_overflow,
  trap,
  assertion,
  illegal_instruction,
  // initcheck
  uninitialized_global,
  uninitialized_shared,
  uninitialized_local,
  uninitialized_copy,
  // racecheck
  shared_race,
  shared_race_same_value,
  global_race,
  stream_race,
  cp_async_race,
  // synccheck
  divergent_barrier,
  invalid_barrier,
  missing_lanes,
  exited_lanes,
  deadlock,
  invalid_mask,
  timeout,
  // of the API
  api_misuse,
};

enum class Check : std::uint8_t { memcheck, initcheck, racecheck, synccheck, api };

Check check_of(Fault fault);
std::string_view name_of(Fault fault);  // "out-of-bounds access"
std::string_view name_of(Check check);  // "memcheck"

/// A place in a running program: which thread did what where.
struct Place {
  std::string kernel;  // demangled; or the API call for an access by the host
  std::array<std::uint32_t, 3> block{}, thread{};
  std::vector<std::string> source;  // "file.cu:12", innermost first, then where it was inlined
  std::string instruction;          // as in the PTX: "st.shared.u32 [%r3], %f21" or its mnemonic
};

struct Finding {
  Fault fault;
  bool warning = false;  // shown, and does not change the exit code
  std::string message;   // one sentence with sizes and addresses
  Place place;
  bool has_other = false;
  Place other;  // the other party of a race
  std::uint64_t count = 1;
};

/// Collects findings. The same fault at the same instruction, or race between the same source lines, is counted once more, not
/// shown again.
/// Thread-safe.
class Report {
 public:
  static Report& instance();  // of this process

  /// Adds it; prints it to standard error the first time. At most `limit` different ones are printed.
  void add(Finding finding);
  std::uint64_t errors() const;  // findings that are not warnings, repetitions not counted
  std::vector<Finding> findings() const;
  void clear();                // forgets them, for tests
  void print_summary() const;  // to standard error; nothing when there were none

 private:
  mutable std::mutex mutex_;
  std::vector<Finding> findings_;
  std::unordered_map<std::string, std::size_t> known_;  // what makes a finding the same as an earlier one -> its index
  std::uint64_t errors_ = 0;
};

}  // namespace sim

#include "machine/report.h"

#include <cstdio>

#include "error.h"

namespace sim {
namespace {

constexpr std::size_t kLimit = 100;  // findings that are printed

std::string text_of(const std::array<std::uint32_t, 3>& index) {
  return fmt::format("({},{},{})", index[0], index[1], index[2]);
}

void append_place(std::string& text, const Place& place, std::string_view by, bool is_thread) {
  if (is_thread) {
    text += fmt::format("=========     {} thread {} in block {} of {}\n", by, text_of(place.thread), text_of(place.block),
                        place.kernel);
  } else {
    text += fmt::format("=========     {} {}\n", by, place.kernel);
  }
  if (!place.instruction.empty()) text += fmt::format("=========         {}\n", place.instruction);
  for (std::size_t n = 0; n < place.source.size(); ++n) {
    text += fmt::format("=========         {} {}\n", n == 0 ? "at" : "inlined at", place.source[n]);
  }
}

// A kernel's thread executed an instruction; the host did not.
bool is_thread(const Place& place) { return !place.instruction.empty(); }

std::string text_of(const Finding& finding) {
  std::string text = fmt::format("========= {}{}: {}: {}\n", name_of(check_of(finding.fault)),
                                 finding.warning ? " warning" : "", name_of(finding.fault), finding.message);
  append_place(text, finding.place, "by", is_thread(finding.place));
  if (finding.has_other) append_place(text, finding.other, "and", is_thread(finding.other));
  return text;
}

// The same fault at the same instruction (and other instruction) is one finding, whichever thread has it. A race of an
// unrolled loop has as many pairs as it has copies, squared: there the source lines and what they do count.
std::string key_of(const Finding& finding) {
  std::string key = fmt::format("{}|{}", static_cast<int>(finding.fault), finding.warning);
  const bool by_line = finding.has_other && !finding.place.source.empty() && !finding.other.source.empty();
  for (const Place* place : {&finding.place, &finding.other}) {
    const std::string& instruction = place->instruction;
    key += fmt::format("|{}|{}", place->kernel, by_line ? instruction.substr(0, instruction.find(' ')) : instruction);
    for (const std::string& line : place->source) key += "|" + line;
  }
  // Without a place (an API call, a leak) the message tells them apart.
  if (!is_thread(finding.place)) key += "|" + finding.message;
  return key;
}

}  // namespace

Check check_of(Fault fault) {
  if (fault == Fault::api_misuse) return Check::api;
  if (fault >= Fault::divergent_barrier) return Check::synccheck;
  if (fault >= Fault::shared_race) return Check::racecheck;
  if (fault >= Fault::uninitialized_global) return Check::initcheck;
  return Check::memcheck;
}

std::string_view name_of(Fault fault) {
  switch (fault) {
    case Fault::out_of_bounds:
      return "out-of-bounds access";
    case Fault::misaligned:
      return "misaligned access";
    case Fault::use_after_free:
      return "use after free";
    case Fault::invalid_address:
      return "invalid address";
    case Fault::host_memory:
      return "access to host memory";
    case Fault::peer_access:
      return "access to another device's memory";
    case Fault::read_only:
      return "write to read-only memory";
    case Fault::invalid_free:
      return "invalid free";
    case Fault::double_free:
      return "double free";
    case Fault::leak:
      return "leak";
    case Fault::stack_overflow:
      return "stack overflow";
    case Fault::trap:
      return "trap";
    case Fault::assertion:
      return "assertion";
    case Fault::illegal_instruction:
      return "illegal instruction";
    case Fault::uninitialized_global:
      return "uninitialized global memory read";
    case Fault::uninitialized_shared:
      return "uninitialized shared memory read";
    case Fault::uninitialized_local:
      return "uninitialized local memory read";
    case Fault::uninitialized_copy:
      return "copy of uninitialized memory";
    case Fault::shared_race:
      return "race in shared memory";
    case Fault::shared_race_same_value:
      return "race in shared memory with the same value";
    case Fault::global_race:
      return "race between thread blocks";
    case Fault::stream_race:
      return "race between streams";
    case Fault::cp_async_race:
      return "cp.async not waited for";
    case Fault::divergent_barrier:
      return "divergent barrier";
    case Fault::invalid_barrier:
      return "invalid barrier";
    case Fault::missing_lanes:
      return "missing lanes";
    case Fault::exited_lanes:
      return "exited lanes";
    case Fault::deadlock:
      return "deadlock";
    case Fault::invalid_mask:
      return "invalid mask";
    case Fault::timeout:
      return "timeout";
    case Fault::api_misuse:
      return "misuse of the API";
  }
  return "unknown fault";
}

std::string_view name_of(Check check) {
  switch (check) {
    case Check::memcheck:
      return "memcheck";
    case Check::initcheck:
      return "initcheck";
    case Check::racecheck:
      return "racecheck";
    case Check::synccheck:
      return "synccheck";
    case Check::api:
      return "api";
  }
  return "unknown check";
}

Report& Report::instance() {
  static auto* const report = new Report;  // never destroyed: threads may report while the process ends
  return *report;
}

void Report::add(Finding finding) {
  const std::lock_guard lock(mutex_);
  const auto [known, is_new] = known_.try_emplace(key_of(finding), findings_.size());
  if (!is_new) {
    findings_[known->second].count += finding.count;
    return;
  }
  if (!finding.warning) ++errors_;
  if (findings_.size() < kLimit) {
    const std::string text = text_of(finding);
    std::fwrite(text.data(), 1, text.size(), stderr);
  } else if (findings_.size() == kLimit) {
    std::fprintf(stderr, "========= more findings are counted and not shown\n");
  }
  findings_.push_back(std::move(finding));
}

std::uint64_t Report::errors() const {
  const std::lock_guard lock(mutex_);
  return errors_;
}

std::vector<Finding> Report::findings() const {
  const std::lock_guard lock(mutex_);
  return findings_;
}

void Report::clear() {
  const std::lock_guard lock(mutex_);
  findings_.clear();
  known_.clear();
  errors_ = 0;
}

void Report::print_summary() const {
  const std::lock_guard lock(mutex_);
  if (findings_.empty()) return;
  std::uint64_t occurrences = 0;
  for (const Finding& finding : findings_) occurrences += finding.count;
  const std::uint64_t warnings = findings_.size() - errors_;
  std::string text = fmt::format("========= {} error{}", errors_, errors_ == 1 ? "" : "s");
  if (warnings > 0) text += fmt::format(", {} warning{}", warnings, warnings == 1 ? "" : "s");
  text += fmt::format(" ({} occurrence{})\n", occurrences, occurrences == 1 ? "" : "s");
  std::fwrite(text.data(), 1, text.size(), stderr);
}

}  // namespace sim

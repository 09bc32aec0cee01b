#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "machine/checks.h"
#include "machine/executor.h"
#include "machine/options.h"

// Where lanes and warps wait for each other: operations with a member mask, and the block's barriers.
namespace sim {
namespace {

const BarrierSite& site_of(const Instruction& in) {
  return *reinterpret_cast<const BarrierSite*>(static_cast<std::intptr_t>(in.immediate));
}

std::string lanes_text(Mask mask) {
  std::string text;
  for (int lane = 0; lane < kLanes; ++lane) {
    if ((mask >> lane & 1) == 0) continue;
    int last = lane;
    while (last + 1 < kLanes && (mask >> (last + 1) & 1) != 0) ++last;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", lane);
    if (last > lane) text += fmt::format("-{}", last);
    lane = last;
  }
  return text;
}

}  // namespace

Mask BlockExecutor::members(const WarpState& state, const Instruction& in, int lane) const {
  return in.mask == kNowhere ? state.warp.living : state.warp.at<std::uint32_t>(in.mask)[lane];
}

void BlockExecutor::add_ready(WarpState& state, const Split& split) {
  for (Split& other : state.splits) {
    if (other.state == Split::State::ready && other.pc == split.pc && other.frame == split.frame && !adversarial_) {
      other.mask |= split.mask;
      return;
    }
  }
  state.splits.push_back({split.mask, split.pc, split.frame});
}

void BlockExecutor::arrive_at_sync(WarpState& state, Split split, const Instruction& in) {
  for (Mask rest = split.mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const Mask member = members(state, in, lane);
    if ((member >> lane & 1) == 0) {
      fault(state, in, 1u << lane, Fault::invalid_mask,
            fmt::format("lane {} is not in its own member mask {:#010x}", lane, member));
      throw LaunchAbort{719};
    }
  }
  split.state = Split::State::at_sync;
  state.splits.push_back(split);
  while (release_syncs(state)) {
  }
}

// Looks for one group of waiting lanes, of the same member mask at the same instruction, that is complete; runs the instruction
// for it.
bool BlockExecutor::release_syncs(WarpState& state) {
  Warp& warp = state.warp;
  for (std::size_t n = 0; n < state.splits.size(); ++n) {
    const Split split = state.splits[n];
    if (split.state != Split::State::at_sync) continue;
    const Instruction& in = instruction_of(split);
    const bool anywhere = (in.flags & kMeetsAnywhere) != 0;
    for (Mask rest = split.mask; rest != 0;) {
      enter(state, *split.frame);
      const Mask member = members(state, in, std::countr_zero(rest));
      // Who else is here with the same mask.
      Mask here = 0;
      std::vector<Mask> of_split(state.splits.size(), 0);
      for (std::size_t m = 0; m < state.splits.size(); ++m) {
        const Split& other = state.splits[m];
        if (other.state != Split::State::at_sync) continue;
        const Instruction& its = instruction_of(other);
        const bool same_place = other.frame == split.frame && other.pc == split.pc;
        if (!same_place && !(anywhere && (its.flags & kMeetsAnywhere) != 0)) continue;
        enter(state, *other.frame);
        for (Mask lanes = other.mask; lanes != 0; lanes &= lanes - 1) {
          const int lane = std::countr_zero(lanes);
          if (members(state, its, lane) == member) of_split[m] |= 1u << lane;
        }
        here |= of_split[m];
      }
      rest &= ~of_split[n];
      if ((member & warp.living & ~here) != 0) continue;
      enter(state, *split.frame);
      warp.mask = here;
      if (in.run != nullptr) in.run(warp, in);
      if (anywhere) checks::warp_sync(warp, here);
      std::vector<Split> released;
      for (std::size_t m = 0; m < state.splits.size(); ++m) {
        if (of_split[m] == 0) continue;
        released.push_back({of_split[m], state.splits[m].pc + 1, state.splits[m].frame});
        state.splits[m].mask &= ~of_split[m];
      }
      std::erase_if(state.splits, [](const Split& s) { return s.mask == 0; });
      for (const Split& s : released) add_ready(state, s);
      return true;
    }
  }
  return false;
}

bool BlockExecutor::has_waiting(const WarpState& state) const {
  return std::any_of(state.splits.begin(), state.splits.end(),
                     [](const Split& s) { return s.state == Split::State::at_barrier; });
}

void BlockExecutor::check_alignment(WarpState& state, const Split& split, const Instruction& in) {
  for (const Split& other : state.splits) {
    if (other.state != Split::State::at_barrier || (other.pc == split.pc && other.frame == split.frame)) continue;
    if (!site_of(instruction_of(other)).aligned) continue;
    fault(state, in, split.mask, Fault::divergent_barrier,
          fmt::format("lanes {} are at this barrier while lanes {} of the same warp wait at another", lanes_text(split.mask),
                      lanes_text(other.mask)));
    return;
  }
}

void BlockExecutor::arrive_at_barrier(WarpState& state, Split split, const Instruction& in) {
  const BarrierSite& site = site_of(in);
  const int first = std::countr_zero(split.mask);
  const Warp& warp = state.warp;
  const std::uint32_t id = warp.at<std::uint32_t>(site.id)[first];
  const std::uint32_t count = site.count == kNowhere ? 0 : warp.at<std::uint32_t>(site.count)[first];
  if (id >= barriers_.size() || (site.count != kNowhere && (count == 0 || count % kLanes != 0))) {
    fault(state, in, split.mask, Fault::invalid_barrier,
          fmt::format("barrier {} for {} threads: there are 16, for multiples of 32 threads", id, count));
    throw LaunchAbort{719};
  }
  Barrier& barrier = barriers_[id];
  if (barrier.in_use && barrier.count != count) {
    fault(state, in, split.mask, Fault::invalid_barrier,
          fmt::format("barrier {} is waited for with {} threads and with {}", id, barrier.count, count));
  }
  if (site.aligned) check_alignment(state, split, in);
  barrier.in_use = true;
  barrier.count = count;
  if (std::find(barrier.arrivals.begin(), barrier.arrivals.end(), warp.index) == barrier.arrivals.end())
    barrier.arrivals.push_back(warp.index);
  if (site.reduction != BarrierSite::Reduction::none) {
    Mask predicate = *warp.at<Mask>(site.predicate);
    if (site.negated) predicate = ~predicate;
    barrier.popc += static_cast<std::uint32_t>(std::popcount(predicate & split.mask));
    barrier.any |= (predicate & split.mask) != 0;
    barrier.all &= (predicate & split.mask) == split.mask;
  }
  if (site.arrive) {
    // An aligned arrival is the whole warp's, the lanes that have exited included.
    barrier.arrived +=
        site.aligned && split.mask == warp.living ? kLanes : static_cast<std::uint32_t>(std::popcount(split.mask));
    checks::barrier_arrive(block_, id, warp.index);
    ++split.pc;
    add_ready(state, split);
  } else {
    split.state = Split::State::at_barrier;
    split.barrier = static_cast<std::uint8_t>(id);
    state.splits.push_back(split);
  }
  release_barriers();
}

void BlockExecutor::release_barriers() {
  for (std::uint32_t id = 0; id < barriers_.size(); ++id) {
    const Barrier& barrier = barriers_[id];
    if (!barrier.in_use) continue;
    std::uint32_t waiting = 0, living = 0, counted = barrier.arrived;
    for (const auto& state : states_) {
      Mask lanes = 0;
      for (const Split& split : state->splits) {
        if (split.state == Split::State::at_barrier && split.barrier == id) lanes |= split.mask;
      }
      waiting += static_cast<std::uint32_t>(std::popcount(lanes));
      living += static_cast<std::uint32_t>(std::popcount(state->warp.living));
      // Barriers with a count reckon in warps: lanes that have exited count with the rest of theirs.
      counted += lanes != 0 && lanes == state->warp.living ? kLanes : static_cast<std::uint32_t>(std::popcount(lanes));
    }
    const bool complete = barrier.count == 0 ? waiting == living : counted >= barrier.count;
    if (complete) release(id);
  }
}

void BlockExecutor::release(std::uint32_t id) {
  Barrier& barrier = barriers_[id];
  std::vector<std::uint32_t> waiting;
  for (const auto& state : states_) {
    std::vector<Split> released;
    Mask lanes = 0;
    for (const Split& split : state->splits) {
      if (split.state == Split::State::at_barrier && split.barrier == id) {
        released.push_back(split);
        lanes |= split.mask;
      }
    }
    if (released.empty()) continue;
    waiting.push_back(state->warp.index);
    const Instruction& in = instruction_of(released.front());
    if (const Mask strayed = state->strayed & ~lanes; strayed != 0 && site_of(in).aligned) {
      enter(*state, *released.front().frame);
      fault(*state, in, lanes, Fault::divergent_barrier,
            fmt::format("lanes {} wait at this barrier, lanes {} of the same warp went on without it", lanes_text(lanes),
                        lanes_text(strayed)));
    }
    state->strayed = 0;
    std::erase_if(state->splits, [&](const Split& s) { return s.state == Split::State::at_barrier && s.barrier == id; });
    for (Split& split : released) {
      const BarrierSite& site = site_of(instruction_of(split));
      if (site.result != kNowhere) {
        enter(*state, *split.frame);
        if (site.reduction == BarrierSite::Reduction::popc) {
          auto* result = state->warp.at<std::uint32_t>(site.result);
          for (Mask rest = split.mask; rest != 0; rest &= rest - 1) result[std::countr_zero(rest)] = barrier.popc;
        } else {
          const bool value = site.reduction == BarrierSite::Reduction::and_ ? barrier.all : barrier.any;
          Mask& result = *state->warp.at<Mask>(site.result);
          result = value ? result | split.mask : result & ~split.mask;
        }
      }
      ++split.pc;
      add_ready(*state, split);
    }
  }
  checks::block_barrier(block_, id, waiting);
  barrier = Barrier{};
}

void BlockExecutor::report_deadlock() {
  const WarpState* culprit = nullptr;
  const Split* where = nullptr;
  std::string message;
  int listed = 0;
  for (const auto& state : states_) {
    for (const Split& split : state->splits) {
      const bool at_sync = split.state == Split::State::at_sync;
      if (where == nullptr || (at_sync && where->state != Split::State::at_sync)) {
        culprit = state.get();
        where = &split;
      }
      if (++listed > 8) continue;
      enter(*state, *split.frame);
      const Instruction& in = instruction_of(split);
      const Place place = checks::place(state->warp, in, std::countr_zero(split.mask));
      message += fmt::format(
          "{}warp {} lanes {} at {}{}", message.empty() ? "" : "; ", state->warp.index, lanes_text(split.mask),
          place.source.empty() ? place.instruction : place.source.front(),
          at_sync ? fmt::format(" for lanes {}", lanes_text(members(*state, in, std::countr_zero(split.mask)))) : "");
    }
  }
  if (listed > 8) message += fmt::format("; and {} more", listed - 8);
  auto& state = const_cast<WarpState&>(*culprit);
  enter(state, *where->frame);
  const bool missing = where->state == Split::State::at_sync;
  fault(state, instruction_of(*where), where->mask, missing ? Fault::missing_lanes : Fault::deadlock,
        (missing ? "lanes of the member mask never arrive: " : "all threads of the block wait: ") + message);
  throw LaunchAbort{719};
}

}  // namespace sim

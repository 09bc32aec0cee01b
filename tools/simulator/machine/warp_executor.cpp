#include <bit>
#include <cstring>

#include "error.h"
#include "isa/specials.h"
#include "machine/checks.h"
#include "machine/executor.h"
#include "machine/options.h"
#include "runtime/device_functions.h"

namespace sim {
namespace {

// How long a split may spin before the others of its warp get a turn (backward branches), and a warp before the other warps do
// (instructions).
constexpr int kSpins = 64;
constexpr std::uint64_t kQuantum = 4096;

template <class T>
const T& site_of(const Instruction& in) {  // what Instruction::immediate points to
  return *reinterpret_cast<const T*>(static_cast<std::intptr_t>(in.immediate));
}

void copy_lanes(const std::byte* from, const FrameVariable& source, std::byte* to, const FrameVariable& target, Mask mask) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const auto lane = static_cast<std::size_t>(std::countr_zero(rest));
    std::memcpy(to + target.offset + lane * target.stride, from + source.offset + lane * source.stride,
                std::min(source.bytes, target.bytes));
  }
}

}  // namespace

void BlockExecutor::enter(WarpState& state, const Frame& frame) {
  state.warp.frame = const_cast<Frame*>(&frame);
  state.warp.base[0] = frame.registers;
  state.warp.base[1] = frame.code->constants - 1;
}

bool BlockExecutor::is_better(const WarpState& state, const Split& split) const {
  for (const Split& other : state.splits) {
    if (other.state != Split::State::ready) continue;
    if (other.frame->depth > split.frame->depth || (other.frame->depth == split.frame->depth && other.pc < split.pc))
      return true;
  }
  return false;
}

// The split to run next is taken out of the list's order and returned by index; -1 when none is ready.
int BlockExecutor::pick(WarpState& state) {
  int best = -1;
  int ready = 0;
  for (std::size_t n = 0; n < state.splits.size(); ++n) {
    const Split& split = state.splits[n];
    if (split.state != Split::State::ready) continue;
    ++ready;
    if (best < 0 || split.frame->depth > state.splits[best].frame->depth ||
        (split.frame->depth == state.splits[best].frame->depth && split.pc < state.splits[best].pc)) {
      best = static_cast<int>(n);
    }
  }
  if (ready < 2 || (!adversarial_ && state.rotation == 0)) return best;
  std::uint64_t skip = adversarial_ ? random_() % ready : state.rotation % ready;
  for (std::size_t n = 0; n < state.splits.size(); ++n) {
    if (state.splits[n].state == Split::State::ready && skip-- == 0) return static_cast<int>(n);
  }
  return best;
}

// Takes in other splits that wait at the same place.
bool BlockExecutor::merge(WarpState& state, Split& split) {
  bool merged = false;
  std::erase_if(state.splits, [&](const Split& other) {
    if (other.state != Split::State::ready || other.pc != split.pc || other.frame != split.frame) return false;
    if (adversarial_ && random_() % 2 == 0) return false;
    split.mask |= other.mask;
    merged = true;
    return true;
  });
  return merged;
}

template <bool profiled>
BlockExecutor::Stop BlockExecutor::run(WarpState& state) {
  Warp& warp = state.warp;
  std::uint64_t budget = kQuantum;
  for (;;) {
    const int picked = pick(state);
    if (picked < 0) return state.splits.empty() ? Stop::ended : Stop::waits;
    Split split = state.splits[picked];
    state.splits.erase(state.splits.begin() + picked);
    int spins = kSpins;
    bool running = true;
    while (running) {
      enter(state, *split.frame);
      const Instruction* const code = split.frame->code->instructions.data();
      std::uint32_t pc = split.pc;
      const Mask active = split.mask;
      const std::uint32_t start = pc;
      // Straight-line code.
      const Instruction* in = code + pc;
      Mask mask;
      for (;; ++in) {
        mask = active;
        if (in->guard != kNowhere) {
          const Mask guard = *warp.at<Mask>(in->guard);
          mask &= in->guard_negated ? ~guard : guard;
        }
        if constexpr (profiled) {
          Counters& counters = worker_.counters[in->index];
          ++counters.executed;
          counters.lanes += static_cast<std::uint64_t>(std::popcount(mask));
        }
        if (in->kind != Kind::plain) break;
        if (mask == 0) continue;
        warp.mask = mask;
        in->run(warp, *in);
      }
      pc = static_cast<std::uint32_t>(in - code);
      const std::uint64_t executed = pc - start + (in->kind != Kind::label);
      warp.instructions += executed;
      budget = budget > executed ? budget - executed : 0;
      split.pc = pc;
      if (in->kind != Kind::barrier && executed > 1 && !state.splits.empty() && has_waiting(state)) state.strayed |= active;

      // The guard's other lanes go on with the next instruction.
      auto leave_rest = [&] {
        if (const Mask rest = active & ~mask; rest != 0) {
          state.splits.push_back({rest, pc + 1, split.frame});
          split.mask = mask;
        }
      };

      switch (in->kind) {
        case Kind::plain:
          break;
        case Kind::label:
          ++split.pc;
          if (state.splits.empty()) break;
          --split.pc;
          merge(state, split);
          ++split.pc;
          if (state.splits.empty()) break;
          if ((state.rotation == 0 && is_better(state, split)) || (adversarial_ && random_() % 4 == 0)) {
            state.splits.push_back(split);
            running = false;
          }
          break;
        case Kind::branch: {
          const auto target = static_cast<std::uint32_t>(in->immediate);
          if (mask == 0) {
            ++split.pc;
            break;
          }
          if (mask != active) {
            if constexpr (profiled) ++worker_.counters[in->index].divergent;
            state.splits.push_back({active & ~mask, pc + 1, split.frame});
            split.mask = mask;
          }
          split.pc = target;
          if (target <= pc) {
            if (budget == 0) {
              state.splits.push_back(split);
              ++state.rotation;
              return Stop::quantum;
            }
            if (--spins == 0 && !state.splits.empty()) {
              state.splits.push_back(split);
              ++state.rotation;
              running = false;
              break;
            }
          }
          if (mask != active && (adversarial_ || (state.rotation == 0 && is_better(state, split)))) {
            state.splits.push_back(split);
            running = false;
          }
          break;
        }
        case Kind::branch_indexed: {
          const auto& table = site_of<std::vector<std::uint32_t>>(*in);
          const auto* index = warp.at<std::uint32_t>(in->a);
          leave_rest();
          Mask rest = mask;
          while (rest != 0) {
            const std::uint32_t value = index[std::countr_zero(rest)];
            Mask same = 0;
            for (int lane = 0; lane < kLanes; ++lane) same |= static_cast<Mask>(index[lane] == value) << lane;
            same &= rest;
            if (value >= table.size()) {
              fault(state, *in, same, Fault::illegal_instruction,
                    fmt::format("brx.idx with index {} of {} targets", value, table.size()));
              throw LaunchAbort{719};
            }
            state.splits.push_back({same, table[value], split.frame});
            rest &= ~same;
          }
          if constexpr (profiled) worker_.counters[in->index].divergent += state.splits.size() > 1;
          running = false;
          break;
        }
        case Kind::call:
        case Kind::call_indirect:
          leave_rest();
          if (mask != 0)
            call(state, split, mask, *in);
          else
            ++split.pc;
          if (split.mask == 0) running = false;
          break;
        case Kind::return_:
          leave_rest();
          if (mask == 0) {
            ++split.pc;
          } else if (!give_back(state, split, mask)) {
            running = false;
          }
          break;
        case Kind::exit:
          leave_rest();
          if (mask == 0) {
            ++split.pc;
          } else {
            exit_lanes(state, split.frame, mask);
            running = false;
          }
          break;
        case Kind::trap:
          if (mask == 0) {
            ++split.pc;
            break;
          }
          fault(state, *in, mask, Fault::trap, "the kernel executed a trap");
          throw LaunchAbort{719};
        case Kind::yield:
          ++split.pc;
          state.splits.push_back(split);
          ++state.rotation;
          return Stop::quantum;
        case Kind::warp_sync: {
          if (mask == 0) {
            ++split.pc;
            break;
          }
          // Nearly always all members are here.
          const Mask member = members(state, *in, std::countr_zero(mask));
          const bool uniform = in->mask == kNowhere || [&] {
            const auto* values = warp.at<std::uint32_t>(in->mask);
            for (Mask rest = mask; rest != 0; rest &= rest - 1) {
              if (values[std::countr_zero(rest)] != values[std::countr_zero(mask)]) return false;
            }
            return true;
          }();
          if (uniform && (member & warp.living & ~mask) == 0 && (mask & ~member) == 0) {
            warp.mask = mask;
            if (in->run != nullptr) in->run(warp, *in);
            if ((in->flags & kMeetsAnywhere) != 0) checks::warp_sync(warp, mask);
            ++split.pc;
            break;
          }
          leave_rest();
          split.mask = mask;
          arrive_at_sync(state, split, *in);
          running = false;
          break;
        }
        case Kind::barrier:
          if (mask == 0) {
            ++split.pc;
            break;
          }
          leave_rest();
          split.mask = mask;
          arrive_at_barrier(state, split, *in);
          running = false;
          break;
      }
    }
    if (state.rotation > 0 && state.splits.size() < 2) state.rotation = 0;
  }
}

template BlockExecutor::Stop BlockExecutor::run<false>(WarpState&);
template BlockExecutor::Stop BlockExecutor::run<true>(WarpState&);

void BlockExecutor::call(WarpState& state, Split& split, Mask mask, const Instruction& in) {
  const CallSite& site = site_of<CallSite>(in);
  Warp& warp = state.warp;
  const Code* target = nullptr;
  if (in.kind == Kind::call && site.function >= 0) target = code_.functions[site.function].get();
  if (in.kind == Kind::call_indirect) {
    // Lanes that call another function come back to this instruction.
    const auto* addresses = warp.at<Address>(in.a);
    const Address address = addresses[std::countr_zero(mask)];
    Mask same = 0;
    for (int lane = 0; lane < kLanes; ++lane) same |= static_cast<Mask>(addresses[lane] == address) << lane;
    same &= mask;
    if (same != mask) state.splits.push_back({mask & ~same, split.pc, split.frame});
    split.mask = mask = same;
    target = function_at(*launch_.kernel, address);
    if (target == nullptr) {
      fault(state, in, mask, Fault::illegal_instruction, fmt::format("call of {:#x}, which is no function", address));
      throw LaunchAbort{718};
    }
  }
  if (target == nullptr) {
    call_device_function(site.name, warp, mask, in, site.arguments, site.results);
    ++split.pc;
    return;
  }
  Frame* frame = state.frames.take(*target);
  frame->caller = split.frame;
  frame->return_pc = split.pc + 1;
  frame->depth = split.frame->depth + 1;
  frame->local_base = split.frame->local_base + split.frame->code->local_bytes;
  frame->lanes = std::popcount(mask);
  frame->call = &in;
  if (frame->local_base + target->local_bytes > warp.local_stride || frame->depth > 24'000) {
    fault(state, in, mask, Fault::stack_overflow,
          fmt::format("the stack of {} bytes a thread has no room for {}", warp.local_stride, target->function->name));
    throw LaunchAbort{700};
  }
  for (std::size_t n = 0; n < std::min(site.arguments.size(), target->parameters.size()); ++n) {
    copy_lanes(split.frame->registers, site.arguments[n], frame->registers, target->parameters[n], mask);
  }
  warp.frame = frame;
  for (const SpecialSlot& slot : target->specials) fill_special(slot, warp, block_, launch_, frame->registers);
  split.frame = frame;
  split.pc = 0;
}

// Lanes return: true when the split goes on in the caller.
bool BlockExecutor::give_back(WarpState& state, Split& split, Mask mask) {
  Frame* frame = split.frame;
  if (frame->caller == nullptr) {
    exit_lanes(state, frame, mask);
    return false;
  }
  const CallSite& site = site_of<CallSite>(*frame->call);
  for (std::size_t n = 0; n < std::min(site.results.size(), frame->code->results.size()); ++n) {
    copy_lanes(frame->registers, frame->code->results[n], frame->caller->registers, site.results[n], mask);
  }
  split.frame = frame->caller;
  split.pc = frame->return_pc;
  frame->lanes -= std::popcount(mask);
  if (frame->lanes == 0) state.frames.give_back(frame);
  return true;
}

void BlockExecutor::exit_lanes(WarpState& state, const Frame* frame, Mask mask) {
  for (Frame* f = const_cast<Frame*>(frame); f->caller != nullptr; f = f->caller) {
    f->lanes -= std::popcount(mask);
    if (f->lanes == 0) state.frames.give_back(f);
  }
  state.warp.living &= ~mask;
  while (release_syncs(state)) {
  }
  release_barriers();
}

}  // namespace sim

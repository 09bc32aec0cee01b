#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <unordered_map>
#include <vector>

#include "isa/code.h"
#include "machine/launch.h"
#include "machine/warp.h"

namespace sim {

/// Lanes of a warp that are at the same place. Lanes part at branches and meet again at labels: no control-flow graph is
/// needed.
struct Split {
  enum class State : std::uint8_t { ready, at_sync, at_barrier };
  Mask mask = 0;
  std::uint32_t pc = 0;
  Frame* frame = nullptr;
  State state = State::ready;
  std::uint8_t barrier = 0;  // that it waits at
};

/// The frames of one warp; a frame's registers are used again once all its lanes have returned.
class FramePool {
 public:
  Frame* take(const Code& code);
  void give_back(Frame* frame);
  void reset();  // all are free again

 private:
  std::deque<Frame> frames_;
  std::vector<std::unique_ptr<std::byte[]>> storage_;
  std::unordered_map<const Code*, std::vector<Frame*>> idle_, all_;
};

/// Runs one thread block after another: warps take turns, each runs until it waits, ends or has had its quantum.
///
/// Independent thread scheduling: of a warp's splits the one deepest in calls, then with the lowest pc, runs until it branches
/// or waits; one that spins gives way to the others. The adversarial schedule takes any ready split, turns warps in any order
/// and lets meeting splits pass each other.
class BlockExecutor {
 public:
  BlockExecutor(Launch& launch, Worker& worker);
  ~BlockExecutor();

  void start(std::uint64_t linear);
  /// A turn for each warp; true when the block has ended. Throws LaunchAbort.
  bool turn();

 private:
  struct WarpState {
    Warp warp;
    std::vector<Split> splits;
    FramePool frames;
    std::uint32_t rotation = 0;  // > 0: a split spins, the others get their turns
    Mask strayed = 0;            // lanes that have gone on while others of the warp waited at an aligned barrier
    bool ended = false;
  };
  struct Barrier {
    std::uint32_t arrived = 0;  // lanes that have arrived without waiting
    std::uint32_t count = 0;    // given with the instruction; 0: all living lanes
    std::uint32_t popc = 0;
    bool all = true, any = false, in_use = false;
    std::vector<std::uint32_t> arrivals;  // warps, waiting or not
  };
  enum class Stop : std::uint8_t { ended, waits, quantum };

  template <bool profiled>
  Stop run(WarpState& state);
  int pick(WarpState& state);
  bool merge(WarpState& state, Split& split);
  bool is_better(const WarpState& state, const Split& split) const;
  void enter(WarpState& state, const Frame& frame);
  void call(WarpState& state, Split& split, Mask mask, const Instruction& in);
  bool give_back(WarpState& state, Split& split, Mask mask);
  void exit_lanes(WarpState& state, const Frame* frame, Mask mask);
  void arrive_at_sync(WarpState& state, Split split, const Instruction& in);
  bool release_syncs(WarpState& state);
  void arrive_at_barrier(WarpState& state, Split split, const Instruction& in);
  void release_barriers();
  void release(std::uint32_t id);
  void check_alignment(WarpState& state, const Split& split, const Instruction& in);
  bool has_waiting(const WarpState& state) const;
  void add_ready(WarpState& state, const Split& split);
  Mask members(const WarpState& state, const Instruction& in, int lane) const;
  [[noreturn]] void report_deadlock();
  void fault(const WarpState& state, const Instruction& in, Mask lanes, Fault fault, std::string message);
  const Instruction& instruction_of(const Split& split) const { return split.frame->code->instructions[split.pc]; }

  Launch& launch_;
  Worker& worker_;
  const KernelCode& code_;
  Block block_;
  std::vector<std::unique_ptr<WarpState>> states_;
  std::array<Barrier, 16> barriers_;
  std::vector<std::byte> shared_storage_;
  std::vector<std::uint8_t> shared_initialized_, local_initialized_;
  std::byte* local_ = nullptr;
  std::size_t local_size_ = 0;
  std::mt19937_64 random_;
  bool adversarial_ = false;
};

/// The function at an address, as far as the kernel may call it; null when there is none.
const Code* function_at(const Kernel& kernel, Address address);

/// Stops the launch when it has run too long (options().timeout, options().instructions). Throws LaunchAbort.
void watch(const Launch& launch, const Warp& warp);

}  // namespace sim

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "error.h"
#include "isa/specials.h"
#include "machine/checks.h"
#include "machine/executor.h"
#include "machine/options.h"

namespace sim {
namespace {

constexpr std::size_t kEagerPoison = std::size_t{1} << 20;  // of local memory: a deeper stack is hardly used

}  // namespace

BlockExecutor::BlockExecutor(Launch& launch, Worker& worker)
    : launch_(launch), worker_(worker), code_(*launch.kernel->code), adversarial_(options().schedule == Schedule::adversarial) {
  const std::uint32_t threads = launch.block[0] * launch.block[1] * launch.block[2];
  const std::uint32_t warps = (threads + kLanes - 1) / kLanes;
  block_.launch = &launch;
  block_.shared_bytes = code_.dynamic_shared + static_cast<std::uint32_t>(launch.dynamic_shared_bytes);
  shared_storage_.resize(block_.shared_bytes + 1024);
  const auto address = reinterpret_cast<std::uintptr_t>(shared_storage_.data());
  block_.shared = shared_storage_.data() + (1024 - address % 1024) % 1024;
  if (options().initcheck) {
    shared_initialized_.resize(block_.shared_bytes / 8 + 8);
    block_.shared_initialized = shared_initialized_.data();
  }
  const std::size_t stack = (code_.local_bytes + (code_.recursive ? launch.stack_bytes : 0) + 15) / 16 * 16;
  const std::size_t local_bytes = stack * warps * kLanes;
  if (local_bytes > 0) {
    local_size_ = (local_bytes + 4095) / 4096 * 4096;
    void* memory = mmap(nullptr, local_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw Error("there is no memory for {} bytes of local memory", local_bytes);
    local_ = static_cast<std::byte*>(memory);
    if (local_size_ > kEagerPoison) map_poison(local_, local_size_);
    if (options().initcheck) local_initialized_.resize(local_bytes / 8 + 8);
  }
  for (std::uint32_t n = 0; n < warps; ++n) {
    auto state = std::make_unique<WarpState>();
    Warp& warp = state->warp;
    warp.block = &block_;
    warp.worker = &worker;
    warp.index = n;
    warp.local_stride = static_cast<std::uint32_t>(stack);
    const std::size_t local = stack * n * kLanes;
    if (local_ != nullptr) warp.local = local_ + local;
    if (!local_initialized_.empty()) warp.local_initialized = local_initialized_.data() + local / 8;
    states_.push_back(std::move(state));
  }
  checks::attach(block_, warps);
}

BlockExecutor::~BlockExecutor() {
  checks::detach(block_);
  if (local_ != nullptr) munmap(local_, local_size_);
}

void BlockExecutor::start(std::uint64_t linear) {
  block_.linear = linear;
  block_.id = {static_cast<std::uint32_t>(linear % launch_.grid[0]),
               static_cast<std::uint32_t>(linear / launch_.grid[0] % launch_.grid[1]),
               static_cast<std::uint32_t>(linear / launch_.grid[0] / launch_.grid[1])};
  if (adversarial_) random_.seed(options().seed * 0x9e3779b97f4a7c15u + launch_.operation * 0x2545f4914f6cdd1du + linear);
  barriers_.fill(Barrier{});
  // Memory that was not written is never zero by luck.
  std::memset(block_.shared, kPoison, block_.shared_bytes);
  std::fill(shared_initialized_.begin(), shared_initialized_.end(), 0);
  std::fill(local_initialized_.begin(), local_initialized_.end(), 0);
  if (local_ != nullptr) {
    if (local_size_ <= kEagerPoison) {
      std::memset(local_, kPoison, local_size_);
    } else {
      madvise(local_, local_size_, MADV_DONTNEED);
    }
  }
  checks::start(block_);
  const std::uint32_t threads = launch_.block[0] * launch_.block[1] * launch_.block[2];
  for (auto& state : states_) {
    const std::uint32_t first = state->warp.index * kLanes;
    const std::uint32_t lanes = std::min<std::uint32_t>(kLanes, threads - first);
    Warp& warp = state->warp;
    warp.living = lanes == kLanes ? kAllLanes : (1u << lanes) - 1;
    warp.instructions = 0;
    state->frames.reset();
    state->splits.clear();
    state->rotation = 0;
    state->strayed = 0;
    state->ended = false;
    Frame* frame = state->frames.take(*code_.entry);
    frame->caller = nullptr;
    frame->depth = 0;
    frame->local_base = 0;
    frame->lanes = static_cast<int>(lanes);
    std::memset(frame->registers, 0, code_.entry->frame_bytes);
    warp.frame = frame;
    for (const SpecialSlot& slot : code_.entry->specials) fill_special(slot, warp, block_, launch_, frame->registers);
    state->splits.push_back({warp.living, 0, frame});
  }
}

bool BlockExecutor::turn() {
  bool progress = false;
  bool ended = true;
  std::vector<std::uint32_t> order(states_.size());
  for (std::uint32_t n = 0; n < order.size(); ++n) order[n] = n;
  if (adversarial_) std::shuffle(order.begin(), order.end(), random_);
  for (std::uint32_t n : order) {
    WarpState& state = *states_[n];
    if (state.ended) continue;
    const bool ready =
        std::any_of(state.splits.begin(), state.splits.end(), [](const Split& s) { return s.state == Split::State::ready; });
    if (ready) {
      progress = true;
      const Stop stop = worker_.counters.empty() ? run<false>(state) : run<true>(state);
      state.ended = stop == Stop::ended;
      if (stop == Stop::quantum) watch(launch_, state.warp);
      if (state.ended) checks::warp_end(state.warp);
    }
    ended &= state.ended;
  }
  if (ended) {
    checks::end(block_);
    return true;
  }
  if (!progress) report_deadlock();
  return false;
}

void BlockExecutor::fault(const WarpState& state, const Instruction& in, Mask lanes, Fault fault, std::string message) {
  checks::report(state.warp, in, std::countr_zero(lanes), fault, std::move(message));
}

}  // namespace sim

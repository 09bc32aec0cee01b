// A thread block that is part of no real launch, in which the tests of memory instructions run.
#pragma once
#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

#include "machine/checks.h"
#include "machine/launch.h"
#include "machine/memory.h"
#include "machine/options.h"
#include "machine/races.h"
#include "machine/report.h"
#include "machine/warp.h"
#include "tests/instruction_harness.h"

namespace sim::test {

/// Options for as long as it lives, and an empty report.
class Checks {
 public:
  explicit Checks(std::string_view checks) : before_(options()) {
    changeable().set("check", checks);
    changeable().set("threads", "1");
    Report::instance().clear();
  }
  ~Checks() { changeable() = before_; }
  Checks(const Checks&) = delete;
  Checks& operator=(const Checks&) = delete;

 private:
  static Options& changeable() { return const_cast<Options&>(options()); }  // the object is not const: see options()
  Options before_;
};

inline std::vector<Finding> findings() { return Report::instance().findings(); }
inline std::uint64_t count_of(Fault fault) {
  const auto all = findings();
  return static_cast<std::uint64_t>(std::count_if(all.begin(), all.end(), [&](const Finding& f) { return f.fault == fault; }));
}

/// Operations of the whole test program have numbers of their own.
inline std::uint32_t next_operation() {
  static std::uint32_t last = 1000;
  return ++last;
}

/// One launch; its blocks are run one after the other, or turn about.
struct World {
  Kernel kernel;
  Launch launch;
  Worker worker;

  explicit World(std::uint32_t blocks = 1, std::uint32_t threads = 32) {
    kernel.name = kernel.demangled = "a_kernel()";
    launch.kernel = &kernel;
    launch.grid = {blocks, 1, 1};
    launch.block = {threads, 1, 1};
    launch.operation = next_operation();
    launch.order.lane = 1;
    launch.order.at = launch.operation;
    launch.order.after = {UINT64_MAX, UINT64_MAX};  // after all before it
  }
};

struct TestBlock {
  World& world;
  Block block;
  std::vector<std::byte> shared, local;
  std::vector<std::uint8_t> shared_bits, local_bits;

  explicit TestBlock(World& world_, std::uint64_t linear = 0, std::uint32_t shared_bytes = 4096)
      : world(world_), shared(shared_bytes + 64) {
    block.launch = &world.launch;
    block.shared = shared.data() + (64 - reinterpret_cast<std::uintptr_t>(shared.data()) % 64) % 64;
    block.shared_bytes = shared_bytes;
    std::memset(block.shared, 0xcb, shared_bytes);
    block.linear = linear;
    block.id = {static_cast<std::uint32_t>(linear), 0, 0};
    if (options().initcheck) {
      shared_bits.resize(shared_bytes / 8 + 8);
      block.shared_initialized = shared_bits.data();
    }
    checks::attach(block, (world.launch.block[0] + kLanes - 1) / kLanes);
    checks::start(block);
  }
  ~TestBlock() {
    checks::end(block);
    checks::detach(block);
  }
  TestBlock(const TestBlock&) = delete;
  TestBlock& operator=(const TestBlock&) = delete;

  void give_local(std::uint32_t stride) {
    local.assign(std::size_t{stride} * kLanes, std::byte{0xcb});
    local_bits.assign(local.size() / 8 + 8, 0);
    local_stride = stride;
  }
  std::uint32_t local_stride = 0;

  /// The warp's fields, as the executor sets them.
  void place(Warp& warp, std::uint32_t index = 0) {
    warp.block = &block;
    warp.worker = &world.worker;
    warp.index = index;
    warp.living = kAllLanes;
    warp.local = local.empty() ? nullptr : local.data();
    warp.local_stride = local_stride;
    warp.local_initialized = options().initcheck && !local.empty() ? local_bits.data() : nullptr;
  }
};

/// One instruction (or several) with registers; each test instruction has a number of its own in findings.
class Op : public InstructionHarness {
 public:
  explicit Op(std::string_view text, Environment environment = {})
      : InstructionHarness(memory_opcodes(), text, std::move(environment)) {
    static std::uint32_t index = 0;
    for (const Instruction& in : decoded()) const_cast<Instruction&>(in).index = ++index;
  }
  void run_in(TestBlock& block, Mask mask = kAllLanes, std::uint32_t warp_index = 0) {
    block.place(warp(), warp_index);
    run(mask);
  }
  /// The cudaError_t of the LaunchAbort that it ends with; 0 for none.
  int error_in(TestBlock& block, Mask mask = kAllLanes, std::uint32_t warp_index = 0) {
    try {
      run_in(block, mask, warp_index);
    } catch (const LaunchAbort& abort) {
      return abort.error;
    }
    return 0;
  }
};

inline Lanes lanes(std::uint64_t first, std::uint64_t step) {
  Lanes result;
  for (std::uint64_t lane = 0; lane < kLanes; ++lane) result[lane] = first + lane * step;
  return result;
}

}  // namespace sim::test

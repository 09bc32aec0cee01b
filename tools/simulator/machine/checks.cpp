#include "machine/checks.h"

#include <algorithm>
#include <filesystem>

#include "error.h"
#include "isa/code.h"
#include "machine/copies.h"
#include "machine/launch.h"
#include "machine/options.h"
#include "machine/races.h"

namespace sim::checks {
namespace {

std::array<std::uint32_t, 3> index_in(std::uint64_t linear, const Dim3& size) {
  const std::uint64_t x = std::max(size[0], 1u), y = std::max(size[1], 1u);
  return {static_cast<std::uint32_t>(linear % x), static_cast<std::uint32_t>(linear / x % y),
          static_cast<std::uint32_t>(linear / x / y)};
}

// The function whose code has the instruction.
const Code* code_with(const Kernel* kernel, std::uint32_t instruction) {
  if (kernel == nullptr || kernel->code == nullptr) return nullptr;
  for (const auto& code : kernel->code->functions) {
    if (code == nullptr || code->instructions.empty()) continue;
    const std::uint32_t first = code->instructions.front().index;
    if (instruction >= first && instruction - first < code->instructions.size()) return code.get();
  }
  return nullptr;
}

// The instruction as in the PTX, and where it is in the program's source: from the innermost inlined function out.
void add_source(const Kernel& kernel, const Code& code, std::size_t pc, Place& place) {
  const ptx::Instruction* source = pc < code.sources.size() ? code.sources[pc] : nullptr;
  if (source == nullptr) return;
  place.instruction = fmt::format("{} (PTX line {})", source->full, source->ptx_line);
  const ptx::Module& module = kernel.program->module();
  for (int at = source->line; at >= 0; at = code.function->lines[at].inlined_at) {
    const ptx::SourceLine& line = code.function->lines[at];
    if (line.line == 0) continue;
    const std::string file = line.file < static_cast<int>(module.files.size()) ? module.files[line.file] : "";
    place.source.push_back(fmt::format("{}:{}", std::filesystem::path(file).filename().string(), line.line));
  }
}

Place place_in(const Kernel* kernel, const Dim3& grid, const Dim3& block, std::uint64_t linear, std::uint32_t thread,
               std::uint32_t instruction) {
  Place result;
  result.kernel = kernel == nullptr ? "a kernel" : kernel->demangled;
  result.block = index_in(linear, grid);
  result.thread = index_in(thread, block);
  result.instruction = instruction == kNoInstruction || instruction == Stamp::kUnknown
                           ? "an instruction"
                           : fmt::format("instruction {}", instruction);
  if (const Code* code = code_with(kernel, instruction); code != nullptr) {
    add_source(*kernel, *code, instruction - code->instructions.front().index, result);
  }
  return result;
}

}  // namespace

void attach(Block& block, std::uint32_t warps) {
  block.copies = new PendingCopies(warps);
  if (options().racecheck) block.races = new SharedRaces(block.shared_bytes, warps);
}

void detach(Block& block) {
  delete block.copies;
  delete block.races;
  block.copies = nullptr;
  block.races = nullptr;
}

void start(Block& block) {
  block.copies->start();
  if (block.races == nullptr) return;
  block.races->start(block);
  block.races->order.start(*block.launch, block.linear, options().threads != 1);
}

void end(Block& block) { block.copies->start(); }

void warp_end(const Warp& warp) {
  if (warp.block->races != nullptr) warp.block->races->warp_end(warp.index);
}

void warp_sync(const Warp& warp, Mask mask) {
  if (warp.block->races != nullptr) warp.block->races->warp_sync(warp, mask);
}

void block_barrier(Block& block, std::uint32_t id, std::span<const std::uint32_t> warps) {
  if (block.races != nullptr) block.races->block_barrier(id, warps);
}

void barrier_arrive(Block& block, std::uint32_t id, std::uint32_t warp) {
  if (block.races != nullptr) block.races->barrier_arrive(id, warp);
}

bool is_on(Fault fault) {
  switch (fault) {
    case Fault::deadlock:
    case Fault::missing_lanes:
    case Fault::timeout:
    case Fault::illegal_instruction:
      return true;
    default:
      break;
  }
  switch (check_of(fault)) {
    case Check::memcheck:
      return fault == Fault::leak ? options().leakcheck : options().memcheck;
    case Check::initcheck:
      return options().initcheck;
    case Check::racecheck:
      return options().racecheck;
    case Check::synccheck:
      return options().synccheck;
    case Check::api:
      return options().any_check();
  }
  return false;
}

void report(const Warp& warp, const Instruction& in, int lane, Fault fault, std::string message, std::uint64_t count) {
  if (!is_on(fault)) return;
  Finding finding;
  finding.fault = fault;
  // The compiler may load a local variable before it knows whether the value is wanted.
  finding.warning = fault == Fault::uninitialized_local;
  finding.message = std::move(message);
  finding.place = place(warp, in, lane);
  finding.count = count;
  Report::instance().add(std::move(finding));
}

void forget(const Kernel& kernel) { Operations::instance().forget(&kernel); }

Place place(const Warp& warp, const Instruction& in, int lane) { return place(*warp.block, warp.thread_of(lane), in.index); }

Place place(const Block& block, std::uint32_t thread, std::uint32_t instruction) {
  return place_in(block.launch->kernel, block.launch->grid, block.launch->block, block.linear, thread, instruction);
}

Place place(const Operations::Record& operation, std::uint64_t block, std::uint32_t thread, std::uint32_t instruction) {
  Place result;
  if (operation.kernel != nullptr || operation.block[0] != 0) {
    result = place_in(operation.kernel, operation.grid, operation.block, block, thread, instruction);
  }
  result.kernel = operation.name;
  return result;
}

std::string kernel_name(const Warp& warp) {
  const Kernel* kernel = warp.block->launch->kernel;
  return kernel == nullptr ? "a kernel" : kernel->demangled;
}

const SharedLayout* shared_layout(const Block& block) {
  const Kernel* kernel = block.launch == nullptr ? nullptr : block.launch->kernel;
  return kernel == nullptr || kernel->code == nullptr ? nullptr : &kernel->code->shared;
}

std::string shared_name(const Block& block, std::uint32_t offset) {
  const SharedLayout* layout = shared_layout(block);
  if (layout == nullptr) return {};
  for (const SharedLayout::Variable& variable : layout->variables) {
    // The dynamic part's size is the launch's.
    if (offset >= variable.begin && (offset < variable.end || &variable == &layout->variables.back()))
      return fmt::format(" ({}+{})", variable.name, offset - variable.begin);
  }
  return {};
}

}  // namespace sim::checks

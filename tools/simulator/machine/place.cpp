#include "machine/place.h"

#include <filesystem>

#include <fmt/format.h>

#include "isa/code.h"
#include "machine/launch.h"

namespace sim {
Place place_of(const Warp& warp, const Instruction& instruction, int lane) {
  Place place;
  const Launch& launch = *warp.block->launch;
  const Code& code = *warp.frame->code;
  place.kernel = launch.kernel->demangled;
  place.block = warp.block->id;
  const std::uint32_t thread = warp.thread_of(lane);
  place.thread = {thread % launch.block[0], thread / launch.block[0] % launch.block[1],
                  thread / launch.block[0] / launch.block[1]};
  const auto pc = static_cast<std::size_t>(&instruction - code.instructions.data());
  const ptx::Instruction* source = pc < code.sources.size() ? code.sources[pc] : nullptr;
  if (source == nullptr) return place;
  place.instruction = fmt::format("{} (PTX line {})", source->full, source->ptx_line);
  const ptx::Module& module = launch.kernel->program->module();
  for (int at = source->line; at >= 0; at = code.function->lines[at].inlined_at) {
    const ptx::SourceLine& line = code.function->lines[at];
    if (line.line == 0) continue;
    const std::string file = line.file < static_cast<int>(module.files.size()) ? module.files[line.file] : "";
    place.source.push_back(fmt::format("{}:{}", std::filesystem::path(file).filename().string(), line.line));
  }
  return place;
}

}  // namespace sim

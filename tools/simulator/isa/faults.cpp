#include <sys/mman.h>

#include <cerrno>

#include "error.h"
#include "isa/access.h"
#include "machine/checks.h"

// What is wrong with an access, for the user.
namespace sim::access {
namespace {

constexpr int kIllegalAddress = 700, kMisaligned = 716;  // cudaError_t

std::string named(const Allocation& a) {
  const char* kind = "allocation";
  switch (a.kind) {
    case MemoryKind::pinned:
      kind = "pinned host allocation";
      break;
    case MemoryKind::managed:
      kind = "managed allocation";
      break;
    case MemoryKind::registered:
      kind = "registered host memory";
      break;
    case MemoryKind::variable:
      kind = "variable";
      break;
    case MemoryKind::constant:
      kind = "constant variable";
      break;
    case MemoryKind::device:
      break;
  }
  return fmt::format("{}{}{} of {} bytes at {:#x}", kind, a.name.empty() ? "" : " ", a.name, a.end - a.base, a.base);
}

bool is_mapped(Address address) {
  const auto page = reinterpret_cast<void*>(address & ~Address{4095});
  return address < (Address{1} << 47) && (msync(page, 1, MS_ASYNC) == 0 || errno != ENOMEM);
}

struct Diagnosis {
  Fault fault;
  int error;
  std::string message;
};

Diagnosis misaligned(const Use& use, std::uint64_t address) {
  return {Fault::misaligned, kMisaligned,
          fmt::format("{} at {:#x}, which is not a multiple of {}", text_of(use), address, use.alignment)};
}

// Beyond the end of an allocation, or between two.
std::string distance(const Use& use, Address address, const Allocation& a) {
  if (address < a.base) return fmt::format("{} bytes before {}", a.base - address, named(a));
  if (address >= a.end) return fmt::format("{} bytes after {}", address - a.end, named(a));
  return fmt::format("the last {} bytes behind {}", address + use.bytes - a.end, named(a));
}

bool diagnose_global(const Warp& warp, const Instruction& in, Address address, const Use& use, Diagnosis& result) {
  if (address % use.alignment != 0) {
    result = misaligned(use, address);
    return true;
  }
  const bool generic = (in.flags & kGeneric) != 0;
  if (address >= kWindowBase && address < kWindowBase + 4 * kWindowSpan) {
    static constexpr const char* kWindows[] = {"shared memory", "local memory", "the kernel's parameters", "functions"};
    const auto window = (address - kWindowBase) / kWindowSpan;
    if (generic && window < 2) return false;  // judged where that space is
    if (generic && window == 2) {
      const std::size_t size = warp.block->launch->parameters.size();
      const Address offset = address - kParameterWindow;
      if (is_write(use.kind)) {
        result = {Fault::read_only, kIllegalAddress,
                  fmt::format("{} at offset {} of the kernel's parameters", text_of(use), offset)};
        return true;
      }
      if (offset + use.bytes <= size) return false;
      result = {Fault::out_of_bounds, kIllegalAddress,
                fmt::format("{} at offset {} of the kernel's parameters, which have {} bytes", text_of(use), offset, size)};
      return true;
    }
    result = {Fault::invalid_address, kIllegalAddress,
              fmt::format("{} at {:#x}, which is an address of {}", text_of(use), address, kWindows[window])};
    return true;
  }
  const Memory& memory = Memory::instance();
  const Allocation* a = memory.find(address);
  if (a == nullptr) {
    const Allocation* near = memory.nearest(address);
    if (near != nullptr) {
      result = {Fault::out_of_bounds, kIllegalAddress,
                fmt::format("{} at {:#x}, {}", text_of(use), address, distance(use, address, *near))};
      if (near->freed) result.message += ", which has been freed";
    } else if (address < 65536) {
      result = {Fault::invalid_address, kIllegalAddress, fmt::format("{} at {:#x}: a null pointer", text_of(use), address)};
    } else if (address < kDeviceBase && is_mapped(address)) {
      result = {Fault::host_memory, kIllegalAddress,
                fmt::format("{} at {:#x}, which is memory of the host", text_of(use), address)};
    } else if (address >= kWindowBase + 4 * kWindowSpan && is_mapped(address)) {
      result = {Fault::host_memory, kIllegalAddress,
                fmt::format("{} at {:#x}, which is memory of the host", text_of(use), address)};
    } else {
      result = {Fault::invalid_address, kIllegalAddress, fmt::format("{} at {:#x}, where no memory is", text_of(use), address)};
    }
    return true;
  }
  if (__atomic_load_n(&a->freed, __ATOMIC_RELAXED)) {
    if (a->kind == MemoryKind::registered) {
      result = {Fault::host_memory, kIllegalAddress,
                fmt::format("{} at {:#x}, which is memory of the host that is no longer registered", text_of(use), address)};
      return true;
    }
    result = {Fault::use_after_free, kIllegalAddress,
              fmt::format("{} at {:#x}, {} bytes inside a freed {}", text_of(use), address, address - a->base, named(*a))};
    return true;
  }
  if (a->end - address < use.bytes) {
    result = {Fault::out_of_bounds, kIllegalAddress,
              fmt::format("{} at {:#x}, {}", text_of(use), address, distance(use, address, *a))};
    return true;
  }
  if (is_write(use.kind) && a->kind == MemoryKind::constant) {
    result = {Fault::read_only, kIllegalAddress, fmt::format("{} at {:#x}, in {}", text_of(use), address, named(*a))};
    return true;
  }
  if (!is_usable(warp, *a, is_write(use.kind))) {
    result = {Fault::peer_access, kIllegalAddress,
              fmt::format("{} at {:#x} by device {}, in {} of device {}: peer access has not been enabled", text_of(use),
                          address, warp.block->launch->device, named(*a), a->device)};
    return true;
  }
  return false;
}

[[noreturn]] void end(const Warp& warp, const Instruction& in, int lane, Diagnosis diagnosis, std::uint64_t count) {
  checks::report(warp, in, lane, diagnosis.fault, std::move(diagnosis.message), count);
  throw LaunchAbort{diagnosis.error};
}

}  // namespace

std::string text_of(const Use& use) {
  const char* what = use.kind == AccessKind::atomic ? "atomic on" : is_write(use.kind) ? "write of" : "read of";
  return fmt::format("{} {} byte{}", what, use.bytes, use.bytes == 1 ? "" : "s");
}

void global_fault(const Warp& warp, const Instruction& in, const std::uint64_t* address, Mask mask, const Use& use) {
  Diagnosis first{Fault::invalid_address, kIllegalAddress, "an invalid access"};
  int by = std::countr_zero(mask);
  std::uint64_t count = 0;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    Diagnosis diagnosis;
    if (!diagnose_global(warp, in, address[std::countr_zero(rest)], use, diagnosis)) continue;
    if (count++ == 0) {
      first = std::move(diagnosis);
      by = std::countr_zero(rest);
    }
  }
  end(warp, in, by, std::move(first), count == 0 ? 1 : count);
}

void shared_fault(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use,
                  const std::string& why) {
  const Block& block = *warp.block;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const std::uint64_t place = offset[lane];
    if (place % use.alignment != 0)
      end(warp, in, lane, misaligned(use, place), static_cast<std::uint64_t>(std::popcount(rest)));
    if (place + use.bytes <= block.shared_bytes) continue;
    std::string text = fmt::format("{} at {:#x} in shared memory, ", text_of(use), place);
    const SharedLayout* layout = checks::shared_layout(block);
    const std::size_t count = layout == nullptr ? 0 : layout->variables.size();
    const std::uint32_t dynamic = count == 0 ? 0 : layout->variables.back().begin;
    if (count > 1 && dynamic == block.shared_bytes) {
      const SharedLayout::Variable& last = layout->variables[count - 2];
      text +=
          fmt::format("{} bytes after the end of {}, which has {} bytes", place - last.end, last.name, last.end - last.begin);
    } else {
      const std::uint32_t bytes = block.shared_bytes - dynamic;
      text += fmt::format("of which the block has {}{} bytes", dynamic > 0 ? "a dynamic part of " : "", bytes);
    }
    end(warp, in, lane, {Fault::out_of_bounds, kIllegalAddress, std::move(text)}, 1);
  }
  end(warp, in, std::countr_zero(mask), {Fault::out_of_bounds, kIllegalAddress, why}, 1);
}

void local_fault(const Warp& warp, const Instruction& in, const std::uint32_t* offset, Mask mask, const Use& use,
                 std::uint32_t limit) {
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const std::uint64_t place = offset[lane];
    if (place % use.alignment != 0) end(warp, in, lane, misaligned(use, place), 1);
    if (place + use.bytes <= limit) continue;
    end(warp, in, lane,
        {Fault::out_of_bounds, kIllegalAddress,
         fmt::format("{} at {:#x} in local memory, of which the thread has {} bytes", text_of(use), place, limit)},
        1);
  }
  end(warp, in, std::countr_zero(mask), {Fault::out_of_bounds, kIllegalAddress, "an invalid access to local memory"}, 1);
}

}  // namespace sim::access

#include "runtime/device_functions.h"

#include <array>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#include "error.h"
#include "machine/checks.h"
#include "machine/launch.h"
#include "runtime/device_printf.h"

namespace sim {
namespace {

constexpr std::size_t kLongestString = 65536;
constexpr int kAssert = 710, kIllegalAddress = 700;

struct Printed {
  std::mutex mutex;
  std::unordered_map<std::uint32_t, std::map<std::uint64_t, std::string>> launches;  // by operation, then block
};

Printed& printed() {
  static auto* p = new Printed;
  return *p;
}

struct Heap {
  std::size_t limit = 8u << 20;
  std::size_t used = 0;
  std::unordered_map<Address, std::size_t> sizes;
};

struct Heaps {
  std::mutex mutex;
  std::array<Heap, kMaxDevices> devices;
};

Heaps& heaps() {
  static auto* h = new Heaps;
  return *h;
}

/// One call of a device function by the lanes of a warp.
struct Call {
  std::string_view name;
  Warp& warp;
  Mask mask;
  const Instruction& instruction;
  std::span<const FrameVariable> arguments, results;

  template <class T>
  T argument(std::size_t n, int lane) const {
    T value{};
    std::memcpy(&value, bytes(arguments[n], lane), std::min(sizeof value, arguments[n].bytes));
    return value;
  }

  template <class T>
  void result(int lane, T value) const {
    if (!results.empty()) std::memcpy(bytes(results[0], lane), &value, std::min(sizeof value, results[0].bytes));
  }

  std::byte* bytes(const FrameVariable& variable, int lane) const {
    return warp.base[0] + variable.offset + static_cast<std::size_t>(lane) * variable.stride;
  }

  void fault(int lane, Fault fault, std::string message) const {
    checks::report(warp, instruction, lane, fault, std::move(message));
  }

  std::string string(int lane, Address address) const {
    std::string text;
    for (; text.size() < kLongestString; ++address) {
      const std::byte* byte = lane_pointer(warp, lane, address, 1);
      if (byte == nullptr) {
        fault(lane, Fault::invalid_address, fmt::format("{} reads a string at {:#x}, which is no memory", name, address));
        throw LaunchAbort{kIllegalAddress};
      }
      if (*byte == std::byte{0}) break;
      text.push_back(static_cast<char>(*byte));
    }
    return text;
  }
};

template <class Body>
void for_lanes(Mask mask, Body&& body) {
  for (; mask != 0; mask &= mask - 1) body(std::countr_zero(mask));
}

void print(const Call& call, std::string_view text) {
  Printed& p = printed();
  const std::lock_guard guard(p.mutex);
  p.launches[call.warp.block->launch->operation][call.warp.block->linear] += text;
}

/// int vprintf(const char* format, void* arguments): arguments lie as C's promotions leave them, each aligned to its size.
void vprintf(const Call& call) {
  std::string text;
  std::string format;
  Address format_address = 0;
  for_lanes(call.mask, [&](int lane) {
    const auto address = call.argument<Address>(0, lane);
    if (address != format_address || address == 0) format = call.string(lane, format_address = address);
    PrintfArguments arguments{
        .next = call.argument<Address>(1, lane),
        .read =
            [&](Address at, void* to, std::size_t bytes) {
              const std::byte* from = lane_pointer(call.warp, lane, at, bytes);
              if (from == nullptr) {
                call.fault(lane, Fault::invalid_address,
                           fmt::format("printf reads an argument of {} bytes at {:#x}, which is no memory", bytes, at));
                throw LaunchAbort{kIllegalAddress};
              }
              std::memcpy(to, from, bytes);
            },
        .string = [&](Address at) { return at == 0 ? std::string("(null)") : call.string(lane, at); },
    };
    call.result(lane, format_printf(format, arguments, text));
  });
  print(call, text);
}

/// void __assertfail(const char* message, const char* file, unsigned line, const char* function, size_t char_size)
void assertfail(const Call& call) {
  const Block& block = *call.warp.block;
  const Dim3& size = block.launch->block;
  for_lanes(call.mask, [&](int lane) {
    const std::string message = call.string(lane, call.argument<Address>(0, lane)),
                      file = call.string(lane, call.argument<Address>(1, lane)),
                      function = call.string(lane, call.argument<Address>(3, lane));
    const auto line = call.argument<std::uint32_t>(2, lane);
    const std::uint32_t t = call.warp.thread_of(lane);
    fmt::print(stderr, "{}:{}: {}: block: [{},{},{}], thread: [{},{},{}] Assertion `{}` failed.\n", file, line, function,
               block.id[0], block.id[1], block.id[2], t % size[0], t / size[0] % size[1], t / size[0] / size[1], message);
    call.fault(lane, Fault::assertion, fmt::format("assertion `{}` failed at {}:{}", message, file, line));
  });
  throw LaunchAbort{kAssert};
}

void device_malloc(const Call& call) {
  const int device = call.warp.block->launch->device;
  Heap& heap = heaps().devices[device];
  for_lanes(call.mask, [&](int lane) {
    const auto bytes = call.argument<std::uint64_t>(0, lane);
    Address address = 0;
    const std::lock_guard guard(heaps().mutex);
    if (bytes != 0 && bytes <= heap.limit - std::min(heap.used, heap.limit)) {
      if (const Allocation* a = Memory::instance().allocate(MemoryKind::device, device, bytes, 16)) {
        address = a->base;
        heap.sizes.emplace(address, bytes);
        heap.used += bytes;
      }
    }
    call.result(lane, address);
  });
}

void device_free(const Call& call) {
  const int device = call.warp.block->launch->device;
  Heap& heap = heaps().devices[device];
  for_lanes(call.mask, [&](int lane) {
    const auto address = call.argument<Address>(0, lane);
    if (address == 0) return;
    const std::lock_guard guard(heaps().mutex);
    const auto found = heap.sizes.find(address);
    if (found == heap.sizes.end()) {
      const Allocation* a = Memory::instance().find(address);
      const bool twice = a != nullptr && a->base == address && a->freed;
      call.fault(lane, twice ? Fault::double_free : Fault::invalid_free,
                 fmt::format("free of {:#x} in device code, which {}", address,
                             twice ? "was freed before" : "no malloc of device code gave"));
      throw LaunchAbort{kIllegalAddress};
    }
    heap.used -= found->second;
    heap.sizes.erase(found);
    Memory::instance().free(address);
  });
}

struct Function {
  std::string_view name;
  std::size_t arguments;
  void (*run)(const Call&);
};

constexpr Function kFunctions[] = {
    {"vprintf", 2, vprintf}, {"__assertfail", 5, assertfail}, {"malloc", 1, device_malloc}, {"free", 1, device_free}};

}  // namespace

bool is_device_function(std::string_view name) {
  for (const Function& f : kFunctions)
    if (f.name == name) return true;
  return false;
}

void call_device_function(std::string_view name, Warp& warp, Mask mask, const Instruction& instruction,
                          std::span<const FrameVariable> arguments, std::span<const FrameVariable> results) {
  for (const Function& f : kFunctions) {
    if (f.name != name) continue;
    if (arguments.size() != f.arguments)
      throw Error("a kernel calls {} with {} arguments, it takes {}", name, arguments.size(), f.arguments);
    return f.run({name, warp, mask, instruction, arguments, results});
  }
  throw Error("the device function {} is not simulated", name);
}

std::byte* lane_pointer(const Warp& warp, int lane, Address address, std::size_t bytes) {
  const auto within = [&](Address base, std::size_t size) {
    return address >= base && address - base <= size && bytes <= size - (address - base);
  };
  if (address >= kWindowBase && address < kFunctionWindow) {
    if (within(kSharedWindow, warp.block->shared_bytes)) return warp.block->shared + (address - kSharedWindow);
    if (within(kLocalWindow, warp.local_stride))
      return warp.local + static_cast<std::size_t>(lane) * warp.local_stride + (address - kLocalWindow);
    auto& parameters = warp.block->launch->parameters;
    if (within(kParameterWindow, parameters.size())) return parameters.data() + (address - kParameterWindow);
    return nullptr;
  }
  const Allocation* a = Memory::instance().find(address);
  if (a == nullptr || a->freed || a->end - address < bytes) return nullptr;
  return a->working(address);
}

}  // namespace sim

namespace sim::runtime {

std::string take_printed(std::uint32_t operation) {
  Printed& p = printed();
  std::map<std::uint64_t, std::string> blocks;
  {
    const std::lock_guard guard(p.mutex);
    const auto found = p.launches.find(operation);
    if (found == p.launches.end()) return {};
    blocks.swap(found->second);
    p.launches.erase(found);
  }
  std::string all;
  for (const auto& [block, text] : blocks) all += text;
  return all;
}

void set_heap_limit(int device, std::size_t bytes) {
  const std::lock_guard guard(heaps().mutex);
  heaps().devices[device].limit = bytes;
}

void reset_heap(int device) {
  const std::lock_guard guard(heaps().mutex);
  Heap& heap = heaps().devices[device];
  for (const auto& [address, bytes] : heap.sizes) Memory::instance().free(address);
  heap.sizes.clear();
  heap.used = 0;
}

}  // namespace sim::runtime

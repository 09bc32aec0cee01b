#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "machine/report.h"

namespace sim {

using Address = std::uint64_t;

/// Generic addresses. Device allocations of device d lie in [kDeviceBase + d * kDeviceSpan, + kDeviceSpan); their addresses are
/// never used twice. Each is mapped twice: at its address without any access right, so that a host that follows a device
/// pointer faults, and at address + Memory::delta() for the simulator. Shared, local and parameter memory have windows of their
/// own.
inline constexpr Address kDeviceBase = 0x1000'0000'0000;
inline constexpr Address kDeviceSpan = Address{1} << 40;
inline constexpr int kMaxDevices = 16;
inline constexpr Address kHostBase = kDeviceBase + kMaxDevices * kDeviceSpan;  // pinned and managed memory; the host may use it
inline constexpr Address kWindowBase = 0x3000'0000'0000;
inline constexpr Address kSharedWindow = kWindowBase;                     // + offset in the block's shared memory
inline constexpr Address kLocalWindow = kWindowBase + 0x1'0000'0000;      // + offset in the thread's local memory
inline constexpr Address kParameterWindow = kWindowBase + 0x2'0000'0000;  // + offset in the kernel's parameters
inline constexpr Address kFunctionWindow = kWindowBase + 0x3'0000'0000;   // + 16 * index of a function
inline constexpr Address kWindowSpan = 0x1'0000'0000;

inline constexpr int kPoison = 0xcb;  // of fresh memory: as float -2.7e7, as int -875836469, as half -15.6

enum class MemoryKind : std::uint8_t { device, pinned, managed, registered, variable, constant };

/// Who last wrote and read a 4-byte word of global memory: for races between blocks and between streams.
struct WordShadow;
class StreamOrdered;

struct Allocation {
  Address base = 0, end = 0;  // [base, end)
  std::ptrdiff_t delta = 0;   // working address = address + delta
  MemoryKind kind = MemoryKind::device;
  int device = 0;
  bool freed = false;
  bool host_reads = false;                  // the host may read and write it without a copy: no initialisation tracking
  std::uint8_t* initialized = nullptr;      // a bit a byte from base, or null when not tracked
  WordShadow* words = nullptr;              // a record per 4 bytes, or null when not tracked
  StreamOrdered* stream_ordered = nullptr;  // of a stream's allocator (machine/stream_ordered.h), when races are checked
  std::string name;                         // a variable's; else ""
  std::uint64_t serial = 0;                 // n-th allocation of the process

  std::byte* working(Address address) const { return reinterpret_cast<std::byte*>(address + delta); }
};

/// Replaces whole pages, all of one mapping, by ones that hold the pattern of fresh memory and cost nothing until they are
/// touched; madvise(MADV_DONTNEED) brings the pattern back. Throws Error.
void map_poison(std::byte* memory, std::size_t bytes);

/// All memory that kernels can reach, of all devices. Thread-safe; look-ups take no lock.
class Memory {
 public:
  static Memory& instance();

  /// Fresh memory is filled with a pattern that is neither zero nor small. Returns null when `device` has no room (kind
  /// device), `alignment` a power of two.
  const Allocation* allocate(MemoryKind kind, int device, std::size_t bytes, std::size_t alignment = 256,
                             std::string name = {});
  /// Memory of the host's own (cudaHostRegister).
  const Allocation* adopt(void* memory, std::size_t bytes);
  /// The allocation must begin at `base`; returns false (nothing done) when none does or it was freed before.
  bool free(Address base);

  /// The allocation that holds `address`, freed ones included; null when there is none.
  const Allocation* find(Address address) const;
  /// The nearest allocation below or above, for messages; null when there is none.
  const Allocation* nearest(Address address) const;

  std::size_t bytes_in_use(int device) const;
  std::vector<const Allocation*> living() const;

  void mark_initialized(const Allocation& a, Address address, std::size_t bytes);
  /// First byte of the range that was never written, or 0.
  Address first_uninitialized(const Allocation& a, Address address, std::size_t bytes) const;

 private:
  Memory();
  struct Implementation;
  std::unique_ptr<Implementation> implementation_;
};

}  // namespace sim

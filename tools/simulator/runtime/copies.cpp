#include "runtime/copies.h"

#include <algorithm>
#include <cstring>

#include "runtime/capture.h"

namespace sim::runtime {
namespace {

bool in_device_space(Address address) { return address >= kDeviceBase && address < kHostBase; }

/// The bytes from the first to the last that a box of rows touches.
std::size_t span_of(std::size_t pitch, std::size_t slice, std::size_t width, std::size_t height, std::size_t depth) {
  return (depth - 1) * slice + (height - 1) * pitch + width;
}

/// Where the memory lies for the simulator; its allocation, or null for memory of the host alone.
std::byte* working(Address address, const Allocation*& allocation) {
  allocation = Memory::instance().find(address);
  return allocation != nullptr ? allocation->working(address) : reinterpret_cast<std::byte*>(address);
}

/// Tells the checks about every row; false when one is not in living memory.
template <class Rows>
bool access(const Operation& o, std::string_view what, const Rows& rows, std::size_t width, std::size_t height,
            std::size_t depth, bool write) {
  // Rows that touch are one range.
  if (rows.pitch == width && (depth == 1 || rows.slice == rows.pitch * height))
    return host_access(o.order, o.number, what, rows.address, width * height * depth, write, o.device);
  for (std::size_t z = 0; z < depth; ++z)
    for (std::size_t y = 0; y < height; ++y)
      if (!host_access(o.order, o.number, what, rows.address + z * rows.slice + y * rows.pitch, width, write, o.device))
        return false;
  return true;
}

bool is_host(Address address) {
  if (in_device_space(address)) return false;
  const Allocation* a = Memory::instance().find(address);
  return a == nullptr || a->kind == MemoryKind::pinned || a->kind == MemoryKind::registered;
}

/// Reports a range that is not in living memory, as host_access does for an operation that runs.
cudaError_t check_range(Address address, std::size_t bytes, bool write, std::string_view call, int device) {
  const Allocation* a = Memory::instance().find(address);
  if (a == nullptr && !in_device_space(address)) return cudaSuccess;
  if (a != nullptr && !a->freed && address - a->base <= a->end - a->base && bytes <= a->end - address) return cudaSuccess;
  Order order;
  (void)host_access(order, 0, call, address, bytes, write, device);
  return cudaErrorInvalidValue;
}

}  // namespace

bool is_pageable(Address address) { return !in_device_space(address) && Memory::instance().find(address) == nullptr; }

cudaMemcpyKind kind_of(Address to, Address from) {
  if (is_host(to)) return is_host(from) ? cudaMemcpyHostToHost : cudaMemcpyDeviceToHost;
  return is_host(from) ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToDevice;
}

CopyWork linear_copy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
  CopyWork copy;
  copy.to = {reinterpret_cast<Address>(to), bytes, bytes, -1};
  copy.from = {reinterpret_cast<Address>(from), bytes, bytes, -1};
  copy.width = bytes;
  copy.kind = kind;
  auto& p = copy.parameters;
  p.srcPtr = {const_cast<void*>(from), bytes, bytes, 1};
  p.dstPtr = {to, bytes, bytes, 1};
  p.extent = {bytes, 1, 1};
  p.kind = kind;
  return copy;
}

cudaError_t copy_of(const cudaMemcpy3DParms& p, CopyWork& copy) {
  if (p.srcArray != nullptr || p.dstArray != nullptr) throw Error("copies of CUDA arrays are not simulated");
  const auto side = [](const cudaPitchedPtr& ptr, const cudaPos& pos) {
    return Side{reinterpret_cast<Address>(ptr.ptr) + pos.x + pos.y * ptr.pitch + pos.z * ptr.pitch * ptr.ysize, ptr.pitch,
                ptr.pitch * ptr.ysize, -1};
  };
  copy = {};
  copy.to = side(p.dstPtr, p.dstPos);
  copy.from = side(p.srcPtr, p.srcPos);
  copy.width = p.extent.width;
  copy.height = p.extent.height;
  copy.depth = p.extent.depth;
  copy.kind = p.kind;
  copy.parameters = p;
  const auto too_small = [&](const Side& s) {
    return (s.pitch < copy.width && copy.height * copy.depth > 1) || (copy.depth > 1 && s.slice < s.pitch * copy.height);
  };
  return copy.width != 0 && copy.height != 0 && copy.depth != 0 && (too_small(copy.to) || too_small(copy.from))
             ? cudaErrorInvalidPitchValue
             : cudaSuccess;
}

cudaError_t check_copy(CopyWork& copy, std::string_view call) {
  if (copy.width == 0 || copy.height == 0 || copy.depth == 0) return cudaSuccess;
  if (copy.to.address == 0 || copy.from.address == 0) return cudaErrorInvalidValue;
  if (static_cast<unsigned>(copy.kind) > cudaMemcpyDefault) return cudaErrorInvalidMemcpyDirection;
  const int device = this_thread().device;
  for (const bool write : {true, false}) {
    const Side& s = write ? copy.to : copy.from;
    if (const cudaError_t e =
            check_range(s.address, span_of(s.pitch, s.slice, copy.width, copy.height, copy.depth), write, call, device);
        e != cudaSuccess)
      return e;
  }
  // With unified addressing the direction is known; one that is given must be true of memory that is not the host's (managed
  // memory is both).
  const auto is_device_only = [](Address a) {
    const Allocation* found = Memory::instance().find(a);
    return found != nullptr && found->kind != MemoryKind::pinned && found->kind != MemoryKind::registered &&
           found->kind != MemoryKind::managed;
  };
  const bool to_host = copy.kind == cudaMemcpyHostToHost || copy.kind == cudaMemcpyDeviceToHost;
  const bool from_host = copy.kind == cudaMemcpyHostToHost || copy.kind == cudaMemcpyHostToDevice;
  if (copy.kind == cudaMemcpyDefault) return cudaSuccess;
  if ((to_host && is_device_only(copy.to.address)) || (from_host && is_device_only(copy.from.address)) ||
      (!to_host && is_pageable(copy.to.address)) || (!from_host && is_pageable(copy.from.address))) {
    misuse(call, fmt::format("the direction of the copy from {:#x} to {:#x} is not that of their memory", copy.from.address,
                             copy.to.address));
    return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

cudaError_t check_memset(const MemsetWork& work, std::string_view call) {
  if (work.width == 0 || work.height == 0 || work.depth == 0) return cudaSuccess;
  if (work.element != 1 && work.element != 2 && work.element != 4) return cudaErrorInvalidValue;
  if (is_pageable(work.to)) return cudaErrorInvalidValue;
  if (work.height > 1 && work.pitch < work.width * work.element) return cudaErrorInvalidPitchValue;
  return check_range(work.to, span_of(work.pitch, work.slice, work.width * work.element, work.height, work.depth), true, call,
                     this_thread().device);
}

cudaError_t run_copy(const CopyWork& copy, Operation& o) {
  if (copy.width == 0 || copy.height == 0 || copy.depth == 0) return cudaSuccess;
  struct Rows {
    Address address;
    std::size_t pitch, slice;
  };
  const Rows to{copy.to.address, copy.height > 1 ? copy.to.pitch : copy.width,
                copy.depth > 1 ? copy.to.slice : copy.to.pitch * copy.height};
  const Rows from{copy.from.address, copy.height > 1 ? copy.from.pitch : copy.width,
                  copy.depth > 1 ? copy.from.slice : copy.from.pitch * copy.height};
  const Allocation *to_allocation = nullptr, *from_allocation = nullptr;
  std::byte* out = working(to.address, to_allocation);
  const std::byte* in = copy.staged ? copy.staged->data() : working(from.address, from_allocation);
  // Memory that was freed in the meantime: the finding is enough where checks are on; the device would report an error.
  if (to_allocation != nullptr && !access(o, o.name, to, copy.width, copy.height, copy.depth, true))
    return cudaErrorIllegalAddress;
  if (from_allocation != nullptr && !access(o, o.name, from, copy.width, copy.height, copy.depth, false))
    return cudaErrorIllegalAddress;
  const std::size_t in_pitch = copy.staged ? copy.width : from.pitch,
                    in_slice = copy.staged ? copy.width * copy.height : from.slice;
  for (std::size_t z = 0; z < copy.depth; ++z)
    for (std::size_t y = 0; y < copy.height; ++y)
      std::memmove(out + z * to.slice + y * to.pitch, in + z * in_slice + y * in_pitch, copy.width);
  return cudaSuccess;
}

cudaError_t run_memset(const MemsetWork& w, Operation& o) {
  if (w.width == 0 || w.height == 0 || w.depth == 0) return cudaSuccess;
  const std::size_t bytes = w.width * w.element;
  struct Rows {
    Address address;
    std::size_t pitch, slice;
  };
  const Rows to{w.to, w.height > 1 ? w.pitch : bytes, w.depth > 1 ? w.slice : w.pitch * w.height};
  const Allocation* allocation = nullptr;
  std::byte* out = working(to.address, allocation);
  if (allocation != nullptr && !access(o, o.name, to, bytes, w.height, w.depth, true)) return cudaErrorIllegalAddress;
  for (std::size_t z = 0; z < w.depth; ++z) {
    for (std::size_t y = 0; y < w.height; ++y) {
      std::byte* row = out + z * to.slice + y * to.pitch;
      if (w.element == 1) std::memset(row, static_cast<int>(w.value), bytes);
      for (std::size_t x = 0; w.element != 1 && x < w.width; ++x) std::memcpy(row + x * w.element, &w.value, w.element);
    }
  }
  return cudaSuccess;
}

cudaError_t do_copy(Lock& lock, CUstream_st* stream, CopyWork copy, Waiting waiting, std::string_view call) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (const cudaError_t e = check_copy(copy, call); e != cudaSuccess) return e;
  if (waiting == Waiting::blocking) {
    if (const cudaError_t e = check_unsafe_call(); e != cudaSuccess) return e;
    if (stream->capture != nullptr) return check_not_capturing(*stream);
  }
  const bool pageable_to = is_pageable(copy.to.address), pageable_from = is_pageable(copy.from.address);
  if (waiting == Waiting::asynchronous && stream->capture == nullptr && pageable_from && !pageable_to && copy.width != 0) {
    // The source may be changed as soon as the call has returned.
    copy.staged = std::make_shared<std::vector<std::byte>>(copy.width * copy.height * copy.depth);
    for (std::size_t z = 0; z < copy.depth; ++z)
      for (std::size_t y = 0; y < copy.height; ++y)
        std::memcpy(copy.staged->data() + (z * copy.height + y) * copy.width,
                    reinterpret_cast<const std::byte*>(copy.from.address) + z * copy.from.slice + y * copy.from.pitch,
                    copy.width);
  }
  // Copies within a device and between devices are asynchronous whatever they are called.
  const bool waits =
      stream->capture == nullptr && (pageable_to || (waiting == Waiting::blocking &&
                                                     kind_of(copy.to.address, copy.from.address) != cudaMemcpyDeviceToDevice));
  OperationPtr operation;
  if (const cudaError_t e = enqueue(lock, *stream, std::move(copy), &operation); e != cudaSuccess) return e;
  if (operation) operation->name = call;
  return waits ? Process::instance().wait(lock, operation) : cudaSuccess;
}

cudaError_t do_memset(Lock& lock, CUstream_st* stream, const MemsetWork& work, Waiting waiting, std::string_view call) {
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (const cudaError_t e = check_memset(work, call); e != cudaSuccess) return e;
  if (waiting == Waiting::blocking) {
    if (const cudaError_t e = check_unsafe_call(); e != cudaSuccess) return e;
  }
  const bool waits = waiting == Waiting::blocking && is_host(work.to);
  OperationPtr operation;
  if (const cudaError_t e = enqueue(lock, *stream, work, &operation); e != cudaSuccess) return e;
  if (operation) operation->name = call;
  return waits ? Process::instance().wait(lock, operation) : cudaSuccess;
}

}  // namespace sim::runtime

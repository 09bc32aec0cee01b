#include "runtime/copies.h"
#include "runtime/per_thread.h"
#include "runtime/work.h"

using namespace sim::runtime;

static CopyWork rectangle(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                          cudaMemcpyKind kind) {
  CopyWork copy = linear_copy(to, from, width, kind);
  copy.to.pitch = to_pitch;
  copy.from.pitch = from_pitch;
  copy.height = height;
  copy.parameters.srcPtr = {const_cast<void*>(from), from_pitch, width, height};
  copy.parameters.dstPtr = {to, to_pitch, width, height};
  copy.parameters.extent = {width, height, 1};
  return copy;
}

static bool pitch_is_small(size_t to_pitch, size_t from_pitch, size_t width, size_t height) {
  return width != 0 && height != 0 && (to_pitch < width || from_pitch < width);
}

static bool copy_of_peers(const cudaMemcpy3DPeerParms& p, CopyWork& copy, cudaError_t& error) {
  cudaMemcpy3DParms plain{};
  plain.srcArray = p.srcArray;
  plain.srcPos = p.srcPos;
  plain.srcPtr = p.srcPtr;
  plain.dstArray = p.dstArray;
  plain.dstPos = p.dstPos;
  plain.dstPtr = p.dstPtr;
  plain.extent = p.extent;
  plain.kind = cudaMemcpyDefault;
  error = copy_of(plain, copy);
  return error == cudaSuccess;
}

static bool is_device(int device) { return device >= 0 && device < static_cast<int>(Process::instance().devices.size()); }

static MemsetWork fill(void* to, size_t pitch, size_t slice, int value, size_t width, size_t height, size_t depth) {
  MemsetWork work;
  work.to = reinterpret_cast<sim::Address>(to);
  work.pitch = pitch;
  work.slice = slice;
  work.value = static_cast<unsigned>(value) & 0xffu;
  work.width = width;
  work.height = height;
  work.depth = depth;
  return work;
}

extern "C" {

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return call([&](Process& process, Lock& lock) {
    return do_copy(lock, process.stream(nullptr, kPerThread), linear_copy(to, from, bytes, kind), Waiting::blocking,
                   "cudaMemcpy");
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    return do_copy(lock, process.stream(stream, kPerThread), linear_copy(to, from, bytes, kind), Waiting::asynchronous,
                   "cudaMemcpyAsync");
  });
}

cudaError_t cudaMemcpy2D(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                         cudaMemcpyKind kind) {
  return call([&](Process& process, Lock& lock) {
    if (pitch_is_small(to_pitch, from_pitch, width, height)) return cudaErrorInvalidPitchValue;
    return do_copy(lock, process.stream(nullptr, kPerThread), rectangle(to, to_pitch, from, from_pitch, width, height, kind),
                   Waiting::blocking, "cudaMemcpy2D");
  });
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height,
                              cudaMemcpyKind kind, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    if (pitch_is_small(to_pitch, from_pitch, width, height)) return cudaErrorInvalidPitchValue;
    return do_copy(lock, process.stream(stream, kPerThread), rectangle(to, to_pitch, from, from_pitch, width, height, kind),
                   Waiting::asynchronous, "cudaMemcpy2DAsync");
  });
}

cudaError_t cudaMemcpy3D(const cudaMemcpy3DParms* parameters) {
  return call([&](Process& process, Lock& lock) {
    CopyWork copy;
    if (parameters == nullptr) return cudaErrorInvalidValue;
    if (const cudaError_t error = copy_of(*parameters, copy); error != cudaSuccess) return error;
    return do_copy(lock, process.stream(nullptr, kPerThread), std::move(copy), Waiting::blocking, "cudaMemcpy3D");
  });
}

cudaError_t cudaMemcpy3DAsync(const cudaMemcpy3DParms* parameters, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    CopyWork copy;
    if (parameters == nullptr) return cudaErrorInvalidValue;
    if (const cudaError_t error = copy_of(*parameters, copy); error != cudaSuccess) return error;
    return do_copy(lock, process.stream(stream, kPerThread), std::move(copy), Waiting::asynchronous, "cudaMemcpy3DAsync");
  });
}

cudaError_t cudaMemcpy3DPeer(const cudaMemcpy3DPeerParms* parameters) {
  return call([&](Process& process, Lock& lock) {
    CopyWork copy;
    cudaError_t error = cudaErrorInvalidValue;
    if (parameters == nullptr || !copy_of_peers(*parameters, copy, error)) return error;
    if (!is_device(parameters->dstDevice) || !is_device(parameters->srcDevice)) return cudaErrorInvalidDevice;
    return do_copy(lock, process.stream(nullptr, kPerThread), std::move(copy), Waiting::blocking, "cudaMemcpy3DPeer");
  });
}

cudaError_t cudaMemcpy3DPeerAsync(const cudaMemcpy3DPeerParms* parameters, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    CopyWork copy;
    cudaError_t error = cudaErrorInvalidValue;
    if (parameters == nullptr || !copy_of_peers(*parameters, copy, error)) return error;
    if (!is_device(parameters->dstDevice) || !is_device(parameters->srcDevice)) return cudaErrorInvalidDevice;
    return do_copy(lock, process.stream(stream, kPerThread), std::move(copy), Waiting::asynchronous, "cudaMemcpy3DPeerAsync");
  });
}

cudaError_t cudaMemcpyBatchAsync(void* const* to, const void* const* from, const size_t* sizes, size_t count,
                                 cudaMemcpyAttributes* attributes, size_t*, size_t attribute_count, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    CUstream_st* s = process.stream(stream, kPerThread);
    if (s == nullptr || s->legacy) return cudaErrorInvalidResourceHandle;
    if (to == nullptr || from == nullptr || sizes == nullptr || count == 0 || attributes == nullptr || attribute_count == 0)
      return cudaErrorInvalidValue;
    for (size_t i = 0; i < count; ++i)
      if (const cudaError_t e = do_copy(lock, s, linear_copy(to[i], from[i], sizes[i], cudaMemcpyDefault),
                                        Waiting::asynchronous, "cudaMemcpyBatchAsync");
          e != cudaSuccess)
        return e;
    return cudaSuccess;
  });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return call([&](Process& process, Lock& lock) {
    return do_memset(lock, process.stream(nullptr, kPerThread), fill(to, bytes, bytes, value, bytes, 1, 1), Waiting::blocking,
                     "cudaMemset");
  });
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    return do_memset(lock, process.stream(stream, kPerThread), fill(to, bytes, bytes, value, bytes, 1, 1),
                     Waiting::asynchronous, "cudaMemsetAsync");
  });
}

cudaError_t cudaMemset2D(void* to, size_t pitch, int value, size_t width, size_t height) {
  return call([&](Process& process, Lock& lock) {
    return do_memset(lock, process.stream(nullptr, kPerThread), fill(to, pitch, pitch * height, value, width, height, 1),
                     Waiting::blocking, "cudaMemset2D");
  });
}

cudaError_t cudaMemset2DAsync(void* to, size_t pitch, int value, size_t width, size_t height, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    return do_memset(lock, process.stream(stream, kPerThread), fill(to, pitch, pitch * height, value, width, height, 1),
                     Waiting::asynchronous, "cudaMemset2DAsync");
  });
}

cudaError_t cudaMemset3D(cudaPitchedPtr to, int value, cudaExtent extent) {
  return call([&](Process& process, Lock& lock) {
    return do_memset(lock, process.stream(nullptr, kPerThread),
                     fill(to.ptr, to.pitch, to.pitch * to.ysize, value, extent.width, extent.height, extent.depth),
                     Waiting::blocking, "cudaMemset3D");
  });
}

cudaError_t cudaMemset3DAsync(cudaPitchedPtr to, int value, cudaExtent extent, cudaStream_t stream) {
  return call([&](Process& process, Lock& lock) {
    return do_memset(lock, process.stream(stream, kPerThread),
                     fill(to.ptr, to.pitch, to.pitch * to.ysize, value, extent.width, extent.height, extent.depth),
                     Waiting::asynchronous, "cudaMemset3DAsync");
  });
}
}

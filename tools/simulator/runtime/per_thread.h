#pragma once
// Sources of calls that take a stream are compiled twice: the names that end in _ptds and _ptsz mean the thread's stream by 0
// (nvcc
// --default-stream per-thread). See per_thread_calls.cpp.
#include <cuda_runtime_api.h>

#ifdef CUDA_API_PER_THREAD_DEFAULT_STREAM
static constexpr bool kPerThread = true;
#else
static constexpr bool kPerThread = false;
#endif

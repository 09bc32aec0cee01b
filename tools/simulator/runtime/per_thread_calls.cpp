#define CUDA_API_PER_THREAD_DEFAULT_STREAM
#include "runtime/copy_calls.cpp"
#include "runtime/launch_calls.cpp"
#include "runtime/stream_calls.cpp"
#include "runtime/symbol_calls.cpp"

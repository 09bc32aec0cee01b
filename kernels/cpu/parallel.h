// Work shared out over the OpenMP pool. A single thread runs it in place: entering a parallel region costs microseconds and,
// when the team changes its size, memory.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace gannet::kernels::cpu {

// Threads worth waking for so many elements; kernels ask when they are created.
inline int threads_for(std::int64_t elements) {
  constexpr std::int64_t grain = 16384;
  return static_cast<int>(std::clamp<std::int64_t>(elements / grain, 1, omp_get_max_threads()));
}

// body(task, thread) for every task; a thread's tasks are consecutive, and the same ones each time.
template <class Body>
void parallel_for(int threads, std::int64_t tasks, const Body& body) {
  if (threads <= 1 || tasks <= 1) {
    for (std::int64_t task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const int thread = omp_get_thread_num(), team = omp_get_num_threads();
    const std::int64_t end = tasks * (thread + 1) / team;
    for (std::int64_t task = tasks * thread / team; task < end; ++task) body(task, thread);
  }
}

}  // namespace gannet::kernels::cpu

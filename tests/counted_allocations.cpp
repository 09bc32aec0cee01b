#include "tests/counted_allocations.h"

#include <link.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
#define GANNET_COUNTS_ALLOCATIONS 0
#else
#define GANNET_COUNTS_ALLOCATIONS 1
#endif

namespace gannet::testing {
namespace {

std::atomic<long> own{0}, library{0};
std::atomic<std::uintptr_t> library_begin{0}, library_end{0};

int find_library(dl_phdr_info* info, std::size_t, void*) {
  if (!std::strstr(info->dlpi_name, "libdnnl")) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || !(segment.p_flags & PF_X)) continue;
    library_begin = info->dlpi_addr + segment.p_vaddr;
    library_end = info->dlpi_addr + segment.p_vaddr + segment.p_memsz;
  }
  return 1;
}

[[maybe_unused]] void count(const void* caller) {
  const auto address = reinterpret_cast<std::uintptr_t>(caller);
  ++(address >= library_begin && address < library_end ? library : own);
}

}  // namespace

bool counts_allocations() { return GANNET_COUNTS_ALLOCATIONS; }

Allocations allocations() {
  if (library_end == 0) dl_iterate_phdr(find_library, nullptr);
  return {own, library};
}

}  // namespace gannet::testing

#if GANNET_COUNTS_ALLOCATIONS
// glibc's own functions, under the names that it keeps for this.
extern "C" {
// NOLINTBEGIN(bugprone-reserved-identifier)
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
// NOLINTEND(bugprone-reserved-identifier)

void* malloc(std::size_t bytes) noexcept {
  gannet::testing::count(__builtin_return_address(0));
  return __libc_malloc(bytes);
}
void* calloc(std::size_t count, std::size_t bytes) noexcept {
  gannet::testing::count(__builtin_return_address(0));
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, std::size_t bytes) noexcept {
  gannet::testing::count(__builtin_return_address(0));
  return __libc_realloc(memory, bytes);
}
void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  gannet::testing::count(__builtin_return_address(0));
  return __libc_memalign(alignment, bytes);
}
int posix_memalign(void** memory, std::size_t alignment, std::size_t bytes) noexcept {
  gannet::testing::count(__builtin_return_address(0));
  *memory = __libc_memalign(alignment, bytes);
  return *memory ? 0 : ENOMEM;
}
}

// So that the caller of operator new is known; the other forms call these.
void* operator new(std::size_t bytes) {
  gannet::testing::count(__builtin_return_address(0));
  if (void* memory = __libc_malloc(bytes)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  gannet::testing::count(__builtin_return_address(0));
  if (void* memory = __libc_memalign(static_cast<std::size_t>(alignment), bytes)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
#endif

#include "machine/word_shadow.h"

#include <sys/mman.h>

#include "error.h"

namespace sim {
namespace {

std::size_t size_of(std::size_t bytes) {
  const std::size_t pages = (bytes + 4 * WordShadow::kWords - 1) / (4 * WordShadow::kWords);
  return (pages == 0 ? 1 : pages) * sizeof(WordShadow);
}

}  // namespace

WordShadow* make_word_shadow(std::size_t bytes) {
  void* memory = mmap(nullptr, size_of(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw Error("there is no memory for the race check of {} bytes", bytes);
  madvise(memory, size_of(bytes), MADV_DONTDUMP);
  return static_cast<WordShadow*>(memory);
}

void release_word_shadow(WordShadow* shadow, std::size_t bytes) { madvise(shadow, size_of(bytes), MADV_DONTNEED); }

}  // namespace sim

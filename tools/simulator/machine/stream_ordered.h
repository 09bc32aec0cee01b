// Memory that comes and goes in the order of streams (cudaMallocAsync, cudaFreeAsync), for the race check.
#pragma once
#include <cstdint>
#include <mutex>
#include <string_view>
#include <vector>

#include "machine/launch.h"
#include "machine/memory.h"

namespace sim {

/// What an allocation is used by has to come behind its allocation and before it is freed.
class StreamOrdered {
 public:
  StreamOrdered(const Order& allocated, std::string_view call);

  /// An operation uses the memory. `segment`, `thread` and `instruction` say where it did so first (machine/word_shadow.h); a
  /// finding names the place by `place`.
  template <class PlaceOf>
  void use(const Allocation& a, std::uint32_t operation, const Order& order, std::uint64_t segment, std::uint32_t thread,
           std::uint32_t instruction, std::string_view name, PlaceOf place) {
    if (!add(operation, order, segment, thread, instruction)) report_early(a, name, place());
  }
  /// It is freed by an operation of this order: reports who may still use it.
  void free(const Allocation& a, const Order& order, std::string_view call);

 private:
  struct User {
    std::uint32_t operation, lane;
    std::uint64_t at, segment;
    std::uint32_t thread, instruction;
  };
  // False when it is not ordered behind the allocation.
  bool add(std::uint32_t operation, const Order& order, std::uint64_t segment, std::uint32_t thread, std::uint32_t instruction);
  void report_early(const Allocation& a, std::string_view name, Place place) const;

  const std::string_view call_;
  const std::uint32_t lane_;
  const std::uint64_t at_;
  std::mutex mutex_;
  std::vector<User> users_;  // none is ordered before another
};

/// The memory is there behind an operation of this order. Before anybody else knows of the allocation.
void order_by_stream(const Allocation& a, const Order& allocated, std::string_view call);

}  // namespace sim

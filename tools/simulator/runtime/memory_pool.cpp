#include "runtime/memory_pool.h"

#include <algorithm>
#include <array>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

namespace sim::runtime {
namespace {

struct Pools {
  std::mutex mutex;
  std::array<CUmemPoolHandle_st, kMaxDevices> defaults;
  std::unordered_map<Address, std::pair<CUmemPoolHandle_st*, std::size_t>> allocations;
  std::unordered_set<CUmemPoolHandle_st*> made;
  std::unordered_set<Address> leaving;  // cudaFreeAsync was called, its turn in the stream has not come
};

Pools& pools() {
  static Pools* p = [] {
    auto* made = new Pools;
    for (int d = 0; d < kMaxDevices; ++d) {
      made->defaults[d].device = d;
      made->defaults[d].is_default = true;
      made->defaults[d].properties.allocType = cudaMemAllocationTypePinned;
      made->defaults[d].properties.location = {cudaMemLocationTypeDevice, d};
    }
    return made;
  }();
  return *p;
}

void take_back(Address address) {
  Pools& p = pools();
  const std::lock_guard guard(p.mutex);
  p.leaving.erase(address);
  const auto found = p.allocations.find(address);
  if (found == p.allocations.end()) return;
  const auto [pool, bytes] = found->second;
  pool->used -= std::min<std::uint64_t>(bytes, pool->used);
  const auto threshold = pool->attributes.find(cudaMemPoolAttrReleaseThreshold);
  pool->reserved = std::max(pool->used, std::min(pool->reserved, threshold == pool->attributes.end() ? 0 : threshold->second));
  p.allocations.erase(found);
}

}  // namespace

bool is_pool(cudaMemPool_t pool) {
  if (pool == nullptr) return false;
  for (const CUmemPoolHandle_st& d : pools().defaults)
    if (&d == pool) return d.device < static_cast<int>(Process::instance().devices.size());
  return pools().made.count(pool) != 0;
}

cudaMemPool_t new_pool(int device, const cudaMemPoolProps& properties) {
  auto* pool = new CUmemPoolHandle_st;
  pool->device = device;
  pool->properties = properties;
  pools().made.insert(pool);
  return pool;
}

void forget_pool(cudaMemPool_t pool) {
  pools().made.erase(pool);  // the object stays: its memory may still be in use
}

CUmemPoolHandle_st& default_pool(int device) { return pools().defaults[device]; }

CUmemPoolHandle_st& current_pool(int device) {
  CUmemPoolHandle_st* pool = Process::instance().devices[device].pool;
  return pool != nullptr ? *pool : default_pool(device);
}

Address pool_allocate(CUmemPoolHandle_st& pool, std::size_t bytes) {
  const Allocation* a = Memory::instance().allocate(MemoryKind::device, pool.device, bytes, 512);
  if (a == nullptr) return 0;
  Pools& p = pools();
  const std::lock_guard guard(p.mutex);
  p.allocations[a->base] = {&pool, bytes};
  pool.used += bytes;
  pool.used_high = std::max(pool.used_high, pool.used);
  constexpr std::uint64_t kBlock = 32u << 20;  // memory is reserved in blocks
  pool.reserved = std::max(pool.reserved, (pool.used + kBlock - 1) / kBlock * kBlock);
  pool.reserved_high = std::max(pool.reserved_high, pool.reserved);
  return a->base;
}

bool pool_begin_free(Address address, std::string_view call) {
  const Allocation* a = Memory::instance().find(address);
  const bool living = a != nullptr && a->base == address && !a->freed && a->kind == MemoryKind::device;
  Pools& p = pools();
  bool twice = a != nullptr && a->base == address && a->freed;
  if (living) {
    const std::lock_guard guard(p.mutex);
    if (p.leaving.insert(address).second) return true;
    twice = true;
  }
  Finding finding{};
  finding.fault = twice ? Fault::double_free : Fault::invalid_free;
  finding.message = fmt::format("{} of {:#x}, which {}", call, address, twice ? "was freed before" : "no allocation gave");
  finding.place.kernel = call;
  Report::instance().add(std::move(finding));
  return false;
}

void pool_free(Address address) {
  take_back(address);
  Memory::instance().free(address);
}

void pool_forget(Address address) { take_back(address); }

}  // namespace sim::runtime

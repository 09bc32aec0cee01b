#include "machine/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <new>

#include "error.h"
#include "machine/device.h"
#include "machine/options.h"
#include "machine/word_shadow.h"

namespace sim {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kRedZone = 256;  // at least, behind each allocation
constexpr std::size_t kSkipped = std::size_t{1}
                                 << 32;  // at the start of each span: device 0's is where AddressSanitizer has its shadow
constexpr std::size_t kMostAllocations = std::size_t{1} << 22;  // of a region, freed ones included
constexpr std::size_t kGrowth = std::size_t{256} << 20;         // working memory becomes writable in steps of this size
constexpr std::size_t kPoisonFile = std::size_t{16} << 20;
constexpr std::size_t kEagerPoison = std::size_t{32}
                                     << 20;  // larger allocations get their poison page by page, when they are touched
constexpr Address kNear = Address{1} << 20;  // of registered memory, for messages

std::size_t round_up(std::size_t value, std::size_t to) { return (value + to - 1) / to * to; }

void* reserve(void* where, std::size_t bytes, int protection, int flags) {
  void* memory = mmap(where, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);
  if (memory == MAP_FAILED || (where != nullptr && memory != where)) {
    throw Error("there is no room for {} GiB of addresses (a limit such as `ulimit -v`?)", bytes >> 30);
  }
  madvise(memory, bytes, MADV_DONTDUMP);
  return memory;
}

// Whole pages of one poison file, mapped again and again: an untouched page costs nothing, and reads as poison.
int poison_file() {
  static const int file = [] {
    const int result = memfd_create("gannet-sim-poison", MFD_CLOEXEC);
    if (result < 0 || ftruncate(result, kPoisonFile) != 0) throw Error("there is no memory file for the poison pattern");
    void* memory = mmap(nullptr, kPoisonFile, PROT_READ | PROT_WRITE, MAP_SHARED, result, 0);
    if (memory == MAP_FAILED) throw Error("there is no memory file for the poison pattern");
    std::memset(memory, kPoison, kPoisonFile);
    munmap(memory, kPoisonFile);
    return result;
  }();
  return file;
}

bool is_freed(const Allocation& a) { return __atomic_load_n(&a.freed, __ATOMIC_RELAXED); }

// One span of addresses. Allocations follow each other; addresses are never used again, so the array of allocations is sorted
// and only grows.
class Region {
 public:
  void open(Address begin, int device, bool is_host) {
    begin_ = begin + kSkipped;
    device_ = device;
    const std::size_t bytes = kDeviceSpan - kSkipped;
    std::byte* working =
        static_cast<std::byte*>(reserve(reinterpret_cast<void*>(begin_), bytes, PROT_NONE, MAP_FIXED_NOREPLACE));
    if (!is_host) working = static_cast<std::byte*>(reserve(nullptr, bytes, PROT_NONE, 0));
    delta_ = static_cast<std::ptrdiff_t>(reinterpret_cast<std::uintptr_t>(working) - begin_);
    next_ = writable_ = begin_;
    bases_ = static_cast<Address*>(reserve(nullptr, kMostAllocations * sizeof(Address), PROT_READ | PROT_WRITE, 0));
    records_ = static_cast<Allocation*>(reserve(nullptr, kMostAllocations * sizeof(Allocation), PROT_READ | PROT_WRITE, 0));
    if (options().initcheck && !is_host)
      bits_ = static_cast<std::uint8_t*>(reserve(nullptr, bytes / 8, PROT_READ | PROT_WRITE, 0));
    is_open_ = true;
  }
  bool is_open() const { return is_open_; }

  Allocation* add(MemoryKind kind, std::size_t bytes, std::size_t alignment, std::string name, std::uint64_t serial) {
    const std::uint32_t count = count_.load(std::memory_order_relaxed);
    if (count == kMostAllocations) throw Error("more than {} allocations of memory in one process", kMostAllocations);
    // Large ones have pages of their own, which can be given back.
    const Address base = round_up(next_, std::max({alignment, kRedZone, bytes >= kPage ? kPage : 1}));
    const Address end = base + bytes;
    const Address limit = begin_ + kDeviceSpan - kSkipped;
    if (base > limit || bytes > limit - base || limit - end < kPage) throw Error("the addresses of a device are used up");
    grow(round_up(end, kPage));
    next_ = round_up(end + kRedZone, bytes >= kPage ? kPage : kRedZone);
    fill(base, bytes);
    Allocation* a = new (&records_[count]) Allocation;
    a->base = base;
    a->end = end;
    a->delta = delta_;
    a->kind = kind;
    a->device = device_;
    a->host_reads = kind == MemoryKind::pinned || kind == MemoryKind::managed;
    a->name = std::move(name);
    a->serial = serial;
    if (bits_ != nullptr && kind != MemoryKind::constant) a->initialized = bits_ + (base - begin_) / 8;
    if (options().racecheck && kind != MemoryKind::constant) a->words = make_word_shadow(bytes);
    bases_[count] = base;
    count_.store(count + 1, std::memory_order_release);
    return a;
  }

  // The last allocation that begins at or below the address, or -1.
  std::int64_t index_of(Address address) const {
    const Address* first = bases_;
    std::size_t count = count_.load(std::memory_order_acquire);
    while (count > 0) {
      const std::size_t half = count / 2;
      const bool below = first[half] <= address;
      first = below ? first + half + 1 : first;
      count = below ? count - half - 1 : half;
    }
    return first - bases_ - 1;
  }
  Allocation* at(std::int64_t index) const {
    return index >= 0 && index < count_.load(std::memory_order_acquire) ? &records_[index] : nullptr;
  }
  std::uint32_t count() const { return count_.load(std::memory_order_acquire); }

  // Gives the pages back that hold nothing but freed memory.
  void give_back(std::int64_t index) {
    const Allocation& a = records_[index];
    Address first = a.base / kPage * kPage, last = round_up(a.end, kPage);
    for (std::int64_t n = index - 1; n >= 0 && records_[n].end > first; --n) {
      if (!is_freed(records_[n])) {
        first += kPage;
        break;
      }
    }
    if (next_ < last) last -= kPage;  // where the next allocation will begin
    const std::int64_t count = count_.load(std::memory_order_relaxed);
    for (std::int64_t n = index + 1; n < count && records_[n].base < last; ++n) {
      if (!is_freed(records_[n])) {
        last -= kPage;
        break;
      }
    }
    if (first >= last) return;
    mmap(a.working(first), last - first, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
         0);
    if (a.words != nullptr) release_word_shadow(a.words, a.end - a.base);
  }

 private:
  void grow(Address end) {
    if (end <= writable_) return;
    const std::size_t bytes =
        std::min<std::size_t>(round_up(end - writable_, kGrowth), begin_ + kDeviceSpan - kSkipped - writable_);
    if (mprotect(reinterpret_cast<void*>(writable_ + delta_), bytes, PROT_READ | PROT_WRITE) != 0)
      throw Error("the host has no memory for {} bytes", bytes);
    writable_ += bytes;
  }

  void fill(Address base, std::size_t bytes) const {
    std::byte* memory = reinterpret_cast<std::byte*>(base + delta_);
    if (bytes <= kEagerPoison) {
      std::memset(memory, kPoison, bytes);
      return;
    }
    const std::size_t whole = bytes / kPage * kPage;
    map_poison(memory, whole);
    std::memset(memory + whole, kPoison, bytes - whole);
  }

  Address begin_ = 0, next_ = 0, writable_ = 0;
  std::ptrdiff_t delta_ = 0;
  int device_ = 0;
  bool is_open_ = false;
  Address* bases_ = nullptr;
  Allocation* records_ = nullptr;
  std::uint8_t* bits_ = nullptr;
  std::atomic<std::uint32_t> count_ = 0;
};

constexpr int kHostRegion = kMaxDevices;

int region_of(Address address) {
  const Address offset = address - kDeviceBase;
  return address >= kDeviceBase && offset < (kMaxDevices + 1) * kDeviceSpan ? static_cast<int>(offset / kDeviceSpan) : -1;
}

}  // namespace

void map_poison(std::byte* memory, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes;) {
    const std::size_t piece = std::min(bytes - at, kPoisonFile);
    void* mapped = mmap(memory + at, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, poison_file(), 0);
    if (mapped == MAP_FAILED) throw Error("the host has no memory for {} bytes", bytes);
    at += piece;
  }
}

struct Memory::Implementation {
  using Registered =
      std::vector<Allocation*>;  // sorted by base; those that were freed last until their place is registered again

  std::mutex mutex;
  std::array<Region, kMaxDevices + 1> regions;
  std::array<std::atomic<std::size_t>, kMaxDevices> in_use{};
  std::atomic<const Registered*> registered = nullptr;
  std::deque<Registered> all_registered;  // every version: readers hold no lock
  std::deque<Allocation> registrations;
  std::uint64_t serial = 0;

  const Region* region(Address address) const {
    const int index = region_of(address);
    return index < 0 || !regions[index].is_open() ? nullptr : &regions[index];
  }
  Allocation* find_registered(Address address) const {
    const Registered* list = registered.load(std::memory_order_acquire);
    if (list == nullptr) return nullptr;
    auto above =
        std::upper_bound(list->begin(), list->end(), address, [](Address x, const Allocation* a) { return x < a->base; });
    return above != list->begin() && address < above[-1]->end ? above[-1] : nullptr;
  }
};

Memory::Memory() : implementation_(std::make_unique<Implementation>()) {}

Memory& Memory::instance() {
  static auto* const memory = new Memory;  // never destroyed: the program's own destructors may free memory
  return *memory;
}

const Allocation* Memory::allocate(MemoryKind kind, int device, std::size_t bytes, std::size_t alignment, std::string name) {
  if (device < 0 || device >= kMaxDevices) throw Error("there is no device {}", device);
  Implementation& m = *implementation_;
  const std::lock_guard lock(m.mutex);
  const bool is_host = kind == MemoryKind::pinned || kind == MemoryKind::managed;
  if (!is_host) {
    const std::size_t capacity = device_model(options().architecture).memory;
    const std::size_t used = m.in_use[device];
    if (bytes > capacity || used > capacity - bytes) return nullptr;
  }
  Region& region = m.regions[is_host ? kHostRegion : device];
  if (!region.is_open()) region.open(is_host ? kHostBase : kDeviceBase + device * kDeviceSpan, device, is_host);
  Allocation* a = region.add(kind, bytes, alignment, std::move(name), ++m.serial);
  if (is_host) a->device = device;
  if (!is_host) m.in_use[device] += bytes;
  return a;
}

const Allocation* Memory::adopt(void* memory, std::size_t bytes) {
  Implementation& m = *implementation_;
  const std::lock_guard lock(m.mutex);
  const auto base = reinterpret_cast<Address>(memory);
  const Implementation::Registered* old = m.registered.load(std::memory_order_relaxed);
  Implementation::Registered list;
  if (old != nullptr) {
    for (Allocation* a : *old) {
      const bool overlaps = a->base < base + bytes && base < a->end;
      if (overlaps && !is_freed(*a)) return nullptr;
      if (!overlaps) list.push_back(a);
    }
  }
  Allocation& a = m.registrations.emplace_back();
  a.base = base;
  a.end = base + bytes;
  a.kind = MemoryKind::registered;
  a.host_reads = true;
  a.serial = ++m.serial;
  if (options().racecheck) a.words = make_word_shadow(bytes);
  list.insert(
      std::upper_bound(list.begin(), list.end(), base, [](Address x, const Allocation* other) { return x < other->base; }), &a);
  m.registered.store(&m.all_registered.emplace_back(std::move(list)), std::memory_order_release);
  return &a;
}

bool Memory::free(Address base) {
  Implementation& m = *implementation_;
  const std::lock_guard lock(m.mutex);
  auto* a = const_cast<Allocation*>(find(base));
  if (a == nullptr) {
    // One of no bytes holds no address.
    const Region* region = m.region(base);
    a = region == nullptr ? nullptr : region->at(region->index_of(base));
  }
  if (a == nullptr || a->base != base || a->freed) return false;
  __atomic_store_n(&a->freed, true, __ATOMIC_RELEASE);
  if (a->kind == MemoryKind::registered) return true;
  Region& region = m.regions[region_of(base)];
  region.give_back(region.index_of(base));
  if (!a->host_reads) m.in_use[a->device] -= a->end - a->base;
  return true;
}

const Allocation* Memory::find(Address address) const {
  const Implementation& m = *implementation_;
  if (const Region* region = m.region(address); region != nullptr) {
    const Allocation* a = region->at(region->index_of(address));
    return a != nullptr && address < a->end ? a : nullptr;
  }
  return m.find_registered(address);
}

const Allocation* Memory::nearest(Address address) const {
  const Implementation& m = *implementation_;
  const Allocation *below = nullptr, *above = nullptr;
  if (const Region* region = m.region(address); region != nullptr) {
    const std::int64_t index = region->index_of(address);
    below = region->at(index);
    above = region->at(index + 1);
  } else if (const auto* list = m.registered.load(std::memory_order_acquire); list != nullptr) {
    auto next =
        std::upper_bound(list->begin(), list->end(), address, [](Address x, const Allocation* a) { return x < a->base; });
    if (next != list->end()) above = *next;
    if (next != list->begin()) below = next[-1];
  }
  const Allocation* result = below;
  if (below == nullptr || (above != nullptr && address >= below->end && address - below->end >= above->base - address))
    result = above;
  if (result == nullptr) return nullptr;
  // What is further away has nothing to do with the address.
  const Address distance = address < result->base ? result->base - address : address < result->end ? 0 : address - result->end;
  return region_of(address) >= 0 || distance < kNear ? result : nullptr;
}

std::size_t Memory::bytes_in_use(int device) const { return implementation_->in_use.at(device); }

std::vector<const Allocation*> Memory::living() const {
  Implementation& m = *implementation_;
  const std::lock_guard lock(m.mutex);
  std::vector<const Allocation*> result;
  for (const Region& region : m.regions) {
    for (std::uint32_t n = 0; n < region.count(); ++n) {
      if (const Allocation* a = region.at(n); !is_freed(*a)) result.push_back(a);
    }
  }
  if (const auto* list = m.registered.load(); list != nullptr) {
    for (const Allocation* a : *list) {
      if (!is_freed(*a)) result.push_back(a);
    }
  }
  return result;
}

void Memory::mark_initialized(const Allocation& a, Address address, std::size_t bytes) {
  if (a.initialized == nullptr || bytes == 0) return;
  const std::size_t begin = address - a.base, end = begin + bytes;
  // A byte of the bitmap may be shared with another writer: whole ones are stored, those at the ends are changed atomically.
  auto set = [&](std::size_t from, std::size_t to) {
    const auto bits = static_cast<std::uint8_t>((0xff << from % 8) & (0xff >> (7 - (to - 1) % 8)));
    __atomic_fetch_or(&a.initialized[from / 8], bits, __ATOMIC_RELAXED);
  };
  if (begin / 8 == (end - 1) / 8) {
    set(begin, end);
    return;
  }
  const std::size_t first = (begin + 7) / 8, last = end / 8;
  if (begin % 8 != 0) set(begin, first * 8);
  std::memset(a.initialized + first, 0xff, last - first);
  if (end % 8 != 0) set(last * 8, end);
}

Address Memory::first_uninitialized(const Allocation& a, Address address, std::size_t bytes) const {
  if (a.initialized == nullptr) return 0;
  const std::size_t begin = address - a.base, end = begin + bytes;
  for (std::size_t at = begin; at < end;) {
    if (at % 64 == 0 && end - at >= 64) {
      std::uint64_t word;
      std::memcpy(&word, a.initialized + at / 8, sizeof word);
      if (word == ~std::uint64_t{0}) {
        at += 64;
        continue;
      }
      if (word != 0) {
        return a.base + at + static_cast<std::size_t>(__builtin_ctzll(~word));
      }
      return a.base + at;
    }
    if ((a.initialized[at / 8] >> (at % 8) & 1) == 0) return a.base + at;
    ++at;
  }
  return 0;
}

}  // namespace sim

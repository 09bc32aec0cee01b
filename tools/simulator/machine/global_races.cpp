#include "machine/global_races.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "error.h"
#include "machine/checks.h"
#include "machine/operations.h"
#include "machine/races.h"
#include "machine/stream_ordered.h"

namespace sim {
namespace {

constexpr std::uint64_t kInSegment = (std::uint64_t{1} << Stamp::kSegmentShift) - 1;

// The access under way.
struct Access {
  Warp& warp;
  const Instruction& in;
  const Allocation& allocation;
  BlockOrder& order;
  std::uint64_t mine;   // stamp of thread 0's access to no byte
  std::uint64_t floor;  // stamps below are settled
  AccessKind kind;
  const std::byte* data;  // of the lane whose word is looked at
};

bool is_settled(std::uint64_t old, const Access& access) { return old < access.floor || (old ^ access.mine) <= kInSegment; }

Finding race_with(const Access& access, std::uint64_t old, bool old_writes, const Operations::Owner& owner, bool same_launch,
                  int lane, Address word, bool same_value) {
  Finding finding;
  finding.fault = same_launch ? Fault::global_race : Fault::stream_race;
  finding.warning = same_value;
  const bool writes = is_write(access.kind);
  const char* what = writes ? (old_writes ? "two writes" : "a write after a read") : "a read after a write";
  if (same_launch) {
    finding.message = fmt::format("{} of {:#x} by different blocks that nothing orders{}", what, word,
                                  same_value ? ", of the same value" : "");
  } else {
    finding.message = fmt::format("{} of {:#x} by {} and {}, which no stream, event or synchronisation orders{}", what, word,
                                  checks::kernel_name(access.warp), owner.record.name, same_value ? "; the same value" : "");
  }
  finding.place = checks::place(access.warp, access.in, lane);
  finding.has_other = true;
  finding.other = checks::place(owner.record, owner.block, Stamp::thread(old), Stamp::instruction(old));
  return finding;
}

// Whether `old` and the access race; reports it then.
void look(const Access& access, std::uint64_t old, bool old_writes, int lane, unsigned bytes, Address word) {
  if (old == 0 || is_settled(old, access) || (Stamp::bytes(old) & bytes) == 0) return;
  if (!old_writes && !is_write(access.kind)) return;
  if ((old & Stamp::kStrong) != 0 && is_strong(access.kind)) return;
  BlockOrder& order = access.order;
  if (std::find(order.own_segments.begin(), order.own_segments.end(), Stamp::segment(old)) != order.own_segments.end()) return;
  const Operations::Owner owner = Operations::instance().owner(Stamp::segment(old));
  const Launch& launch = *access.warp.block->launch;
  const bool same_launch = owner.operation == launch.operation;
  if (same_launch) {
    if (owner.block == order.linear || order.launch->ordered(order, owner.block, owner.epoch)) return;
  } else if (Operations::ordered(owner.record.lane, owner.record.at, launch.order)) {
    return;
  }
  bool same_value = false;
  if (old_writes && is_write(access.kind) && access.data != nullptr) {
    const std::byte* now = access.allocation.working(word);
    same_value = true;
    for (int n = 0; n < 4; ++n) {
      if ((bytes >> n & 1) != 0 && now[n] != access.data[n]) same_value = false;
    }
  }
  Report::instance().add(race_with(access, old, old_writes, owner, same_launch, lane, word, same_value));
}

void look_at_page(const Access& access, const WordShadow& page, int lane, Address word) {
  look(access, page.page_writer, true, lane, 15, word);
  if (is_write(access.kind)) {
    look(access, page.page_reader, false, lane, 15, word);
    look(access, page.page_other_reader, false, lane, 15, word);
  }
}

bool is_quiet(const WordShadow& page, const Access& access) {
  return is_settled(page.page_writer, access) && is_settled(page.page_reader, access) &&
         is_settled(page.page_other_reader, access);
}

// One word by one lane.
void access_word_slowly(Access& access, WordShadow& page, std::size_t n, int lane, unsigned bytes, Address word) {
  if (!is_quiet(page, access)) look_at_page(access, page, lane, word);
  const std::uint64_t stamp =
      access.mine | static_cast<std::uint64_t>(lane) << Stamp::kThreadShift | std::uint64_t{bytes} << Stamp::kBytesShift;
  auto merged = [&](std::uint64_t old) { return (old ^ stamp) <= kInSegment ? stamp | (old & Stamp::kAllBytes) : stamp; };
  std::uint64_t& writer = page.writer[n];
  std::uint64_t &reader = page.reader[n], &other = page.other_reader[n];
  if (is_write(access.kind)) {
    look(access, writer, true, lane, bytes, word);
    writer = merged(writer);
    if (access.order.concurrent) std::atomic_thread_fence(std::memory_order_seq_cst);
    look(access, reader, false, lane, bytes, word);
    look(access, other, false, lane, bytes, word);
    if (access.order.concurrent) look(access, __atomic_load_n(&writer, __ATOMIC_RELAXED), true, lane, bytes, word);
    return;
  }
  if (is_settled(reader, access)) {
    reader = merged(reader);
  } else {
    other = merged(other);
  }
  if (access.order.concurrent) std::atomic_thread_fence(std::memory_order_seq_cst);
  look(access, writer, true, lane, bytes, word);
}

void access_word(Access& access, WordShadow& page, bool quiet, std::size_t n, int lane, unsigned bytes, Address word) {
  const std::uint64_t stamp = access.mine | static_cast<std::uint64_t>(lane) << Stamp::kThreadShift;
  // Whole words only: of a part the record says which.
  if (quiet && bytes == 15 && is_settled(page.writer[n], access) && is_settled(page.reader[n], access) &&
      !access.order.concurrent) {
    if (!is_write(access.kind)) {
      page.reader[n] = stamp | Stamp::kAllBytes;
      return;
    }
    if (is_settled(page.other_reader[n], access)) {
      page.writer[n] = stamp | Stamp::kAllBytes;
      return;
    }
  }
  access_word_slowly(access, page, n, lane, bytes, word);
}

// All ones when the stamp is of another block or operation that is not known to be ordered before. (Stamps are positive: signed
// comparisons are vector instructions.)
std::int64_t unsettled(std::uint64_t old, std::int64_t floor, std::uint64_t mine) {
  return -static_cast<std::int64_t>(static_cast<std::int64_t>(old) >= floor) &
         -static_cast<std::int64_t>(static_cast<std::int64_t>(old ^ mine) > static_cast<std::int64_t>(kInSegment));
}

// `count` whole words of one page, 2^shift of them a lane. The loops are for the vectoriser: nearly always nothing is found.
void access_words(Access& access, WordShadow& page, std::size_t first, std::size_t count, unsigned shift, std::size_t skipped,
                  Address word) {
  std::uint64_t* const writer = page.writer + first;
  std::uint64_t* const reader = page.reader + first;
  std::uint64_t* const other = page.other_reader + first;
  const auto floor = static_cast<std::int64_t>(access.floor);
  const std::uint64_t mine = access.mine, stamp = mine | Stamp::kAllBytes;
  auto stamp_of = [&](std::size_t n) {
    return stamp | static_cast<std::uint64_t>((n + skipped) >> shift) << Stamp::kThreadShift;
  };
  const bool concurrent = access.order.concurrent;
  bool is_done = false;
  std::int64_t bad = 0;
  if (!is_quiet(page, access)) {
    // A copy's or the host's access is not known to be ordered: look at each word.
  } else if (is_write(access.kind)) {
    for (std::size_t n = 0; n < count; ++n)
      bad |= unsettled(writer[n], floor, mine) | unsettled(reader[n], floor, mine) | unsettled(other[n], floor, mine);
    if (bad == 0) {
      for (std::size_t n = 0; n < count; ++n) writer[n] = stamp_of(n);
      if (concurrent) {
        // Both write first and look then: of two threads that come at the same time at least one sees the other.
        std::atomic_thread_fence(std::memory_order_seq_cst);
        for (std::size_t n = 0; n < count; ++n)
          bad |= unsettled(writer[n], floor, mine) | unsettled(reader[n], floor, mine) | unsettled(other[n], floor, mine);
      }
      is_done = bad == 0;
    }
  } else {
    for (std::size_t n = 0; n < count; ++n) bad |= unsettled(reader[n], floor, mine);
    if (bad == 0) {
      for (std::size_t n = 0; n < count; ++n) reader[n] = stamp_of(n);
    } else {
      // Read by other blocks too: the first keeps its place, the last has the other.
      for (std::size_t n = 0; n < count; ++n) {
        const auto taken = static_cast<std::uint64_t>(unsettled(reader[n], floor, mine));
        other[n] = (other[n] & ~taken) | (stamp_of(n) & taken);
        reader[n] = (reader[n] & taken) | (stamp_of(n) & ~taken);
      }
    }
    if (concurrent) std::atomic_thread_fence(std::memory_order_seq_cst);
    bad = 0;
    for (std::size_t n = 0; n < count; ++n) bad |= unsettled(writer[n], floor, mine);
    is_done = bad == 0;
  }
  if (is_done) return;
  const std::byte* data = access.data;
  for (std::size_t n = 0; n < count; ++n) {
    access.data = data == nullptr ? nullptr : data + (n + skipped) * 4;
    access_word_slowly(access, page, first + n, static_cast<int>((n + skipped) >> shift), 15, word + n * 4);
  }
  access.data = data;
}

}  // namespace

void check_global_race(Warp& warp, const Instruction& in, const Allocation& a, const std::uint64_t* address, Mask mask,
                       unsigned bytes, AccessKind kind, const std::byte* data) {
  BlockOrder& order = warp.block->races->order;
  if (a.words == nullptr || order.segment == 0) return;
  if (!is_strong(kind)) order.accessed = true;
  if (a.stream_ordered != nullptr && std::find(order.used.begin(), order.used.end(), a.stream_ordered) == order.used.end()) {
    order.used.push_back(a.stream_ordered);
    const Launch& launch = *warp.block->launch;
    const int lane = std::countr_zero(mask);
    a.stream_ordered->use(a, launch.operation, launch.order, order.segment, warp.thread_of(lane), in.index,
                          checks::kernel_name(warp), [&] { return checks::place(warp, in, lane); });
  }
  // `mine` has the lane's bits clear: kLanes divides the first thread of a warp.
  Access access{warp,
                in,
                a,
                order,
                Stamp::make(order.segment, warp.index * kLanes, in.index, is_strong(kind)),
                order.launch->settled << Stamp::kSegmentShift,
                kind,
                data};
  bool contiguous = mask == kAllLanes && std::has_single_bit(bytes);
  if (contiguous) {
    std::uint64_t differs = 0;
    for (int lane = 0; lane < kLanes; ++lane)
      differs |= address[lane] ^ (address[0] + static_cast<std::uint64_t>(lane) * bytes);
    contiguous = differs == 0 && (bytes >= 4 || address[0] % 4 == 0);
  }
  if (contiguous && bytes >= 4) {
    const auto shift = static_cast<unsigned>(std::countr_zero(bytes / 4));
    std::size_t word = (address[0] - a.base) / 4;
    const std::size_t words = std::size_t{bytes} / 4 * kLanes;
    for (std::size_t done = 0; done < words;) {
      const std::size_t first = word % WordShadow::kWords;
      const std::size_t count = std::min(words - done, WordShadow::kWords - first);
      access_words(access, a.words[word / WordShadow::kWords], first, count, shift, done, address[0] + done * 4);
      done += count;
      word += count;
    }
    return;
  }
  const WordShadow* last = nullptr;
  bool quiet = false;
  auto touch = [&](std::size_t word, int lane, unsigned touched) {
    WordShadow& page = a.words[word / WordShadow::kWords];
    if (&page != last) {
      last = &page;
      quiet = is_quiet(page, access);
    }
    access_word(access, page, quiet, word % WordShadow::kWords, lane, touched, a.base + word * 4);
  };
  if (contiguous) {
    // Two or four lanes a word: the first stands for them.
    const int lanes = static_cast<int>(4 / bytes);
    for (int lane = 0; lane < kLanes; lane += lanes) {
      access.data = data == nullptr ? nullptr : data + static_cast<std::size_t>(lane) * bytes;
      touch((address[lane] - a.base) / 4, lane, 15);
    }
    return;
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const std::size_t begin = address[lane] - a.base;
    for (std::size_t at = begin; at < begin + bytes;) {
      const std::size_t word = at / 4;
      const std::size_t end = std::min(begin + bytes, word * 4 + 4);
      const unsigned touched = (1u << (end - word * 4)) - (1u << (at - word * 4));
      // `data` as if the lane's bytes began at the word's first byte.
      access.data = data == nullptr ? nullptr : data + static_cast<std::size_t>(lane) * bytes + (word * 4) - begin;
      touch(word, lane, touched);
      at = end;
    }
  }
}

void check_copy_race(const Order& order, std::uint32_t operation, std::string_view what, const Allocation& a, Address address,
                     std::size_t bytes, bool write) {
  if (a.words == nullptr || bytes == 0) return;
  Operations& operations = Operations::instance();
  operations.add_access(operation, order, what);
  const std::uint64_t floor = operations.settled_below(order) << Stamp::kSegmentShift;
  const std::uint64_t segment = operations.take_segments(operation, 1, 0, 0);
  if (segment == 0) return;
  const std::uint64_t stamp = Stamp::make(segment, 0, Stamp::kUnknown, false) | Stamp::kAllBytes;
  if (a.stream_ordered != nullptr) {
    a.stream_ordered->use(a, operation, order, segment, 0, Stamp::kUnknown, what, [&] {
      Place place;
      place.kernel = what;
      return place;
    });
  }
  bool reported = false;
  auto look_at = [&](std::uint64_t old, bool old_writes, Address word) {
    if (old < floor || old == 0 || reported) return;
    const Operations::Owner owner = operations.owner(Stamp::segment(old));
    if (owner.operation == operation || Operations::ordered(owner.record.lane, owner.record.at, order)) return;
    reported = true;
    Finding finding;
    finding.fault = Fault::stream_race;
    finding.message = fmt::format("{} of {:#x} by {} and {}, which no stream, event or synchronisation orders",
                                  write ? (old_writes ? "two writes" : "a write after a read") : "a read after a write", word,
                                  what, owner.record.name);
    finding.place.kernel = what;
    finding.has_other = true;
    finding.other = checks::place(owner.record, owner.block, Stamp::thread(old), Stamp::instruction(old));
    Report::instance().add(std::move(finding));
  };
  auto record_reader = [&](std::uint64_t& reader, std::uint64_t& other) {
    if (reader < floor) {
      reader = stamp;
    } else if (other < floor || Stamp::segment(other) != segment) {
      other = stamp;
    }
  };
  const std::size_t begin = (address - a.base) / 4, end = (address + bytes - a.base + 3) / 4;
  for (std::size_t word = begin; word < end;) {
    WordShadow& page = a.words[word / WordShadow::kWords];
    const std::size_t first = word % WordShadow::kWords;
    const std::size_t count = std::min(end - word, WordShadow::kWords - first);
    const Address at = a.base + word * 4;
    look_at(page.page_writer, true, at);
    if (write) look_at(page.page_reader, false, at);
    if (write) look_at(page.page_other_reader, false, at);
    std::uint64_t latest = 0;
    for (std::size_t n = first; n < first + count; ++n)
      latest = std::max({latest, page.writer[n], write ? page.reader[n] : 0, write ? page.other_reader[n] : 0});
    if (latest >= floor) {
      for (std::size_t n = first; n < first + count; ++n) {
        look_at(page.writer[n], true, at + (n - first) * 4);
        if (write) look_at(page.reader[n], false, at + (n - first) * 4);
        if (write) look_at(page.other_reader[n], false, at + (n - first) * 4);
      }
    }
    if (count == WordShadow::kWords) {
      if (write)
        page.page_writer = stamp;
      else
        record_reader(page.page_reader, page.page_other_reader);
    } else {
      for (std::size_t n = first; n < first + count; ++n) {
        if (write)
          page.writer[n] = stamp;
        else
          record_reader(page.reader[n], page.other_reader[n]);
      }
    }
    word += count;
  }
}

}  // namespace sim

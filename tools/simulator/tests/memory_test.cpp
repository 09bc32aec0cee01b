#include "machine/memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <thread>

#include "error.h"
#include "machine/device.h"
#include "machine/word_shadow.h"
#include "tests/memory_world.h"

namespace sim::test {
namespace {

Memory& memory() { return Memory::instance(); }

TEST(Memory, FreshMemoryIsPoisonedAndAligned) {
  for (std::size_t bytes : {1, 4, 255, 256, 257, 4095, 4096, 100'000, 40 << 20}) {
    const Allocation* a = memory().allocate(MemoryKind::device, 0, bytes);
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(a->base % 256, 0u);
    EXPECT_EQ(a->end - a->base, bytes);
    const std::byte* data = a->working(a->base);
    for (std::size_t n = 0; n < bytes; n += bytes < 100'000 ? 1 : 997)
      ASSERT_EQ(data[n], std::byte{0xcb}) << n << " of " << bytes;
    EXPECT_EQ(data[bytes - 1], std::byte{0xcb});
    EXPECT_TRUE(memory().free(a->base));
  }
}

TEST(Memory, AlignmentIsKept) {
  for (std::size_t alignment : {512, 4096, 1 << 16, 1 << 21}) {
    EXPECT_EQ(memory().allocate(MemoryKind::device, 0, 10, alignment)->base % alignment, 0u);
  }
}

TEST(Memory, NeighboursHaveRedZonesAndAddressesAreNotUsedAgain) {
  std::vector<const Allocation*> all;
  std::mt19937 random(1);
  Address last = 0;
  for (int n = 0; n < 2000; ++n) {
    const Allocation* a = memory().allocate(MemoryKind::device, 1, 1 + random() % 9000);
    EXPECT_GE(a->base, last + 256);
    last = a->end;
    all.push_back(a);
    if (n % 3 == 0) memory().free(all[random() % all.size()]->base);  // perhaps for the second time
  }
  for (const Allocation* a : all) {
    EXPECT_EQ(memory().find(a->base), a);
    EXPECT_EQ(memory().find(a->end - 1), a);
    EXPECT_EQ(memory().find(a->end), nullptr);
    EXPECT_EQ(memory().find(a->base - 1), nullptr);
    EXPECT_EQ(memory().nearest(a->end + 3), a);
  }
}

TEST(Memory, FreedMemoryIsKnownAndNotFreedTwice) {
  const Allocation* a = memory().allocate(MemoryKind::device, 0, 1000);
  EXPECT_FALSE(memory().free(a->base + 4));
  EXPECT_TRUE(memory().free(a->base));
  EXPECT_FALSE(memory().free(a->base));
  EXPECT_TRUE(a->freed);
  EXPECT_EQ(memory().find(a->base + 10), a);
  EXPECT_FALSE(memory().free(0x1234));
  const auto living = memory().living();
  EXPECT_EQ(std::find(living.begin(), living.end(), a), living.end());
}

std::size_t resident() {
  std::size_t size = 0, pages = 0;
  FILE* file = std::fopen("/proc/self/statm", "r");
  EXPECT_EQ(std::fscanf(file, "%zu %zu", &size, &pages), 2);
  std::fclose(file);
  return pages * 4096;
}

TEST(Memory, FreedPagesAreGivenBack) {
  const std::size_t before = resident();
  std::vector<const Allocation*> small;
  for (int n = 0; n < 16; ++n) {
    const Allocation* a = memory().allocate(MemoryKind::device, 2, 16 << 20);
    EXPECT_TRUE(memory().free(a->base));
  }
  for (int n = 0; n < 100'000; ++n) small.push_back(memory().allocate(MemoryKind::device, 2, 256));
  for (const Allocation* a : small) EXPECT_TRUE(memory().free(a->base));
  // 256 MiB and 50 MiB were held; the records of the allocations stay.
  EXPECT_LT(resident(), before + (40 << 20));
}

TEST(Memory, SmallNeighboursOfAFreedOneKeepTheirBytes) {
  for (int kept : {0, 1}) {
    std::vector<const Allocation*> all;
    for (int n = 0; n < 64; ++n) {
      all.push_back(memory().allocate(MemoryKind::device, 3, 200));
      std::memset(all.back()->working(all.back()->base), n, 200);
    }
    for (int n = 1 - kept; n < 64; n += 2) memory().free(all[n]->base);
    for (int n = kept; n < 64; n += 2) {
      EXPECT_EQ(*all[n]->working(all[n]->base), static_cast<std::byte>(n));
      EXPECT_EQ(*all[n]->working(all[n]->end - 1), static_cast<std::byte>(n));
    }
  }
}

TEST(Memory, UntouchedLargeMemoryCostsNothing) {
  const std::size_t before = resident();
  const Allocation* a = memory().allocate(MemoryKind::device, 4, std::size_t{20} << 30);
  ASSERT_NE(a, nullptr);
  EXPECT_LT(resident(), before + (24 << 20));
  EXPECT_EQ(*a->working(a->base + (std::size_t{13} << 30) + 12345), std::byte{0xcb});
  std::memset(a->working(a->base + (std::size_t{16} << 20) - 50), 1, 100);  // where two pieces meet
  EXPECT_EQ(*a->working(a->base + (std::size_t{16} << 20) + 49), std::byte{1});
  EXPECT_EQ(*a->working(a->base + (std::size_t{16} << 20) + 50), std::byte{0xcb});
  EXPECT_EQ(*a->working(a->base + (std::size_t{32} << 20) - 50), std::byte{0xcb});
  EXPECT_TRUE(memory().free(a->base));
}

TEST(Memory, CapacityIsTheModels) {
  const std::size_t capacity = device_model(options().architecture).memory;
  EXPECT_EQ(memory().bytes_in_use(5), 0u);
  const Allocation* most = memory().allocate(MemoryKind::device, 5, capacity - 1000);
  ASSERT_NE(most, nullptr);
  EXPECT_EQ(memory().allocate(MemoryKind::device, 5, 1001), nullptr);
  EXPECT_NE(memory().allocate(MemoryKind::pinned, 5, 1 << 20), nullptr);
  EXPECT_NE(memory().allocate(MemoryKind::device, 5, 1000), nullptr);
  EXPECT_TRUE(memory().free(most->base));
  EXPECT_EQ(memory().bytes_in_use(5), 1000u);
  EXPECT_EQ(memory().allocate(MemoryKind::device, 5, SIZE_MAX), nullptr);
}

TEST(MemoryDeathTest, HostFaultsAtADevicePointer) {
  const Allocation* a = memory().allocate(MemoryKind::device, 0, 4096);
  EXPECT_EXIT(*reinterpret_cast<volatile int*>(a->base) = 1, testing::KilledBySignal(SIGSEGV), "");
}

TEST(Memory, HostReachesPinnedAndManagedMemory) {
  for (MemoryKind kind : {MemoryKind::pinned, MemoryKind::managed}) {
    const Allocation* a = memory().allocate(kind, 0, 8192);
    std::memset(reinterpret_cast<void*>(a->base), 7, 8192);
    EXPECT_EQ(*a->working(a->base + 8191), std::byte{7});
    EXPECT_TRUE(a->host_reads);
    EXPECT_TRUE(memory().free(a->base));
  }
}

TEST(Memory, RegisteredMemoryIsTheHostsOwn) {
  std::vector<char> buffer(10'000), other(10'000);
  const Allocation* a = memory().adopt(buffer.data(), buffer.size());
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(memory().find(reinterpret_cast<Address>(&buffer[9'999])), a);
  EXPECT_EQ(memory().find(reinterpret_cast<Address>(buffer.data() + 10'000)), nullptr);
  EXPECT_EQ(memory().adopt(&buffer[5], 10), nullptr) << "registered twice";
  EXPECT_EQ(a->working(a->base), reinterpret_cast<std::byte*>(buffer.data()));
  EXPECT_TRUE(memory().free(a->base));
  const Allocation* again = memory().adopt(&buffer[5], 10);
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(memory().find(reinterpret_cast<Address>(&buffer[7])), again);
  EXPECT_TRUE(memory().free(again->base));
}

TEST(Memory, FindsWhileOthersAllocate) {
  std::atomic<bool> stop = false;
  const Allocation* a = memory().allocate(MemoryKind::device, 6, 100);
  std::thread reader([&] {
    while (!stop) ASSERT_EQ(memory().find(a->base + 50), a);
  });
  for (int n = 0; n < 20'000; ++n) {
    const Allocation* b = memory().allocate(MemoryKind::device, 6, 64);
    ASSERT_EQ(memory().find(b->base), b);
  }
  stop = true;
  reader.join();
}

// Device 8 is first used here, with initcheck on: spans are set up when they are first used.
TEST(Memory, KnowsEachInitialisedByte) {
  const Checks checks("initcheck");
  const Allocation* a = memory().allocate(MemoryKind::device, 8, 3000);
  ASSERT_NE(a->initialized, nullptr);
  std::vector<bool> reference(3000);
  std::mt19937 random(2);
  for (int n = 0; n < 3000; ++n) {
    const std::size_t at = random() % 3000, count = std::min<std::size_t>(1 + random() % (n % 10 == 0 ? 300 : 9), 3000 - at);
    if (n % 2 == 0) {
      memory().mark_initialized(*a, a->base + at, count);
      std::fill_n(reference.begin() + static_cast<std::ptrdiff_t>(at), count, true);
    }
    Address expected = 0;
    for (std::size_t m = at; m < at + count && expected == 0; ++m) expected = reference[m] ? 0 : a->base + m;
    ASSERT_EQ(memory().first_uninitialized(*a, a->base + at, count), expected);
  }
}

TEST(DeviceModels, KnownOnesAreOfferedAndOthersNamed) {
  for (int architecture : {75, 80, 86, 87, 89, 90, 100, 120}) {
    const DeviceModel& model = device_model(architecture);
    EXPECT_EQ(model.architecture, architecture);
    EXPECT_LE(model.shared_per_block, model.shared_per_block_optin);
    EXPECT_EQ(model.shared_per_block_optin + model.reserved_shared_per_block, model.shared_per_multiprocessor);
  }
  EXPECT_EQ(device_model(80).shared_per_block_optin, 166'912u);
  EXPECT_EQ(device_model(90).shared_per_block_optin, 232'448u);
  EXPECT_EQ(device_model(86).max_threads_per_multiprocessor, 1536);
  EXPECT_THROW(device_model(70), Error);
}

TEST(Options, AreReadFromTheEnvironment) {
  setenv("GANNET_SIM_ARCH", "sm_90a", 1);
  setenv("GANNET_SIM_DEVICES", "4", 1);
  setenv("GANNET_SIM_CHECK", "memcheck,racecheck", 1);
  setenv("GANNET_SIM_SCHEDULE", "adversarial", 1);
  setenv("GANNET_SIM_SEED", "18446744073709551615", 1);
  setenv("GANNET_SIM_APPROXIMATION", "perturbed", 1);
  setenv("GANNET_SIM_TIMEOUT", "2.5", 1);
  setenv("GANNET_SIM_PROFILE", "-", 1);
  const Options o = Options::from_environment();
  EXPECT_EQ(o.architecture, 90);
  EXPECT_EQ(o.devices, 4);
  EXPECT_TRUE(o.memcheck && o.racecheck && !o.initcheck && !o.synccheck && !o.leakcheck);
  EXPECT_EQ(o.schedule, Schedule::adversarial);
  EXPECT_EQ(o.seed, UINT64_MAX);
  EXPECT_EQ(o.approximation, Approximation::perturbed);
  EXPECT_EQ(o.timeout, 2.5);
  EXPECT_EQ(o.profile, "-");
  for (const auto& option : Options::descriptions()) unsetenv(std::string(option.environment).c_str());
}

TEST(Options, RefusesWhatIsNone) {
  Options o;
  EXPECT_THROW(o.set("arch", "sm_99"), Error);
  EXPECT_THROW(o.set("arch", "eighty"), Error);
  EXPECT_THROW(o.set("devices", "0"), Error);
  EXPECT_THROW(o.set("devices", "17"), Error);
  EXPECT_THROW(o.set("devices", "1x"), Error);
  EXPECT_THROW(o.set("check", "memchek"), Error);
  EXPECT_THROW(o.set("schedule", "unfair"), Error);
  EXPECT_THROW(o.set("timeout", "-1"), Error);
  EXPECT_THROW(o.set("timeout", "nan"), Error);
  EXPECT_THROW(o.set("colour", "blue"), Error);
  for (const auto& option : Options::descriptions())
    EXPECT_NO_THROW(o.set(option.name, option.value.empty() ? "none" : option.value)) << option.name;
}

TEST(Report, CountsTheSameFaultOnce) {
  Report report;
  Finding finding;
  finding.fault = Fault::out_of_bounds;
  finding.place.kernel = "k";
  finding.place.instruction = "st.global.u32";
  finding.place.source = {"a.cu:1"};
  report.add(finding);
  finding.place.thread = {5, 0, 0};
  finding.count = 3;
  report.add(finding);
  finding.place.source = {"a.cu:2"};
  finding.warning = true;
  report.add(finding);
  ASSERT_EQ(report.findings().size(), 2u);
  EXPECT_EQ(report.findings()[0].count, 4u);
  EXPECT_EQ(report.errors(), 1u);
}

TEST(Report, PrintsBothParties) {
  Finding finding;
  finding.fault = Fault::shared_race;
  finding.message = "two writes";
  finding.place = {"k(int)", {1, 2, 3}, {4, 5, 6}, {"a.cu:7", "b.h:8"}, "st.shared.u32 [%r1], %r2"};
  finding.has_other = true;
  finding.other = {"k(int)", {1, 2, 3}, {7, 5, 6}, {"a.cu:9"}, "ld.shared.u32"};
  testing::internal::CaptureStderr();
  Report report;
  report.add(finding);
  report.print_summary();
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "========= racecheck: race in shared memory: two writes\n"
            "=========     by thread (4,5,6) in block (1,2,3) of k(int)\n"
            "=========         st.shared.u32 [%r1], %r2\n"
            "=========         at a.cu:7\n"
            "=========         inlined at b.h:8\n"
            "=========     and thread (7,5,6) in block (1,2,3) of k(int)\n"
            "=========         ld.shared.u32\n"
            "=========         at a.cu:9\n"
            "========= 1 error (1 occurrence)\n");
}

TEST(HostAccess, IsChecked) {
  const Checks checks("memcheck,initcheck");
  const Allocation* a = memory().allocate(MemoryKind::device, 9, 1000);
  const Order order{0, 1, {1}};
  EXPECT_TRUE(host_access(order, next_operation(), "cudaMemcpy", a->base, 500, true, 9));
  EXPECT_TRUE(host_access(order, next_operation(), "cudaMemcpy", a->base, 500, false, 9));
  EXPECT_TRUE(findings().empty());
  EXPECT_TRUE(host_access(order, next_operation(), "cudaMemcpy", a->base, 501, false, 9));
  EXPECT_EQ(count_of(Fault::uninitialized_copy), 1u);
  EXPECT_FALSE(host_access(order, next_operation(), "cudaMemcpy", a->base, 1001, true, 9));
  EXPECT_FALSE(host_access(order, next_operation(), "cudaMemcpy", a->end + 8, 4, true, 9));
  EXPECT_EQ(count_of(Fault::out_of_bounds), 2u);
  EXPECT_FALSE(host_access(order, next_operation(), "cudaMemcpy", 0x10, 4, true, 9));
  EXPECT_EQ(count_of(Fault::invalid_address), 1u);
  memory().free(a->base);
  EXPECT_FALSE(host_access(order, next_operation(), "cudaMemcpy", a->base, 4, false, 9));
  EXPECT_EQ(count_of(Fault::use_after_free), 1u);
}

}  // namespace
}  // namespace sim::test

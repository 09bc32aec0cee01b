// memcheck and initcheck: every kind of finding with its corrected twin; the counters of hand-worked cases.
#include <gtest/gtest.h>

#include "error.h"
#include "isa/code.h"
#include "tests/memory_world.h"

namespace sim::test {
namespace {

Memory& memory() { return Memory::instance(); }

class Memcheck : public testing::TestWithParam<const char*> {
 protected:
  Memcheck() : checks_(GetParam()), world_(), block_(world_, 0, 4096) {
    world_.launch.parameters.resize(64);
    allocation_ = memory().allocate(MemoryKind::device, 0, 4000);
    memory().mark_initialized(*allocation_, allocation_->base, 4000);
    block_.give_local(256);
  }
  // Runs an instruction with the address register set: the error, and that it is reported as `fault` when memcheck is on.
  void expect(std::string_view text, std::string_view reg, const Lanes& addresses, int error, Fault fault,
              std::uint64_t threads = 1, std::string_view words = {}) {
    Report::instance().clear();
    Op op(text);
    op.set(reg, addresses);
    EXPECT_EQ(op.error_in(block_), error) << text;
    if (!options().memcheck) {
      EXPECT_TRUE(findings().empty());
      return;
    }
    ASSERT_EQ(findings().size(), 1u) << text;
    const Finding finding = findings()[0];
    EXPECT_EQ(finding.fault, fault) << text << ": " << finding.message;
    EXPECT_EQ(finding.count, threads) << text;
    EXPECT_NE(finding.message.find(words), std::string::npos) << finding.message;
    EXPECT_EQ(finding.place.kernel, "a_kernel()");
  }
  void expect_silence(std::string_view text, std::string_view reg, const Lanes& addresses) {
    Report::instance().clear();
    Op op(text);
    op.set(reg, addresses);
    EXPECT_EQ(op.error_in(block_), 0) << text;
    EXPECT_TRUE(findings().empty()) << text;
  }

  Checks checks_;
  World world_;
  TestBlock block_;
  const Allocation* allocation_;
};

TEST_P(Memcheck, GlobalOutOfBounds) {
  const Address base = allocation_->base;
  for (const char* text : {"ld.global.b32 %r1, [%rd1];", "st.global.b32 [%rd1], %r1;", "ld.b32 %r1, [%rd1];",
                           "atom.global.add.u32 %r1, [%rd1], 1;", "red.global.add.u32 [%rd1], 1;"}) {
    expect_silence(text, "%rd1", lanes(base + 4000 - 128, 4));
    expect(text, "%rd1", lanes(base + 4000 - 124, 4), 700, Fault::out_of_bounds, 1, "0 bytes after allocation of 4000 bytes");
    expect(text, "%rd1", lanes(base - 4, 0), 700, Fault::out_of_bounds, 32, "4 bytes before");
    expect(text, "%rd1", lanes(base + 4000, 4), 700, Fault::out_of_bounds, 32);
  }
  expect("ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1];", "%rd1", lanes(base + 3984 + 0, 16), 700, Fault::out_of_bounds, 31);
  Op last("ld.global.v2.b32 {%r1, %r2}, [%rd1];");
  const Allocation* odd = memory().allocate(MemoryKind::device, 0, 12);
  memory().mark_initialized(*odd, odd->base, 12);
  expect("ld.global.v2.b32 {%r1, %r2}, [%rd1];", "%rd1", lanes(odd->base + 8, 0), 700, Fault::out_of_bounds, 32,
         "the last 4 bytes behind");
}

TEST_P(Memcheck, GlobalMisaligned) {
  expect("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(allocation_->base + 2, 4), 716, Fault::misaligned, 32,
         "not a multiple of 4");
  expect("st.global.v4.b32 [%rd1], {%r1, %r2, %r3, %r4};", "%rd1", lanes(allocation_->base + 8, 16), 716, Fault::misaligned, 32,
         "not a multiple of 16");
  expect("ld.global.b64 %rd2, [%rd1];", "%rd1", lanes(allocation_->base + 4, 8), 716, Fault::misaligned, 32);
  expect_silence("ld.global.v2.b32 {%r1, %r2}, [%rd1];", "%rd1", lanes(allocation_->base + 8, 8));
  expect_silence("ld.global.u8 %rs1, [%rd1];", "%rd1", lanes(allocation_->base + 3, 1));
}

TEST_P(Memcheck, UseAfterFree) {
  const Allocation* a = memory().allocate(MemoryKind::device, 0, 4096);
  memory().mark_initialized(*a, a->base, 4096);
  expect_silence("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(a->base, 4));
  memory().free(a->base);
  expect("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(a->base + 8, 4), 700, Fault::use_after_free, 32,
         "8 bytes inside a freed allocation of 4096 bytes");
  expect("st.global.b32 [%rd1], %r1;", "%rd1", lanes(a->base + 8, 4), 700, Fault::use_after_free, 32);
}

TEST_P(Memcheck, WrongPointers) {
  int on_the_stack = 0;
  expect("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(0, 0), 700, Fault::invalid_address, 32, "null pointer");
  expect("st.global.b32 [%rd1], %r1;", "%rd1", lanes(reinterpret_cast<Address>(&on_the_stack), 0), 700, Fault::host_memory, 32);
  expect("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(0x6123'4567'8900, 0), 700, Fault::invalid_address, 32);
  expect("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(0xffff'ffff'ffff'fff0, 0), 700, Fault::invalid_address, 32);
  expect("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(kSharedWindow, 4), 700, Fault::invalid_address, 32,
         "an address of shared memory");
  expect("ld.b32 %r1, [%rd1];", "%rd1", lanes(kFunctionWindow, 4), 700, Fault::invalid_address, 32, "functions");
  EXPECT_EQ(on_the_stack, 0);
  const Allocation* a = memory().adopt(&on_the_stack, sizeof on_the_stack);
  expect_silence("st.global.b32 [%rd1], %r1;", "%rd1", lanes(a->base, 0));
  memory().free(a->base);
  expect("st.global.b32 [%rd1], %r1;", "%rd1", lanes(a->base, 0), 700, Fault::host_memory, 32, "no longer registered");
}

TEST_P(Memcheck, PeersMustBeEnabled) {
  const Allocation* a = memory().allocate(MemoryKind::device, 10, 128);
  memory().mark_initialized(*a, a->base, 128);
  expect("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(a->base, 4), 700, Fault::peer_access, 32, "by device 0");
  world_.launch.peers = 1u << 10;
  expect_silence("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(a->base, 4));
  world_.launch.peers = 0;
  expect("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(a->base, 4), 700, Fault::peer_access, 32);
  const Allocation* pinned = memory().allocate(MemoryKind::pinned, 10, 128);
  expect_silence("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(pinned->base, 4));
}

TEST_P(Memcheck, ConstantsAndParametersAreReadOnly) {
  const Allocation* a = memory().allocate(MemoryKind::constant, 0, 128, 256, "table");
  expect_silence("ld.const.b32 %r1, [%rd1];", "%rd1", lanes(a->base, 4));
  expect("st.global.b32 [%rd1], %r1;", "%rd1", lanes(a->base, 4), 700, Fault::read_only, 32,
         "constant variable table of 128 bytes");
  expect("atom.add.u32 %r1, [%rd1], 1;", "%rd1", lanes(a->base, 4), 700, Fault::read_only, 32);
  expect("ld.const.b32 %r1, [%rd1];", "%rd1", lanes(a->base + 4, 4), 700, Fault::out_of_bounds, 1);
  expect_silence("ld.b32 %r1, [%rd1];", "%rd1", lanes(kParameterWindow + 32, 1 * 0));
  expect("ld.b32 %r1, [%rd1];", "%rd1", lanes(kParameterWindow + 64, 0), 700, Fault::out_of_bounds, 32, "64 bytes");
  expect("st.b32 [%rd1], %r1;", "%rd1", lanes(kParameterWindow, 0), 700, Fault::read_only, 32);
}

TEST_P(Memcheck, SharedMemory) {
  std::fill(block_.shared_bits.begin(), block_.shared_bits.end(), 0xff);
  expect_silence("ld.shared.b32 %r1, [%r9];", "%r9", lanes(4096 - 128, 4));
  expect("ld.shared.b32 %r1, [%r9];", "%r9", lanes(4096 - 124, 4), 700, Fault::out_of_bounds, 1,
         "of which the block has 4096 bytes");
  expect("ld.shared.b32 %r1, [%r9];", "%r9", lanes(0xfffffffc, 0), 700, Fault::out_of_bounds);
  expect("ld.shared.b32 %r1, [%rd9];", "%rd9", lanes(0x1'0000'0000, 0), 700, Fault::out_of_bounds);
  expect("st.shared.v4.b32 [%r9], {%r1, %r2, %r3, %r4};", "%r9", lanes(4088, 0), 716, Fault::misaligned, 32);
  expect("st.shared.b64 [%r9], %rd2;", "%r9", lanes(4, 8), 716, Fault::misaligned, 32);
  expect("ld.b32 %r1, [%rd9];", "%rd9", lanes(kSharedWindow + 4096, 0), 700, Fault::out_of_bounds);
  expect_silence("ld.b32 %r1, [%rd9];", "%rd9", lanes(kSharedWindow + 4092, 0));
  expect("atom.shared.add.u32 %r1, [%r9], 1;", "%r9", lanes(4096, 0), 700, Fault::out_of_bounds);
}

TEST_P(Memcheck, TheEndOfMemoryMayCutAnAccess) {
  TestBlock odd(world_, 0, 1020);
  std::fill(odd.shared_bits.begin(), odd.shared_bits.end(), 0xff);
  odd.give_local(28);
  std::fill(odd.local_bits.begin(), odd.local_bits.end(), 0xff);
  Op vector("ld.shared.v4.b32 {%r1, %r2, %r3, %r4}, [%r9];"), local("ld.local.v2.b32 {%r1, %r2}, [%r9];");
  vector.set("%r9", 992);
  EXPECT_EQ(vector.error_in(odd), 0);
  vector.set("%r9", 1008);
  EXPECT_EQ(vector.error_in(odd), 700);
  local.set("%r9", 16);
  EXPECT_EQ(local.error_in(odd), 0);
  local.set("%r9", 24);
  EXPECT_EQ(local.error_in(odd), 700);
}

TEST_P(Memcheck, LocalMemory) {
  std::fill(block_.local_bits.begin(), block_.local_bits.end(), 0xff);
  expect_silence("ld.local.b32 %r1, [%r9];", "%r9", lanes(252, 0));
  expect("ld.local.b32 %r1, [%r9];", "%r9", lanes(256, 0), 700, Fault::out_of_bounds, 1, "of which the thread has 256 bytes");
  expect("st.local.b64 [%rd9], %rd1;", "%rd9", lanes(12, 0), 716, Fault::misaligned);
  expect("st.b32 [%rd9], %r1;", "%rd9", lanes(kLocalWindow + 4096, 0), 700, Fault::out_of_bounds);
  expect_silence("st.b32 [%rd9], %r1;", "%rd9", lanes(kLocalWindow + 128, 4));
}

std::string check_name(const testing::TestParamInfo<const char*>& info) {
  return *info.param == 'n' ? "Unchecked" : *info.param == 'm' ? "Memcheck" : "All";
}
INSTANTIATE_TEST_SUITE_P(Handlers, Memcheck, testing::Values("none", "memcheck", "all"), check_name);

TEST(SharedLayout, GapsBetweenVariablesBelongToNobody) {
  const Checks checks("memcheck");
  World world;
  KernelCode code;
  code.shared.variables = {{0, 128, "tile"}, {160, 168, "total"}, {256, 256, "(dynamic)"}};
  world.kernel.code = &code;
  TestBlock block(world, 0, 4096);
  Op load("ld.shared.b32 %r1, [%r9];"), vector("ld.shared.v2.b32 {%r1, %r2}, [%r9];");
  for (std::uint64_t offset : {0, 124, 160, 164, 256, 4092}) {
    load.set("%r9", offset);
    EXPECT_EQ(load.error_in(block), 0) << offset;
  }
  vector.set("%r9", 160);
  EXPECT_EQ(vector.error_in(block), 0);
  EXPECT_TRUE(findings().empty());
  load.set("%r9", lanes(4, 4));
  EXPECT_EQ(load.error_in(block), 700);
  ASSERT_EQ(count_of(Fault::out_of_bounds), 1u);
  EXPECT_NE(findings()[0].message.find("0 bytes after the end of tile, which has 128 bytes"), std::string::npos)
      << findings()[0].message;
  for (std::uint64_t offset : {128, 156, 168, 252}) {
    load.set("%r9", offset);
    EXPECT_EQ(load.error_in(block), 700) << offset;
  }
  Op copy("cp.async.ca.shared.global [%r9], [%rd1], 4;");
  const Allocation* a = memory().allocate(MemoryKind::device, 0, 128);
  copy.set("%rd1", a->base);
  copy.set("%r9", 132);
  EXPECT_EQ(copy.error_in(block), 700);
  copy.set("%r9", 4);
  EXPECT_EQ(copy.error_in(block), 0);
}

class Initcheck : public testing::Test {
 protected:
  Initcheck() : checks_("initcheck"), world_(), block_(world_) {
    world_.launch.device = 11;  // first used here, with initcheck on
    a_ = memory().allocate(MemoryKind::device, 11, 4096);
    block_.give_local(256);
  }
  std::uint64_t run(std::string_view text, std::string_view reg, const Lanes& addresses, Fault fault, Mask mask = kAllLanes) {
    Op op(text);
    op.set(reg, addresses);
    EXPECT_EQ(op.error_in(block_, mask), 0) << text;
    std::uint64_t threads = 0;
    for (const Finding& finding : findings()) {
      EXPECT_EQ(finding.fault, fault);
      threads += finding.count;
    }
    Report::instance().clear();
    return threads;
  }
  Checks checks_;
  World world_;
  TestBlock block_;
  const Allocation* a_;
};

TEST_F(Initcheck, GlobalMemory) {
  const Fault fault = Fault::uninitialized_global;
  EXPECT_EQ(run("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(a_->base, 4), fault), 32u);
  EXPECT_EQ(run("st.global.b32 [%rd1], %r1;", "%rd1", lanes(a_->base, 8), fault), 0u);
  EXPECT_EQ(run("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(a_->base, 8), fault), 0u);
  EXPECT_EQ(run("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(a_->base, 4), fault), 16u);
  EXPECT_EQ(run("ld.global.b64 %rd2, [%rd1];", "%rd1", lanes(a_->base, 8), fault), 32u);
  EXPECT_EQ(run("st.global.u8 [%rd1], %rs1;", "%rd1", lanes(a_->base + 512, 2), fault), 0u);
  EXPECT_EQ(run("ld.global.u8 %rs1, [%rd1];", "%rd1", lanes(a_->base + 512, 2), fault), 0u);
  EXPECT_EQ(run("ld.global.u8 %rs1, [%rd1];", "%rd1", lanes(a_->base + 512, 1), fault), 16u);
  EXPECT_EQ(run("ld.global.b16 %rs1, [%rd1];", "%rd1", lanes(a_->base + 512, 2), fault), 32u);
  EXPECT_EQ(run("st.global.v4.b32 [%rd1], {%r1, %r2, %r3, %r4};", "%rd1", lanes(a_->base + 1024, 16), fault, 0x0000ffff), 0u);
  EXPECT_EQ(run("ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1];", "%rd1", lanes(a_->base + 1024, 16), fault), 16u);
  EXPECT_EQ(run("ld.b32 %r1, [%rd1];", "%rd1", lanes(a_->base + 1024, 4), fault), 0u);
  EXPECT_EQ(run("atom.global.add.u32 %r1, [%rd1], 1;", "%rd1", lanes(a_->base + 2048, 0), fault), 32u);
  EXPECT_EQ(run("atom.global.add.u32 %r1, [%rd1], 1;", "%rd1", lanes(a_->base + 2048, 0), fault), 0u);
  EXPECT_EQ(run("cp.async.ca.shared.global [0], [%rd1], 4;", "%rd1", lanes(a_->base + 3000, 0), fault), 32u);
  EXPECT_EQ(run("cp.async.ca.shared.global [0], [%rd1], 4;", "%rd1", lanes(a_->base + 2048, 0), fault), 0u);
}
TEST_F(Initcheck, SharedMemory) {
  const Fault fault = Fault::uninitialized_shared;
  EXPECT_EQ(run("ld.shared.b32 %r1, [%r9];", "%r9", lanes(0, 4), fault), 32u);
  EXPECT_EQ(run("st.shared.b32 [%r9], %r1;", "%r9", lanes(0, 4), fault), 0u);
  EXPECT_EQ(run("ld.shared.b32 %r1, [%r9];", "%r9", lanes(0, 4), fault), 0u);
  EXPECT_EQ(run("ld.shared.b32 %r1, [%r9];", "%r9", lanes(4, 4), fault), 1u);
  EXPECT_EQ(run("st.shared.u8 [%r9], %rs1;", "%r9", lanes(130, 1), fault, 1), 0u);
  EXPECT_EQ(run("ld.shared.u8 %rs1, [%r9];", "%r9", lanes(129, 1), fault, 7), 2u);
  EXPECT_EQ(run("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r9];", "%r9", lanes(0, 16), fault), 0u);
  EXPECT_EQ(run("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r9];", "%r9", lanes(32, 16), fault), 2u);
  EXPECT_EQ(run("red.shared.add.u32 [%r9], 1;", "%r9", lanes(1024, 0), fault), 32u);
  EXPECT_EQ(run("red.shared.add.u32 [%r9], 1;", "%r9", lanes(1024, 0), fault), 0u);
}
TEST_F(Initcheck, LocalMemory) {
  const Fault fault = Fault::uninitialized_local;
  EXPECT_EQ(run("ld.local.b32 %r1, [%r9];", "%r9", lanes(4, 0), fault), 32u);
  EXPECT_EQ(run("st.local.b32 [%r9], %r1;", "%r9", lanes(4, 0), fault, 0x7), 0u);
  EXPECT_EQ(run("ld.local.b32 %r1, [%r9];", "%r9", lanes(4, 0), fault), 29u);
  EXPECT_EQ(run("ld.local.b64 %rd1, [%r9];", "%r9", lanes(0, 0), fault, 0x7), 3u);
}
TEST_F(Initcheck, MemoryThatTheHostWritesIsNotTracked) {
  const Allocation* managed = memory().allocate(MemoryKind::managed, 0, 4096);
  EXPECT_EQ(run("ld.global.b32 %r1, [%rd1];", "%rd1", lanes(managed->base, 4), Fault::uninitialized_global), 0u);
}

// Counters, worked out by hand.
class Counting : public testing::Test {
 protected:
  Counting() : checks_("none"), world_(), block_(world_) {
    a_ = memory().allocate(MemoryKind::device, 0, 1 << 16);
    block_.give_local(256);
  }
  Counters count(std::string_view text, std::string_view reg, const Lanes& addresses, Mask mask = kAllLanes) {
    Op op(text);
    world_.worker.counters.assign(op.decoded()[0].index + 1, {});
    op.set(reg, addresses);
    EXPECT_EQ(op.error_in(block_, mask), 0);
    return world_.worker.counters.back();
  }
  void expect_sectors(std::string_view text, const Lanes& addresses, std::uint64_t sectors, std::uint64_t bytes,
                      Mask mask = kAllLanes) {
    const Counters c = count(text, "%rd1", addresses, mask);
    EXPECT_EQ(c.sectors, sectors) << text;
    EXPECT_EQ(c.requests, 1u) << text;
    EXPECT_EQ(c.bytes, bytes) << text;
    EXPECT_EQ(c.wavefronts, 0u) << text;
  }
  void expect_wavefronts(std::string_view text, const Lanes& addresses, std::uint64_t wavefronts, std::uint64_t ideal,
                         Mask mask = kAllLanes) {
    const Counters c = count(text, "%r9", addresses, mask);
    EXPECT_EQ(c.wavefronts, wavefronts) << text << " " << addresses[1];
    EXPECT_EQ(c.ideal_wavefronts, ideal) << text;
    EXPECT_EQ(c.sectors, 0u) << text;
  }
  Checks checks_;
  World world_;
  TestBlock block_;
  const Allocation* a_;
};

TEST_F(Counting, GlobalSectors) {
  const Address a = a_->base;
  for (const char* text : {"ld.global.b32 %r1, [%rd1];", "st.global.f32 [%rd1], %r1;", "ld.b32 %r1, [%rd1];"}) {
    expect_sectors(text, lanes(a, 4), 4, 128);                                     // coalesced
    expect_sectors(text, lanes(a + 4, 4), 5, 128);                                 // shifted by one word
    expect_sectors(text, lanes(a + 124, static_cast<std::uint64_t>(-4)), 4, 128);  // in any order
    expect_sectors(text, lanes(a, 8), 8, 128);                                     // every second
    expect_sectors(text, lanes(a, 32), 32, 128);                                   // one a sector
    expect_sectors(text, lanes(a, 1024), 32, 128);                                 // a column of a matrix
    expect_sectors(text, lanes(a, 0), 1, 128);                                     // all the same
    expect_sectors(text, lanes(a, 4), 2, 64, 0x0000ffff);                          // half a warp
    expect_sectors(text, lanes(a, 4), 1, 4, 0x80000000);
  }
  expect_sectors("ld.global.v2.b32 {%r1, %r2}, [%rd1];", lanes(a, 8), 8, 256);
  expect_sectors("ld.global.v4.f32 {%r1, %r2, %r3, %r4}, [%rd1];", lanes(a, 16), 16, 512);
  expect_sectors("ld.global.v4.f32 {%r1, %r2, %r3, %r4}, [%rd1];", lanes(a, 48), 32, 512);
  expect_sectors("ld.global.b64 %rd2, [%rd1];", lanes(a, 8), 8, 256);
  expect_sectors("ld.global.u8 %rs1, [%rd1];", lanes(a, 1), 1, 32);
  expect_sectors("ld.global.u8 %rs1, [%rd1];", lanes(a + 1, 1), 2, 32);
  expect_sectors("ld.global.b16 %rs1, [%rd1];", lanes(a, 2), 2, 64);
  expect_sectors("red.global.add.u32 [%rd1], 1;", lanes(a, 4), 4, 128);
  // Lanes in two allocations.
  const Allocation* b = memory().allocate(MemoryKind::device, 0, 4096);
  Lanes mixed = lanes(a, 4);
  for (std::size_t lane = 16; lane < kLanes; ++lane) mixed[lane] = b->base + lane * 4;
  expect_sectors("ld.global.b32 %r1, [%rd1];", mixed, 4, 128);
}
TEST_F(Counting, SharedWavefronts) {
  for (const char* text : {"ld.shared.b32 %r1, [%r9];", "st.shared.f32 [%r9], %r1;"}) {
    expect_wavefronts(text, lanes(0, 4), 1, 1);  // a row
    expect_wavefronts(text, lanes(0, 8), 2, 1);  // every second bank
    expect_wavefronts(text, lanes(0, 16), 4, 1);
    expect_wavefronts(text, lanes(0, 128), 32, 1);  // a column without padding
    expect_wavefronts(text, lanes(0, 132 % 128), 1, 1);
    expect_wavefronts(text, lanes(0, 0), 1, 1);    // broadcast
    expect_wavefronts(text, lanes(64, 12), 1, 1);  // an odd stride
    expect_wavefronts(text, lanes(0, 128), 16, 1, 0x0000ffff);
  }
  expect_wavefronts("ld.shared.b32 %r1, [%r9];", lanes(0, 124), 1, 1);
  expect_wavefronts("ld.shared.u8 %rs1, [%r9];", lanes(0, 1), 1, 1);
  expect_wavefronts("ld.shared.b16 %rs1, [%r9];", lanes(0, 2), 1, 1);
  expect_wavefronts("ld.shared.b64 %rd1, [%r9];", lanes(0, 8), 2, 2);
  expect_wavefronts("ld.shared.b64 %rd1, [%r9];", lanes(0, 16), 4, 2);
  expect_wavefronts("ld.shared.v2.f32 {%r1, %r2}, [%r9];", lanes(0, 0), 2, 2);
  expect_wavefronts("ld.shared.v4.f32 {%r1, %r2, %r3, %r4}, [%r9];", lanes(0, 16), 4, 4);
  expect_wavefronts("st.shared.v4.f32 [%r9], {%r1, %r2, %r3, %r4};", lanes(0, 32), 8, 4);
  expect_wavefronts("ld.shared.v4.f32 {%r1, %r2, %r3, %r4}, [%r9];", lanes(0, 16), 1, 1, 0x000000ff);
  // Rows of 64 halves without padding: all eight rows of a matrix in the same banks. With 16 bytes of padding they are not.
  Lanes rows;
  for (std::size_t lane = 0; lane < kLanes; ++lane) rows[lane] = lane % 8 * 128 + lane / 8 * 16;
  expect_wavefronts("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r9];", rows, 32, 4);
  for (std::size_t lane = 0; lane < kLanes; ++lane) rows[lane] = lane % 8 * 144 + lane / 8 * 16;
  expect_wavefronts("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r1, %r2, %r3, %r4}, [%r9];", rows, 4, 4);
  expect_wavefronts("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r1}, [%r9];", rows, 1, 1);
}
TEST_F(Counting, GenericAccessesCountWhereTheyGo) {
  const Counters c = count("ld.b32 %r1, [%rd1];", "%rd1", lanes(kSharedWindow, 8));
  EXPECT_EQ(c.wavefronts, 2u);
  EXPECT_EQ(c.sectors, 0u);
}
TEST_F(Counting, LocalSectors) {
  EXPECT_EQ(count("ld.local.b32 %r1, [%r9];", "%r9", lanes(16, 0)).sectors, 4u);  // the same variable of all threads
  EXPECT_EQ(count("ld.local.v4.b32 {%r1, %r2, %r3, %r4}, [%r9];", "%r9", lanes(16, 0)).sectors, 16u);
  EXPECT_EQ(count("ld.local.b32 %r1, [%r9];", "%r9", lanes(0, 4)).sectors, 32u);  // each thread another one
  EXPECT_EQ(count("st.local.u8 [%r9], %rs1;", "%r9", lanes(5, 0)).sectors, 4u);
}
TEST_F(Counting, AtomicConflicts) {
  EXPECT_EQ(count("red.global.add.u32 [%rd1], 1;", "%rd1", lanes(a_->base, 0)).atomic_conflicts, 31u);
  EXPECT_EQ(count("red.global.add.u32 [%rd1], 1;", "%rd1", lanes(a_->base, 4)).atomic_conflicts, 0u);
  EXPECT_EQ(count("atom.shared.add.u32 %r1, [%r9], 1;", "%r9", lanes(0, 0), 0xff).atomic_conflicts, 7u);
  Lanes pairs = lanes(a_->base, 4);
  for (std::size_t lane = 1; lane < kLanes; lane += 2) pairs[lane] = pairs[lane - 1];
  EXPECT_EQ(count("atom.global.max.u32 %r1, [%rd1], 1;", "%rd1", pairs).atomic_conflicts, 16u);
}
TEST_F(Counting, AsynchronousCopiesCountOnBothSides) {
  Op op("cp.async.cg.shared.global [%r9], [%rd1], 16;");
  world_.worker.counters.assign(op.decoded()[0].index + 1, {});
  op.set("%rd1", lanes(a_->base, 16));
  op.set("%r9", lanes(0, 16));
  op.run_in(block_);
  const Counters& c = world_.worker.counters.back();
  EXPECT_EQ(c.sectors, 16u);
  EXPECT_EQ(c.wavefronts, 4u);
}

}  // namespace
}  // namespace sim::test

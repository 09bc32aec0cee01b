// ld, st, atom and red in every form, against references.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "error.h"
#include "isa/decoder.h"
#include "tests/memory_world.h"

namespace sim::test {
namespace {

struct ElementType {
  std::string_view name;
  unsigned bytes;
  bool is_signed;
};
constexpr ElementType kTypes[] = {{"b8", 1, false},   {"u8", 1, false},     {"s8", 1, true},    {"b16", 2, false},
                                  {"u16", 2, false},  {"s16", 2, true},     {"f16", 2, false},  {"b32", 4, false},
                                  {"u32", 4, false},  {"s32", 4, true},     {"f32", 4, false},  {"f16x2", 4, false},
                                  {"bf16", 2, false}, {"b64", 8, false},    {"u64", 8, false},  {"s64", 8, true},
                                  {"f64", 8, false},  {"bf16x2", 4, false}, {"b128", 16, false}};

struct RegisterKind {
  std::string_view prefix;
  unsigned bytes;
};
constexpr RegisterKind kRegisters[] = {{"%rs", 2}, {"%r", 4}, {"%rd", 8}, {"%rq", 16}};

std::string vector_of(std::string_view prefix, unsigned count) {
  if (count == 1) return fmt::format("{}1", prefix);
  std::string text = "{";
  for (unsigned n = 1; n <= count; ++n) text += fmt::format("{}{}{}", n == 1 ? "" : ", ", prefix, n);
  return text + "}";
}

// Where the bytes of a space lie, for the host.
struct Place {
  std::string name;        // "ld.global"'s ".global"; "" generic
  std::uint64_t base = 0;  // what goes into the address register for offset 0
  bool narrow = false;     // the address register has 32 bits
  std::byte* bytes = nullptr;
  std::size_t lane_stride = 0;  // local memory: each lane has its own
  bool read_only = false;
};

constexpr std::size_t kSize = 2048;

class Forms : public testing::TestWithParam<const char*> {
 protected:
  Forms() : checks_(GetParam()), world_(1, 32), block_(world_) {
    // Initialisation is tracked on devices that are first used with initcheck on.
    world_.launch.device = options().initcheck ? 1 : 0;
    device_ = Memory::instance().allocate(MemoryKind::device, world_.launch.device, kSize);
    constant_ = Memory::instance().allocate(MemoryKind::constant, world_.launch.device, kSize);
    pinned_ = Memory::instance().allocate(MemoryKind::pinned, 0, kSize);
    EXPECT_EQ(device_->initialized != nullptr, options().initcheck);
    if (device_->initialized != nullptr) Memory::instance().mark_initialized(*device_, device_->base, kSize);
    block_.give_local(kSize);
    std::fill(block_.shared_bits.begin(), block_.shared_bits.end(), 0xff);
    std::fill(block_.local_bits.begin(), block_.local_bits.end(), 0xff);
    world_.launch.parameters.resize(kSize);
  }

  std::vector<Place> places() {
    std::byte* const shared = block_.block.shared;
    return {{".global", device_->base, false, device_->working(device_->base)},
            {".global", pinned_->base, false, pinned_->working(pinned_->base)},
            {".const", constant_->base, false, constant_->working(constant_->base), 0, true},
            {".shared", 0, true, shared},
            {".shared::cta", 0, false, shared},
            {".local", 0, true, block_.local.data(), kSize},
            {".local", 0, false, block_.local.data(), kSize},
            {".param", 0, false, world_.launch.parameters.data(), 0, true},
            {"", device_->base, false, device_->working(device_->base)},
            {"", kSharedWindow, false, shared},
            {"", kLocalWindow, false, block_.local.data(), kSize},
            {"", kParameterWindow, false, world_.launch.parameters.data(), 0, true}};
  }

  void fill(const Place& place) {
    for (std::size_t n = 0; n < (place.lane_stride == 0 ? kSize : kSize * kLanes); ++n)
      place.bytes[n] = static_cast<std::byte>(random_());
  }

  // Offsets of the lanes: side by side, all the same, strided, in any order.
  Lanes offsets(int pattern, unsigned bytes) {
    Lanes result;
    for (std::uint64_t lane = 0; lane < kLanes; ++lane) {
      switch (pattern) {
        case 0:
          result[lane] = lane * bytes;
          break;
        case 1:
          result[lane] = bytes;
          break;
        case 2:
          result[lane] = lane * 2 * bytes % (kSize - 64) / bytes * bytes;
          break;
        default:
          result[lane] = random_() % ((kSize - 64) / bytes) * bytes;
      }
    }
    return result;
  }
  std::size_t host_offset(const Place& place, const Lanes& offset, std::size_t lane) const {
    return lane * place.lane_stride + offset[lane];
  }
  void set_addresses(Op& op, const Place& place, const Lanes& offset, std::int64_t immediate) {
    Lanes addresses;
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      addresses[lane] = place.base + offset[lane] - static_cast<std::uint64_t>(immediate);
    op.set(place.narrow ? "%r99" : "%rd99", addresses);
  }

  Checks checks_;
  World world_;
  TestBlock block_;
  const Allocation *device_, *constant_, *pinned_;
  std::mt19937_64 random_{7};
};

constexpr Mask kMasks[] = {kAllLanes, 0x0000ffff, 0x80000001, 0x00010000, 0xaaaaaaaa};

TEST_P(Forms, LoadEveryTypeWidthVectorAndSpace) {
  int forms = 0;
  for (const ElementType& type : kTypes) {
    for (const RegisterKind& reg : kRegisters) {
      if (reg.bytes < type.bytes || (reg.bytes == 16) != (type.bytes == 16)) continue;
      for (unsigned count : {1u, 2u, 4u, 8u}) {
        const unsigned bytes = type.bytes * count;
        if (bytes > 32) continue;
        for (const Place& place : places()) {
          ++forms;
          const std::int64_t immediate = forms % 3 == 0 ? 0 : forms % 3 == 1 ? 48 : -32;
          const std::string text =
              fmt::format("ld{}{}.{} {}, [{}{}{}];", place.name, count == 1 ? "" : fmt::format(".v{}", count), type.name,
                          vector_of(reg.prefix, count), place.narrow ? "%r99" : "%rd99", immediate == 0 ? "" : "+",
                          immediate == 0 ? "" : fmt::format("{}", immediate));
          Op op(text);
          for (int pattern = 0; pattern < 4; ++pattern) {
            const Mask mask = pattern == 0 || forms % 2 == 0 ? kAllLanes : kMasks[random_() % 5];
            fill(place);
            op.scramble(random_);
            const Lanes offset = offsets(pattern, bytes);
            set_addresses(op, place, offset, immediate);
            op.run_in(block_, mask);
            for (unsigned n = 0; n < count; ++n) {
              const Lanes low = op.get(fmt::format("{}{}", reg.prefix, n + 1));
              const Lanes high = type.bytes == 16 ? op.get_high(fmt::format("{}{}", reg.prefix, n + 1)) : Lanes{};
              for (std::size_t lane = 0; lane < kLanes; ++lane) {
                if ((mask >> lane & 1) == 0) continue;
                std::uint64_t expected = 0, expected_high = 0;
                const std::byte* from = place.bytes + host_offset(place, offset, lane) + n * type.bytes;
                std::memcpy(&expected, from, std::min(type.bytes, 8u));
                if (type.bytes == 16) std::memcpy(&expected_high, from + 8, 8);
                if (type.is_signed && reg.bytes > type.bytes && (expected >> (type.bytes * 8 - 1) & 1) != 0)
                  expected |= ~std::uint64_t{0} << type.bytes * 8;
                if (reg.bytes < 8) expected &= (std::uint64_t{1} << reg.bytes * 8) - 1;
                ASSERT_EQ(low[lane], expected) << text << " lane " << lane << " element " << n << " pattern " << pattern;
                ASSERT_EQ(high[lane], expected_high) << text;
              }
            }
          }
        }
      }
    }
  }
  EXPECT_GT(forms, 1200);
  EXPECT_EQ(Report::instance().errors(), 0u);
}

TEST_P(Forms, StoreEveryTypeWidthVectorAndSpace) {
  int forms = 0;
  for (const ElementType& type : kTypes) {
    for (const RegisterKind& reg : kRegisters) {
      if (reg.bytes < type.bytes || (reg.bytes == 16) != (type.bytes == 16)) continue;
      for (unsigned count : {1u, 2u, 4u, 8u}) {
        const unsigned bytes = type.bytes * count;
        if (bytes > 32) continue;
        for (const Place& place : places()) {
          if (place.read_only) continue;
          ++forms;
          const std::string text =
              fmt::format("st{}{}.{} [{}+32], {};", place.name, count == 1 ? "" : fmt::format(".v{}", count), type.name,
                          place.narrow ? "%r99" : "%rd99", vector_of(reg.prefix, count));
          Op op(text);
          for (int pattern = 0; pattern < 4; ++pattern) {
            const Mask mask = pattern == 0 || forms % 2 == 0 ? kAllLanes : kMasks[random_() % 5];
            fill(place);
            const std::size_t size = place.lane_stride == 0 ? kSize : kSize * kLanes;
            std::vector<std::byte> expected(place.bytes, place.bytes + size);
            op.scramble(random_);
            const Lanes offset = offsets(pattern, bytes);
            set_addresses(op, place, offset, 32);
            for (std::size_t lane = 0; lane < kLanes; ++lane) {
              if ((mask >> lane & 1) == 0) continue;
              for (unsigned n = 0; n < count; ++n) {
                const std::string name = fmt::format("{}{}", reg.prefix, n + 1);
                const std::uint64_t value = op.get(name)[lane], high = type.bytes == 16 ? op.get_high(name)[lane] : 0;
                std::byte* to = expected.data() + host_offset(place, offset, lane) + n * type.bytes;
                std::memcpy(to, &value, std::min(type.bytes, 8u));
                if (type.bytes == 16) std::memcpy(to + 8, &high, 8);
              }
            }
            // Of several lanes at one place the last wins; the race check does not like it, which is not the question here.
            op.run_in(block_, mask);
            ASSERT_EQ(std::memcmp(expected.data(), place.bytes, size), 0) << text << " pattern " << pattern;
          }
        }
      }
    }
  }
  EXPECT_GT(forms, 800);
}

TEST_P(Forms, LanesOfOneGenericAccessMayBeInDifferentSpaces) {
  for (const Place& place : places()) fill(place);
  Lanes addresses;
  std::array<std::uint32_t, kLanes> expected;
  const auto all = places();
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    const Place& place = all[8 + lane % 4];
    const std::size_t offset = lane * 4;
    addresses[lane] = place.base + offset;
    std::memcpy(&expected[lane], place.bytes + lane * place.lane_stride + offset, 4);
    if (lane % 8 == 0) {  // and in another allocation
      addresses[lane] = pinned_->base + offset;
      std::memcpy(&expected[lane], pinned_->working(pinned_->base) + offset, 4);
    }
  }
  Op load("ld.b32 %r1, [%rd99];");
  load.set("%rd99", addresses);
  load.run_in(block_, 0x7fffffff);
  for (std::size_t lane = 0; lane < 31; ++lane) EXPECT_EQ(load.get("%r1")[lane], expected[lane]) << lane;
  Op store("st.b32 [%rd99], %r1;");
  store.set("%rd99", addresses);
  store.set("%r1", lanes(100, 1));
  store.run_in(block_, 0x11111111);
  EXPECT_EQ(*reinterpret_cast<std::uint32_t*>(pinned_->working(pinned_->base) + 24 * 4), 124u);
  EXPECT_EQ(Report::instance().errors(), 0u);
}

TEST_P(Forms, ModifiersOfCachesAndOrder) {
  fill(places()[0]);
  std::uint32_t first = 0;
  std::memcpy(&first, device_->working(device_->base), 4);
  struct Case {
    const char* text;
    bool depends;
  };
  for (const auto& [text, depends] :
       std::initializer_list<Case>{{"ld.global.nc.L1::no_allocate.L2::128B.b32 %r1, [%rd99];", false},
                                   {"ld.global.cg.b32 %r1, [%rd99];", false},
                                   {"ld.global.ca.b32 %r1, [%rd99];", false},
                                   {"ld.global.cs.f32 %r1, [%rd99];", false},
                                   {"ld.global.lu.b32 %r1, [%rd99];", false},
                                   {"ld.global.cv.b32 %r1, [%rd99];", false},
                                   {"ld.global.L1::evict_last.L2::cache_hint.b32 %r1, [%rd99], %rd50;", false},
                                   {"ld.weak.global.b32 %r1, [%rd99];", false},
                                   {"ldu.global.b32 %r1, [%rd99];", false},
                                   {"ld.volatile.global.b32 %r1, [%rd99];", true},
                                   {"ld.relaxed.gpu.global.b32 %r1, [%rd99];", true},
                                   {"ld.acquire.sys.global.b32 %r1, [%rd99];", true},
                                   {"ld.acquire.gpu.b32 %r1, [%rd99];", true},
                                   {"ld.mmio.relaxed.sys.global.b32 %r1, [%rd99];", true}}) {
    Op op(text);
    op.set("%rd99", device_->base);
    op.run_in(block_);
    EXPECT_EQ(op.get("%r1")[17], first) << text;
    EXPECT_EQ(op.order_dependent(), depends) << text;
  }
  for (const char* text :
       {"st.global.cs.b32 [%rd99], %r1;", "st.global.wb.b32 [%rd99], %r1;", "st.global.wt.f32 [%rd99], %r1;",
        "st.global.cg.b32 [%rd99], %r1;", "st.volatile.global.b32 [%rd99], %r1;", "st.release.gpu.global.b32 [%rd99], %r1;",
        "st.relaxed.sys.global.b32 [%rd99], %r1;", "st.global.L1::no_allocate.b32 [%rd99], %r1;",
        "st.global.L2::cache_hint.b32 [%rd99], %r1, %rd50;"}) {
    Op op(text);
    op.set("%rd99", device_->base + 8);
    op.set("%r1", 77);
    op.run_in(block_, 1);
    EXPECT_EQ(*reinterpret_cast<std::uint32_t*>(device_->working(device_->base + 8)), 77u) << text;
    *reinterpret_cast<std::uint32_t*>(device_->working(device_->base + 8)) = 0;
  }
  for (const char* text :
       {"ld.global.wt.b32 %r1;", "ld.global.v3.b32 {%r1, %r2, %r3}, [%rd99];", "ld.global.v2.b32 %r1, [%rd99];",
        "ld.global.b64 %r1, [%rd99];", "ld.global.fast.b32 %r1, [%rd99];", "ld.shared::cluster.b32 %r1, [%rd99];",
        "st.async.b32 [%rd99], %r1;", "ld.global [%rd99];", "st.global.nc.b32 [%rd99], %r1;"}) {
    EXPECT_THROW(Op{text}, Error) << text;
  }
}

TEST_P(Forms, SymbolsConstantsAndSinks) {
  Environment environment;
  environment.symbols["variable"] = {ptx::Space::global, device_->base + 64, 64};
  environment.symbols["tile"] = {ptx::Space::shared, 128, 64};
  environment.symbols["parameter"] = {ptx::Space::parameter, 16, 24};
  environment.frame_variables["retval"] = 16;
  fill(places()[0]);
  fill(places()[3]);
  fill(places()[7]);
  auto word = [](const std::byte* at) {
    std::uint32_t value;
    std::memcpy(&value, at, 4);
    return value;
  };
  const std::byte* const global = device_->working(device_->base);
  struct Case {
    const char* text;
    std::uint32_t expected;
  };
  for (const auto& [text, expected] :
       std::initializer_list<Case>{{"ld.global.b32 %r1, [variable];", word(global + 64)},
                                   {"ld.global.b32 %r1, [variable+8];", word(global + 72)},
                                   {"ld.b32 %r1, [variable+4];", word(global + 68)},
                                   {"ld.shared.b32 %r1, [tile+12];", word(block_.block.shared + 140)},
                                   {"ld.param.b32 %r1, [parameter+20];", word(world_.launch.parameters.data() + 36)}}) {
    Op op(text, environment);
    op.run_in(block_, 0xf0f0f0f0);
    EXPECT_EQ(op.get("%r1")[31], expected) << text;
  }
  EXPECT_THROW(Op("ld.shared.b32 %r1, [variable];", environment), Error);
  EXPECT_THROW(Op("ld.param.b64 %rd1, [parameter+20];", environment), Error);
  EXPECT_THROW(Op("st.param.b32 [parameter], %r1;", environment), Error);
  EXPECT_THROW(Op("ld.param.v2.b32 {%r1, %r2}, [retval+12];", environment), Error);

  Op store("st.param.v2.b32 [retval+8], {%r1, 7}; ld.param.s8 %rd1, [retval+8]; ld.param.v4.b32 {_, _, %r2, %r3}, [retval];",
           environment);
  std::uint32_t stride = 0;
  std::byte* variable = store.frame_variable("retval", stride);
  store.set("%r1", lanes(0xffffff80, 1));
  store.run_in(block_, 0x0000ff00);
  for (std::size_t lane = 8; lane < 16; ++lane) {
    EXPECT_EQ(word(variable + lane * stride + 8), 0xffffff80 + lane);
    EXPECT_EQ(store.get("%rd1")[lane], 0xffffffffffffff80 + lane);
    EXPECT_EQ(store.get("%r2")[lane], 0xffffff80 + lane);
    EXPECT_EQ(store.get("%r3")[lane], 7u);
  }
  Op immediate("st.global.v4.f32 [%rd99], {0f3F800000, %r1, 0f00000000, 0fBF800000}; st.global.u8 [%rd99+16], -3;");
  immediate.set("%rd99", device_->base);
  immediate.set("%r1", 5);
  immediate.run_in(block_, 1);
  EXPECT_EQ(word(global), 0x3f800000u);
  EXPECT_EQ(word(global + 4), 5u);
  EXPECT_EQ(word(global + 12), 0xbf800000u);
  EXPECT_EQ(global[16], std::byte{0xfd});
  EXPECT_EQ(Report::instance().errors(), 0u);
}

// Sequential references for atomics.
using Reference = std::uint64_t (*)(std::uint64_t old, std::uint64_t b, std::uint64_t c);

template <class T, class F>
std::uint64_t as(std::uint64_t x, std::uint64_t y, F f) {
  return static_cast<std::make_unsigned_t<T>>(f(static_cast<T>(x), static_cast<T>(y)));
}
float single(std::uint64_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits)); }
double half(std::uint64_t bits) { return static_cast<double>(std::bit_cast<_Float16>(static_cast<std::uint16_t>(bits))); }
std::uint64_t to_half(double value) {
  return std::isnan(value) ? 0x7fff : std::bit_cast<std::uint16_t>(static_cast<_Float16>(value));
}
double bfloat(std::uint64_t bits) { return single((bits & 0xffff) << 16); }
// Of the two neighbours the nearer one, the even one in a tie: by trying.
std::uint64_t to_bfloat(double value) {
  if (std::isnan(value)) return 0x7fff;
  const std::uint64_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  std::uint64_t low = 0, high = 0x7f80;
  while (low + 1 < high) {
    const std::uint64_t middle = (low + high) / 2;
    (bfloat(middle) <= magnitude ? low : high) = middle;
  }
  const double above = high == 0x7f80 ? std::ldexp(1.0, 128) : bfloat(high);
  const double down = magnitude - bfloat(low), up = above - magnitude;
  if (std::isinf(value)) return sign | 0x7f80;
  return sign | (down < up || (down == up && low % 2 == 0) ? low : high);
}
std::uint64_t flushed(std::uint64_t bits) { return (bits & 0x7f800000) == 0 ? bits & 0x80000000 : bits; }
std::uint64_t sum_of(std::uint64_t a, std::uint64_t b) {
  const float sum = single(a) + single(b);
  return std::isnan(sum) ? 0x7fffffff : std::bit_cast<std::uint32_t>(sum);
}

struct AtomicCase {
  std::string_view name;  // operation and type
  unsigned bytes;
  Reference reference;
};
const AtomicCase kAtomics[] = {
    {"add.u32", 4, [](auto a, auto b, auto) { return a + b; }},
    {"add.s32", 4, [](auto a, auto b, auto) { return a + b; }},
    {"add.u64", 8, [](auto a, auto b, auto) { return a + b; }},
    {"and.b32", 4, [](auto a, auto b, auto) { return a & b; }},
    {"and.b64", 8, [](auto a, auto b, auto) { return a & b; }},
    {"or.b32", 4, [](auto a, auto b, auto) { return a | b; }},
    {"or.b64", 8, [](auto a, auto b, auto) { return a | b; }},
    {"xor.b32", 4, [](auto a, auto b, auto) { return a ^ b; }},
    {"xor.b64", 8, [](auto a, auto b, auto) { return a ^ b; }},
    {"min.s32", 4, [](auto a, auto b, auto) { return as<std::int32_t>(a, b, [](auto x, auto y) { return x < y ? x : y; }); }},
    {"max.s32", 4, [](auto a, auto b, auto) { return as<std::int32_t>(a, b, [](auto x, auto y) { return x > y ? x : y; }); }},
    {"min.u32", 4, [](auto a, auto b, auto) { return a < b ? a : b; }},
    {"max.u32", 4, [](auto a, auto b, auto) { return a > b ? a : b; }},
    {"min.s64", 8, [](auto a, auto b, auto) { return as<std::int64_t>(a, b, [](auto x, auto y) { return x < y ? x : y; }); }},
    {"max.s64", 8, [](auto a, auto b, auto) { return as<std::int64_t>(a, b, [](auto x, auto y) { return x > y ? x : y; }); }},
    {"min.u64", 8, [](auto a, auto b, auto) { return a < b ? a : b; }},
    {"max.u64", 8, [](auto a, auto b, auto) { return a > b ? a : b; }},
    {"inc.u32", 4, [](auto a, auto b, auto) { return a >= b ? 0 : a + 1; }},
    {"dec.u32", 4, [](auto a, auto b, auto) { return a == 0 || a > b ? b : a - 1; }},
    {"exch.b32", 4, [](auto, auto b, auto) { return b; }},
    {"exch.b64", 8, [](auto, auto b, auto) { return b; }},
    {"cas.b16", 2, [](auto a, auto b, auto c) { return a == b ? c : a; }},
    {"cas.b32", 4, [](auto a, auto b, auto c) { return a == b ? c : a; }},
    {"cas.b64", 8, [](auto a, auto b, auto c) { return a == b ? c : a; }},
    {"add.f32", 4, [](auto a, auto b, auto) { return sum_of(a, b); }},
    {"add.f64", 8,
     [](auto a, auto b, auto) {
       const double sum = std::bit_cast<double>(a) + std::bit_cast<double>(b);
       return std::isnan(sum) ? 0x7fffffffffffffff : std::bit_cast<std::uint64_t>(sum);
     }},
    {"add.noftz.f16", 2, [](auto a, auto b, auto) { return to_half(half(a) + half(b)); }},
    {"add.noftz.bf16", 2, [](auto a, auto b, auto) { return to_bfloat(bfloat(a) + bfloat(b)); }},
    {"add.noftz.f16x2", 4,
     [](auto a, auto b, auto) { return to_half(half(a) + half(b)) | to_half(half(a >> 16) + half(b >> 16)) << 16; }},
    {"add.noftz.bf16x2", 4,
     [](auto a, auto b, auto) {
       return to_bfloat(bfloat(a) + bfloat(b)) | to_bfloat(bfloat(a >> 16) + bfloat(b >> 16)) << 16;
     }},
};

TEST_P(Forms, AtomicsAndReductionsOfEveryOperationTypeAndSpace) {
  int runs = 0;
  for (const AtomicCase& test : kAtomics) {
    const std::string_view operation = test.name.substr(0, test.name.find('.'));
    const std::uint64_t width = test.bytes == 8 ? ~std::uint64_t{0} : (std::uint64_t{1} << test.bytes * 8) - 1;
    const std::string_view prefix = test.bytes == 2 ? "%rs" : test.bytes == 4 ? "%r" : "%rd";
    for (const Place& place : places()) {
      if (place.read_only || place.name == ".local" || place.lane_stride != 0) continue;
      for (const char* scope : {"", ".relaxed.gpu", ".cta", ".acq_rel.sys", ".acquire.gpu", ".release.gpu"}) {
        for (bool is_reduction : {false, true}) {
          if (is_reduction && (operation == "cas" || operation == "exch")) continue;
          const std::string operands = fmt::format("[{}], {}2{}", place.narrow ? "%r99" : "%rd99", prefix,
                                                   operation == "cas" ? fmt::format(", {}3", prefix) : "");
          const std::string text = is_reduction
                                       ? fmt::format("red{}{}.{} {};", scope, place.name, test.name, operands)
                                       : fmt::format("atom{}{}.{} {}1, {};", scope, place.name, test.name, prefix, operands);
          Op op(text);
          for (int pattern = 1; pattern < 4; ++pattern) {
            fill(place);
            op.scramble(random_);
            const Mask mask = pattern == 1 ? kAllLanes : kMasks[random_() % 5];
            const Lanes offset = offsets(pattern, test.bytes);
            set_addresses(op, place, offset, 0);
            Lanes b = op.get(fmt::format("{}2", prefix));
            for (std::size_t lane = 0; lane < kLanes; ++lane) {
              // Values near each other and near what is there, so that all branches are taken; subnormal numbers too.
              std::uint64_t there = 0;
              std::memcpy(&there, place.bytes + offset[lane], test.bytes);
              if (lane % 4 == 0) b[lane] = there;
              if (lane % 4 == 1) b[lane] = random_() % 8;
              if (lane % 8 == 2) b[lane] &= 0x807fffff;
            }
            op.set(fmt::format("{}2", prefix), b);
            const Lanes c = operation == "cas" ? op.get(fmt::format("{}3", prefix)) : Lanes{};
            std::vector<std::byte> expected(place.bytes, place.bytes + kSize);
            Lanes old{};
            const bool flushes = test.name == "add.f32" && place.bytes != block_.block.shared;
            for (std::size_t lane = 0; lane < kLanes; ++lane) {
              if ((mask >> lane & 1) == 0) continue;
              std::memcpy(&old[lane], expected.data() + offset[lane], test.bytes);
              const std::uint64_t value = flushes ? flushed(sum_of(flushed(old[lane]), flushed(b[lane])))
                                                  : test.reference(old[lane], b[lane] & width, c[lane]);
              std::memcpy(expected.data() + offset[lane], &value, test.bytes);
            }
            op.run_in(block_, mask);
            ++runs;
            ASSERT_EQ(std::memcmp(expected.data(), place.bytes, kSize), 0) << text << " pattern " << pattern;
            if (is_reduction) continue;
            const Lanes result = op.get(fmt::format("{}1", prefix));
            for (std::size_t lane = 0; lane < kLanes; ++lane) {
              if ((mask >> lane & 1) == 0) continue;
              ASSERT_EQ(result[lane], old[lane]) << text << " lane " << lane;
            }
          }
        }
      }
    }
  }
  EXPECT_GT(runs, 4000);
  EXPECT_EQ(Report::instance().errors(), 0u) << "atomics do not race with each other";
}

TEST_P(Forms, WhatMakesAKernelDependOnTheOrderOfBlocks) {
  struct Case {
    const char* text;
    bool depends;
  };
  for (const auto& [text, depends] : std::initializer_list<Case>{{"red.global.add.u32 [%rd99], %r1;", false},
                                                                 {"red.global.add.f32 [%rd99], %r1;", true},
                                                                 {"red.add.f64 [%rd99], %rd1;", true},
                                                                 {"red.shared.add.f32 [%r99], %r1;", false},
                                                                 {"atom.global.add.u32 %r1, [%rd99], 1;", true},
                                                                 {"atom.global.add.u32 _, [%rd99], 1;", false},
                                                                 {"atom.global.max.s32 _, [%rd99], 1;", false},
                                                                 {"atom.global.exch.b32 _, [%rd99], 1;", true},
                                                                 {"atom.shared.add.u32 %r1, [%r99], 1;", false},
                                                                 {"ld.volatile.shared.b32 %r1, [%r99];", false},
                                                                 {"st.volatile.global.b32 [%rd99], 1;", false}}) {
    EXPECT_EQ(Op(text).order_dependent(), depends) << text;
  }
  for (const char* text :
       {"atom.global.add.v2.f32 {%r1, %r2}, [%rd99], {%r3, %r4};", "atom.global.cas.b128 %rq1, [%rd99], %rq2, %rq3;",
        "atom.global.min.f32 %r1, [%rd99], %r2;", "red.global.cas.b32 [%rd99], %r1, %r2;",
        "atom.global.add.u32 %rd1, [%rd99], %r1;", "atom.local.add.u32 %r1, [%r99], 1;", "red.async.add.u32 [%r1], %r2;"}) {
    EXPECT_THROW(Op{text}, Error) << text;
  }
}

TEST_P(Forms, HintsFencesAndPoliciesAreKnown) {
  for (const char* text :
       {"prefetch.global.L2 [%rd99];", "prefetchu.L1 [%rd99];", "applypriority.global.L2::evict_normal [%rd99], 128;",
        "membar.gl;", "membar.cta;", "membar.sys;", "fence.acq_rel.gpu;", "fence.sc.sys;", "fence.sc.cta;",
        "fence.proxy.async;", "fence.acquire.sys;", "discard.global.L2 [%rd99], 128;"}) {
    Op op(text);
    op.run_in(block_);
  }
  // Blocks may wait for what another publishes behind a fence, by whatever loads.
  for (const char* text : {"membar.gl;", "membar.sys;", "fence.acq_rel.gpu;", "fence.sc.sys;"})
    EXPECT_TRUE(Op(text).order_dependent()) << text;
  for (const char* text : {"membar.cta;", "fence.sc.cta;", "fence.proxy.async;", "ld.relaxed.cta.global.b32 %r1, [%rd99];"})
    EXPECT_FALSE(Op(text).order_dependent()) << text;
  Op policy("createpolicy.fractional.L2::evict_last.b64 %rd1, 0f3F800000;");
  policy.run_in(block_, 0x0000ffff);
  EXPECT_THROW(Op("fence.fast;"), Error);
  EXPECT_THROW(Op("membar;"), Error);
}

std::string check_name(const testing::TestParamInfo<const char*>& info) { return *info.param == 'n' ? "Unchecked" : "Checked"; }
INSTANTIATE_TEST_SUITE_P(Handlers, Forms, testing::Values("none", "memcheck,initcheck,racecheck"), check_name);

}  // namespace
}  // namespace sim::test

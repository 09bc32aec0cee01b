#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lz4.h>
#include <zstd.h>

#include <cstring>

#include "error.h"
#include "ptx/fat_binary.h"
#include "tests/fat_binary_samples.h"

namespace sim::ptx {
namespace {

enum class Packing { raw, lz4, zstd };

struct Entry {
  int kind = 1;
  std::uint32_t architecture = 80;
  std::string data;
  Packing packing = Packing::raw;
  std::uint32_t header_size = 80;
};

template <class T>
void put(std::string& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

std::string packed(const std::string& data, Packing packing) {
  if (packing == Packing::raw) return data;
  std::string result(data.size() + 4096, '\0');
  const std::size_t size =
      packing == Packing::lz4 ? static_cast<std::size_t>(LZ4_compress_default(
                                    data.data(), result.data(), static_cast<int>(data.size()), static_cast<int>(result.size())))
                              : ZSTD_compress(result.data(), result.size(), data.data(), data.size(), 3);
  result.resize(size);
  return result;
}

std::string container(const std::vector<Entry>& entries) {
  std::string body;
  for (const Entry& entry : entries) {
    std::string payload = packed(entry.data, entry.packing);
    const auto compressed = static_cast<std::uint32_t>(payload.size());
    payload.resize((payload.size() + 7) / 8 * 8);
    std::string header(entry.header_size, '\0');
    const std::uint64_t flags = entry.packing == Packing::raw ? 0x11 : entry.packing == Packing::lz4 ? 0x2011 : 0x8011;
    put<std::uint16_t>(header, 0, static_cast<std::uint16_t>(entry.kind));
    put<std::uint16_t>(header, 2, 0x101);
    put<std::uint32_t>(header, 4, entry.header_size);
    put<std::uint64_t>(header, 8, payload.size());
    put<std::uint32_t>(header, 16, entry.packing == Packing::raw ? 0 : compressed);
    put<std::uint32_t>(header, 28, entry.architecture);
    put<std::uint64_t>(header, 40, flags);
    put<std::uint64_t>(header, 56, entry.packing == Packing::raw ? 0 : entry.data.size());
    body += header + payload;
  }
  std::string result(16, '\0');
  put<std::uint32_t>(result, 0, 0xBA55ED50);
  put<std::uint16_t>(result, 4, 1);
  put<std::uint16_t>(result, 6, 16);
  put<std::uint64_t>(result, 8, body.size());
  return result + body;
}

std::span<const std::byte> bytes(const std::string& data) { return std::as_bytes(std::span(data)); }

std::string from_hexadecimal(std::string_view digits) {
  std::string result;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2)
    result += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
  return result;
}

std::string message_of(const std::string& data) {
  try {
    images_of(bytes(data), false);
    return "no error";
  } catch (const Error& error) {
    return error.what();
  }
}

const std::string target_80 = ".version 9.0\n.target sm_80\n";

TEST(FatBinary, UnpacksWhatTheCompilerMakes) {
  for (const char* const sample : {zstd_sample, lz4_sample}) {
    const std::string data = from_hexadecimal(sample);
    const std::vector<Image> images = images_of(container_at(data.data()));
    ASSERT_EQ(images.size(), 1U);
    EXPECT_EQ(images[0].kind, Image::Kind::ptx);
    EXPECT_EQ(images[0].architecture, 80);
    EXPECT_EQ(images[0].data, sample_ptx);
    EXPECT_EQ(container_at(data.data()).size(), data.size());
  }
}

TEST(FatBinary, ListsImagesOfEveryPacking) {
  const std::string large(3'000'000, 'x');
  const std::string data = container({{1, 75, "one"},
                                      {2, 80,
                                       "\x7f"
                                       "ELF",
                                       Packing::raw, 64},
                                      {1, 86, large, Packing::lz4, 88},
                                      {8, 80, "of another kind", Packing::raw, 64},
                                      {1, 90, large, Packing::zstd, 96},
                                      {2, 90, large, Packing::zstd, 112}});
  for (const bool ptx_only : {true, false}) {
    const std::vector<Image> images = images_of(bytes(data), ptx_only);
    ASSERT_EQ(images.size(), 5U);
    EXPECT_EQ(images[0].data, "one");
    EXPECT_EQ(images[1].kind, Image::Kind::elf);
    EXPECT_EQ(images[1].data.substr(0, 4), ptx_only ? ""
                                                    : "\x7f"
                                                      "ELF");
    EXPECT_EQ(images[2].data, large);
    EXPECT_EQ(images[2].architecture, 86);
    EXPECT_EQ(images[3].data, large);
    EXPECT_EQ(images[4].data, ptx_only ? "" : large);
  }
  EXPECT_TRUE(images_of(bytes(container({}))).empty());
}

TEST(FatBinary, ChoosesTheHighestThatTheDeviceRuns) {
  const auto ptx = [](int architecture, const std::string& target) {
    return Image{Image::Kind::ptx, architecture, ".version 9.0\n.target sm_" + target + ", debug\n"};
  };
  const std::vector<Image> images = {
      ptx(90, "90"), ptx(75, "75"), ptx(100, "100f"), ptx(90, "90a"), {Image::Kind::elf, 86, {}}, ptx(120, "120a")};
  const auto chosen = [&](int architecture) { return &best_ptx(images, architecture) - images.data(); };
  EXPECT_EQ(chosen(75), 1);
  EXPECT_EQ(chosen(86), 1);
  EXPECT_EQ(chosen(90), 3);
  EXPECT_EQ(chosen(100), 2);
  EXPECT_EQ(chosen(103), 2);
  EXPECT_EQ(chosen(110), 0);  // sm_90a is for sm_90 alone, sm_100f for its family
  EXPECT_EQ(chosen(120), 5);
  EXPECT_EQ(chosen(121), 0);
  try {
    best_ptx(images, 70);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("no PTX that sm_70 can run, only PTX of compute 90, PTX of compute 75"));
    EXPECT_THAT(error.what(), testing::HasSubstr("machine code of sm 86"));
  }
  EXPECT_THROW(best_ptx({}, 80), Error);
}

TEST(FatBinary, TellsWhatIsCorrupt) {
  const std::string good = container({{1, 80, target_80, Packing::zstd}});
  const auto changed = [&](std::size_t at, auto value, std::string from = "") {
    std::string data = from.empty() ? good : std::move(from);
    put(data, at, value);
    return message_of(data);
  };
  EXPECT_EQ(message_of(good), "no error");
  EXPECT_THAT(message_of("short"), testing::HasSubstr("5 bytes are too few"));
  EXPECT_THAT(changed(0, std::uint32_t{7}), testing::HasSubstr("begins with 0x7"));
  EXPECT_THAT(changed(4, std::uint16_t{9}), testing::HasSubstr("version 9"));
  EXPECT_THAT(changed(6, std::uint16_t{8}), testing::HasSubstr("unknown layout"));
  EXPECT_THAT(changed(6, std::uint16_t{60000}), testing::HasSubstr("its header tells of"));
  EXPECT_THAT(changed(8, ~std::uint64_t{0}), testing::HasSubstr("its header tells of"));
  EXPECT_THAT(changed(8, std::uint64_t{20}), testing::HasSubstr("within the header of an image"));
  EXPECT_THAT(changed(16 + 4, std::uint32_t{0}), testing::HasSubstr("header can not have 0 bytes"));
  EXPECT_THAT(changed(16 + 4, std::uint32_t{1U << 31}), testing::HasSubstr("header can not have"));
  EXPECT_THAT(changed(16 + 8, ~std::uint64_t{0} - 15), testing::HasSubstr("within an image"));
  EXPECT_THAT(changed(16 + 16, std::uint32_t{100000}), testing::HasSubstr("100000 compressed bytes"));
  EXPECT_THAT(changed(16 + 28, std::uint32_t{1U << 31}), testing::HasSubstr("no architecture"));
  EXPECT_THAT(changed(16 + 56, std::uint64_t{5}), testing::HasSubstr("longer than the 5 bytes"));
  EXPECT_THAT(changed(16 + 56, std::uint64_t{500}), testing::HasSubstr("not the 500"));
  EXPECT_THAT(changed(16 + 56, ~std::uint64_t{0}), testing::HasSubstr("too large"));
  EXPECT_THAT(changed(16 + 56, std::uint64_t{1} << 29),
              testing::HasSubstr("not the"));  // quick: nothing of that size is allocated
  EXPECT_THAT(changed(16 + 16, std::uint32_t{10}), testing::HasSubstr("zstd data is cut off"));
  EXPECT_THAT(changed(96, std::uint32_t{0}), testing::HasSubstr("zstd data is corrupt"));

  const std::string lz4 = container({{1, 80, std::string(1000, 'x'), Packing::lz4}});
  EXPECT_EQ(message_of(lz4), "no error");
  EXPECT_THAT(changed(16 + 56, std::uint64_t{999}, lz4), testing::HasSubstr("LZ4 data is corrupt"));
  EXPECT_THAT(changed(16 + 56, std::uint64_t{1001}, lz4), testing::HasSubstr("LZ4 data is corrupt"));
  EXPECT_THAT(changed(16 + 56, std::uint64_t{1} << 29, lz4), testing::HasSubstr("LZ4 can not hold"));
  EXPECT_THROW(container_at(nullptr), Error);
  EXPECT_THROW(container_at("sixteen bytes or more"), Error);
}

TEST(FatBinary, SurvivesAnyCutAndAnyOneByte) {
  for (const char* const sample : {zstd_sample, lz4_sample}) {
    const std::string whole = from_hexadecimal(sample);
    for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_NE(message_of(whole.substr(0, size)), "no error") << size;
    int refused = 0;
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const int flip : {0x01, 0x80, 0xff, 0x10}) {
        std::string data = whole;
        data[at] = static_cast<char>(data[at] ^ flip);
        refused += message_of(data) != "no error";
      }
    }
    EXPECT_GT(refused, 100);
  }
}

}  // namespace
}  // namespace sim::ptx

#include "engine/data/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <limits>

#include "kernels/check.h"
#include "tests/message.h"
#include "tests/temporary_folder.h"

namespace gannet {
namespace {

// A file of a header and data, whatever they say.
std::string raw(const std::string& header, std::size_t data_bytes) {
  std::string text(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(text.data(), &length, 8);
  return text + header + std::string(data_bytes, '\x01');
}

template <typename T>
TensorView view(const std::vector<T>& values, DType type, Shape shape) {
  return {type, shape, std::as_bytes(std::span(values))};
}

const std::vector<float> weights = {1.5f, -2, 3, 4, 5, 6};
const std::vector<std::int32_t> labels = {7, -8};
const std::vector<std::uint8_t> pixels = {1, 2, 3};

void write_sample(const std::filesystem::path& path) {
  write_safetensors(path,
                    {{"pixels", view(pixels, DType::u8, {3, 1})},
                     {"labels", view(labels, DType::i32, {2})},
                     {"a.weight", view(weights, DType::f32, {2, 3})},
                     {"none", {DType::f64, {0, 4}, {}}}},
                    {{"step", "12"}, {"text", "quotes \" and \"checksum\":\"crc32: and ü"}});
}

TEST(Safetensors, RoundTrip) {
  const TemporaryFolder folder;
  write_sample(folder / "a.safetensors");
  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_EQ(file.names(), (std::vector<std::string>{"a.weight", "labels", "none", "pixels"}));
  const TensorView weight = file.tensor("a.weight");
  EXPECT_EQ(weight.type, DType::f32);
  EXPECT_EQ(weight.shape, (Shape{2, 3}));
  EXPECT_EQ(std::memcmp(weight.data.data(), weights.data(), weight.data.size()), 0);
  EXPECT_EQ(weight.data.size(), 24u);
  EXPECT_EQ(file.values("labels"), (std::vector<float>{7, -8}));
  EXPECT_EQ(file.values("pixels"), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(file.tensor("none").shape, (Shape{0, 4}));
  EXPECT_EQ(file.metadata().at("step"), "12");
  EXPECT_EQ(file.metadata().at("text"), "quotes \" and \"checksum\":\"crc32: and ü");
  file.verify(true);
  EXPECT_EQ(folder.files(), 1u);
}

// The format to the letter, as any other reader of it expects; and the checksum, computed apart by Python's zlib.crc32.
TEST(Safetensors, BytesOfAFile) {
  const TemporaryFolder folder;
  write_safetensors(
      folder / "a",
      {{"u", view(pixels, DType::u8, {3})}, {"b", view(labels, DType::i32, {1, 2})}, {"a", view(labels, DType::i32, {2})}},
      {{"k", "v"}});
  const std::string header =
      R"({"__metadata__":{"checksum":"crc32:DIGITS__","k":"v"},"a":{"data_offsets":[0,8],"dtype":"I32","shape":[2]},)"
      R"("b":{"data_offsets":[8,16],"dtype":"I32","shape":[1,2]},"u":{"data_offsets":[16,19],"dtype":"U8","shape":[3]}})";
  std::string expected = std::string("\xe0\0\0\0\0\0\0\0", 8) + header;
  expected.resize(8 + 0xe0, ' ');
  expected += std::string("\x07\0\0\0\xf8\xff\xff\xff\x07\0\0\0\xf8\xff\xff\xff\x01\x02\x03", 19);
  expected.replace(expected.find("DIGITS__"), 8, "700872f3");
  EXPECT_EQ(read_text(folder / "a"), expected);
}

TEST(Safetensors, SameContentsSameBytes) {
  const TemporaryFolder folder;
  write_sample(folder / "a");
  write_sample(folder / "b");
  EXPECT_EQ(read_text(folder / "a"), read_text(folder / "b"));
}

// Written by the Python package safetensors 0.8.0 from PyTorch tensors.
TEST(Safetensors, ReadsPythons) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"count":{"dtype":"I64","shape":[],"data_offsets":[0,8]},)"
      R"("a.weight":{"dtype":"F32","shape":[1,3],"data_offsets":[8,20]},"brain":{"dtype":"BF16","shape":[2],)"
      R"("data_offsets":[20,24]},"half":{"dtype":"F16","shape":[3],"data_offsets":[24,30]}}   )";
  const std::string data(
      "\x07\0\0\0\0\0\0\0\0\0\xc0?\0\0\0\xc0\0\0P@\x80?I\xc0\0"
      "8\xff\xfb\x01\0",
      30);
  const TemporaryFolder folder;
  const SafetensorsFile file(folder.write("py", raw(header, 0) + data));
  EXPECT_EQ(file.values("a.weight"), (std::vector<float>{1.5f, -2, 3.25f}));
  EXPECT_EQ(file.values("brain"), (std::vector<float>{1, -3.140625f}));
  EXPECT_EQ(file.values("half"), (std::vector<float>{0.5f, -65504, 0x1p-24f}));
  EXPECT_EQ(file.values("count"), (std::vector<float>{7}));
  EXPECT_EQ(file.tensor("brain").type, DType::bf16);
  EXPECT_EQ(file.entries().at("count").type, "I64");
  EXPECT_FALSE(file.checksum().has_value());
  file.verify();
  EXPECT_TRUE(says(message_of<InputError>([&] { file.verify(true); }), "has no checksum"));
  EXPECT_TRUE(says(message_of<InputError>([&] { file.tensor("count"); }), "tensor \"count\" has the type I64"));
  EXPECT_TRUE(says(message_of<InputError>([&] { file.tensor("gone"); }), "has no tensor \"gone\""));
}

TEST(Safetensors, HalfPrecisionSpecials) {
  const std::vector<std::uint16_t> bits = {0x7c00, 0xfc00, 0x7e00, 0x8000, 0x0400, 0x03ff, 0x3555};
  const TemporaryFolder folder;
  std::string file = raw(R"({"h":{"dtype":"F16","shape":[7],"data_offsets":[0,14]}})", 0);
  file.append(reinterpret_cast<const char*>(bits.data()), 14);
  const std::vector<float> values = SafetensorsFile(folder.write("h", file)).values("h");
  EXPECT_EQ(values[0], std::numeric_limits<float>::infinity());
  EXPECT_EQ(values[1], -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(values[2]));
  EXPECT_TRUE(values[3] == 0 && std::signbit(values[3]));
  EXPECT_EQ(values[4], 0x1p-14f);
  EXPECT_EQ(values[5], 0x1.ff8p-15f);
  EXPECT_EQ(values[6], 0x1.554p-2f);
}

struct Malformed {
  const char* name;
  std::string header;
  std::size_t data;
  const char* message;
};

TEST(Safetensors, MalformedHeaders) {
  const std::string good = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  const auto tensor = [](const std::string& type, const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  std::string ones;
  for (int i = 0; i < 64; ++i) ones += ",1";
  const std::vector<Malformed> cases = {
      {"not an object", "[1]", 0, "does not begin with '{'"},
      {"not JSON", R"({"a":)", 0, "not valid JSON at its byte"},
      {"two documents", "{}{}", 0, "not valid JSON"},
      {"text after", "{} x", 0, "not valid JSON"},
      {"broken UTF-8", "{\"\xff\":{}}", 0, "not valid JSON"},
      {"deep nesting", R"({"a":)" + std::string(100000, '['), 0, "tensor \"a\" is an array where an object belongs"},
      {"tensor is a number", R"({"a":1})", 0, "tensor \"a\" is a number where an object belongs"},
      {"duplicate tensor", "{" + good + "," + good + "}", 4, "tensor \"a\" appears twice"},
      {"duplicate tensor, escaped", "{" + good + R"(,"\u0061":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4,
       "tensor \"a\" appears twice"},
      {"duplicate field", R"({"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4,
       "the field \"dtype\" appears twice"},
      {"duplicate metadata", R"({"__metadata__":{},"__metadata__":{}})", 0, "__metadata__ appears twice"},
      {"duplicate metadata key", R"({"__metadata__":{"k":"1","k":"2"}})", 0, "__metadata__ has the key \"k\" twice"},
      {"number in metadata", R"({"__metadata__":{"step":3}})", 0,
       "__metadata__ key \"step\" holds a number where text belongs"},
      {"object in metadata", R"({"__metadata__":{"step":{}}})", 0, "__metadata__ key \"step\" holds an object"},
      {"metadata is text", R"({"__metadata__":"x"})", 0, "tensor \"__metadata__\" is text where an object belongs"},
      {"unknown field", R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"stride":[1]}})", 4, "unknown field \"stride\""},
      {"no type", R"({"a":{"shape":[4],"data_offsets":[0,4]}})", 4, "tensor \"a\": no \"dtype\""},
      {"no shape", R"({"a":{"dtype":"U8","data_offsets":[0,4]}})", 4, "tensor \"a\": no \"shape\""},
      {"no offsets", R"({"a":{"dtype":"U8","shape":[4]}})", 4, "tensor \"a\": no \"data_offsets\""},
      {"unknown type", tensor("\"Q7\"", "[4]", "[0,4]"), 4, "tensor \"a\": unknown type \"Q7\""},
      {"type is a number", tensor("8", "[4]", "[0,4]"), 4, "tensor \"a\": \"dtype\" is a number"},
      {"shape is text", tensor("\"U8\"", "\"4\"", "[0,4]"), 4, "\"shape\" is text"},
      {"negative extent", tensor("\"U8\"", "[-4]", "[0,4]"), 4, "a negative extent, -4"},
      {"fractional extent", tensor("\"U8\"", "[4.0]", "[0,4]"), 4, "the number 4.0 in the shape"},
      {"huge extent", tensor("\"U8\"", "[9223372036854775808]", "[0,4]"), 4, "an extent of 9223372036854775808"},
      {"nested shape", tensor("\"U8\"", "[[4]]", "[0,4]"), 4, "an array in the shape"},
      {"too many dimensions", tensor("\"U8\"", "[4" + ones + "]", "[0,4]"), 4, "more than 64 dimensions"},
      {"wrong size", tensor("\"F32\"", "[4]", "[0,4]"), 4, "shape (4) of F32 takes 16 bytes, its offsets 0 to 4 hold 4"},
      {"size that overflows", tensor("\"F32\"", "[4611686018427387904,4]", "[0,0]"), 0, "more bytes than can be counted"},
      {"size that wraps to 0", tensor("\"U8\"", "[4294967296,4294967296]", "[0,0]"), 0, "more bytes than can be counted"},
      {"half a byte", tensor("\"F4\"", "[3]", "[0,1]"), 1, "shape (3) of F4 takes"},
      {"negative offset", tensor("\"U8\"", "[4]", "[-4,0]"), 4, "a negative offset, -4"},
      {"offsets backwards", tensor("\"U8\"", "[4]", "[4,0]"), 4, "offsets 4 to 0 run backwards"},
      {"one offset", tensor("\"U8\"", "[4]", "[4]"), 4, "not two numbers"},
      {"three offsets", tensor("\"U8\"", "[4]", "[0,4,4]"), 4, "not two numbers"},
      {"offsets beyond the end", tensor("\"U8\"", "[4]", "[0,4]"), 3, "truncated: tensor \"a\" ends at byte 4 of 3"},
      {"offsets far beyond", tensor("\"U8\"", "[4]", "[18446744073709551611,18446744073709551615]"), 4, "belong to no tensor"},
      {"gap at the start", tensor("\"U8\"", "[4]", "[1,5]"), 5, "1 bytes before tensor \"a\""},
      {"bytes left over", tensor("\"U8\"", "[4]", "[0,4]"), 6, "2 bytes after the last tensor"},
      {"overlap", "{" + good + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})", 6,
       "tensor \"b\" at offset 2 overlaps tensor \"a\", which ends at 4"},
      {"the same bytes twice", "{" + good + R"(,"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4, "overlaps"},
      {"gap between", "{" + good + R"(,"b":{"dtype":"U8","shape":[1],"data_offsets":[5,6]}})", 6,
       "1 bytes before tensor \"b\""},
      {"malformed checksum", R"({"__metadata__":{"checksum":"crc32:1234567g"}})", 0, "malformed checksum"},
      {"control characters", "{\"a\\u001b[2J\":1}", 0, "tensor \"a\\u001b[2J\" is a number"},
  };
  const TemporaryFolder folder;
  for (const Malformed& malformed : cases) {
    const auto path = folder.write("file", raw(malformed.header, malformed.data));
    const std::string message = message_of<InputError>([&] { SafetensorsFile{path}; });
    EXPECT_TRUE(says(message, malformed.message)) << malformed.name;
    EXPECT_TRUE(says(message, path.string())) << malformed.name;
  }
}

TEST(Safetensors, LyingLengths) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& contents) {
    return message_of<InputError>([&] { SafetensorsFile(folder.write("file", contents)); });
  };
  EXPECT_TRUE(says(message(""), "0 bytes are too few"));
  EXPECT_TRUE(says(message("1234567"), "7 bytes are too few"));
  EXPECT_TRUE(says(message(std::string(8, '\xff') + "{}"), "its header would be 18446744073709551615 bytes long"));
  EXPECT_TRUE(says(message(std::string("\3\0\0\0\0\0\0\0{}", 10)), "truncated: a header of 3 bytes in a file of 10"));
  EXPECT_TRUE(says(message(std::string(8, '\0')), "does not begin with '{'"));
  EXPECT_TRUE(says(message_of<InputError>([&] { SafetensorsFile(folder / "gone"); }), "gone: cannot open: No such file"));
  EXPECT_TRUE(says(message_of<InputError>([&] { SafetensorsFile(folder.path()); }), "not a regular file"));
}

TEST(Safetensors, RefusesWhatTheEngineHasNot) {
  const TemporaryFolder folder;
  const SafetensorsFile file(
      folder.write("file", raw(R"({"a":{"dtype":"U8","shape":[1,1,1,1,1,1,2],"data_offsets":[0,2]}})", 2)));
  EXPECT_TRUE(says(message_of<InputError>([&] { file.tensor("a"); }), "has 7 dimensions, more than 6"));
  EXPECT_EQ(file.values("a"), (std::vector<float>{1, 1}));
}

TEST(Safetensors, EveryTruncationIsSeen) {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  write_sample(path);
  for (std::uintmax_t length = std::filesystem::file_size(path); length-- > 0;) {
    std::filesystem::resize_file(path, length);
    EXPECT_THROW(SafetensorsFile{path}, InputError) << length;
  }
}

TEST(Safetensors, EveryFlippedBitIsSeen) {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  write_sample(path);
  const std::string whole = read_text(path);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](std::size_t at, int byte) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte));
    ASSERT_TRUE(file.flush());
  };
  for (std::size_t at = 0; at < whole.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      put(at, whole[at] ^ (1 << bit));
      EXPECT_THROW(SafetensorsFile(path).verify(true), InputError) << "bit " << bit << " of byte " << at;
    }
    put(at, whole[at]);
  }
  SafetensorsFile(path).verify(true);
}

TEST(SafetensorsWriter, ChecksItsCaller) {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  const std::vector<std::byte> bytes(8);
  const auto writer = [&](std::vector<TensorDeclaration> tensors) { return SafetensorsWriter(path, std::move(tensors), {}); };
  EXPECT_THROW(writer({{"a", DType::u8, {1}}, {"a", DType::u8, {1}}}), InputError);
  EXPECT_THROW(writer({{"__metadata__", DType::u8, {1}}}), InputError);
  EXPECT_THROW(writer({{"a", DType::u8, {-1}}}), InputError);
  EXPECT_THROW(writer({{"\xff", DType::u8, {1}}}), InputError);
  {
    SafetensorsWriter two(path, {{"a", DType::u8, {2}}, {"b", DType::u8, {2}}}, {});
    EXPECT_THROW(two.append(0, std::span(bytes).first(3)), InputError);
    EXPECT_THROW(two.append(1, std::span(bytes).first(1)), InputError);
    two.append(0, std::span(bytes).first(2));
    two.append(1, std::span(bytes).first(1));
    EXPECT_THROW(two.append(0, std::span(bytes).first(1)), InputError);
    EXPECT_THROW(two.finish(), InputError);
  }
  EXPECT_EQ(folder.files(), 0u);
}

// Files may not grow beyond a size: the kernel then refuses writes as it does on a full disk, with EFBIG for ENOSPC.
class FullDisk {
 public:
  explicit FullDisk(rlim_t bytes) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int) = nullptr;
};

TEST(AtomicFile, FullDiskLeavesTheEarlierFile) {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  write_sample(path);
  const std::string before = read_text(path);
  const std::vector<float> large(10000, 1.0f);
  for (const rlim_t room : {0, 4, 100, 4096, 40000}) {
    std::string message;
    {
      const FullDisk disk(room);
      message = message_of<RuntimeError>([&] { write_safetensors(path, {{"large", view(large, DType::f32, {10000})}}); });
    }
    EXPECT_TRUE(says(message, "file: cannot write: File too large")) << room;
    EXPECT_EQ(read_text(path), before);
    EXPECT_EQ(folder.files(), 1u);
  }
  write_safetensors(path, {{"large", view(large, DType::f32, {10000})}});
  SafetensorsFile(path).verify(true);
}

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const TemporaryFolder folder;
  const auto path = folder / "file";
  {
    AtomicFile file(path);
    file.append(bytes_of("abcdef"));
    EXPECT_FALSE(std::filesystem::exists(path));
    EXPECT_EQ(folder.files(), 1u);
  }
  EXPECT_EQ(folder.files(), 0u);
  {
    AtomicFile file(path);
    file.append(bytes_of("abcdef"));
    file.overwrite(2, bytes_of("XY"));
    EXPECT_THROW(file.overwrite(5, bytes_of("XY")), InputError);
    file.commit();
  }
  EXPECT_EQ(read_text(path), "abXYef");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(AtomicFile, OneWriterAtATime) {
  const TemporaryFolder folder;
  AtomicFile first(folder / "file");
  first.append(bytes_of("first"));
  EXPECT_TRUE(says(message_of<RuntimeError>([&] { AtomicFile(folder / "file"); }), "another process is writing it"));
  first.commit();
  atomic_write(folder / "file", "second");
  EXPECT_EQ(read_text(folder / "file"), "second");
}

TEST(AtomicFile, WhatAKilledProcessLeavesIsTakenOver) {
  const TemporaryFolder folder;
  atomic_write(folder / "file", "earlier");
  const pid_t child = ::fork();
  if (child == 0) {
    AtomicFile file(folder / "file");
    file.append(bytes_of("half of what should have been"));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(read_text(folder / "file"), "earlier");
  EXPECT_EQ(folder.files(), 2u);
  atomic_write(folder / "file", "new");
  EXPECT_EQ(read_text(folder / "file"), "new");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(AtomicFile, PlacesThatCannotBeWritten) {
  const TemporaryFolder folder;
  EXPECT_TRUE(says(message_of<InputError>([] { atomic_write("/dev/full", "x"); }), "/dev/full: exists and is not a regular"));
  EXPECT_TRUE(says(message_of<InputError>([&] { atomic_write(folder.path(), "x"); }), "is not a regular file"));
  EXPECT_TRUE(
      says(message_of<RuntimeError>([&] { atomic_write(folder / "none/file", "x"); }), "none/file: cannot write: No such"));
}

TEST(MappedFile, SeesThatItWasCut) {
  const TemporaryFolder folder;
  const MappedFile file(folder.write("file", "0123456789"));
  file.check_whole();
  std::filesystem::resize_file(folder / "file", 4);
  EXPECT_TRUE(says(message_of<RuntimeError>([&] { file.check_whole(); }), "was cut from 10 to 4 bytes while in use"));
}

}  // namespace
}  // namespace gannet

// `gannet prepare` on small sources made here, and on those that Debian packages install.
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <numeric>

#include "engine/data/dataset.h"
#include "engine/data/file.h"
#include "engine/data/image.h"
#include "engine/data/prepare.h"
#include "engine/data/unicode.h"
#include "kernels/check.h"
#include "tests/message.h"
#include "tests/temporary_folder.h"

namespace gannet {
namespace {

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string idx(const std::vector<std::uint32_t>& extents, const std::string& values) {
  std::string text("\0\0\x08", 3);
  text += static_cast<char>(extents.size());
  for (const std::uint32_t extent : extents) text += big_endian(extent);
  return text + values;
}

std::string counted(std::size_t count) {
  std::string values;
  for (std::size_t i = 0; i < count; ++i) values += static_cast<char>(i);
  return values;
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

std::string png_of(const Image& image) {
  const std::vector<std::byte> bytes = encode_png(image);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::vector<std::int32_t> ints(std::span<const std::int32_t> values) { return {values.begin(), values.end()}; }
std::vector<std::uint8_t> pixels(const Dataset& dataset) { return {dataset.images().begin(), dataset.images().end()}; }

class Prepare : public ::testing::Test {
 protected:
  PrepareOptions options(const char* kind, const std::filesystem::path& source, int size = 0) const {
    PrepareOptions options;
    options.kind = kind;
    options.source = source;
    options.out = folder / "out.safetensors";
    options.size = size;
    return options;
  }
  // The message of a refusal, which must leave no file behind.
  std::string refusal(const PrepareOptions& options) const {
    const std::size_t before = folder.files();
    std::string message = message_of<InputError>([&] { prepare(options); });
    EXPECT_EQ(folder.files(), before);
    return message;
  }

  TemporaryFolder folder;
};

TEST_F(Prepare, Idx) {
  const std::string images = idx({4, 2, 3}, counted(24)), labels = idx({4}, std::string("\2\0\2\1", 4));
  std::vector<std::uint8_t> expected(24);
  std::iota(expected.begin(), expected.end(), std::uint8_t{0});
  struct Case {
    const char *images, *labels;
    bool packed_images, packed_labels, name_folder;
  };
  for (const Case& one : {Case{"plain/train-images-idx3-ubyte", "plain/train-labels-idx1-ubyte", false, false, false},
                          {"packed/train-images-idx3-ubyte.gz", "packed/train-labels-idx1-ubyte.gz", true, true, true},
                          {"mixed/train-images-idx3-ubyte", "mixed/train-labels-idx1-ubyte.gz", false, true, true},
                          {"dots/train-images.idx3-ubyte", "dots/train-labels.idx1-ubyte", false, false, true}}) {
    const auto path = folder.write(one.images, one.packed_images ? gzip(images) : images);
    folder.write(one.labels, one.packed_labels ? gzip(labels) : labels);
    PrepareOptions request = options("idx", one.name_folder ? path.parent_path() : path);
    request.force = true;
    const PrepareSummary summary = prepare(request);
    EXPECT_EQ(summary.images, (Shape{4, 2, 3, 1})) << one.images;
    EXPECT_EQ(summary.histogram, (std::vector<std::int64_t>{1, 1, 2}));
    const Dataset dataset(request.out);
    dataset.file().verify(true);
    EXPECT_EQ(pixels(dataset), expected);
    EXPECT_EQ(ints(dataset.labels()), (std::vector<std::int32_t>{2, 0, 2, 1}));
    EXPECT_EQ(dataset.classes(), (std::vector<std::string>{"0", "1", "2"}));
  }
}

TEST_F(Prepare, IdxOptions) {
  folder.write("train-images-idx3-ubyte", idx({8, 2, 2}, counted(32)));
  folder.write("t10k-images-idx3-ubyte", idx({1, 2, 2}, counted(4)));
  PrepareOptions request = options("idx", folder.path(), 4);
  request.pad = true;
  request.limit = 3;
  EXPECT_TRUE(says(to_string(prepare(request)), "3 pictures of 4 x 4, 1 channel, "));
  const Dataset padded(request.out);
  EXPECT_EQ(padded.shape(), (Shape{3, 4, 4, 1}));
  EXPECT_TRUE(padded.labels().empty());
  // Pictures 0, 2 and 5 of eight; the last begins with the value 20.
  const auto last = padded.image(2);
  EXPECT_EQ(std::vector<std::uint8_t>(last.begin(), last.end()),
            (std::vector<std::uint8_t>{0, 0, 0, 0, 0, 20, 21, 0, 0, 22, 23, 0, 0, 0, 0, 0}));

  request.force = true;
  request.pad = false;
  request.channels = 3;
  request.split = "test";
  request.filter = "box";
  prepare(request);
  const Dataset enlarged(request.out);
  EXPECT_EQ(enlarged.shape(), (Shape{1, 4, 4, 3}));
  EXPECT_EQ(enlarged.image(0)[3 * 5], 0);
  EXPECT_EQ(enlarged.image(0)[3 * 15 + 2], 3);
  EXPECT_EQ(enlarged.file().metadata().at("resized"), "box");
}

TEST_F(Prepare, IdxRefusals) {
  const std::string good = idx({4, 2, 3}, counted(24));
  std::string broken_gzip = gzip(good), wrong_crc = gzip(good);
  broken_gzip[20] = static_cast<char>(broken_gzip[20] ^ 0x55);
  wrong_crc[wrong_crc.size() - 6] = static_cast<char>(wrong_crc[wrong_crc.size() - 6] ^ 1);
  std::string floats = good;
  floats[2] = 0x0d;
  const std::vector<std::pair<std::string, const char*>> files = {
      {"", "truncated: 0 bytes"},
      {good.substr(0, 3), "truncated: 3 bytes"},
      {good.substr(0, 9), "truncated in its header"},
      {good.substr(0, good.size() - 1), "truncated: 24 values of shape (4,2,3)"},
      {good + "x", "more values than its shape (4,2,3) has"},
      {floats, "not an IDX file of bytes: it begins with 00 00 0d 03"},
      {png_of(Image(2, 2, 1)), "not an IDX file of bytes: it begins with 89 50 4e 47"},
      {idx({0xffffffff, 0xffffffff, 0xffffffff}, ""), "its extents are absurd"},
      {idx({0xffffffff, 0xffffffff, 0}, ""), "its extents are absurd"},
      {idx({0x10000, 0x10000, 0x1000}, "abc"), "truncated: 17592186044416 values"},
      {gzip(idx({0x10000, 0x10000, 0x1000}, "abc")), "truncated: 17592186044416 values"},
      {gzip(idx({100, 28, 28}, "abc")), "truncated: "},
      {idx({0, 2, 3}, ""), "is empty: (0,2,3)"},
      {idx({24}, counted(24)), "has 1 dimensions where pictures have 3"},
      {gzip(good).substr(0, 20), "truncated: the gzip stream ends early"},
      {gzip(good).substr(0, gzip(good).size() - 1), "truncated: the gzip stream ends early"},
      {broken_gzip, "corrupt gzip stream: "},
      {wrong_crc, "corrupt gzip stream: incorrect data check"},
      {gzip(good) + "x", "1 bytes after the end of the gzip stream"},
  };
  for (const auto& [contents, message] : files) {
    const auto path = folder.write("a-images-idx3-ubyte", contents);
    const std::string got = refusal(options("idx", path));
    EXPECT_TRUE(says(got, message));
    EXPECT_TRUE(says(got, path.string()));
  }

  const auto path = folder.write("a-images-idx3-ubyte", gzip(good.substr(0, 10)) + gzip(good.substr(10)));
  const auto labels = folder.write("a-labels-idx1-ubyte", idx({3}, counted(3)));
  EXPECT_TRUE(says(refusal(options("idx", path)), labels.string() + ": 3 labels, but " + path.string() + " has 4 pictures"));
  folder.write("a-labels-idx1-ubyte", idx({4}, counted(4)));
  PrepareOptions named = options("idx", path);
  named.classes = {"a", "b"};
  EXPECT_TRUE(says(refusal(named), "has the label 3, but 2 class names are given"));
  named.classes = {"a", "b", "c", "d"};
  EXPECT_EQ(prepare(named).classes, named.classes);  // and so two gzip streams in one file are read

  named.force = true;
  named.source = folder.path();
  EXPECT_TRUE(says(refusal(named), "no file of the train pictures in it"));
  folder.write("x-train-images-idx3-ubyte", good);
  folder.write("y-train-images-idx3-ubyte", good);
  EXPECT_TRUE(says(refusal(named), "x-train-images-idx3-ubyte and y-train-images-idx3-ubyte could both be meant"));
}

TEST_F(Prepare, Cifar10) {
  // Record r: label r, red plane of r, green of 100 + r, blue counting.
  std::string batch;
  for (int r = 0; r < 10; ++r) {
    batch += static_cast<char>(r) + std::string(1024, static_cast<char>(r)) + std::string(1024, static_cast<char>(100 + r));
    batch += counted(1024);
  }
  for (int i = 1; i <= 5; ++i) folder.write("cifar/data_batch_" + std::to_string(i) + ".bin", batch);
  folder.write("cifar/test_batch.bin", batch.substr(0, 2 * 3073));
  PrepareOptions request = options("cifar10", folder / "cifar");
  const PrepareSummary summary = prepare(request);
  EXPECT_EQ(summary.images, (Shape{50, 32, 32, 3}));
  EXPECT_EQ(summary.histogram, std::vector<std::int64_t>(10, 5));
  const Dataset dataset(request.out);
  EXPECT_EQ(dataset.labels()[13], 3);
  EXPECT_EQ(dataset.classes()[3], "cat");
  for (std::size_t i = 0; i < 1024; ++i) {
    EXPECT_EQ(dataset.image(13)[3 * i], 3);
    EXPECT_EQ(dataset.image(13)[3 * i + 1], 103);
    EXPECT_EQ(dataset.image(13)[3 * i + 2], i % 256);
  }
  request.split = "test";
  request.force = true;
  EXPECT_EQ(prepare(request).images[0], 2);
  std::filesystem::remove(request.out);

  const auto refused = [&](const std::string& contents, const char* message) {
    const auto path = folder.write("cifar/data_batch_2.bin", contents);
    const std::string got = refusal(options("cifar10", folder / "cifar"));
    EXPECT_TRUE(says(got, message));
    EXPECT_TRUE(says(got, path.string()));
  };
  refused(batch.substr(0, 3072), "3072 bytes are not a number of CIFAR-10 records");
  refused("", "0 bytes are not a number of CIFAR-10 records");
  refused("\x0a" + batch.substr(1), "record 0 has the label 10");
  std::filesystem::remove(folder / "cifar/data_batch_2.bin");
  EXPECT_TRUE(says(refusal(options("cifar10", folder / "cifar")), "data_batch_2.bin: cannot open"));
}

TEST_F(Prepare, FolderOfClasses) {
  const auto flat = [](int height, int width, int channels, std::uint8_t value) {
    return png_of(Image(height, width, channels, value));
  };
  folder.write("pets/dog/b.PNG", flat(9, 9, 3, 20));
  folder.write("pets/cat/deep/a.png", flat(8, 30, 1, 10));
  folder.write("pets/cat/z.jpeg", read_text(std::filesystem::path(GANNET_PICTURES) / "grey.jpg"));
  folder.write("pets/cat/notes.txt", "not a picture");
  folder.write("pets/.hidden/a.png", "never looked at");
  std::filesystem::create_directories(folder / "pets/empty");
  PrepareOptions request = options("folder", folder / "pets", 4);
  const PrepareSummary summary = prepare(request);
  EXPECT_EQ(summary.images, (Shape{3, 4, 4, 3}));
  EXPECT_EQ(summary.classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(summary.histogram, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(summary.ignored, 1);
  const Dataset dataset(request.out);
  EXPECT_EQ(ints(dataset.labels()), (std::vector<std::int32_t>{0, 0, 1}));
  EXPECT_TRUE(std::all_of(dataset.image(0).begin(), dataset.image(0).end(), [](int value) { return value == 10; }));
  EXPECT_TRUE(std::all_of(dataset.image(2).begin(), dataset.image(2).end(), [](int value) { return value == 20; }));

  folder.write("pets/stray.png", flat(4, 4, 1, 0));
  request.force = true;
  EXPECT_TRUE(says(refusal(request), "pictures both in it (stray.png) and in its subfolders (cat)"));
}

// A wide picture is cropped about its centre: of columns 0 … 9 by height 4, columns 3 to 6.
TEST_F(Prepare, FolderCropsTheCentre) {
  Image image(4, 10, 1);
  for (std::size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<std::uint8_t>(i % 10);
  folder.write("flat/one.png", png_of(image));
  PrepareOptions request = options("folder", folder / "flat", 4);
  request.channels = 1;
  prepare(request);
  EXPECT_EQ(pixels(Dataset(request.out)), (std::vector<std::uint8_t>{3, 4, 5, 6, 3, 4, 5, 6, 3, 4, 5, 6, 3, 4, 5, 6}));
}

TEST_F(Prepare, FolderWithBadFiles) {
  const std::string good = png_of(Image(5, 5, 3, 77));
  for (int i = 0; i < 200; ++i) {
    const bool bad = i % 67 == 13;  // three: 13, 80, 147
    folder.write(fmt::format("set/{}/{:03}.png", i % 2 ? "odd" : "even", i), bad ? good.substr(0, good.size() / 2) : good);
  }
  PrepareOptions request = options("folder", folder / "set", 4);
  const std::string message = refusal(request);
  EXPECT_TRUE(says(message, "even/080.png: broken PNG: "));  // the first in the order of the dataset
  request.skip_bad = true;
  const PrepareSummary summary = prepare(request);
  EXPECT_EQ(summary.images[0], 197);
  EXPECT_EQ(summary.histogram, (std::vector<std::int64_t>{99, 98}));
  ASSERT_EQ(summary.skipped.size(), 3u);
  EXPECT_TRUE(says(summary.skipped[0], "080.png: broken PNG"));
  EXPECT_TRUE(says(summary.skipped[2], "147.png: broken PNG"));
  EXPECT_TRUE(says(to_string(summary), "skipped " + summary.skipped[1]));
  const Dataset dataset(request.out);
  EXPECT_TRUE(std::all_of(dataset.images().begin(), dataset.images().end(), [](int value) { return value == 77; }));

  folder.write("bad/a.png", "not a PNG");
  request.source = folder / "bad";
  request.force = true;
  EXPECT_TRUE(says(refusal(request), "bad: none of its pictures can be decoded; the first: "));
}

TEST_F(Prepare, RefusesOptions) {
  const auto images = folder.write("train-images-idx3-ubyte", idx({1, 2, 3}, counted(6)));
  std::filesystem::create_directories(folder / "nothing");
  folder.write("text/readme.md", "");
  const auto changed = [&](const std::function<void(PrepareOptions&)>& change) {
    PrepareOptions request = options("idx", images);
    change(request);
    return refusal(request);
  };
  EXPECT_TRUE(
      says(changed([](auto& o) { o.kind = "mnist"; }), "no kind of source 'mnist'; there are idx, cifar10, folder, emoji"));
  EXPECT_TRUE(says(changed([](auto& o) { o.source = "/none"; }), "/none: no such file or folder"));
  EXPECT_TRUE(says(changed([&](auto& o) { o.out = folder / "none/out"; }), "no such folder to write out in"));
  EXPECT_TRUE(says(changed([](auto& o) { o.size = -1; }), "a size of -1"));
  EXPECT_TRUE(says(changed([](auto& o) { o.channels = 2; }), "2 channels"));
  EXPECT_TRUE(says(changed([](auto& o) { o.filter = "cubic"; }), "no resize filter 'cubic'"));
  EXPECT_TRUE(says(changed([](auto& o) { o.limit = -1; }), "a limit of -1"));
  EXPECT_TRUE(says(changed([](auto& o) { o.split = "valid"; }), "no split 'valid'"));
  EXPECT_TRUE(says(changed([](auto& o) { o.pad = true; }), "padding is for idx and cifar10, and needs a size"));
  EXPECT_TRUE(says(changed([](auto& o) { o.pad = true, o.size = 2; }), "cannot pad a picture of 3 x 2 to 2 x 2"));
  EXPECT_TRUE(says(changed([](auto& o) { o.skip_bad = true; }), "only files of a folder can be skipped"));
  EXPECT_TRUE(says(changed([](auto& o) { o.names = "en.xml"; }), "names and groups are for emoji only"));
  EXPECT_TRUE(says(changed([](auto& o) { o.classes = {"a"}; }), "there is no file of labels beside it"));
  EXPECT_TRUE(says(refusal(options("folder", folder / "text")), "pictures of a folder need a size"));
  EXPECT_TRUE(says(refusal(options("folder", folder / "text", 8)), "text: no PNG or JPEG files in it"));
  EXPECT_TRUE(says(refusal(options("folder", folder / "nothing", 8)), "nothing: no PNG or JPEG files in it"));
  EXPECT_TRUE(says(refusal(options("folder", images, 8)), "not a folder"));
  EXPECT_TRUE(says(refusal(options("emoji", images)), "not a font"));
  EXPECT_TRUE(says(changed([&](auto& o) { o.out = images, o.force = true; }), "would replace its own source"));

  const PrepareOptions request = options("idx", images);
  prepare(request);
  const std::string before = read_text(request.out);
  EXPECT_TRUE(says(refusal(request), "out.safetensors: exists already; --force replaces it"));
  EXPECT_EQ(read_text(request.out), before);
}

TEST(Unicode, EmojiGroups) {
  const EmojiGroups groups = parse_emoji_groups(
      "# emoji-test.txt\n\n# group: Smileys & Emotion\n# subgroup: face\n"
      "1F600      ; fully-qualified  # x E1.0 grinning face\r\n"
      "263A FE0F  ; fully-qualified  # x E0.6 smiling face\n"
      "1F636 200D 1F32B FE0F ; fully-qualified # x E13.1 face in clouds\n"
      "# group: Component\n1F3FB ; component # x E1.0 light skin tone\n"
      "# group: Flags\n1F6A9 ; fully-qualified # x E0.6 triangular flag\n",
      "file");
  EXPECT_EQ(groups.names, (std::vector<std::string>{"Smileys & Emotion", "Flags"}));
  EXPECT_EQ(groups.group_of, (std::map<std::uint32_t, std::int32_t>{{0x1f600, 0}, {0x263a, 0}, {0x1f6a9, 1}}));
  const auto refused = [](const char* text) { return message_of<InputError>([&] { parse_emoji_groups(text, "file"); }); };
  EXPECT_TRUE(says(refused(""), "file: no emoji in it"));
  EXPECT_TRUE(says(refused("# group: A\n1F600 fully-qualified"), "file: line 2 is not one of emoji-test.txt"));
  EXPECT_TRUE(says(refused("1F600 ; fully-qualified"), "file: line 1 is not one"));
  EXPECT_TRUE(says(refused("# group: A\n1F6xy ; fully-qualified"), "file: line 2: '1F6xy' is no code point"));
  EXPECT_TRUE(says(refused("# group: A\n110000 ; fully-qualified"), "'110000' is no code point"));
}

TEST(Unicode, Annotations) {
  const auto parse = [](const std::string& xml) { return parse_annotations(bytes_of(xml), "file"); };
  const auto captions = parse(
      "<?xml version='1.0'?><!DOCTYPE ldml SYSTEM 'x.dtd'><ldml><annotations>"
      "<annotation cp='\xf0\x9f\x98\x80'>face | grin | grinning face</annotation>"
      "<annotation cp='\xf0\x9f\x98\x80' type='tts'>grinning face</annotation>"
      "<annotation cp='\xe2\x98\xba\xef\xb8\x8f' type='tts'>smiling &amp; happy</annotation>"
      "<annotation cp='ab' type='tts'>two letters</annotation></annotations></ldml>");
  EXPECT_EQ(captions,
            (std::map<std::uint32_t, std::string>{{0x1f600, "grinning face, face, grin"}, {0x263a, "smiling & happy"}}));
  EXPECT_TRUE(says(message_of<InputError>([&] { parse("<ldml><annotations>"); }), "file: not XML at its byte"));
  EXPECT_TRUE(says(message_of<InputError>([&] { parse("<html/>"); }), "file: no annotations in it"));
  EXPECT_TRUE(says(message_of<InputError>([&] { parse("<ldml><annotations><annotation cp='\xff'/></annotations></ldml>"); }),
                   "an annotation's cp is not UTF-8"));
}

TEST_F(Prepare, FashionMnist) {
  const std::filesystem::path source = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(source)) GTEST_SKIP() << "needs the package dataset-fashion-mnist";
  PrepareOptions request = options("idx", source, 32);
  request.split = "test";
  const PrepareSummary summary = prepare(request);
  EXPECT_EQ(summary.images, (Shape{10000, 32, 32, 1}));
  EXPECT_EQ(summary.histogram, std::vector<std::int64_t>(10, 1000));
  const Dataset dataset(request.out);
  EXPECT_EQ(dataset.labels()[0], 9);  // an ankle boot comes first
  const double mean = std::accumulate(dataset.images().begin(), dataset.images().end(), 0.0) / double(dataset.images().size());
  EXPECT_NEAR(mean, 73.15, 1);  // of the 28 x 28 originals
}

TEST_F(Prepare, NotoEmoji) {
  const std::filesystem::path font = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf";
  const std::filesystem::path names = "/usr/share/unicode/cldr/common/annotations/en.xml";
  const std::filesystem::path groups = "/usr/share/unicode/emoji/emoji-test.txt";
  for (const auto& path : {font, names, groups}) {
    if (!std::filesystem::exists(path))
      GTEST_SKIP() << "needs the packages fonts-noto-color-emoji, unicode-cldr-core, unicode-data";
  }
  PrepareOptions request = options("emoji", font, 32);
  request.names = names;
  request.groups = groups;
  const PrepareSummary summary = prepare(request);
  EXPECT_GE(summary.images[0], 1300);
  EXPECT_EQ(summary.images, (Shape{summary.images[0], 32, 32, 3}));
  EXPECT_EQ(summary.classes.size(), 9u);
  EXPECT_GT(*std::min_element(summary.histogram.begin(), summary.histogram.end()), 0);
  EXPECT_GE(summary.captions, summary.images[0] * 95 / 100);

  const Dataset dataset(request.out);
  const auto integers = [&](const char* name) {
    std::vector<std::int32_t> values;
    for (const float value : dataset.file().values(name)) values.push_back(static_cast<std::int32_t>(value));
    return values;
  };
  const std::vector<std::int32_t> codepoints = integers("codepoints"), offsets = integers("captions_offsets");
  EXPECT_EQ(codepoints.size(), static_cast<std::size_t>(dataset.size()));
  EXPECT_TRUE(std::is_sorted(codepoints.begin(), codepoints.end()));
  EXPECT_EQ(offsets.size(), codepoints.size() + 1);
  const TensorView blob = dataset.file().tensor("captions");
  EXPECT_EQ(static_cast<std::size_t>(offsets.back()), blob.data.size());

  // The red heart, U+2764: red in its middle, white in its corners.
  const auto heart = std::find(codepoints.begin(), codepoints.end(), 0x2764) - codepoints.begin();
  ASSERT_LT(heart, dataset.size());
  const std::size_t at = static_cast<std::size_t>(heart);
  const std::string caption(reinterpret_cast<const char*>(blob.data.data()) + offsets[at],
                            static_cast<std::size_t>(offsets[at + 1] - offsets[at]));
  EXPECT_TRUE(says(caption, "red heart"));
  EXPECT_EQ(dataset.classes()[static_cast<std::size_t>(dataset.labels()[at])], "Smileys & Emotion");
  const auto picture = dataset.image(heart);
  const std::size_t middle = 3 * (16 * 32 + 16);
  EXPECT_GT(picture[middle], 200);
  EXPECT_LT(picture[middle + 1], 120);
  EXPECT_LT(picture[middle + 2], 120);
  for (const std::size_t corner : {0u, 3u * 31, 3u * 31 * 32, 3u * 1023}) {
    for (std::size_t c = 0; c < 3; ++c) EXPECT_EQ(picture[corner + c], 255);
  }
}

}  // namespace
}  // namespace gannet

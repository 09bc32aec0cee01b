#include "engine/data/image.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "kernels/check.h"
#include "tests/message.h"
#include "tests/temporary_folder.h"

namespace gannet {
namespace {

std::string picture(const std::string& name) { return read_text(std::filesystem::path(GANNET_PICTURES) / name); }

using Pixel = std::vector<int>;
int grey(int y, int x) { return 5 * (8 * y + x); }
Pixel rgb(int y, int x) { return {grey(y, x), 255 - grey(y, x), 30 * x}; }
Pixel on_white(Pixel pixel, int alpha) {
  for (int& value : pixel) value = static_cast<int>(std::lround(255 + (value - 255) * alpha / 255.0));
  return pixel;
}

// pictures/make.py made these from the same formulas.
TEST(DecodePng, EveryKind) {
  const Pixel palette[3] = {on_white({200, 0, 0}, 128), {0, 100, 0}, {0, 0, 50}};
  const std::vector<std::pair<const char*, std::function<Pixel(int, int)>>> cases = {
      {"grey1.png", [](int y, int x) { return Pixel{255 * ((x + y) % 2)}; }},
      {"grey2.png", [](int y, int x) { return Pixel{85 * ((x + y) % 4)}; }},
      {"grey4.png", [](int y, int x) { return Pixel{17 * ((8 * y + x) % 16)}; }},
      {"grey8.png", [](int y, int x) { return Pixel{grey(y, x)}; }},
      {"grey16.png", [](int y, int x) { return Pixel{grey(y, x)}; }},
      {"rgb8.png", rgb},
      {"rgb8_interlaced.png", rgb},
      {"rgb8_key.png",
       [](int y, int x) {
         return y == 2 && x == 3 ? Pixel{255, 255, 255} : rgb(y, x);
       }},
      {"rgb16.png", rgb},
      {"palette4.png", [&](int y, int x) { return palette[(x + y) % 3]; }},
      {"grey_alpha8.png", [](int y, int x) { return on_white({grey(y, x)}, 36 * x); }},
      {"rgba8.png", [](int y, int x) { return on_white(rgb(y, x), 36 * x); }},
  };
  for (const auto& [name, expected] : cases) {
    const Image image = decode_image(bytes_of(picture(name)));
    ASSERT_EQ(image.height, 6) << name;
    ASSERT_EQ(image.width, 8) << name;
    ASSERT_EQ(static_cast<std::size_t>(image.channels), expected(0, 0).size()) << name;
    for (int y = 0; y < 6; ++y) {
      for (int x = 0; x < 8; ++x) {
        for (int c = 0; c < image.channels; ++c) {
          EXPECT_EQ(int{image.pixels[static_cast<std::size_t>((y * 8 + x) * image.channels + c)]},
                    expected(y, x)[static_cast<std::size_t>(c)])
              << name << " at y " << y << " x " << x << " channel " << c;
        }
      }
    }
  }
}

TEST(DecodeJpeg, GreyColourAndProgressive) {
  for (const char* name : {"rgb.jpg", "rgb_progressive.jpg", "grey.jpg"}) {
    const Image image = decode_image(bytes_of(picture(name)));
    ASSERT_EQ(image.height, 12) << name;
    ASSERT_EQ(image.width, 16) << name;
    ASSERT_EQ(image.channels, std::string_view(name) == "grey.jpg" ? 1 : 3) << name;
    Image expected(12, 16, 3);
    for (std::size_t i = 0; i < 12 * 16; ++i) {
      std::uint8_t* pixel = &expected.pixels[3 * i];
      pixel[0] = static_cast<std::uint8_t>(10 * (i % 16));
      pixel[1] = static_cast<std::uint8_t>(20 * (i / 16));
      pixel[2] = 100;
    }
    expected = convert_channels(expected, image.channels);
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      EXPECT_NEAR(image.pixels[i], expected.pixels[i], 6) << name << " " << i;
  }
  EXPECT_TRUE(says(message_of<InputError>([] { decode_image(bytes_of(picture("cmyk.jpg"))); }), "CMYK"));
}

// A file cut anywhere is an error (never grey areas, never a crash); what is damaged inside is an error or a picture.
TEST(DecodeImage, CutAndDamagedFiles) {
  std::mt19937 random(1);
  for (const char* name : {"rgb8.png", "rgb8_interlaced.png", "palette4.png", "rgb.jpg", "rgb_progressive.jpg", "grey.jpg"}) {
    const std::string whole = picture(name);
    // A JPEG without its last marker (two bytes) has all of its picture.
    for (std::size_t length = 0; length + 3 < whole.size(); ++length) {
      EXPECT_THROW(decode_image(bytes_of(whole.substr(0, length))), InputError) << name << " cut to " << length;
    }
    for (int trial = 0; trial < 500; ++trial) {
      std::string damaged = whole;
      damaged[random() % damaged.size()] = static_cast<char>(random());
      try {
        decode_image(bytes_of(damaged), {.side = 1000, .pixels = 100000});
      } catch (const InputError&) {
      }
    }
  }
  EXPECT_TRUE(says(message_of<InputError>([] { decode_image(bytes_of("GIF89a")); }), "neither PNG nor JPEG"));
}

TEST(DecodeImage, LimitsComeBeforeMemory) {
  std::string huge = picture("rgb8.png");
  // Width and height of 1,000,000: 3 TB of pixels. The header's checksum is wrong then, which is to be found first or later.
  const std::string million("\x00\x0f\x42\x40", 4);
  huge.replace(16, 4, million).replace(20, 4, million);
  EXPECT_THROW(decode_image(bytes_of(huge)), InputError);
  const std::string png = picture("rgb8.png"), jpeg = picture("rgb.jpg");
  EXPECT_TRUE(says(message_of<InputError>([&] { decode_image(bytes_of(png), {.side = 7}); }), "8 x 6 is over the limit of 7"));
  EXPECT_TRUE(says(message_of<InputError>([&] { decode_image(bytes_of(png), {.pixels = 47}); }), "and 47 pixels"));
  EXPECT_TRUE(says(message_of<InputError>([&] { decode_image(bytes_of(jpeg), {.side = 15}); }), "16 x 12 is over the limit"));
  EXPECT_NO_THROW(decode_image(bytes_of(png), {.side = 8, .pixels = 48}));
}

TEST(EncodePng, RoundTrip) {
  std::mt19937 random(2);
  for (const int channels : {1, 3}) {
    Image image(7, 13, channels);
    for (std::uint8_t& value : image.pixels) value = static_cast<std::uint8_t>(random());
    EXPECT_EQ(decode_image(encode_png(image)), image);
    EXPECT_EQ(encode_png(image), encode_png(image));
  }
  for (const int channels : {2, 4}) {  // with alpha 255 the picture comes back without it
    Image image(7, 13, channels, 255);
    const Image back = decode_image(encode_png(image));
    EXPECT_EQ(back, Image(7, 13, channels - 1, 255));
  }
  EXPECT_THROW(encode_png(Image(0, 4, 1)), InputError);
  EXPECT_THROW(encode_png(Image(4, 4, 5)), InputError);
}

// Image.resize of Pillow 11.3 on the 7x5 picture (37 y y + 91 x + 53 x y) mod 256.
TEST(Resize, EqualsPillow) {
  struct Case {
    const char* filter;
    int height, width;
    std::vector<std::uint8_t> expected;
  };
  const std::vector<Case> cases = {
      {"lanczos", 3, 4, {70, 130, 134, 150, 101, 90, 160, 88, 84, 138, 60, 51}},
      {"lanczos", 6, 9, {1,   39,  164, 157, 8,   68,  196, 142, 16, 5,   121, 153, 106, 157, 90,  189, 217, 104,
                         115, 150, 66,  70,  255, 184, 160, 153, 91, 136, 94,  25,  48,  138, 149, 101, 44,  25,
                         67,  78,  94,  99,  84,  37,  32,  55,  60, 79,  109, 148, 204, 232, 51,  7,   90,  111}},
      {"bicubic", 3, 4, {68, 127, 130, 144, 104, 93, 153, 91, 88, 135, 65, 59}},
      {"bicubic", 6, 9, {0,   52,  145, 161, 10,  82,  176, 150, 22, 15,  126, 143, 106, 169, 102, 186, 213, 111,
                         110, 132, 81,  68,  243, 168, 161, 145, 85, 130, 93,  46,  54,  153, 139, 99,  59,  35,
                         72,  78,  87,  92,  83,  43,  38,  49,  55, 78,  110, 151, 194, 227, 46,  23,  78,  110}},
      {"bilinear", 3, 4, {70, 124, 127, 138, 104, 98, 144, 95, 92, 130, 68, 65}},
      {"bilinear", 6, 9, {0,   61,  131, 145, 17,  88,  159, 144, 34, 28,  115, 131, 112, 164, 117, 176, 192, 108,
                          102, 119, 91,  85,  221, 158, 154, 139, 85, 118, 94,  65,  70,  157, 128, 100, 71,  46,
                          78,  83,  88,  94,  100, 55,  47,  53,  57, 80,  111, 148, 184, 221, 58,  38,  75,  106}},
      {"box", 3, 4, {78, 121, 105, 153, 119, 129, 168, 80, 89, 130, 33, 64}},
      {"box", 6, 9, {0,   91, 91, 182, 17,  108, 199, 199, 34, 37,  181, 181, 69,  213, 101, 245, 245, 133,
                     148, 89, 89, 30,  227, 168, 109, 109, 50, 148, 89,  89,  30,  227, 168, 109, 109, 50,
                     77,  71, 71, 65,  59,  53,  47,  47,  41, 80,  127, 127, 174, 221, 12,  59,  59,  106}},
  };
  Image image(5, 7, 1);
  for (std::size_t y = 0; y < 5; ++y) {
    for (std::size_t x = 0; x < 7; ++x) {
      image.pixels[y * 7 + x] = static_cast<std::uint8_t>(37 * y * y + 91 * x + 53 * x * y);
    }
  }
  for (const Case& one : cases) {
    EXPECT_EQ(resize(image, one.height, one.width, resize_filter(one.filter)).pixels, one.expected)
        << one.filter << " to " << one.width << " x " << one.height;
  }
}

// A 2:1 box is the rounded mean of two columns, then of two rows.
TEST(Resize, BoxByHand) {
  Image image(2, 4, 1);
  image.pixels = {10, 21, 0, 255, 30, 40, 255, 255};
  EXPECT_EQ(resize(image, 1, 2, ResizeFilter::box).pixels, (std::vector<std::uint8_t>{26, 192}));
}

TEST(Resize, KeepsWhatIsFlat) {
  for (const ResizeFilterName& filter : resize_filters()) {
    for (const auto& [height, width] : {std::pair{1, 1}, {3, 50}, {64, 7}, {17, 17}}) {
      EXPECT_EQ(resize(Image(17, 31, 3, 200), height, width, filter.filter), Image(height, width, 3, 200)) << filter.name;
    }
  }
  EXPECT_TRUE(says(message_of<InputError>([] { resize_filter("cubic"); }), "lanczos, bicubic, bilinear, box"));
}

// Channels and axes are resized apart: a picture of three channels is three pictures, a transposed one transposed.
TEST(Resize, ChannelsAreIndependent) {
  std::mt19937 random(3);
  Image colour(11, 9, 3);
  for (std::uint8_t& value : colour.pixels) value = static_cast<std::uint8_t>(random());
  const Image small = resize(colour, 4, 20, ResizeFilter::lanczos);
  for (int c = 0; c < 3; ++c) {
    Image plane(11, 9, 1);
    for (std::size_t i = 0; i < plane.pixels.size(); ++i) plane.pixels[i] = colour.pixels[3 * i + static_cast<std::size_t>(c)];
    const Image expected = resize(plane, 4, 20, ResizeFilter::lanczos);
    for (std::size_t i = 0; i < expected.pixels.size(); ++i) {
      EXPECT_EQ(small.pixels[3 * i + static_cast<std::size_t>(c)], expected.pixels[i]);
    }
  }
}

TEST(Image, CropPadConvert) {
  Image image(2, 5, 1);
  image.pixels = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  EXPECT_EQ(centre_crop(image).pixels, (std::vector<std::uint8_t>{1, 2, 6, 7}));
  EXPECT_EQ(pad_to(centre_crop(image), 4, 3, 99).pixels,
            (std::vector<std::uint8_t>{99, 99, 99, 1, 2, 99, 6, 7, 99, 99, 99, 99}));
  EXPECT_THROW(pad_to(image, 2, 4, 0), InputError);
  EXPECT_EQ(convert_channels(image, 3).pixels.size(), 30u);
  EXPECT_EQ(convert_channels(convert_channels(image, 3), 1), image);
  Image colours(1, 4, 3);
  colours.pixels = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 77};
  EXPECT_EQ(convert_channels(colours, 1).pixels, (std::vector<std::uint8_t>{76, 150, 29, 129}));  // Pillow's convert("L")
}

TEST(MakeGrid, PlacesPictures) {
  const std::vector<std::uint8_t> images = {1, 2, 3, 4, 5, 6};  // three of 1 x 2
  const Image grid = make_grid(images, {3, 1, 2, 1}, 2, 1, 9);
  EXPECT_EQ(grid.height, 5);
  EXPECT_EQ(grid.width, 7);
  EXPECT_EQ(grid.pixels, (std::vector<std::uint8_t>{9, 9, 9, 9, 9, 9, 9,  //
                                                    9, 1, 2, 9, 3, 4, 9,  //
                                                    9, 9, 9, 9, 9, 9, 9,  //
                                                    9, 5, 6, 9, 9, 9, 9,  //
                                                    9, 9, 9, 9, 9, 9, 9}));
  EXPECT_EQ(make_grid(images, {3, 1, 2, 1}, 8, 0, 9).pixels, images);
  EXPECT_THROW(make_grid(images, {2, 1, 2, 1}, 8), InputError);
  EXPECT_THROW(make_grid({}, {0, 1, 2, 1}, 8), InputError);
  EXPECT_THROW(make_grid(images, {3, 1, 2, 1}, 0), InputError);
}

}  // namespace
}  // namespace gannet

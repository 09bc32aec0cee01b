// Pictures of 8 bits a channel: decoded from PNG and JPEG, resized, cropped, composed to grids, encoded as PNG.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/tensor.h"

namespace gannet {

struct Image {
  int height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;  // (H,W,C)

  Image() = default;
  Image(int height, int width, int channels, std::uint8_t fill = 0);
  bool operator==(const Image&) const = default;
};

// A picture that is larger is refused before any memory is taken for it.
struct ImageLimits {
  int side = 32768;
  std::int64_t pixels = std::int64_t{1} << 27;
};

// PNG of any depth, grey or RGB, alpha composed on white; or JPEG, grey or RGB. One channel where the file is grey, else
// three. Colour profiles, gamma and orientation tags are not applied. InputError: neither, corrupt, truncated, too large.
Image decode_image(std::span<const std::byte> bytes, const ImageLimits& limits = {});

// 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA channels.
std::vector<std::byte> encode_png(const Image& image);

// Grey (ITU-R 601 luma) to RGB and back.
Image convert_channels(const Image& image, int channels);

enum class ResizeFilter : std::uint8_t { lanczos, bicubic, bilinear, box };
struct ResizeFilterName {
  std::string_view name;
  ResizeFilter filter;
};
std::span<const ResizeFilterName> resize_filters();
// InputError lists the names when there is no such filter.
ResizeFilter resize_filter(std::string_view name);

// Separable resampling whose filter widens with the reduction, so that it does not alias. Weights in fixed point of 22 bits,
// horizontal pass first, rounded to 8 bits between the passes: equals Image.resize(size, filter) of Pillow 11 bit for bit.
Image resize(const Image& image, int height, int width, ResizeFilter filter);

// The largest centred square.
Image centre_crop(const Image& image);
// Centred on a canvas of height x width (at least the image's).
Image pad_to(const Image& image, int height, int width, std::uint8_t fill);

// Pictures (N,H,W,C) in rows of `columns`, `padding` pixels between and around them.
Image make_grid(std::span<const std::uint8_t> images, const Shape& shape, int columns, int padding = 2, std::uint8_t fill = 0);

}  // namespace gannet

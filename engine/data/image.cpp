#include "engine/data/image.h"

#include <algorithm>

#include "engine/data/codecs.h"
#include "kernels/check.h"

namespace gannet {

Image::Image(int height, int width, int channels, std::uint8_t fill)
    : height(height),
      width(width),
      channels(channels),
      pixels(std::size_t(height) * std::size_t(width) * std::size_t(channels), fill) {}

void check_limits(std::int64_t height, std::int64_t width, const ImageLimits& limits) {
  GANNET_CHECK(height > 0 && width > 0, "an empty picture, {} x {}", width, height);
  GANNET_CHECK(height <= limits.side && width <= limits.side && height * width <= limits.pixels,
               "a picture of {} x {} is over the limit of {} a side and {} pixels", width, height, limits.side, limits.pixels);
}

Image decode_image(std::span<const std::byte> bytes, const ImageLimits& limits) {
  if (is_png(bytes)) return decode_png(bytes, limits);
  if (is_jpeg(bytes)) return decode_jpeg(bytes, limits);
  throw InputError("neither PNG nor JPEG");
}

Image convert_channels(const Image& image, int channels) {
  GANNET_CHECK((channels == 1 || channels == 3) && (image.channels == 1 || image.channels == 3),
               "cannot convert a picture of {} channels to {}", image.channels, channels);
  if (image.channels == channels) return image;
  Image result(image.height, image.width, channels);
  const std::size_t count = std::size_t(image.height) * std::size_t(image.width);
  for (std::size_t i = 0; i < count; ++i) {
    if (channels == 3) {
      std::fill_n(&result.pixels[3 * i], 3, image.pixels[i]);
    } else {
      // 0.299 R + 0.587 G + 0.114 B in fixed point of 16 bits, as Pillow's mode "L".
      const std::uint8_t* rgb = &image.pixels[3 * i];
      result.pixels[i] = static_cast<std::uint8_t>((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >> 16);
    }
  }
  return result;
}

namespace {

// Copies a box of `height` x `width` pixels between pictures of the same channels.
void copy_box(const Image& from, int from_y, int from_x, Image& to, int to_y, int to_x, int height, int width) {
  const std::size_t pixel = static_cast<std::size_t>(from.channels);
  for (int y = 0; y < height; ++y) {
    const std::size_t source = (std::size_t(from_y + y) * std::size_t(from.width) + std::size_t(from_x)) * pixel;
    const std::size_t target = (std::size_t(to_y + y) * std::size_t(to.width) + std::size_t(to_x)) * pixel;
    std::copy_n(from.pixels.data() + source, std::size_t(width) * pixel, to.pixels.data() + target);
  }
}

}  // namespace

Image centre_crop(const Image& image) {
  if (image.height == image.width) return image;
  const int side = std::min(image.height, image.width);
  Image result(side, side, image.channels);
  copy_box(image, (image.height - side) / 2, (image.width - side) / 2, result, 0, 0, side, side);
  return result;
}

Image pad_to(const Image& image, int height, int width, std::uint8_t fill) {
  GANNET_CHECK(height >= image.height && width >= image.width, "cannot pad a picture of {} x {} to {} x {}", image.width,
               image.height, width, height);
  Image result(height, width, image.channels, fill);
  copy_box(image, 0, 0, result, (height - image.height) / 2, (width - image.width) / 2, image.height, image.width);
  return result;
}

Image make_grid(std::span<const std::uint8_t> images, const Shape& shape, int columns, int padding, std::uint8_t fill) {
  GANNET_CHECK(shape.rank() == 4 && shape.elements() > 0 && images.size() == static_cast<std::size_t>(shape.elements()),
               "a grid is made of pictures (N,H,W,C), not {} bytes as {}", images.size(), to_string(shape));
  GANNET_CHECK(columns > 0 && padding >= 0, "a grid of {} columns with padding {}", columns, padding);
  const int count = static_cast<int>(shape[0]);
  const int height = static_cast<int>(shape[1]);
  const int width = static_cast<int>(shape[2]);
  columns = std::min(columns, count);
  const int rows = (count + columns - 1) / columns;
  Image grid(rows * (height + padding) + padding, columns * (width + padding) + padding, static_cast<int>(shape[3]), fill);
  Image cell(height, width, grid.channels);
  for (int i = 0; i < count; ++i) {
    std::copy_n(images.begin() + static_cast<std::ptrdiff_t>(std::size_t(i) * cell.pixels.size()), cell.pixels.size(),
                cell.pixels.begin());
    copy_box(cell, 0, 0, grid, padding + i / columns * (height + padding), padding + i % columns * (width + padding), height,
             width);
  }
  return grid;
}

}  // namespace gannet

// The picture formats behind decode_image. Messages do not name the file: the caller knows it.
#pragma once

#include <cstddef>
#include <span>

#include "engine/data/image.h"

namespace gannet {

bool is_png(std::span<const std::byte> bytes);
Image decode_png(std::span<const std::byte> bytes, const ImageLimits& limits);

bool is_jpeg(std::span<const std::byte> bytes);
Image decode_jpeg(std::span<const std::byte> bytes, const ImageLimits& limits);

// InputError when a picture of this size is over the limits or empty.
void check_limits(std::int64_t height, std::int64_t width, const ImageLimits& limits);

}  // namespace gannet

// Any bytes as a PNG or JPEG file: refused with an InputError, or a picture that comes back from a PNG of ours the same.
#include <zlib.h>

#include <algorithm>
#include <cstring>

#include "engine/data/image.h"
#include "kernels/check.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const gannet::ImageLimits limits = {.side = 4096, .pixels = 1 << 16};
  try {
    const gannet::Image image = gannet::decode_image(std::as_bytes(std::span(data, size)), limits);
    REQUIRE(image.height > 0 && image.height <= limits.side && image.width > 0 && image.width <= limits.side);
    REQUIRE(image.channels == 1 || image.channels == 3);
    REQUIRE(image.pixels.size() == std::size_t(image.height) * std::size_t(image.width) * std::size_t(image.channels));
    REQUIRE(gannet::decode_image(gannet::encode_png(image)) == image);
    const gannet::Image small = gannet::resize(gannet::centre_crop(image), 5, 7, gannet::ResizeFilter::lanczos);
    REQUIRE(small.pixels.size() == 35 * std::size_t(image.channels));
  } catch (const gannet::InputError&) {
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

// Mends the checksums of a mutated PNG's chunks: behind a wrong one libpng looks at nothing.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned int seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  constexpr std::uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (seed % 8 == 0 || size < 8 || !std::equal(signature, signature + 8, data)) return size;
  for (std::size_t at = 8; at + 12 <= size;) {
    const std::size_t length =
        std::size_t{data[at]} << 24 | std::size_t{data[at + 1]} << 16 | std::size_t{data[at + 2]} << 8 | data[at + 3];
    if (length > size - at - 12) break;
    const auto crc = static_cast<std::uint32_t>(::crc32(0, data + at + 4, static_cast<uInt>(length + 4)));
    for (unsigned i = 0; i < 4; ++i) data[at + 8 + length + i] = static_cast<std::uint8_t>(crc >> (24 - 8 * i));
    at += length + 12;
  }
  return size;
}

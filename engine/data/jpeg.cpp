// JPEG by libjpeg-turbo.
#include <turbojpeg.h>

#include <memory>

#include "engine/data/codecs.h"
#include "kernels/check.h"

namespace gannet {

bool is_jpeg(std::span<const std::byte> bytes) {
  return bytes.size() >= 3 && bytes[0] == std::byte{0xff} && bytes[1] == std::byte{0xd8} && bytes[2] == std::byte{0xff};
}

Image decode_jpeg(std::span<const std::byte> bytes, const ImageLimits& limits) {
  struct Destroy {
    void operator()(void* handle) const { tjDestroy(handle); }
  };
  const std::unique_ptr<void, Destroy> handle(tjInitDecompress());
  if (handle == nullptr) throw RuntimeError(fmt::format("libjpeg-turbo: {}", tjGetErrorStr2(nullptr)));
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto size = static_cast<unsigned long>(bytes.size());

  int width = 0, height = 0, subsampling = 0, colour_space = 0;
  GANNET_CHECK(tjDecompressHeader3(handle.get(), data, size, &width, &height, &subsampling, &colour_space) == 0,
               "broken JPEG: {}", tjGetErrorStr2(handle.get()));
  GANNET_CHECK(colour_space != TJCS_CMYK && colour_space != TJCS_YCCK, "a JPEG in CMYK; convert it to RGB");
  check_limits(height, width, limits);

  const bool grey = colour_space == TJCS_GRAY;
  Image image(height, width, grey ? 1 : 3);
  // A warning means damaged data (a truncated file decodes to grey areas): as bad as an error. A progressive file may not
  // have thousands of scans either.
  const int flags = TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS | TJFLAG_ACCURATEDCT;
  GANNET_CHECK(
      tjDecompress2(handle.get(), data, size, image.pixels.data(), width, 0, height, grey ? TJPF_GRAY : TJPF_RGB, flags) == 0,
      "broken JPEG: {}", tjGetErrorStr2(handle.get()));
  return image;
}

}  // namespace gannet

// Any bytes as a fat binary: refused with an Error, or images.
#include <span>

#include "error.h"
#include "ptx/fat_binary.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sim::ptx;
  for (const bool ptx_only : {true, false}) {
    try {
      const std::vector<Image> images = images_of(std::as_bytes(std::span(data, size)), ptx_only);
      for (const Image& image : images) REQUIRE(!ptx_only || image.kind == Image::Kind::ptx || image.data.empty());
      for (const int architecture : {75, 80, 90, 100, 120}) {
        const Image& best = best_ptx(images, architecture);
        REQUIRE(best.kind == Image::Kind::ptx && best.architecture <= architecture);
      }
    } catch (const sim::Error&) {
    }
  }
  return 0;
}

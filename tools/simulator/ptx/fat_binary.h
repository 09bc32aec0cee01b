#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace sim::ptx {

/// One entry of a fat binary: PTX text or a cubin for one architecture.
struct Image {
  enum class Kind { ptx, elf };
  Kind kind;
  int architecture;  // 80 for sm_80 or compute_80
  std::string data;  // unpacked
};

/// The images of a fat binary container (magic 0xBA55ED50): raw, LZ4 or zstd. Cubins are listed and not unpacked when
/// `ptx_only`. Throws Error for a container that is truncated, of unknown layout or whose compressed data is corrupt.
std::vector<Image> images_of(std::span<const std::byte> container, bool ptx_only = true);

/// The bytes of the container that starts at `data` (its header gives the size): what a `__fatDivCubin` wrapper points to.
std::span<const std::byte> container_at(const void* data);

/// The PTX of the highest architecture not above `architecture`; throws Error naming what is there when there is none.
const Image& best_ptx(const std::vector<Image>& images, int architecture);

}  // namespace sim::ptx

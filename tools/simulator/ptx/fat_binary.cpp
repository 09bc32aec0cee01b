#include "ptx/fat_binary.h"

#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "error.h"

namespace sim::ptx {
namespace {

// The container's header, and that of each entry behind it: what of them is read. Found out from nvcc 13's output.
constexpr std::uint32_t magic = 0xBA55ED50;
constexpr std::uint16_t container_version = 1;
constexpr std::size_t container_header = 16;
constexpr std::size_t entry_header = 64;
constexpr std::uint64_t lz4_flag = 0x2000, zstd_flag = 0x8000;
constexpr std::uint64_t largest = std::uint64_t{1} << 30;  // bytes of an image when it is unpacked
enum : std::uint16_t { kind_ptx = 1, kind_elf = 2 };

template <class T>
T field(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

struct ContainerHeader {
  std::uint16_t header_size;
  std::uint64_t size;
};
ContainerHeader read_header(std::span<const std::byte> bytes) {
  if (bytes.size() < container_header) throw Error("fat binary: {} bytes are too few for a header", bytes.size());
  if (const auto found = field<std::uint32_t>(bytes, 0); found != magic)
    throw Error("fat binary: it begins with {:#x}, not {:#x}", found, magic);
  const auto version = field<std::uint16_t>(bytes, 4);
  const ContainerHeader header{field<std::uint16_t>(bytes, 6), field<std::uint64_t>(bytes, 8)};
  if (version != container_version || header.header_size < container_header) {
    throw Error("fat binary: version {} with a header of {} bytes is of unknown layout", version, header.header_size);
  }
  return header;
}

std::string unpack_lz4(std::span<const std::byte> packed, std::uint64_t size) {
  constexpr std::uint64_t best_ratio = 255;  // of the format
  if (packed.size() > LZ4_MAX_INPUT_SIZE || size > packed.size() * best_ratio + 16) {
    throw Error("fat binary: {} bytes of LZ4 can not hold {}", packed.size(), size);
  }
  std::string data(size, '\0');
  const int unpacked = LZ4_decompress_safe(reinterpret_cast<const char*>(packed.data()), data.data(),
                                           static_cast<int>(packed.size()), static_cast<int>(size));
  if (unpacked < 0 || static_cast<std::uint64_t>(unpacked) != size) throw Error("fat binary: its LZ4 data is corrupt");
  return data;
}

// Piece by piece, so that what is allocated is what the data really holds, whatever the headers claim.
std::string unpack_zstd(std::span<const std::byte> packed, std::uint64_t size) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  constexpr int window_log = 27;  // the largest that compressors choose
  if (context == nullptr || ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, window_log))) {
    throw Error("fat binary: zstd can not be set up");
  }
  std::string data;
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  std::size_t left = 1;
  while (left != 0) {
    if (data.size() > size) throw Error("fat binary: its zstd data is longer than the {} bytes that are told", size);
    const std::size_t begin = data.size();
    data.resize(begin + std::min<std::size_t>(size - begin + 1, std::max<std::size_t>(begin, ZSTD_DStreamOutSize())));
    ZSTD_outBuffer out{data.data() + begin, data.size() - begin, 0};
    left = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(left)) throw Error("fat binary: its zstd data is corrupt: {}", ZSTD_getErrorName(left));
    data.resize(begin + out.pos);
    if (left != 0 && in.pos == in.size && out.pos < out.size) throw Error("fat binary: its zstd data is cut off");
  }
  if (data.size() != size) throw Error("fat binary: its zstd data has {} bytes, not the {} that are told", data.size(), size);
  return data;
}

std::string unpack(std::span<const std::byte> payload, std::uint64_t flags, std::uint32_t compressed, std::uint64_t size) {
  if ((flags & (lz4_flag | zstd_flag)) == 0) return {reinterpret_cast<const char*>(payload.data()), payload.size()};
  if (compressed > payload.size())
    throw Error("fat binary: {} compressed bytes do not fit an image of {}", compressed, payload.size());
  if (size > largest) throw Error("fat binary: an image of {} bytes is too large", size);
  const auto packed = payload.first(compressed);
  return (flags & lz4_flag) != 0 ? unpack_lz4(packed, size) : unpack_zstd(packed, size);
}

// .target sm_90a runs on that architecture alone, .target sm_100f on its family.
bool runs_on(const Image& image, int architecture) {
  if (image.kind != Image::Kind::ptx || image.architecture > architecture) return false;
  const std::size_t target = image.data.find(".target");
  const std::size_t name = image.data.find("sm_", std::min(target, image.data.size()));
  if (name == std::string::npos) return true;  // the parser says what is wrong
  const std::size_t end = image.data.find_first_not_of("0123456789", name + 3);
  const char suffix = end == std::string::npos ? '\0' : image.data[end];
  if (suffix == 'a') return image.architecture == architecture;
  if (suffix == 'f') return image.architecture / 10 == architecture / 10;
  return true;
}

}  // namespace

std::vector<Image> images_of(std::span<const std::byte> container, bool ptx_only) {
  const ContainerHeader header = read_header(container);
  if (header.header_size > container.size() || header.size > container.size() - header.header_size) {
    throw Error("fat binary: its header tells of {} bytes, but there are {}", header.size, container.size() - container_header);
  }
  std::span<const std::byte> rest = container.subspan(header.header_size, header.size);
  std::vector<Image> images;
  while (!rest.empty()) {
    if (rest.size() < entry_header) throw Error("fat binary: it ends within the header of an image");
    const auto kind = field<std::uint16_t>(rest, 0);
    const auto header_size = field<std::uint32_t>(rest, 4);
    const auto payload_size = field<std::uint64_t>(rest, 8);
    const auto architecture = field<std::uint32_t>(rest, 28);
    if (header_size < entry_header || header_size > rest.size())
      throw Error("fat binary: an image's header can not have {} bytes", header_size);
    if (payload_size > rest.size() - header_size) throw Error("fat binary: it ends within an image of {} bytes", payload_size);
    if (architecture > 9999) throw Error("fat binary: there is no architecture {}", architecture);
    if (kind == kind_ptx || kind == kind_elf) {  // others, as the compiler's intermediate code, are not for running
      Image image{kind == kind_ptx ? Image::Kind::ptx : Image::Kind::elf, static_cast<int>(architecture), {}};
      if (kind == kind_ptx || !ptx_only) {
        image.data = unpack(rest.subspan(header_size, payload_size), field<std::uint64_t>(rest, 40),
                            field<std::uint32_t>(rest, 16), field<std::uint64_t>(rest, 56));
      }
      if (kind == kind_ptx) image.data.erase(image.data.find_last_not_of('\0') + 1);  // the padding
      images.push_back(std::move(image));
    }
    rest = rest.subspan(header_size + payload_size);
  }
  return images;
}

std::span<const std::byte> container_at(const void* data) {
  if (data == nullptr) throw Error("fat binary: there is none");
  const auto* bytes = static_cast<const std::byte*>(data);
  const ContainerHeader header = read_header({bytes, container_header});
  constexpr std::uint64_t most = std::uint64_t{1} << 40;
  if (header.size > most) throw Error("fat binary: it can not have {} bytes", header.size);
  return {bytes, header.header_size + header.size};
}

const Image& best_ptx(const std::vector<Image>& images, int architecture) {
  const Image* best = nullptr;
  for (const Image& image : images) {
    if (runs_on(image, architecture) && (best == nullptr || image.architecture >= best->architecture)) best = &image;
  }
  if (best != nullptr) return *best;
  std::string present;
  for (const Image& image : images) {
    present += fmt::format("{}{} {}", present.empty() ? "" : ", ",
                           image.kind == Image::Kind::ptx ? "PTX of compute" : "machine code of sm", image.architecture);
  }
  throw Error("there is no PTX that sm_{} can run, only {}: build with -gencode arch=compute_{},code=compute_{}", architecture,
              present.empty() ? "an empty fat binary" : present, architecture, architecture);
}

}  // namespace sim::ptx

// CIFAR-10, binary version (https://www.cs.toronto.edu/~kriz/cifar.html): records of a label and 32x32 pixels, planes R, G, B.
#include <algorithm>
#include <memory>

#include "engine/data/file.h"
#include "engine/data/source.h"
#include "kernels/check.h"

namespace gannet {

namespace {

constexpr int side = 32;
constexpr std::size_t plane_bytes = std::size_t{side} * side;
constexpr std::size_t record_bytes = 1 + 3 * plane_bytes;

std::vector<std::filesystem::path> batch_files(const PrepareOptions& options) {
  if (!std::filesystem::is_directory(options.source)) return {options.source};
  std::filesystem::path folder = options.source;
  if (std::filesystem::is_directory(folder / "cifar-10-batches-bin")) folder /= "cifar-10-batches-bin";
  if (options.split == "test") return {folder / "test_batch.bin"};
  std::vector<std::filesystem::path> files;
  for (int i = 1; i <= 5; ++i) files.push_back(folder / fmt::format("data_batch_{}.bin", i));
  return files;
}

}  // namespace

PictureSource open_cifar10(const PrepareOptions& options) {
  const auto files = std::make_shared<std::vector<MappedFile>>();
  const auto records = std::make_shared<std::vector<std::span<const std::byte>>>();
  PictureSource source;
  source.classes = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  for (const std::filesystem::path& path : batch_files(options)) {
    const MappedFile& file = files->emplace_back(path);
    const std::span<const std::byte> bytes = file.bytes();
    GANNET_CHECK(!bytes.empty() && bytes.size() % record_bytes == 0,
                 "{}: {} bytes are not a number of CIFAR-10 records of {} bytes (the binary version, unpacked)", path.string(),
                 bytes.size(), record_bytes);
    for (std::size_t at = 0; at < bytes.size(); at += record_bytes) {
      const auto label = std::to_integer<std::int32_t>(bytes[at]);
      GANNET_CHECK(label < 10, "{}: record {} has the label {}", path.string(), at / record_bytes, label);
      source.labels.push_back(label);
      records->push_back(bytes.subspan(at + 1, 3 * plane_bytes));
    }
  }
  source.count = static_cast<std::int64_t>(records->size());
  source.picture = [files, records](std::int64_t index) {
    const std::span<const std::byte> planes = (*records)[static_cast<std::size_t>(index)];
    Image picture(side, side, 3);
    for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
      picture.pixels[i] = std::to_integer<std::uint8_t>(planes[i % 3 * plane_bytes + i / 3]);
    }
    return picture;
  };
  return source;
}

}  // namespace gannet

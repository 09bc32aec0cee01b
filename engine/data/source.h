// What each kind of source gives to prepare(): pictures by number, and what is known about them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/data/image.h"
#include "engine/data/prepare.h"
#include "kernels/tensor.h"

namespace gannet {

struct PictureSource {
  std::int64_t count = 0;
  int channels = 3;  // what pictures get when the options do not say
  int size = 0;      // likewise; 0: as they are, and then all alike
  // Called from several threads. InputError names the file of a picture that cannot be decoded.
  std::function<Image(std::int64_t)> picture;

  std::vector<std::int32_t> labels;      // of every picture, or empty
  std::vector<std::string> classes;      // names of the labels
  std::vector<std::int32_t> codepoints;  // of every picture, or empty
  std::vector<std::string> captions;     // of every picture, or empty
  std::int64_t ignored = 0;              // see PrepareSummary
};

PictureSource open_idx(const PrepareOptions& options);
PictureSource open_cifar10(const PrepareOptions& options);
PictureSource open_folder(const PrepareOptions& options);
PictureSource open_emoji(const PrepareOptions& options);

// An IDX file of unsigned bytes (http://yann.lecun.com/exdb/mnist/): magic 0 0 8 RANK, RANK big-endian extents, the values.
struct IdxArray {
  Shape shape;
  std::vector<std::uint8_t> values;
};
// `bytes` may be gzip-compressed. InputError begins with `file`.
IdxArray decode_idx(std::span<const std::byte> bytes, std::string_view file);

}  // namespace gannet

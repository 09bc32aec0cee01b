// A dataset file, memory-mapped: safetensors with `images` u8 (N,H,W,C) and, where there are any, `labels` i32 (N).
// The metadata's `classes` is a JSON array of class names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "engine/data/safetensors.h"
#include "kernels/tensor.h"

namespace gannet {

class Dataset {
 public:
  // InputError: not a dataset file; no pictures; labels that are negative, not as many as pictures, or outside `classes`.
  explicit Dataset(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return file_.path(); }
  const SafetensorsFile& file() const { return file_; }
  const Shape& shape() const { return shape_; }  // (N,H,W,C)
  std::int64_t size() const { return shape_[0]; }
  std::size_t image_bytes() const { return image_bytes_; }

  std::span<const std::uint8_t> images() const { return images_; }
  std::span<const std::uint8_t> image(std::int64_t index) const {
    return images_.subspan(static_cast<std::size_t>(index) * image_bytes_, image_bytes_);
  }
  std::span<const std::int32_t> labels() const { return labels_; }  // empty: none
  const std::vector<std::string>& classes() const { return classes_; }
  std::int64_t class_count() const { return class_count_; }  // names, or largest label + 1; 0 without labels

 private:
  SafetensorsFile file_;
  Shape shape_;
  std::size_t image_bytes_ = 0;
  std::span<const std::uint8_t> images_;
  std::vector<std::int32_t> labels_;
  std::vector<std::string> classes_;
  std::int64_t class_count_ = 0;
};

}  // namespace gannet

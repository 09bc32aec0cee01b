#include "engine/data/dataset.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/data/safetensors_header.h"
#include "kernels/check.h"

namespace gannet {

namespace {

std::vector<std::string> class_names(const SafetensorsFile& file) {
  const auto found = file.metadata().find("classes");
  if (found == file.metadata().end()) return {};
  const nlohmann::json json = nlohmann::json::parse(found->second, nullptr, false);
  const bool texts =
      json.is_array() && std::all_of(json.begin(), json.end(), [](const auto& name) { return name.is_string(); });
  GANNET_CHECK(texts, "{}: the metadata's \"classes\" is not a JSON array of names", file.path().string());
  return json.get<std::vector<std::string>>();
}

}  // namespace

Dataset::Dataset(const std::filesystem::path& path) : file_(path) {
  const std::string name = path.string();
  GANNET_CHECK(file_.contains("images"), "{}: not a dataset file: it has no tensor \"images\"", name);
  const TensorView images = file_.tensor("images");
  GANNET_CHECK(images.type == DType::u8 && images.shape.rank() == 4,
               "{}: not a dataset file: \"images\" is {}{}, not u8 (N,H,W,C)", name, name_of(images.type),
               to_string(images.shape));
  GANNET_CHECK(!images.data.empty(), "{}: \"images\" is empty: {}", name, to_string(images.shape));
  GANNET_CHECK(images.shape[0] <= std::numeric_limits<std::uint32_t>::max(),
               "{}: {} pictures are more than a loader can shuffle", name, images.shape[0]);
  shape_ = images.shape;
  image_bytes_ = images.data.size() / static_cast<std::size_t>(shape_[0]);
  images_ = {reinterpret_cast<const std::uint8_t*>(images.data.data()), images.data.size()};
  classes_ = class_names(file_);
  if (!file_.contains("labels")) return;

  const TensorView labels = file_.tensor("labels");
  GANNET_CHECK(labels.type == DType::i32 && labels.shape == Shape{shape_[0]}, "{}: \"labels\" is {}{}, not i32({})", name,
               name_of(labels.type), to_string(labels.shape), shape_[0]);
  labels_.resize(static_cast<std::size_t>(shape_[0]));
  std::memcpy(labels_.data(), labels.data.data(), labels.data.size());
  const auto [smallest, largest] = std::minmax_element(labels_.begin(), labels_.end());
  GANNET_CHECK(*smallest >= 0, "{}: picture {} has the label {}", name, smallest - labels_.begin(), *smallest);
  class_count_ = classes_.empty() ? std::int64_t{*largest} + 1 : static_cast<std::int64_t>(classes_.size());
  GANNET_CHECK(*largest < class_count_, "{}: picture {} has the label {}, but there are {} classes", name,
               largest - labels_.begin(), *largest, class_count_);
}

}  // namespace gannet

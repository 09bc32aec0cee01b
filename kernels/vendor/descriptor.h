// Descriptors of cuDNN's graph API: made, filled with attributes, finalized, and let go when they are no longer needed.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "kernels/vendor/cudnn.h"

namespace gannet::kernels::vendor::cudnn {

class Descriptor {
 public:
  Descriptor(const Calls& calls, Kind kind) : calls_(&calls) { GANNET_CUDNN(calls, create_descriptor(kind, &raw_)); }
  ~Descriptor() {
    if (raw_ != nullptr) calls_->destroy_descriptor(raw_);
  }
  Descriptor(Descriptor&& other) noexcept : calls_(other.calls_), raw_(other.raw_) { other.raw_ = nullptr; }
  Descriptor& operator=(Descriptor&&) = delete;

  RawDescriptor raw() const { return raw_; }

  template <typename T>
  Descriptor& set(Attribute attribute, Type type, std::span<const T> values) {
    GANNET_CUDNN(*calls_, set_attribute(raw_, attribute, type, static_cast<std::int64_t>(values.size()), values.data()));
    return *this;
  }
  template <typename T>
  Descriptor& set(Attribute attribute, Type type, const T& value) {
    return set(attribute, type, std::span<const T>(&value, 1));
  }
  Descriptor& set(Attribute attribute, std::int64_t value) { return set(attribute, Type::int64, value); }
  Descriptor& set(Attribute attribute, std::initializer_list<std::int64_t> values) {
    return set(attribute, Type::int64, std::span<const std::int64_t>(values.begin(), values.size()));
  }
  Descriptor& set(Attribute attribute, float value) { return set(attribute, Type::real, value); }
  Descriptor& set(Attribute attribute, DataType value) { return set(attribute, Type::data_type, value); }
  Descriptor& set(Attribute attribute, const Descriptor& value) { return set(attribute, Type::descriptor, value.raw_); }
  Descriptor& finalize() {
    GANNET_CUDNN(*calls_, finalize(raw_));
    return *this;
  }
  // Not an error where cuDNN has not what is asked for, or not on this device.
  bool finalized_where_supported() {
    const Status status = calls_->finalize(raw_);
    if (status >= not_supported && status < not_supported_end) return false;
    check(*calls_, status, "finalize(raw_)", __FILE__, __LINE__);
    return true;
  }

  // At most `most` values.
  template <typename T>
  std::vector<T> get(Attribute attribute, Type type, std::int64_t most) const {
    std::vector<T> values(static_cast<std::size_t>(most));
    std::int64_t count = 0;
    GANNET_CUDNN(*calls_, get_attribute(raw_, attribute, type, most, &count, values.data()));
    values.resize(static_cast<std::size_t>(count));
    return values;
  }
  // Descriptors are given out by copying them into those that stand ready.
  std::vector<Descriptor> descriptors(Attribute attribute, Kind kind, std::int64_t most) const {
    std::vector<Descriptor> found;
    std::vector<RawDescriptor> raw;
    for (std::int64_t i = 0; i < most; ++i) raw.push_back(found.emplace_back(*calls_, kind).raw_);
    std::int64_t count = 0;
    GANNET_CUDNN(*calls_, get_attribute(raw_, attribute, Type::descriptor, most, &count, raw.data()));
    while (static_cast<std::int64_t>(found.size()) > count) found.pop_back();
    return found;
  }

 private:
  const Calls* calls_;
  RawDescriptor raw_ = nullptr;
};

}  // namespace gannet::kernels::vendor::cudnn

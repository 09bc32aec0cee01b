#include "engine/data/safetensors_header.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "kernels/check.h"

namespace gannet {

namespace {

struct TypeName {
  std::string_view name;
  int bits;
  std::optional<DType> type;
};
constexpr std::array<TypeName, 21> types = {{
    {"F64", 64, DType::f64}, {"F32", 32, DType::f32}, {"BF16", 16, DType::bf16}, {"I32", 32, DType::i32}, {"U8", 8, DType::u8},
    {"F16", 16, {}},         {"I64", 64, {}},         {"U64", 64, {}},           {"U32", 32, {}},         {"I16", 16, {}},
    {"U16", 16, {}},         {"I8", 8, {}},           {"BOOL", 8, {}},           {"C64", 64, {}},         {"F8_E4M3", 8, {}},
    {"F8_E5M2", 8, {}},      {"F8_E8M0", 8, {}},      {"F8_E4M3FNUZ", 8, {}},    {"F8_E5M2FNUZ", 8, {}},  {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
}};

// Follows the parser's events, so that duplicate keys and every value's own type are seen (a parsed document has lost both).
// Accepts {"__metadata__": {TEXT: TEXT, …}, NAME: {"dtype": TEXT, "shape": [N, …], "data_offsets": [N, N]}, …}.
// The interface is the one that nlohmann::json::sax_parse calls.
class HeaderEvents {
 public:
  HeaderEvents(std::string_view file, SafetensorsHeader& header) : file_(file), header_(header) {}

  bool start_object(std::size_t) {
    if (place_ == Place::document) return enter(Place::names);
    if (place_ == Place::names) {
      if (name_ == "__metadata__") return enter(Place::metadata);
      entry_ = {};
      seen_ = {};
      return enter(Place::entry);
    }
    return unexpected("an object");
  }

  bool key(std::string& key) {
    if (place_ == Place::names) {
      const bool metadata = key == "__metadata__";
      if (metadata ? std::exchange(metadata_seen_, true) : header_.entries.contains(key)) {
        fail("{} appears twice in the header", metadata ? "__metadata__" : "tensor " + quote(key));
      }
      name_ = key;
    } else if (place_ == Place::metadata) {
      if (header_.metadata.contains(key)) fail("__metadata__ has the key {} twice", quote(key));
      key_ = key;
    } else {
      const auto field = std::find(fields.begin(), fields.end(), key);
      if (field == fields.end()) fail("tensor {}: unknown field {}", quote(name_), quote(key));
      if (std::exchange(seen_[static_cast<std::size_t>(field - fields.begin())], true)) {
        fail("tensor {}: the field \"{}\" appears twice", quote(name_), key);
      }
      key_ = key;
    }
    return true;
  }

  bool string(std::string& text) {
    if (place_ == Place::metadata) {
      header_.metadata.emplace(key_, text);
    } else if (place_ == Place::entry && key_ == "dtype") {
      if (safetensors_bits(text) == 0) fail("tensor {}: unknown type {}", quote(name_), quote(text));
      entry_.type = text;
    } else {
      return unexpected("text");
    }
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ == Place::entry && key_ == "shape") return enter(Place::shape);
    if (place_ == Place::entry && key_ == "data_offsets") {
      offsets_seen_ = 0;
      return enter(Place::offsets);
    }
    return unexpected("an array");
  }

  bool number_unsigned(std::uint64_t number) {
    if (place_ == Place::shape) {
      if (number > static_cast<std::uint64_t>(INT64_MAX)) fail("tensor {}: an extent of {}", quote(name_), number);
      if (entry_.shape.size() == 64) fail("tensor {}: more than 64 dimensions", quote(name_));
      entry_.shape.push_back(static_cast<std::int64_t>(number));
    } else if (place_ == Place::offsets) {
      if (offsets_seen_ == 2) fail("tensor {}: data_offsets are not two numbers", quote(name_));
      offsets_[static_cast<std::size_t>(offsets_seen_++)] = number;
    } else {
      return unexpected("a number");
    }
    return true;
  }

  bool end_array() {
    if (place_ == Place::offsets && offsets_seen_ != 2) fail("tensor {}: data_offsets are not two numbers", quote(name_));
    return enter(Place::entry);
  }

  bool end_object() {
    if (place_ == Place::entry) finish_entry();
    return enter(place_ == Place::names ? Place::document : Place::names);
  }

  bool number_integer(std::int64_t number) {
    if (place_ == Place::shape) fail("tensor {}: a negative extent, {}", quote(name_), number);
    if (place_ == Place::offsets) fail("tensor {}: a negative offset, {}", quote(name_), number);
    return unexpected("a number");
  }
  bool number_float(double, const std::string& text) { return unexpected("the number " + text); }
  bool boolean(bool) { return unexpected("a boolean"); }
  bool null() { return unexpected("null"); }
  bool binary(nlohmann::json::binary_t&) { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) {
    fail("the header is not valid JSON at its byte {}", position);
  }

 private:
  enum class Place { document, names, metadata, entry, shape, offsets };
  static constexpr std::array<std::string_view, 3> fields = {"dtype", "shape", "data_offsets"};

  bool enter(Place place) {
    place_ = place;
    return true;
  }

  template <typename... Arguments>
  [[noreturn]] void fail(fmt::format_string<Arguments...> format, Arguments&&... arguments) const {
    throw InputError(fmt::format("{}: {}", file_, fmt::format(format, std::forward<Arguments>(arguments)...)));
  }

  bool unexpected(std::string_view what) const {
    switch (place_) {
      case Place::document:
        fail("the header is {} where an object belongs", what);
      case Place::names:
        fail("tensor {} is {} where an object belongs", quote(name_), what);
      case Place::metadata:
        fail("__metadata__ key {} holds {} where text belongs", quote(key_), what);
      case Place::entry:
        fail("tensor {}: \"{}\" is {}", quote(name_), key_, what);
      case Place::shape:
        fail("tensor {}: {} in the shape", quote(name_), what);
      case Place::offsets:
        fail("tensor {}: {} in data_offsets", quote(name_), what);
    }
    return false;
  }

  void finish_entry() {
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (!seen_[i]) fail("tensor {}: no \"{}\"", quote(name_), fields[i]);
    }
    if (offsets_[0] > offsets_[1]) fail("tensor {}: offsets {} to {} run backwards", quote(name_), offsets_[0], offsets_[1]);
    const std::uint64_t length = offsets_[1] - offsets_[0];
    std::uint64_t bits = static_cast<std::uint64_t>(safetensors_bits(entry_.type));
    for (const std::int64_t extent : entry_.shape) {
      if (__builtin_mul_overflow(bits, static_cast<std::uint64_t>(extent), &bits)) {
        fail("tensor {}: shape ({}) of {} has more bytes than can be counted", quote(name_), fmt::join(entry_.shape, ","),
             entry_.type);
      }
    }
    if (bits % 8 != 0 || bits / 8 != length) {
      fail("tensor {}: shape ({}) of {} takes {} bytes, its offsets {} to {} hold {}", quote(name_),
           fmt::join(entry_.shape, ","), entry_.type, bits / 8, offsets_[0], offsets_[1], length);
    }
    entry_.offset = offsets_[0];
    entry_.bytes = length;
    header_.entries.emplace(name_, std::move(entry_));
  }

  std::string_view file_;
  SafetensorsHeader& header_;
  Place place_ = Place::document;
  std::string name_, key_;
  SafetensorsEntry entry_;
  std::array<bool, 3> seen_{};
  std::array<std::uint64_t, 2> offsets_{};
  int offsets_seen_ = 0;
  bool metadata_seen_ = false;
};

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, std::string_view file) {
  SafetensorsHeader header;
  HeaderEvents events(file, header);
  nlohmann::json::sax_parse(json.begin(), json.end(), &events);
  return header;
}

void check_extents(const std::map<std::string, SafetensorsEntry, std::less<>>& entries, std::size_t data_bytes,
                   std::string_view file) {
  std::vector<decltype(entries.begin())> order;
  for (auto entry = entries.begin(); entry != entries.end(); ++entry) order.push_back(entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a->second.offset, a->second.bytes) < std::pair(b->second.offset, b->second.bytes);
  });
  std::size_t end = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto& [name, entry] = *order[i];
    GANNET_CHECK(entry.offset >= end, "{}: tensor {} at offset {} overlaps tensor {}, which ends at {}", file, quote(name),
                 entry.offset, quote(order[i - 1]->first), end);
    GANNET_CHECK(entry.offset == end, "{}: {} bytes before tensor {} at offset {} belong to no tensor", file,
                 entry.offset - end, quote(name), entry.offset);
    end = entry.offset + entry.bytes;
    GANNET_CHECK(end <= data_bytes, "{}: truncated: tensor {} ends at byte {} of {} bytes of data", file, quote(name), end,
                 data_bytes);
  }
  GANNET_CHECK(end == data_bytes, "{}: {} bytes after the last tensor belong to no tensor", file, data_bytes - end);
}

int safetensors_bits(std::string_view type) {
  for (const TypeName& known : types) {
    if (known.name == type) return known.bits;
  }
  return 0;
}

std::string_view safetensors_type(DType type) {
  for (const TypeName& known : types) {
    if (known.type == type) return known.name;
  }
  throw InputError(fmt::format("safetensors has no type for {}", name_of(type)));
}

std::optional<DType> engine_type(std::string_view safetensors_type) {
  for (const TypeName& known : types) {
    if (known.name == safetensors_type) return known.type;
  }
  return {};
}

std::string quote(std::string_view name) {
  constexpr std::size_t longest = 120;
  std::string text(name.substr(0, longest));
  if (name.size() > longest) text += "…";
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace gannet

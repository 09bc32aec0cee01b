// The JSON header of a safetensors file: read without trust, written canonically.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "engine/data/safetensors.h"

namespace gannet {

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry, std::less<>> entries;
  Metadata metadata;
};

// `file` is for messages. Checks everything but the offsets' place in the file; see check_extents.
SafetensorsHeader parse_safetensors_header(std::string_view json, std::string_view file);

// The tensors tile the data exactly: no overlap, no gap, nothing beyond the end, nothing left over.
void check_extents(const std::map<std::string, SafetensorsEntry, std::less<>>& entries, std::size_t data_bytes,
                   std::string_view file);

// Bits of an element of a type that the format has; 0: no such type.
int safetensors_bits(std::string_view type);
// "F32"; the format has a name for each type of the engine.
std::string_view safetensors_type(DType type);
std::optional<DType> engine_type(std::string_view safetensors_type);

// Names come from the file: control characters escaped, cut when long.
std::string quote(std::string_view name);

}  // namespace gannet

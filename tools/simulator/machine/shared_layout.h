#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace sim {

/// The variables in a block's shared memory, by offset, with gaps between them; the dynamic part, if any, is the last one,
/// "(dynamic)".
struct SharedLayout {
  struct Variable {
    std::uint32_t begin, end;
    std::string name;
  };
  std::vector<Variable> variables;  // ascending
};

}  // namespace sim

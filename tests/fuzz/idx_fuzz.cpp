// Any bytes as an IDX file, compressed or not: refused with an InputError, or as many values as the shape has.
#include "engine/data/source.h"
#include "kernels/check.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const gannet::IdxArray array = gannet::decode_idx(std::as_bytes(std::span(data, size)), "fuzz");
    REQUIRE(array.values.size() == static_cast<std::size_t>(array.shape.elements()));
  } catch (const gannet::InputError&) {
  }
  return 0;
}

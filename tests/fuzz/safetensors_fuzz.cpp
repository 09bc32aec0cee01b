// Any bytes as a safetensors file and as a dataset: refused with an InputError, or every tensor in it can be read.
#include <sys/mman.h>
#include <unistd.h>

#include <numeric>

#include "engine/data/dataset.h"
#include "engine/data/safetensors.h"
#include "kernels/check.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // The file lives in memory, under a name that open() takes.
  static const int descriptor = ::memfd_create("fuzz", MFD_CLOEXEC);
  static const std::string path = "/proc/self/fd/" + std::to_string(descriptor);
  REQUIRE(::ftruncate(descriptor, 0) == 0);
  REQUIRE(::pwrite(descriptor, data, size, 0) == static_cast<ssize_t>(size));
  try {
    const gannet::SafetensorsFile file(path);
    std::size_t bytes = 0;
    for (const auto& [name, entry] : file.entries()) {
      bytes += entry.bytes;
      try {
        const gannet::TensorView view = file.tensor(name);
        REQUIRE(view.data.size() == entry.bytes);
        REQUIRE(view.data.size() == static_cast<std::size_t>(view.shape.elements()) * gannet::size_of(view.type));
        const std::uint8_t seen = std::accumulate(
            view.data.begin(), view.data.end(), std::uint8_t{0},
            [](auto sum, std::byte byte) { return static_cast<std::uint8_t>(sum ^ std::to_integer<std::uint8_t>(byte)); });
        static_cast<void>(seen);
        file.values(name);
      } catch (const gannet::InputError&) {  // of a type or rank that the engine has not
      }
    }
    REQUIRE(bytes <= size);
    file.verify();
  } catch (const gannet::InputError&) {
  }
  try {
    const gannet::Dataset dataset(path);
    REQUIRE(dataset.image(dataset.size() - 1).size() == dataset.image_bytes());
    REQUIRE(dataset.labels().empty() || dataset.class_count() > 0);
  } catch (const gannet::InputError&) {
  }
  return 0;
}

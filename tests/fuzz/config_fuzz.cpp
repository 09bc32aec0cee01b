// Any text as a configuration and as a --set: refused with an InputError, or a configuration that checks again as itself.
#include "engine/train/config.h"
#include "kernels/check.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<gannet::Key> keys = gannet::common_keys();
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const gannet::Config config(gannet::parse_json(text, "fuzz"), keys);
    REQUIRE(gannet::Config(config.json(), keys).json() == config.json());
  } catch (const gannet::InputError&) {
  }
  try {
    nlohmann::json json = nlohmann::json::object();
    gannet::set_key(json, text);
    const gannet::Config config(json, keys);
  } catch (const gannet::InputError&) {
  }
  return 0;
}

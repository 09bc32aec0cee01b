// The pointwise chains that the ready configurations have: prints kernels/cuda/chains_ahead.inc, from which the CUDA backend
// compiles a kernel for each, or with --check names those that are not in it.
#include <fmt/format.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "bench/planned_specs.h"
#include "kernels/cuda/chain_form.h"
#include "models/models.h"

namespace gannet::bench {
namespace {

using namespace kernels;

// Whether it is summed and text of the form -> the first configuration that has it.
using Chains = std::map<std::pair<bool, std::string>, std::string>;

Chains chains_of_ready_configurations() {
  Chains chains;
  for (const std::string& name : models::ready_names()) {
    for (const char* precision : {"fp32", "bf16"}) {
      const std::string setting = fmt::format("train.precision={}", precision);
      for (const KernelSpec& spec : planned_specs(resolved_configuration(name, {setting}), 64)) {
        const auto* stored = std::get_if<Pointwise>(&spec);
        const auto* summed = std::get_if<Reduction>(&spec);
        if (stored == nullptr && summed == nullptr) continue;
        const cuda::ChainForm form = cuda::form_of(stored != nullptr ? *stored : summed->chain);
        chains.emplace(std::pair(summed != nullptr, cuda::to_text(form)), fmt::format("{} {}", name, precision));
      }
    }
  }
  return chains;
}

int check() {
  int missing = 0;
  const Chains chains = chains_of_ready_configurations();
  for (const auto& [chain, where] : chains) {
    const auto& [summed, text] = chain;
    if (cuda::compiled_ahead(cuda::parse_form(text), summed)) continue;
    ++missing;
    fmt::print("no kernel is compiled for this chain of {}, {}: {}\n", where, summed ? "summed" : "stored", text);
  }
  fmt::print("{} chains of the ready configurations, {} without a kernel of their own\n", chains.size(), missing);
  if (missing) fmt::print("write kernels/cuda/chains_ahead.inc anew: chains_ahead > kernels/cuda/chains_ahead.inc\n");
  return missing == 0 && !chains.empty() ? 0 : 1;
}

int print() {
  fmt::print(
      "// The pointwise chains of the ready configurations in fp32 and bf16, stored and summed (see chain_form.h); printed "
      "by\n// chains_ahead.\n");
  for (const auto& [chain, where] : chains_of_ready_configurations())
    fmt::print("{}(\"{}\")\n", chain.first ? "GANNET_SUM" : "GANNET_CHAIN", chain.second);
  return 0;
}

}  // namespace
}  // namespace gannet::bench

int main(int argc, char** argv) {
  try {
    if (argc == 1) return gannet::bench::print();
    if (argc == 2 && std::string_view(argv[1]) == "--check") return gannet::bench::check();
    fmt::print(stderr, "chains_ahead [--check]\n");
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "chains_ahead: {}\n", error.what());
    return 1;
  }
}

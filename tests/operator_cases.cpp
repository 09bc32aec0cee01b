#include "tests/operator_cases.h"

#include <fmt/format.h>

#include <map>

namespace gannet::tests {

std::string to_string(const OperatorCase& test) {
  std::string text = fmt::format("{} (seed {})", test.name, test.seed);
  for (const Operand& operand : test.operands) text += " " + gannet::to_string(TensorType{operand.type, operand.shape});
  return text;
}

std::vector<OperatorCase> operator_cases() {
  std::vector<OperatorCase> cases;
  std::map<std::string, int> count;
  Draw draw(20140611);
  for (const auto& families : {product_families(), pointwise_families(), shape_families(), training_families()}) {
    for (const OperatorFamily& family : families) {
      for (int i = 0; i < family.count; ++i) {
        const std::uint64_t seed = draw.word();
        Draw own(seed);
        cases.push_back(family.make(own));
        cases.back().function = family.function;
        cases.back().name = fmt::format("{} {}", family.function, count[family.function]++);
        cases.back().seed = seed;
      }
    }
  }
  return cases;
}

}  // namespace gannet::tests

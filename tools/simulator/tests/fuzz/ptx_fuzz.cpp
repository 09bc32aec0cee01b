// Any bytes as PTX: refused with an Error, or a module whose every index and view holds.
#include <cstring>
#include <string>

#include "error.h"
#include "ptx/module.h"
#include "tests/fuzz/require.h"

namespace {

using namespace sim::ptx;

volatile unsigned read = 0;  // so that every view is read

void check(const Module& module, std::string_view view) {
  bool inside = view.empty() ||
                (view.data() >= module.text.data() && view.data() + view.size() <= module.text.data() + module.text.size());
  for (const std::string& name : module.unique_names)
    inside |= !inside && view.data() >= name.data() && view.data() + view.size() <= name.data() + name.size();
  REQUIRE(inside);
  if (!view.empty()) read = read + static_cast<unsigned char>(view.front()) + static_cast<unsigned char>(view.back());
}

void check(const Module& module, const Function& function, const Operand& operand) {
  using Kind = Operand::Kind;
  check(module, operand.name);
  REQUIRE(operand.reg >= -1 && operand.reg < static_cast<int>(function.registers.size()));
  REQUIRE((operand.kind == Kind::register_) <= (operand.reg >= 0));
  REQUIRE((operand.kind == Kind::symbol || operand.kind == Kind::special) <= !operand.name.empty());
  REQUIRE((operand.kind == Kind::pair) <= (operand.elements.size() == 2));
  REQUIRE((operand.kind == Kind::floating) <= (operand.width == 32 || operand.width == 64));
  for (const Operand& element : operand.elements) check(module, function, element);
}

void check(const Variable& variable) {
  REQUIRE(variable.initial.empty() || variable.initial.size() == variable.bytes);
  REQUIRE(variable.alignment >= 1 && (variable.alignment & (variable.alignment - 1)) == 0);
  for (const Relocation& relocation : variable.relocations) {
    REQUIRE(relocation.size == 1 || relocation.size == 4 || relocation.size == 8 || relocation.size == 16);
    REQUIRE(relocation.at + static_cast<std::size_t>(relocation.size) <= variable.bytes);
    REQUIRE(relocation.shift >= 0 && relocation.shift <= 56);
  }
}

void check(const Module& module, const Function& function) {
  const int size = static_cast<int>(function.body.size());
  for (std::size_t i = 0; i < function.lines.size(); ++i) {
    REQUIRE(function.lines[i].inlined_at >= -1 &&
            function.lines[i].inlined_at < static_cast<int>(i));  // so no chain is endless
  }
  for (const Instruction& instruction : function.body) {
    check(module, instruction.full);
    check(module, instruction.opcode);
    for (const std::string_view modifier : instruction.modifiers) check(module, modifier);
    REQUIRE(instruction.line >= -1 && instruction.line < static_cast<int>(function.lines.size()));
    REQUIRE(instruction.guard >= -1 && instruction.guard < static_cast<int>(function.registers.size()));
    REQUIRE(instruction.guard < 0 || function.registers[instruction.guard].type == Type::pred);
    for (const Operand& operand : instruction.operands) check(module, function, operand);
  }
  for (const auto& [name, at] : function.labels) {
    check(module, name);
    REQUIRE(at >= 0 && at <= size);
  }
  for (const auto& [name, targets] : function.branch_targets) {
    check(module, name);
    for (const std::string_view target : targets) check(module, target);
  }
  REQUIRE(function.prototypes.size() == function.prototype_results.size());
  for (std::size_t i = 0; i < function.prototypes.size(); ++i) {
    check(module, function.prototypes[i].first);
    REQUIRE(function.prototype_results[i] <= static_cast<int>(function.prototypes[i].second.size()));
  }
  for (const auto* list : {&function.variables, &function.parameters, &function.results}) {
    for (const Variable& variable : *list) check(variable);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const Module module = parse(std::string(reinterpret_cast<const char*>(data), size));
    REQUIRE(!module.target.empty() && module.version_major > 0);
    for (const Variable& variable : module.variables) check(variable);
    for (const Function& function : module.functions) check(module, function);
  } catch (const sim::Error&) {
  }
  return 0;
}

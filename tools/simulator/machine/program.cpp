#include <cxxabi.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <unordered_map>

#include "error.h"
#include "isa/code.h"
#include "machine/checks.h"
#include "machine/launch.h"

namespace sim {
namespace {

std::string demangle(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  std::string result = status == 0 ? text : name;
  std::free(text);
  return result;
}

std::size_t aligned(std::size_t offset, std::size_t alignment) { return (offset + alignment - 1) / alignment * alignment; }

// The functions of all programs have addresses of their own: a module's begin at `base`.
Address next_function_address(std::size_t count) {
  static std::mutex mutex;
  static Address next = kFunctionWindow + 16;
  const std::lock_guard lock(mutex);
  const Address base = next;
  next += 16 * count;
  return base;
}

}  // namespace

struct Program::Implementation {
  std::shared_ptr<const ptx::Module> module;
  int device = 0;
  std::unordered_map<std::string_view, Variable> variables;
  std::unordered_map<std::string_view, int> functions;
  Address functions_base = 0;
  std::mutex mutex;
  std::map<std::string, std::pair<std::unique_ptr<Kernel>, std::unique_ptr<KernelCode>>, std::less<>> kernels;

  int function(std::string_view name) const {
    const auto found = functions.find(name);
    return found == functions.end() || !module->functions[found->second].is_defined ? -1 : found->second;
  }
  void lay_out_variables(const std::map<std::string, Address>& placed);
  void initialize(const ptx::Variable& variable, const Variable& place) const;
  std::uint64_t value_of(const ptx::Symbol& symbol) const;
};

namespace {

// Lays out a kernel's shared, local and parameter memory, and decodes what it can reach.
class KernelBuilder final : public SymbolTable {
 public:
  KernelBuilder(const ptx::Module& module, const std::unordered_map<std::string_view, Program::Variable>& variables,
                const std::unordered_map<std::string_view, int>& functions, Address functions_base)
      : module_(module), variables_(variables), functions_(functions), functions_base_(functions_base) {}

  std::unique_ptr<KernelCode> build(int entry, std::size_t& static_shared) {
    auto code = std::make_unique<KernelCode>();
    code->functions.resize(module_.functions.size());
    reach(entry, *code);
    lay_out_shared(*code, static_shared);
    for (int index : reachable_) {
      code->functions[index] = sim::decode(module_, index, *this, code->instructions);
      code->instructions += static_cast<std::uint32_t>(code->functions[index]->instructions.size());
      code->functions[index]->local_bytes = lay_out_local(module_.functions[index]);
      code->order_dependent |= code->functions[index]->order_dependent;
    }
    code->entry = code->functions[entry].get();
    lay_out_stack(entry, *code);
    return code;
  }

  Decoder::Target target(const ptx::Function& function, std::string_view name) const override {
    if (const auto shared = shared_.find(name); shared != shared_.end()) return shared->second;
    for (const ptx::Variable& variable : function.variables) {
      if (variable.space == ptx::Space::local && variable.name == name)
        return {ptx::Space::local, local_offset(function, name), variable.bytes};
    }
    if (function.is_entry) {
      std::size_t offset = 0;
      for (const ptx::Variable& parameter : function.parameters) {
        offset = aligned(offset, parameter.alignment);
        if (parameter.name == name) return {ptx::Space::parameter, offset, parameter.bytes};
        offset += parameter.bytes;
      }
    }
    if (const auto variable = variables_.find(name); variable != variables_.end()) {
      return {variable->second.constant ? ptx::Space::constant : ptx::Space::global, variable->second.address,
              variable->second.bytes};
    }
    throw Error("{}: {} is not declared", function.name, name);
  }
  int function(std::string_view name) const override {
    const auto found = functions_.find(name);
    return found == functions_.end() || !module_.functions[found->second].is_defined ? -1 : found->second;
  }
  Address function_address(int index) const override { return functions_base_ + 16 * static_cast<Address>(index); }

 private:
  // Functions that are called or whose address is taken, in code or in a variable (which any indirect call may reach).
  void reach(int entry, const KernelCode& code) {
    std::vector<char> seen(code.functions.size(), 0);
    std::vector<int> todo = {entry};
    bool indirect = false;
    auto visit = [&](int index) {
      if (index >= 0 && seen[index] == 0) todo.push_back(index);
    };
    while (!todo.empty()) {
      const int index = todo.back();
      todo.pop_back();
      if (seen[index] != 0) continue;
      seen[index] = 1;
      reachable_.push_back(index);
      for (const ptx::Instruction& in : module_.functions[index].body) {
        const bool is_call = in.opcode == "call";
        for (const ptx::Operand& operand : in.operands) {
          if (operand.kind == ptx::Operand::Kind::symbol) visit(function(operand.name));
          indirect |= is_call && operand.kind == ptx::Operand::Kind::register_;
        }
      }
      if (todo.empty() && indirect) {
        indirect = false;
        for (const ptx::Variable& variable : module_.variables) {
          for (const ptx::Relocation& relocation : variable.relocations) visit(function(relocation.symbol.name));
        }
      }
    }
    std::sort(reachable_.begin(), reachable_.end());
  }

  // "tile" for a variable of a function, whose name a finding tells anyway.
  static std::string own_name(const std::string& name) {
    const std::string full = demangle(name);
    const auto at = full.rfind("::");
    return at == std::string::npos ? full : full.substr(at + 2);
  }

  // Gaps between variables, and before the dynamic part, make an access past the end of one visible.
  void lay_out_shared(KernelCode& code, std::size_t& static_bytes) {
    constexpr std::size_t kGap = 32;
    std::size_t offset = 0;
    std::size_t real = 0;
    std::vector<const ptx::Variable*> dynamic;
    auto place = [&](const ptx::Variable& variable) {
      if (variable.space != ptx::Space::shared || shared_.contains(variable.name)) return;
      if (variable.bytes == 0) {
        dynamic.push_back(&variable);
        shared_[variable.name] = {};
        return;
      }
      const std::size_t alignment = std::max<std::size_t>(variable.alignment, 16);
      offset = aligned(offset, alignment);
      real = aligned(real, variable.alignment) + variable.bytes;
      shared_[variable.name] = {ptx::Space::shared, offset, variable.bytes};
      code.shared.variables.push_back(
          {static_cast<std::uint32_t>(offset), static_cast<std::uint32_t>(offset + variable.bytes), own_name(variable.name)});
      offset += variable.bytes + kGap;
    };
    for (int index : reachable_) {
      for (const ptx::Variable& variable : module_.functions[index].variables) place(variable);
    }
    // Those of the module only where the kernel names them: they count against its limit.
    for (const ptx::Variable& variable : module_.variables) {
      if (variable.space == ptx::Space::shared && is_named(variable.name)) place(variable);
    }
    offset = aligned(offset, 1024);
    code.dynamic_shared = static_cast<std::uint32_t>(offset);
    code.shared.variables.push_back({code.dynamic_shared, code.dynamic_shared, "(dynamic)"});
    for (const ptx::Variable* variable : dynamic) shared_[variable->name] = {ptx::Space::shared, offset, 0};
    static_bytes = real;
  }

  bool is_named(std::string_view name) const {
    auto names = [&](const auto& self, const ptx::Operand& operand) -> bool {
      if (operand.name == name) return true;
      return std::any_of(operand.elements.begin(), operand.elements.end(),
                         [&](const ptx::Operand& element) { return self(self, element); });
    };
    for (int index : reachable_) {
      for (const ptx::Instruction& in : module_.functions[index].body) {
        for (const ptx::Operand& operand : in.operands) {
          if (names(names, operand)) return true;
        }
      }
    }
    return false;
  }

  static std::uint64_t local_offset(const ptx::Function& function, std::string_view name) {
    std::size_t offset = 0;
    for (const ptx::Variable& variable : function.variables) {
      if (variable.space != ptx::Space::local) continue;
      offset = aligned(offset, std::max<std::size_t>(variable.alignment, 16));
      if (variable.name == name) return offset;
      offset += variable.bytes;
    }
    return offset;
  }
  static std::uint32_t lay_out_local(const ptx::Function& function) {
    return static_cast<std::uint32_t>(aligned(local_offset(function, {}), 16));
  }

  // An indirect call may reach any of the functions: the deepest counts once.
  static void lay_out_stack(int entry, KernelCode& code) {
    bool indirect = false;
    std::vector<int> state(code.functions.size(), 0);
    std::vector<std::uint32_t> depth(code.functions.size(), 0);
    auto visit = [&](const auto& self, int index) -> std::uint32_t {
      if (state[index] == 2) return depth[index];
      if (state[index] == 1) {
        code.recursive = true;
        return 0;
      }
      state[index] = 1;
      const Code& function = *code.functions[index];
      indirect |= std::any_of(function.instructions.begin(), function.instructions.end(),
                              [](const Instruction& in) { return in.kind == Kind::call_indirect; });
      std::uint32_t deepest = 0;
      for (int callee : function.calls) deepest = std::max(deepest, self(self, callee));
      state[index] = 2;
      return depth[index] = deepest + function.local_bytes;
    };
    code.local_bytes = visit(visit, entry);
    if (!indirect) return;
    code.recursive = true;
    std::uint32_t deepest = 0;
    for (std::size_t index = 0; index < code.functions.size(); ++index)
      if (code.functions[index] != nullptr && code.functions[index].get() != code.entry)
        deepest = std::max(deepest, visit(visit, static_cast<int>(index)));
    code.local_bytes += deepest;
  }

  const ptx::Module& module_;
  const std::unordered_map<std::string_view, Program::Variable>& variables_;
  const std::unordered_map<std::string_view, int>& functions_;
  Address functions_base_;
  std::vector<int> reachable_;
  std::unordered_map<std::string_view, Decoder::Target> shared_;
};

}  // namespace

void Program::Implementation::lay_out_variables(const std::map<std::string, Address>& placed) {
  for (const ptx::Variable& variable : module->variables) {
    const bool constant = variable.space == ptx::Space::constant;
    if (!constant && variable.space != ptx::Space::global) continue;
    if (const auto there = placed.find(variable.name); there != placed.end()) {
      variables[variable.name] = {there->second, variable.bytes, constant, false};
      continue;
    }
    if (variable.is_extern) throw Error("the variable {} is declared and not defined", variable.name);
    const Allocation* memory = Memory::instance().allocate(
        constant ? MemoryKind::constant : MemoryKind::variable, device, std::max<std::size_t>(variable.bytes, 1),
        std::max<std::size_t>(variable.alignment, 256), demangle(variable.name));
    if (memory == nullptr) throw Error("there is no room for the variable {} of {} bytes", variable.name, variable.bytes);
    variables[variable.name] = {memory->base, variable.bytes, constant};
  }
  for (const ptx::Variable& variable : module->variables) {
    const auto place = variables.find(variable.name);
    if (place != variables.end() && place->second.owned) initialize(variable, place->second);
  }
}

std::uint64_t Program::Implementation::value_of(const ptx::Symbol& symbol) const {
  if (const int index = function(symbol.name); index >= 0) return functions_base + 16 * static_cast<Address>(index);
  const auto found = variables.find(symbol.name);
  if (found == variables.end()) throw Error("an initial value refers to {}, which is not defined", symbol.name);
  return found->second.address + static_cast<std::uint64_t>(symbol.offset);
}

// Variables without an initial value are zero, as CUDA says.
void Program::Implementation::initialize(const ptx::Variable& variable, const Variable& place) const {
  const Allocation* memory = Memory::instance().find(place.address);
  std::byte* bytes = memory->working(place.address);
  std::memset(bytes, 0, variable.bytes);
  std::memcpy(bytes, variable.initial.data(), std::min(variable.initial.size(), variable.bytes));
  for (const ptx::Relocation& relocation : variable.relocations) {
    const std::uint64_t value = value_of(relocation.symbol) >> relocation.shift;
    std::memcpy(bytes + relocation.at, &value, static_cast<std::size_t>(relocation.size));
  }
  Memory::instance().mark_initialized(*memory, place.address, variable.bytes);
}

Program::Program(std::shared_ptr<const ptx::Module> module, int device, const std::map<std::string, Address>& placed)
    : implementation_(std::make_unique<Implementation>()) {
  Implementation& self = *implementation_;
  self.module = std::move(module);
  self.device = device;
  for (std::size_t n = 0; n < self.module->functions.size(); ++n)
    self.functions[self.module->functions[n].name] = static_cast<int>(n);
  for (const auto& [alias, name] : self.module->aliases) {
    if (const auto found = self.functions.find(name); found != self.functions.end()) self.functions[alias] = found->second;
  }
  self.functions_base = next_function_address(self.module->functions.size());
  self.lay_out_variables(placed);
}

Program::~Program() {
  for (const auto& [name, kernel] : implementation_->kernels) checks::forget(*kernel.first);
  for (const auto& [name, variable] : implementation_->variables) {
    if (variable.owned) Memory::instance().free(variable.address);
  }
}

const Program::Variable* Program::variable(std::string_view name) const {
  const auto found = implementation_->variables.find(name);
  return found == implementation_->variables.end() ? nullptr : &found->second;
}

const Kernel* Program::kernel(std::string_view name) const {
  Implementation& self = *implementation_;
  const std::lock_guard lock(self.mutex);
  if (const auto found = self.kernels.find(name); found != self.kernels.end()) return found->second.first.get();
  const int index = self.function(name);
  if (index < 0 || !self.module->functions[index].is_entry) return nullptr;
  const ptx::Function& function = self.module->functions[index];
  auto kernel = std::make_unique<Kernel>();
  KernelBuilder builder(*self.module, self.variables, self.functions, self.functions_base);
  auto code = builder.build(index, kernel->static_shared_bytes);
  kernel->program = this;
  kernel->name = function.name;
  kernel->demangled = demangle(function.name);
  kernel->code = code.get();
  std::size_t offset = 0;
  for (const ptx::Variable& parameter : function.parameters) {
    offset = aligned(offset, parameter.alignment);
    kernel->parameters.emplace_back(offset, parameter.bytes);
    offset += parameter.bytes;
  }
  kernel->parameter_bytes = offset;
  kernel->local_bytes = code->local_bytes;
  std::copy_n(function.max_threads, 3, kernel->max_threads);
  std::copy_n(function.required_threads, 3, kernel->required_threads);
  kernel->min_blocks = function.min_blocks;
  const Kernel* result = kernel.get();
  self.kernels.emplace(function.name, std::pair{std::move(kernel), std::move(code)});
  return result;
}

std::vector<std::string> Program::kernels() const {
  std::vector<std::string> names;
  for (const ptx::Function& function : implementation_->module->functions) {
    if (function.is_entry) names.push_back(function.name);
  }
  return names;
}

const ptx::Module& Program::module() const { return *implementation_->module; }
int Program::device() const { return implementation_->device; }

const Code* function_at(const Kernel& kernel, Address address) {
  const Address base = kernel.program->functions_base();
  if (address < base || (address - base) % 16 != 0 || (address - base) / 16 >= kernel.code->functions.size()) return nullptr;
  return kernel.code->functions[(address - base) / 16].get();
}

Address Program::functions_base() const { return implementation_->functions_base; }

}  // namespace sim

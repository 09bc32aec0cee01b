#include "runtime/link.h"

#include <fmt/format.h>

#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "error.h"

namespace sim::runtime {
namespace {

using Renamed = std::unordered_map<std::string_view, std::string_view>;

/// The linked module; views of its functions point into the texts of the parts.
struct Linked {
  std::vector<ptx::Module> parts;
  ptx::Module whole;
};

void rename(ptx::Operand& operand, const Renamed& renamed, const std::unordered_set<std::string_view>& own) {
  const bool symbol = operand.kind == ptx::Operand::Kind::symbol || operand.kind == ptx::Operand::Kind::address;
  if (symbol && own.count(operand.name) == 0) {
    if (const auto found = renamed.find(operand.name); found != renamed.end()) operand.name = found->second;
  }
  for (ptx::Operand& element : operand.elements) rename(element, renamed, own);
}

void rename(ptx::Function& function, const Renamed& renamed) {
  // A variable or label of the function hides the module's.
  std::unordered_set<std::string_view> own;
  for (const auto* variables : {&function.parameters, &function.results, &function.variables})
    for (const ptx::Variable& v : *variables) own.insert(v.name);
  for (const auto& [label, at] : function.labels) own.insert(label);
  for (ptx::Instruction& instruction : function.body)
    for (ptx::Operand& operand : instruction.operands) rename(operand, renamed, own);
  for (ptx::Variable& v : function.variables) {
    for (ptx::Relocation& r : v.relocations)
      if (const auto found = renamed.find(r.symbol.name); found != renamed.end()) r.symbol.name = found->second;
  }
}

class Linker {
 public:
  explicit Linker(std::vector<ptx::Module> modules) : linked_(std::make_shared<Linked>()) {
    linked_->parts = std::move(modules);
  }

  std::shared_ptr<const ptx::Module> run() {
    ptx::Module& whole = linked_->whole;
    for (ptx::Module& part : linked_->parts) {
      whole.version_major = std::max(whole.version_major, part.version_major);
      whole.version_minor = part.version_minor;
      if (part.target > whole.target) whole.target = part.target;
      whole.address_size = part.address_size;
      take(part);
    }
    return {linked_, &whole};
  }

 private:
  void take(ptx::Module& part) {
    ptx::Module& whole = linked_->whole;
    const Renamed renamed = own_names(part);
    const auto new_name = [&](const std::string& name) {
      const auto found = renamed.find(name);
      return found == renamed.end() ? name : std::string(found->second);
    };
    const int files = static_cast<int>(whole.files.size());
    whole.files.insert(whole.files.end(), part.files.begin(), part.files.end());
    for (ptx::Variable& v : part.variables) {
      ptx::Variable copy = v;
      copy.name = new_name(v.name);
      for (ptx::Relocation& r : copy.relocations) r.symbol.name = new_name(r.symbol.name);
      add(std::move(copy));
    }
    for (ptx::Function& f : part.functions) {
      rename(f, renamed);
      f.name = new_name(f.name);
      for (ptx::SourceLine& line : f.lines) line.file += files;
      add(std::move(f));
    }
    whole.aliases.insert(whole.aliases.end(), part.aliases.begin(), part.aliases.end());
  }

  /// Names that only this part means and that another part has used already.
  Renamed own_names(const ptx::Module& part) {
    Renamed renamed;
    const auto consider = [&](const std::string& name, bool shared) {
      if (!shared && (variables_.count(name) != 0 || functions_.count(name) != 0)) {
        const std::string& unique = linked_->whole.unique_names.emplace_back(fmt::format("{}@{}", name, ++renames_));
        renamed.emplace(linked_->whole.unique_names.emplace_back(name), unique);
      }
    };
    for (const ptx::Variable& v : part.variables) consider(v.name, v.is_visible || v.is_extern);
    for (const ptx::Function& f : part.functions) consider(f.name, f.is_visible || f.is_entry || !f.is_defined);
    return renamed;
  }

  void add(ptx::Variable variable) {
    ptx::Module& whole = linked_->whole;
    const auto [found, is_new] = variables_.emplace(variable.name, whole.variables.size());
    if (is_new) {
      whole.variables.push_back(std::move(variable));
      return;
    }
    ptx::Variable& known = whole.variables[found->second];
    if (known.space != variable.space) throw Error("the modules to link disagree about the state space of '{}'", variable.name);
    if (known.is_extern && !variable.is_extern) {
      known = std::move(variable);
    } else if (known.is_extern) {
      known.bytes = std::max(known.bytes, variable.bytes);
      known.alignment = std::max(known.alignment, variable.alignment);
    }
  }

  void add(ptx::Function function) {
    ptx::Module& whole = linked_->whole;
    const auto [found, is_new] = functions_.emplace(function.name, whole.functions.size());
    if (is_new) {
      whole.functions.push_back(std::move(function));
    } else if (!whole.functions[found->second].is_defined) {
      whole.functions[found->second] = std::move(function);
    }
  }

  std::shared_ptr<Linked> linked_;
  std::unordered_map<std::string, std::size_t> variables_, functions_;
  int renames_ = 0;
};

}  // namespace

std::shared_ptr<const ptx::Module> link(std::vector<ptx::Module> modules) {
  if (modules.size() == 1) return std::make_shared<const ptx::Module>(std::move(modules.front()));
  return Linker(std::move(modules)).run();
}

}  // namespace sim::runtime

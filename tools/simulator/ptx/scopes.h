// What the names inside one function stand for. Braces nest; an inner declaration hides an outer one from there on; labels are
// seen in the whole of their braces, before they stand too.
#pragma once
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "ptx/module.h"

namespace sim::ptx {

class Scopes {
 public:
  struct Entity {
    enum class Kind : std::uint8_t { register_, vector_register, variable };
    Kind kind;
    Type type = Type::none;   // of registers
    int index = -1;           // of a register, once it is used
    int size = 0;             // of a vector register: its elements are the registers name.x, .y, …
    std::string_view unique;  // of a variable
  };

  /// `unique_names` gives room to the names that differ from the text.
  explicit Scopes(std::deque<std::string>& unique_names) : unique_names_(unique_names) { scopes_.push_back({-1}); }

  void open();
  bool close();  // false when only the function's own scope is left
  int current() const { return current_; }

  // False for a name that this scope has already.
  bool declare_register(std::string_view name, Type type, int elements);
  bool declare_registers(std::string_view prefix, std::uint64_t count, Type type);
  bool declare_variable(std::string_view name, std::string_view unique);
  bool declare_label(std::string_view name, std::string_view unique);

  /// `name`, or name@2, name@3, …: one that no other variable or label of the function has; never `name` itself when `taken`.
  std::string_view unique(std::string_view name, bool taken);
  /// Keeps what is not in the text.
  std::string_view keep(std::string name) { return unique_names_.emplace_back(std::move(name)); }

  /// Null when nothing of this name is declared yet. A register is given its index at its first use.
  const Entity* find(std::string_view name, std::vector<Register>& registers);
  /// The label's unique name as seen from `scope`, or empty.
  std::string_view label(int scope, std::string_view name) const;

 private:
  struct Range {
    std::uint64_t count;
    Type type;
  };
  struct Scope {
    int parent;
    std::unordered_map<std::string_view, Entity> entities = {};
    std::unordered_map<std::string_view, Range> ranges = {};  // by prefix
    std::unordered_map<std::string_view, std::string_view> labels = {};
  };
  Entity* find_in(Scope& scope, std::string_view name);

  std::deque<std::string>& unique_names_;
  std::vector<Scope> scopes_;
  std::unordered_map<std::string_view, int> uses_;
  int current_ = 0;
};

}  // namespace sim::ptx

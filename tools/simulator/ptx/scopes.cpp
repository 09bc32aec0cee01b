#include "ptx/scopes.h"

#include <charconv>

namespace sim::ptx {

void Scopes::open() {
  scopes_.push_back({current_});
  current_ = static_cast<int>(scopes_.size()) - 1;
}

bool Scopes::close() {
  if (current_ == 0) return false;
  current_ = scopes_[current_].parent;
  return true;
}

bool Scopes::declare_register(std::string_view name, Type type, int elements) {
  const Entity entity{elements > 1 ? Entity::Kind::vector_register : Entity::Kind::register_, type, -1, elements, {}};
  return scopes_[current_].entities.emplace(name, entity).second;
}

bool Scopes::declare_registers(std::string_view prefix, std::uint64_t count, Type type) {
  return scopes_[current_].ranges.emplace(prefix, Range{count, type}).second;
}

bool Scopes::declare_variable(std::string_view name, std::string_view unique) {
  return scopes_[current_].entities.emplace(name, Entity{Entity::Kind::variable, Type::none, -1, 0, unique}).second;
}

bool Scopes::declare_label(std::string_view name, std::string_view unique) {
  return scopes_[current_].labels.emplace(name, unique).second;
}

std::string_view Scopes::unique(std::string_view name, bool taken) {
  int& use = uses_[name];
  use += use == 0 && taken ? 2 : 1;
  return use == 1 ? name : keep(std::string(name) + "@" + std::to_string(use));  // no name of PTX has an @
}

Scopes::Entity* Scopes::find_in(Scope& scope, std::string_view name) {
  if (const auto found = scope.entities.find(name); found != scope.entities.end()) return &found->second;
  // %r12 is of the range %r<13>, and of %r1<3>.
  for (std::size_t digits = 1; !scope.ranges.empty() && digits < name.size() && digits <= 9; ++digits) {
    const char* first = name.data() + name.size() - digits;
    if (*first < '0' || *first > '9') break;
    if (*first == '0' && digits > 1) continue;
    const auto range = scope.ranges.find(name.substr(0, name.size() - digits));
    if (range == scope.ranges.end()) continue;
    std::uint64_t number = 0;
    std::from_chars(first, first + digits, number);
    if (number >= range->second.count) continue;
    const Entity entity{Entity::Kind::register_, range->second.type, -1, 0, {}};
    return &scope.entities.emplace(name, entity).first->second;
  }
  return nullptr;
}

const Scopes::Entity* Scopes::find(std::string_view name, std::vector<Register>& registers) {
  for (int scope = current_; scope >= 0; scope = scopes_[scope].parent) {
    Entity* entity = find_in(scopes_[scope], name);
    if (entity == nullptr) continue;
    if (entity->kind == Entity::Kind::register_ && entity->index < 0) {
      entity->index = static_cast<int>(registers.size());
      registers.push_back({std::string(name), entity->type});
    }
    if (entity->kind == Entity::Kind::vector_register && entity->index < 0) {
      entity->index = static_cast<int>(registers.size());
      for (int i = 0; i < entity->size; ++i) registers.push_back({std::string(name) + '.' + "xyzw"[i], entity -> type});
    }
    return entity;
  }
  return nullptr;
}

std::string_view Scopes::label(int scope, std::string_view name) const {
  for (; scope >= 0; scope = scopes_[scope].parent) {
    if (const auto found = scopes_[scope].labels.find(name); found != scopes_[scope].labels.end()) return found->second;
  }
  return {};
}

}  // namespace sim::ptx

// Declarations of variables: `.global .align 8 .v2 .u64 a[2][3] = {…}, b;`
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "ptx/parser.h"

namespace sim::ptx {
namespace {

constexpr std::size_t most_initial = std::size_t{512} << 20;  // bytes a module may give values to
constexpr std::uint64_t most_bytes = std::uint64_t{1} << 48;

bool is_integer(Type type) { return (type >= Type::b8 && type <= Type::s64); }

}  // namespace

std::optional<Space> Parser::space_named(std::string_view directive) {
  if (directive == ".global") return Space::global;
  if (directive == ".const") return Space::constant;
  if (directive == ".shared") return Space::shared;
  if (directive == ".local") return Space::local;
  if (directive == ".param") return Space::parameter;
  return std::nullopt;
}

// .attribute(.managed) and the like.
bool Parser::attribute(bool* managed) {
  if (!lexer_.accept(".attribute")) return false;
  lexer_.expect('(', ".attribute");
  do {
    if (!lexer_.at(Token::Kind::directive)) lexer_.fail_expected("an attribute");
    if (lexer_.next().text == ".managed" && managed != nullptr) *managed = true;
    if (lexer_.accept('(')) {
      do integer_constant("the value of an attribute");
      while (lexer_.accept(','));
      lexer_.expect(')', "the values of an attribute");
    }
  } while (lexer_.accept(','));
  lexer_.expect(')', "the attributes");
  return true;
}

// What stands between the state space and the name.
Parser::Declaration Parser::declaration_head(Space space, std::string_view what) {
  Declaration declaration;
  Variable& variable = declaration.variable;
  variable.space = space;
  variable.alignment = 0;
  bool is_pointer = false;
  while (attribute(&variable.is_managed)) {
  }
  while (lexer_.at(Token::Kind::directive)) {
    const Token token = lexer_.next();
    const std::string_view word = token.text;
    if (word == ".align") {
      if (!lexer_.at(Token::Kind::integer)) lexer_.fail_expected("an alignment");
      const std::uint64_t alignment = lexer_.next().value;
      if (!std::has_single_bit(alignment) || alignment > 4096)
        fail(token.line, fmt::format("{} is not an alignment", alignment));
      if (!is_pointer) variable.alignment = alignment;  // else it is that of what the pointer points to
    } else if (word == ".ptr") {
      is_pointer = true;
    } else if (is_pointer && (space_named(word) || word == ".generic")) {
      continue;
    } else if (word == ".v2" || word == ".v4" || word == ".v8") {
      declaration.vector = word[2] - '0';
    } else if (const Type type = type_named(word.substr(1)); type != Type::none) {
      if (variable.type != Type::none) fail(token.line, fmt::format("{} has two types", what));
      if (size_of(type) == 0) fail(token.line, fmt::format("{} can not be of type {}", what, word));
      variable.type = type;
    } else {
      fail(token.line, fmt::format("'{}' is not known in the declaration of {}", shown(word), what));
    }
    while (attribute(&variable.is_managed)) {
    }
  }
  if (variable.type == Type::none) lexer_.fail_expected(fmt::format("the type of {}", what));
  return declaration;
}

void Parser::declarator(Declaration& declaration, bool name_is_optional) {
  if (!name_is_optional || lexer_.at(Token::Kind::identifier)) declaration.name = lexer_.identifier("the name of a variable");
  declaration.variable.name = declaration.name;
  const int line = lexer_.line();
  while (lexer_.accept('[')) {
    if (declaration.extents.size() == 8) fail(line, "an array has more than 8 dimensions");
    if (lexer_.at(']')) {
      if (!declaration.extents.empty()) lexer_.fail("only the first size of an array may be left out");
      declaration.has_size = false;
      declaration.extents.push_back(1);
    } else {
      const std::int64_t extent = integer_constant("the size of an array");
      if (extent < 0) fail(line, fmt::format("an array can not have {} elements", extent));
      declaration.extents.push_back(static_cast<std::uint64_t>(extent));
    }
    lexer_.expect(']', "the size of an array");
  }
  finish_size(declaration, line);
}

void Parser::finish_size(Declaration& declaration, int line) const {
  Variable& variable = declaration.variable;
  const auto element = static_cast<std::uint64_t>(size_of(variable.type) * declaration.vector);
  if (variable.alignment == 0) variable.alignment = element;
  std::uint64_t bytes = element;
  for (const std::uint64_t extent : declaration.extents) {
    if (extent > most_bytes || bytes > most_bytes / std::max<std::uint64_t>(extent, 1)) {
      fail(line, fmt::format("{} is too large", shown(variable.name)));
    }
    bytes *= std::max<std::uint64_t>(extent, 1);
  }
  const bool is_empty = std::ranges::find(declaration.extents, 0U) != declaration.extents.end();
  variable.bytes = declaration.has_size && !is_empty ? bytes : 0;
}

std::vector<Parser::Declaration> Parser::variable_list(Space space, bool is_extern) {
  const Declaration head = declaration_head(space, "a variable");
  std::vector<Declaration> declarations;
  do {
    Declaration declaration = head;
    declarator(declaration, false);
    declaration.variable.is_extern = is_extern;
    if (lexer_.accept('=')) initial_value(declaration);
    const bool may_lack_size = is_extern || space == Space::parameter;
    if (!declaration.has_size && declaration.variable.initial.empty() && !may_lack_size) {
      lexer_.fail(fmt::format("{} has no size", shown(declaration.variable.name)));
    }
    declarations.push_back(std::move(declaration));
  } while (lexer_.accept(','));
  lexer_.expect(';', "the declaration of a variable");
  return declarations;
}

void Parser::initial_value(Declaration& declaration) {
  const int line = lexer_.line();
  Variable& variable = declaration.variable;
  if (variable.space != Space::global && variable.space != Space::constant) {
    fail(line, fmt::format("only .global and .const variables have initial values, unlike {}", shown(variable.name)));
  }
  if (declaration.vector > 1) declaration.extents.push_back(static_cast<std::uint64_t>(declaration.vector));
  const std::size_t room = most_initial - initial_bytes_;
  const auto check_room = [&] {
    if (variable.bytes > room)
      fail(line, fmt::format("the initial values up to {} are more than {} bytes", shown(variable.name), most_initial));
  };
  check_room();
  std::size_t at = 0;
  if (declaration.extents.empty()) {
    initial_scalar(declaration, at);
  } else {
    if (!lexer_.at('{')) lexer_.fail_expected("'{' of an array's initial values");
    initial_list(declaration, 0, at, declaration.has_size ? variable.bytes : room);
    if (!declaration.has_size) variable.bytes = at;
    check_room();
  }
  variable.initial.resize(variable.bytes);
  initial_bytes_ += variable.bytes;
}

// Fills from `at`, which is left behind the last value, or behind the row that a value is in.
void Parser::initial_list(Declaration& declaration, std::size_t dimension, std::size_t& at, std::size_t end) {
  const Nesting nesting(depth_, lexer_.line());
  const auto scalar = static_cast<std::size_t>(size_of(declaration.variable.type));
  std::size_t row = scalar;
  for (std::size_t i = dimension + 1; i < declaration.extents.size(); ++i) row *= declaration.extents[i];
  const std::size_t begin = at;
  const auto round_up = [&] {
    if (row > 0) at = begin + (at - begin + row - 1) / row * row;
  };
  lexer_.expect('{', "the name");
  while (!lexer_.accept('}')) {
    const bool nested = lexer_.at('{');
    if (nested) {
      if (dimension + 1 >= declaration.extents.size()) lexer_.fail("the initial values are nested more deeply than the array");
      round_up();
    }
    if (at > end || end - at < (nested ? row : scalar))
      lexer_.fail(fmt::format("{} has too many initial values", shown(declaration.variable.name)));
    if (nested) {
      const std::size_t row_end = at + row;
      initial_list(declaration, dimension + 1, at, row_end);
      at = row_end;
    } else {
      initial_scalar(declaration, at);
      at += scalar;
    }
    if (!lexer_.at('}')) lexer_.expect(',', "an initial value");
  }
  if (dimension == 0) round_up();
}

// symbol, symbol+4, generic(symbol)+4, generic(symbol+4)
Symbol Parser::symbol_with_offset(bool& generic) {
  const int line = lexer_.line();
  generic = lexer_.accept("generic");
  if (generic) lexer_.expect('(', "generic");
  Symbol symbol;
  const std::string_view name = lexer_.identifier("the name of a variable or function");
  symbol.name = name;
  needed_.emplace_back(name, line);
  const auto offset = [&] {
    if (!lexer_.at('+') && !lexer_.at('-')) return;
    symbol.offset += integer_constant("the offset from a symbol");
  };
  offset();
  if (generic) {
    lexer_.expect(')', "generic(symbol");
    offset();
  }
  return symbol;
}

bool Parser::initial_symbol(Declaration& declaration, std::size_t at) {
  if (!lexer_.at(Token::Kind::identifier) || lexer_.at("WARP_SZ")) return false;
  const int line = lexer_.line();
  Variable& variable = declaration.variable;
  bool generic = false;
  Symbol symbol = symbol_with_offset(generic);
  const int size = size_of(variable.type);
  if (!is_integer(variable.type) || size < 4)
    fail(line, fmt::format("the address of {} does not fit .{}", shown(symbol.name), name_of(variable.type)));
  variable.relocations.push_back({at, size, std::move(symbol), generic});
  return true;
}

void Parser::initial_scalar(Declaration& declaration, std::size_t at) {
  Variable& variable = declaration.variable;
  const auto size = static_cast<std::size_t>(size_of(variable.type));
  if (variable.initial.size() < at + size) variable.initial.resize(at + size);
  if (initial_symbol(declaration, at)) return;
  const int line = lexer_.line();
  if (!at_constant()) lexer_.fail_expected("an initial value");
  const Constant c = constant();
  if (lexer_.accept('(')) {  // 0xFF00(symbol): one byte of an address
    const int shift = c.bits == 0 ? 64 : std::countr_zero(c.bits) / 8 * 8;
    if (c.kind == Constant::Kind::floating || c.bits >> (shift & 63) != 0xff || shift > 56)
      fail(line, "the mask of an address must be one byte");
    if (size != 1 || !is_integer(variable.type)) fail(line, "one byte of an address must be the value of a byte");
    bool generic = false;
    Symbol symbol = symbol_with_offset(generic);
    lexer_.expect(')', "the symbol of a mask");
    variable.relocations.push_back({at, 1, std::move(symbol), generic, shift});
    return;
  }
  std::uint64_t bits = c.bits;
  const bool is_real = variable.type == Type::f32 || variable.type == Type::f64;
  if (is_real) {
    double value = 0;
    if (c.kind == Constant::Kind::floating) {
      value = c.width == 32 ? static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits)))
                            : std::bit_cast<double>(bits);
    } else {
      value =
          c.kind == Constant::Kind::signed_ ? static_cast<double>(static_cast<std::int64_t>(bits)) : static_cast<double>(bits);
    }
    const bool keeps_bits = c.kind == Constant::Kind::floating && c.width == 8 * size;  // NaNs too
    if (!keeps_bits)
      bits = size == 4 ? std::bit_cast<std::uint32_t>(static_cast<float>(value)) : std::bit_cast<std::uint64_t>(value);
  } else if (!is_integer(variable.type) || (c.kind == Constant::Kind::floating && c.width != 8 * size)) {
    fail(line, fmt::format("a variable of type .{} can not have this initial value", name_of(variable.type)));
  }
  std::memcpy(variable.initial.data() + at, &bits, std::min<std::size_t>(size, sizeof bits));
}

}  // namespace sim::ptx

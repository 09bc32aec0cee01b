// Functions: their heads, directives and statements.
#include <fmt/format.h>

#include <limits>

#include "ptx/parser.h"

namespace sim::ptx {

std::size_t Parser::PlaceHash::operator()(const Place& place) const {
  return std::hash<std::uint64_t>()((static_cast<std::uint64_t>(place.file) << 44) ^
                                    (static_cast<std::uint64_t>(place.line) << 16) ^ static_cast<std::uint64_t>(place.column));
}
std::size_t Parser::LineHash::operator()(const SourceLine& line) const {
  return PlaceHash()({line.file, line.line, line.inlined_at});
}
bool Parser::LineEqual::operator()(const SourceLine& a, const SourceLine& b) const {
  return a.file == b.file && a.line == b.line && a.inlined_at == b.inlined_at;
}

void Parser::function(bool is_entry, bool is_visible) {
  const int line = lexer_.line();
  Context context(module_);
  context_ = &context;
  Function& function = context.function;
  function.is_entry = is_entry;
  function.is_visible = is_visible;
  while (attribute()) {
  }
  if (lexer_.at('(')) function.results = parameters("a result", false);
  const std::string_view name = lexer_.identifier("the name of a function");
  function.name = name;
  if (is_entry && !function.results.empty()) fail(line, fmt::format("{} is a kernel and can not have results", shown(name)));
  if (lexer_.at('(')) function.parameters = parameters("a parameter", false);
  while (function_directive(function)) {
  }
  // Known to its own body, and to what follows.
  if (variables_.contains(name)) fail(line, fmt::format("{} is a variable already", shown(name)));
  if (functions_.emplace(name, module_.functions.size()).second) {
    module_.functions.emplace_back();
    module_.functions.back().name = name;
  }
  if (!lexer_.accept(';')) {
    const int opened = lexer_.line();
    if (!lexer_.accept('{')) lexer_.fail_expected(fmt::format("the body of {}", shown(name)));
    function.is_defined = true;
    body(opened);
    resolve_references();
  }
  keep(std::move(function), line);
  context_ = nullptr;
}

// A declaration and its definition are one: what the definition says counts.
void Parser::keep(Function function, int line) {
  Function& other = module_.functions[functions_.at(function.name)];
  if (other.is_defined && function.is_defined) fail(line, fmt::format("{} is defined twice", shown(function.name)));
  const bool is_visible = other.is_visible || function.is_visible;
  if (!other.is_defined) other = std::move(function);
  other.is_visible = is_visible;
}

std::vector<Variable> Parser::parameters(std::string_view what, bool names_are_optional) {
  std::vector<Variable> list;
  lexer_.expect('(', "the name");
  if (lexer_.accept(')')) return list;
  do {
    if (lexer_.at(".reg")) lexer_.fail("functions with parameters in registers are not supported");
    if (!lexer_.accept(".param")) lexer_.fail_expected(".param");
    const int line = lexer_.line();
    Declaration declaration = declaration_head(Space::parameter, what);
    declarator(declaration, names_are_optional);
    const std::string_view name = declaration.name;
    if (!names_are_optional && name != "_" && !context().scopes.declare_variable(name, context().scopes.unique(name, false))) {
      fail(line, fmt::format("{} is declared twice", shown(name)));
    }
    list.push_back(std::move(declaration.variable));
  } while (lexer_.accept(','));
  lexer_.expect(')', what);
  return list;
}

void Parser::three(int (&numbers)[3], std::string_view what) {
  constexpr int most = std::numeric_limits<int>::max();
  for (int& number : numbers) number = 1;
  for (int i = 0; i < 3; ++i) {
    numbers[i] = integer(what, 1, most);
    if (!lexer_.accept(',')) return;
  }
  lexer_.fail(fmt::format("{} has more than three numbers", what));
}

bool Parser::function_directive(Function& function) {
  constexpr int most = std::numeric_limits<int>::max();
  if (!lexer_.at(Token::Kind::directive)) return false;
  if (attribute()) return true;
  if (lexer_.at(".loc")) {
    location();
    return true;
  }
  const Token token = lexer_.next();
  const std::string_view word = token.text;
  if (word == ".maxntid") {
    three(function.max_threads, word);
  } else if (word == ".reqntid") {
    three(function.required_threads, word);
  } else if (word == ".reqnctapercluster") {
    three(function.required_cluster, word);
  } else if (word == ".minnctapersm") {
    function.min_blocks = integer(word, 0, most);
  } else if (word == ".maxnreg") {
    function.max_registers = integer(word, 1, most);
  } else if (word == ".explicitcluster" || word == ".blocksareclusters") {
    function.is_cluster = true;
  } else if (word == ".maxnctapersm" || word == ".maxclusterrank" || word == ".local_maxnreg" || word == ".abi_preserve" ||
             word == ".abi_preserve_control") {  // these bind only the compiler and the launch of clusters
    integer(word, 0, most);
  } else if (word == ".pragma") {
    do lexer_.string("the text of .pragma");
    while (lexer_.accept(','));
    lexer_.expect(';', ".pragma");
  } else if (word != ".noreturn") {
    fail(token.line, fmt::format("'{}' is not a directive that a function can have", shown(word)));
  }
  return true;
}

void Parser::body(int opened) {
  while (true) {
    if (lexer_.at(Token::Kind::end)) {
      lexer_.fail(fmt::format("the text ends within {}, whose body begins at line {}", shown(context().function.name), opened));
    }
    if (lexer_.accept('{')) {
      context().scopes.open();
    } else if (lexer_.accept('}')) {
      if (!context().scopes.close()) return;
    } else {
      statement();
    }
  }
}

void Parser::statement() {
  if (lexer_.accept(';')) return;
  if (lexer_.at(Token::Kind::directive)) return scoped_directive();
  if (lexer_.at(Token::Kind::identifier) && lexer_.followed_by(':')) {
    const Token name = lexer_.next();
    lexer_.skip();
    return label(name.text, name.line);
  }
  instruction();
}

std::string_view Parser::local_name(std::string_view name) { return context().scopes.unique(name, is_declared(name)); }

void Parser::scoped_directive() {
  const int line = lexer_.line();
  if (lexer_.at(".loc")) return location();
  if (lexer_.accept(".reg")) return registers();
  if (lexer_.accept(".pragma")) {
    do lexer_.string("the text of .pragma");
    while (lexer_.accept(','));
    return lexer_.expect(';', ".pragma");
  }
  if (lexer_.accept(".file")) return file();
  const bool is_extern = lexer_.accept(".extern");
  const std::optional<Space> space = space_named(lexer_.peek().text);
  if (!space) lexer_.fail(fmt::format("'{}' is not a directive that can stand in a function", shown(lexer_.peek().text)));
  lexer_.skip();
  for (auto& [variable, name, has_size, extents, vector] : variable_list(*space, is_extern)) {
    const bool of_module = *space == Space::global || *space == Space::constant;
    std::string_view unique = local_name(name);
    if (of_module) unique = context().scopes.keep(fmt::format("{}@{}", unique, context().function.name));
    if (!context().scopes.declare_variable(name, unique)) fail(line, fmt::format("{} is declared twice", shown(name)));
    variable.name = unique;
    if (of_module) {
      add_variable(std::move(variable), unique, "", line);
    } else {
      context().function.variables.push_back(std::move(variable));
    }
  }
}

// .reg .b32 %r<10>, a, b; .reg .v4 .f32 v;
void Parser::registers() {
  const int line = lexer_.line();
  Type type = Type::none;
  int elements = 1;
  if (lexer_.at(".v2") || lexer_.at(".v4")) elements = lexer_.next().text[2] - '0';
  if (lexer_.at(Token::Kind::directive)) type = type_named(lexer_.peek().text.substr(1));
  if (type == Type::none) lexer_.fail_expected("the type of a register");
  lexer_.skip();
  if (size_of(type) == 0 && type != Type::pred) fail(line, fmt::format("a register can not be of type .{}", name_of(type)));
  do {
    const std::string_view name = lexer_.identifier("the name of a register");
    bool is_new = false;
    if (lexer_.accept('<')) {
      const auto count = static_cast<std::uint64_t>(integer("the number of registers", 0, std::numeric_limits<int>::max()));
      lexer_.expect('>', "the number of registers");
      if (elements > 1) lexer_.fail("a range of vector registers is not supported");
      is_new = context().scopes.declare_registers(name, count, type);
    } else {
      is_new = context().scopes.declare_register(name, type, elements);
    }
    if (!is_new) fail(line, fmt::format("{} is declared twice", shown(name)));
  } while (lexer_.accept(','));
  lexer_.expect(';', "the declaration of a register");
}

// .loc 2 549 1, function_name $L__info_string0, inlined_at 1 21 3
void Parser::location() {
  constexpr int most = std::numeric_limits<int>::max();
  lexer_.skip();
  const auto place = [&] {
    const int file = integer("the file of a line", 0, most), line = integer("a line", 0, most);
    return Place{file, line, lexer_.at(Token::Kind::integer) ? integer("a column", 0, most) : 0};
  };
  const Place here = place();
  SourceLine source{here.file, here.line, -1};
  while (lexer_.accept(',')) {
    if (lexer_.accept("function_name")) {
      lexer_.identifier("the label of a function's name");
      if (lexer_.at('+') || lexer_.at('-')) integer_constant("the offset from a label");
    } else if (lexer_.accept("inlined_at")) {
      const Place caller = place();
      if (context_ == nullptr) continue;
      const auto found = context().places.find(caller);
      if (found != context().places.end()) {
        source.inlined_at = found->second;
      } else {
        source.inlined_at = static_cast<int>(context().function.lines.size());
        context().function.lines.push_back({caller.file, caller.line, -1});
        context().places.emplace(caller, source.inlined_at);
      }
    } else {
      lexer_.fail_expected("function_name or inlined_at");
    }
  }
  if (context_ == nullptr) return;
  const auto [entry, is_new] = context().line_indices.emplace(source, static_cast<int>(context().function.lines.size()));
  if (is_new) context().function.lines.push_back(source);
  context().line = entry->second;
  context().places[here] = entry->second;
}

void Parser::label(std::string_view name, int line) {
  const std::string_view unique = local_name(name);
  if (!context().scopes.declare_label(name, unique)) fail(line, fmt::format("label {} is declared twice", shown(name)));
  if (lexer_.accept(".callprototype")) return prototype(unique);
  if (lexer_.accept(".branchtargets")) return branch_targets(unique);
  if (lexer_.accept(".calltargets")) return call_targets(unique);
  context().function.labels.emplace_back(unique, static_cast<int>(context().function.body.size()));
}

// p: .callprototype (.param .b32 _) _ (.param .b64 _, .param .b32 _);
void Parser::prototype(std::string_view label) {
  std::vector<Variable> variables;
  if (lexer_.at('(')) variables = parameters("a result", true);
  const auto results = static_cast<int>(variables.size());
  lexer_.identifier("'_' of a prototype");
  if (lexer_.at('(')) {
    for (Variable& variable : parameters("a parameter", true)) variables.push_back(std::move(variable));
  }
  while (!lexer_.at(';')) {
    if (lexer_.accept(".noreturn")) continue;
    if (!lexer_.accept(".abi_preserve") && !lexer_.accept(".abi_preserve_control"))
      lexer_.fail_expected("';' after a prototype");
    integer("the number of registers", 0, std::numeric_limits<int>::max());
  }
  lexer_.skip();
  context().function.prototypes.emplace_back(label, std::move(variables));
  context().function.prototype_results.push_back(results);
}

void Parser::branch_targets(std::string_view label) {
  const int line = lexer_.line();
  std::vector<std::string_view> names;
  do names.push_back(lexer_.identifier("a label"));
  while (lexer_.accept(','));
  lexer_.expect(';', ".branchtargets");
  auto& list = context().function.branch_targets.emplace_back(label, std::move(names)).second;
  for (std::string_view& name : list) context().references.push_back({context().scopes.current(), &name, line});
}

// Those who call through the list need only the functions' prototype, which they have in common.
void Parser::call_targets(std::string_view label) {
  const int line = lexer_.line();
  std::vector<std::string_view> names;
  do {
    names.push_back(lexer_.identifier("a function"));
    const auto found = functions_.find(names.back());
    if (found == functions_.end()) fail(line, fmt::format("{} is not declared", shown(names.back())));
  } while (lexer_.accept(','));
  lexer_.expect(';', ".calltargets");
  const std::size_t first = functions_.at(names[0]);
  const Function& function = names[0] == context().function.name ? context().function : module_.functions[first];
  std::vector<Variable> variables = function.results;
  variables.insert(variables.end(), function.parameters.begin(), function.parameters.end());
  context().function.prototypes.emplace_back(label, std::move(variables));
  context().function.prototype_results.push_back(static_cast<int>(function.results.size()));
}

void Parser::resolve_references() {
  for (const Reference& reference : context().references) {
    const std::string_view label = context().scopes.label(reference.scope, *reference.name);
    if (!label.empty())
      *reference.name = label;
    else if (!is_declared(*reference.name))
      needed_.emplace_back(*reference.name, reference.line);
  }
}

}  // namespace sim::ptx

#include "ptx/parser.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>

namespace sim::ptx {

Module parse(std::string text) {
  while (!text.empty() && text.back() == '\0') text.pop_back();  // as fat binaries have it
  Module module;
  module.text = std::move(text);
  Parser(module).parse();
  return module;
}

void Parser::parse() {
  while (!lexer_.at(Token::Kind::end)) module_statement();
  if (module_.version_major == 0) lexer_.fail("there is no .version");
  if (module_.target.empty()) lexer_.fail("there is no .target");
  check_names();
}

void Parser::module_statement() {
  if (lexer_.accept(';')) return;
  if (!lexer_.at(Token::Kind::directive)) lexer_.fail_expected("a directive");
  const Token first = lexer_.peek();
  if (lexer_.accept(".version")) return version();
  if (module_.version_major == 0) lexer_.fail("PTX must begin with .version");
  if (lexer_.accept(".target")) return target();
  if (lexer_.accept(".address_size")) {
    module_.address_size = integer("the address size", 32, 64);
    if (module_.address_size != 64) fail(first.line, "only 64-bit PTX can be run");
    return;
  }
  if (lexer_.accept(".file")) return file();
  if (lexer_.accept(".section")) return section();
  if (lexer_.accept(".alias")) return alias();
  if (lexer_.at(".loc")) return location();
  if (lexer_.accept(".pragma")) {
    do lexer_.string("the text of .pragma");
    while (lexer_.accept(','));
    return lexer_.expect(';', ".pragma");
  }
  std::string_view linkage;
  if (lexer_.at(".visible") || lexer_.at(".weak") || lexer_.at(".extern") || lexer_.at(".common")) linkage = lexer_.next().text;
  if (module_.target.empty()) lexer_.fail("there is no .target before this");
  if (lexer_.accept(".entry")) return function(true, true);
  if (lexer_.accept(".func")) return function(false, !linkage.empty());
  const std::optional<Space> space = space_named(lexer_.peek().text);
  if (!space || *space == Space::parameter || *space == Space::none) {
    lexer_.fail(fmt::format("'{}' is not a directive that can stand here", shown(lexer_.peek().text)));
  }
  lexer_.skip();
  for (Declaration& declaration : variable_list(*space, linkage == ".extern")) {
    declaration.variable.is_visible = !linkage.empty();
    add_variable(std::move(declaration.variable), declaration.name, linkage, first.line);
  }
}

void Parser::version() {
  const Token token = lexer_.next();
  const std::size_t point = token.text.find('.');
  const auto number = [](std::string_view digits) {
    int value = -1;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return error == std::errc() && end == digits.data() + digits.size() ? value : -1;
  };
  if (token.kind != Token::Kind::floating || token.width != 64 || point == std::string_view::npos ||
      number(token.text.substr(0, point)) < 1 || number(token.text.substr(point + 1)) < 0) {
    fail(token.line, fmt::format("'{}' is not a version", shown(token.text)));
  }
  module_.version_major = number(token.text.substr(0, point));
  module_.version_minor = number(token.text.substr(point + 1));
}

void Parser::target() {
  const std::string_view name = lexer_.identifier("the name of a target");
  if (!name.starts_with("sm_")) fail(lexer_.line(), fmt::format("'{}' is not a target that can be run", shown(name)));
  module_.target = name;
  while (lexer_.accept(',')) lexer_.identifier("an option of .target");
}

int Parser::integer(std::string_view what, int lowest, int highest) {
  if (!lexer_.at(Token::Kind::integer)) lexer_.fail_expected(what);
  const Token token = lexer_.next();
  if (token.value > static_cast<std::uint64_t>(highest) || static_cast<int>(token.value) < lowest) {
    fail(token.line, fmt::format("{} can not be {}", what, shown(token.text)));
  }
  return static_cast<int>(token.value);
}

void Parser::file() {
  constexpr int most = 99999;
  const auto number = static_cast<std::size_t>(integer("the number of a file", 0, most));
  if (module_.files.size() <= number) module_.files.resize(number + 1);
  std::string& name = module_.files[number];
  name = lexer_.string("the name of a file");
  if (lexer_.at(Token::Kind::text)) {  // clang writes the folder apart
    const std::string_view file = lexer_.next().text;
    name = file.starts_with('/') ? std::string(file) : name + '/' + std::string(file);
  }
  while (lexer_.accept(',')) {  // its time and size
    if (!lexer_.at(Token::Kind::integer)) lexer_.fail_expected("a number");
    lexer_.skip();
  }
}

void Parser::section() {
  if (!lexer_.at(Token::Kind::directive) && !lexer_.at(Token::Kind::identifier)) lexer_.fail_expected("the name of a section");
  const std::string_view name = lexer_.next().text;
  if (!lexer_.at('{')) lexer_.fail_expected(fmt::format("'{{' after {}", shown(name)));
  lexer_.skip_braces();
}

void Parser::alias() {
  const int line = lexer_.line();
  const std::string_view name = lexer_.identifier("the alias"),
                         function = lexer_.at(',') ? (lexer_.skip(), lexer_.identifier("a function")) : "";
  if (function.empty()) lexer_.fail_expected("',' and a function");
  lexer_.expect(';', ".alias");
  needed_.emplace_back(function, line);
  module_.aliases.emplace_back(name, function);
}

void Parser::add_variable(Variable variable, std::string_view name, std::string_view linkage, int line) {
  if (functions_.contains(name)) fail(line, fmt::format("{} is a function already", shown(name)));
  const auto [found, is_new] = variables_.emplace(name, module_.variables.size());
  if (is_new) {
    module_.variables.push_back(std::move(variable));
    return;
  }
  Variable& other = module_.variables[found->second];
  if (other.space != variable.space) fail(line, fmt::format("{} was declared in another state space", shown(name)));
  if (linkage == ".extern") {
    other.alignment = std::max(other.alignment, variable.alignment);
    if (other.is_extern) other.bytes = std::max(other.bytes, variable.bytes);
  } else if (other.is_extern || linkage == ".common") {
    other = std::move(variable);
  } else {
    fail(line, fmt::format("{} is defined twice", shown(name)));
  }
}

void Parser::check_names() const {
  for (const auto& [name, line] : needed_) {
    if (is_declared(name)) continue;
    bool is_alias = false;
    for (const auto& alias : module_.aliases) is_alias |= alias.first == name;
    if (!is_alias) fail(line, fmt::format("{} is not declared", shown(name)));
  }
}

}  // namespace sim::ptx

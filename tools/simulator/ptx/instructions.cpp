// Instructions and their operands.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ptx/parser.h"

namespace sim::ptx {
namespace {

// PTX ISA, "Special Registers", without % and suffix, sorted.
constexpr std::array<std::string_view, 43> specials = {"aggr_smem_size",
                                                       "clock",
                                                       "clock64",
                                                       "clock_hi",
                                                       "cluster_ctaid",
                                                       "cluster_ctarank",
                                                       "cluster_nctaid",
                                                       "cluster_nctarank",
                                                       "clusterid",
                                                       "ctaid",
                                                       "current_graph_exec",
                                                       "dynamic_smem_size",
                                                       "globaltimer",
                                                       "globaltimer_hi",
                                                       "globaltimer_lo",
                                                       "gridid",
                                                       "is_explicit_cluster",
                                                       "laneid",
                                                       "lanemask_eq",
                                                       "lanemask_ge",
                                                       "lanemask_gt",
                                                       "lanemask_le",
                                                       "lanemask_lt",
                                                       "nclusterid",
                                                       "nctaid",
                                                       "nsmid",
                                                       "ntid",
                                                       "nwarpid",
                                                       "pm0",
                                                       "pm1",
                                                       "pm2",
                                                       "pm3",
                                                       "pm4",
                                                       "pm5",
                                                       "pm6",
                                                       "pm7",
                                                       "reserved_smem_offset_begin",
                                                       "reserved_smem_offset_cap",
                                                       "reserved_smem_offset_end",
                                                       "smid",
                                                       "tid",
                                                       "total_smem_size",
                                                       "warpid"};
static_assert(std::ranges::is_sorted(specials));

bool is_special(std::string_view name) {
  if (std::ranges::binary_search(specials, name)) return true;
  const auto numbered = [&](std::string_view prefix, std::string_view suffix, int count) {
    for (int i = 0; i < count; ++i) {
      if (name == fmt::format("{}{}{}", prefix, i, suffix)) return true;
    }
    return false;
  };
  return (name.starts_with("envreg") && numbered("envreg", "", 32)) || (name.starts_with("pm") && numbered("pm", "_64", 8)) ||
         (name.starts_with("reserved_smem_offset_") && numbered("reserved_smem_offset_", "", 2));
}

// Which element a suffix .x or .r names, or -1.
int element_of(std::string_view suffix) {
  if (suffix.size() != 2) return -1;
  for (const std::string_view names : {"xyzw", "rgba"}) {
    if (const std::size_t i = names.find(suffix[1]); i != std::string_view::npos) return static_cast<int>(i);
  }
  return -1;
}

// b0 to b3, h0, h1, and the several of the SIMD video instructions: b3210, h10.
bool is_selector(std::string_view name) {
  return name.size() >= 2 && name.size() <= 5 && (name[0] == 'b' || name[0] == 'h') &&
         std::ranges::all_of(name.substr(1), [](char c) { return c >= '0' && c <= '7'; });
}

Operand symbol(std::string_view name) {
  Operand operand;
  operand.kind = Operand::Kind::symbol;
  operand.name = name;
  return operand;
}

Operand of_register(int index) {
  Operand operand;
  operand.kind = Operand::Kind::register_;
  operand.reg = index;
  return operand;
}

}  // namespace

void Parser::instruction() {
  Instruction instruction;
  instruction.ptx_line = lexer_.line();
  instruction.line = context().line;
  if (lexer_.at('@')) guard(instruction);
  if (!lexer_.at(Token::Kind::identifier)) lexer_.fail_expected("an instruction");
  const int line = lexer_.line();
  instruction.full = lexer_.opcode();
  if (lexer_.at(Token::Kind::directive)) {  // add .s32 is add.s32
    std::string joined(instruction.full);
    while (lexer_.at(Token::Kind::directive)) joined += lexer_.next().text;
    instruction.full = context().scopes.keep(std::move(joined));
  }
  std::string_view rest = instruction.full;
  const auto word = [&] {
    const std::size_t point = std::min(rest.find('.'), rest.size());
    const std::string_view first = rest.substr(0, point);
    if (first.empty()) fail(line, fmt::format("'{}' is not an instruction", shown(instruction.full)));
    rest = rest.substr(point);
    return first;
  };
  instruction.opcode = word();
  instruction.modifiers.reserve(static_cast<std::size_t>(std::ranges::count(rest, '.')));
  while (!rest.empty()) {
    rest.remove_prefix(1);
    instruction.modifiers.push_back(word());
  }
  pending_.clear();
  const bool is_call = instruction.opcode == "call";
  if (!lexer_.at(';')) {
    do instruction.operands.push_back(operand(is_call));
    while (lexer_.accept(','));
  }
  if (!lexer_.accept(';')) lexer_.fail_expected(fmt::format("';' after {}", shown(instruction.full)));
  if (!pending_.empty()) note_references(instruction.operands, line);
  context().function.body.push_back(std::move(instruction));
}

void Parser::guard(Instruction& instruction) {
  lexer_.skip();
  instruction.guard_negated = lexer_.accept('!');
  const int line = lexer_.line();
  const std::string_view name = lexer_.identifier("the predicate of an instruction");
  Function& function = context().function;
  const Scopes::Entity* entity = context().scopes.find(name, function.registers);
  if (entity == nullptr || entity->kind != Scopes::Entity::Kind::register_ || entity->type != Type::pred) {
    fail(line, fmt::format("{} is not a predicate", shown(name)));
  }
  instruction.guard = entity->index;
}

// An operand's place does not change any more: neither its list nor the instruction's is added to, and both are moved whole.
void Parser::note_references(std::vector<Operand>& operands, int line) {
  for (Operand& operand : operands) {
    if (std::ranges::find(pending_, operand.name.data()) != pending_.end()) {
      context().references.push_back({context().scopes.current(), &operand.name, line});
    }
    if (!operand.elements.empty()) note_references(operand.elements, line);
  }
}

Operand Parser::operand(bool is_call) {
  Operand first = simple_operand(is_call);
  if (!lexer_.at('|') || (first.kind != Operand::Kind::register_ && first.kind != Operand::Kind::sink)) return first;
  lexer_.skip();
  Operand pair;
  pair.kind = Operand::Kind::pair;
  pair.elements.push_back(std::move(first));
  pair.elements.push_back(simple_operand(false));
  return pair;
}

Operand Parser::simple_operand(bool is_call) {
  const Nesting nesting(depth_, lexer_.line());
  if (lexer_.at('[')) return address();
  if (lexer_.at('{')) return vector();
  if (is_call && lexer_.at('(')) return list();
  if (lexer_.at('!') && !lexer_.followed_by('(')) {
    const Token mark = lexer_.next();
    if (!lexer_.at(Token::Kind::identifier) || lexer_.at("WARP_SZ")) {
      const Constant c = constant_unary();
      Operand operand;
      operand.kind = Operand::Kind::integer;
      operand.value = c.bits == 0;
      return operand;
    }
    Operand operand = named();
    if (operand.kind != Operand::Kind::register_) fail(mark.line, "'!' must stand before a predicate");
    operand.negated = true;
    return operand;
  }
  if (at_constant()) return immediate();
  if (lexer_.at(Token::Kind::identifier)) return named();
  lexer_.fail_expected("an operand");
}

Operand Parser::immediate() {
  const Constant c = constant();
  Operand operand;
  operand.kind = c.kind == Constant::Kind::floating ? Operand::Kind::floating : Operand::Kind::integer;
  operand.width = c.width;
  operand.value = static_cast<std::int64_t>(c.bits);
  return operand;
}

Operand Parser::named() {
  const Token token = lexer_.next();
  const std::string_view name = token.text;
  if (name == "_") return {};
  const Scopes::Entity* entity = context().scopes.find(name, context().function.registers);
  using Kind = Scopes::Entity::Kind;
  if (entity != nullptr && entity->kind == Kind::register_) {
    Operand operand = of_register(entity->index);
    if (lexer_.at(Token::Kind::directive)) {
      operand.name = lexer_.next().text.substr(1);
      if (!is_selector(operand.name)) fail(token.line, fmt::format("{} has no part .{}", shown(name), shown(operand.name)));
    }
    return operand;
  }
  if (entity != nullptr && entity->kind == Kind::vector_register) {
    if (lexer_.at(Token::Kind::directive)) {
      const int element = element_of(lexer_.next().text);
      if (element < 0 || element >= entity->size)
        fail(token.line, fmt::format("{} has {} elements", shown(name), entity->size));
      return of_register(entity->index + element);
    }
    Operand operand;
    operand.kind = Operand::Kind::vector;
    for (int i = 0; i < entity->size; ++i) operand.elements.push_back(of_register(entity->index + i));
    return operand;
  }
  if (entity == nullptr && name[0] == '%') {
    Operand operand;
    operand.kind = Operand::Kind::special;
    operand.name = special(name);
    return operand;
  }
  Operand operand = symbol(entity == nullptr ? name : entity->unique);
  if (entity == nullptr) pending_.push_back(name.data());
  if (lexer_.at('+') || lexer_.at('-')) operand.value = integer_constant("the offset from a symbol");
  if (lexer_.at('[')) lexer_.fail(fmt::format("{}[index] is not supported: write an address", shown(name)));
  return operand;
}

std::string_view Parser::special(std::string_view name) {
  const int line = lexer_.line();
  if (!is_special(name.substr(1))) fail(line, fmt::format("register {} is not declared", shown(name)));
  if (!lexer_.at(Token::Kind::directive)) return name.substr(1);
  const Token suffix = lexer_.next();
  const int element = element_of(suffix.text);
  if (element < 0) fail(line, fmt::format("{} has no part {}", shown(name), shown(suffix.text)));
  if (suffix.text.data() == name.data() + name.size() && "xyzw"[element] == suffix.text[1])
    return {name.data() + 1, name.size() + 1};
  return context().scopes.keep(fmt::format("{}.{}", name.substr(1), "xyzw"[element]));
}

// [%rd1+4], [symbol+-4], [4], [tensor, {%r1, %r2}]
Operand Parser::address() {
  const int line = lexer_.line();
  lexer_.skip();
  Operand operand;
  operand.kind = Operand::Kind::address;
  if (lexer_.at(Token::Kind::identifier) && !lexer_.at("WARP_SZ")) {
    Operand base = named();
    if ((base.kind != Operand::Kind::register_ && base.kind != Operand::Kind::symbol) ||
        (base.reg >= 0 && !base.name.empty())) {
      fail(line, "an address begins with a register, a symbol or a number");
    }
    operand.reg = base.reg;
    operand.name = base.name;
    operand.value = base.value;
    if (lexer_.at('+') || lexer_.at('-')) operand.value += integer_constant("the offset of an address");
  } else {
    operand.value = integer_constant("an address");
  }
  if (lexer_.at(',')) {
    Operand list;
    list.kind = Operand::Kind::list;
    list.elements.push_back(std::move(operand));
    while (lexer_.accept(',')) list.elements.push_back(simple_operand(false));
    operand = std::move(list);
  }
  lexer_.expect(']', "an address");
  return operand;
}

Operand Parser::vector() {
  lexer_.skip();
  Operand operand;
  operand.kind = Operand::Kind::vector;
  if (lexer_.accept('}')) return operand;
  do operand.elements.push_back(simple_operand(false));
  while (lexer_.accept(','));
  lexer_.expect('}', "the elements of a vector");
  return operand;
}

Operand Parser::list() {
  lexer_.skip();
  Operand operand;
  operand.kind = Operand::Kind::list;
  if (lexer_.accept(')')) return operand;
  do operand.elements.push_back(simple_operand(false));
  while (lexer_.accept(','));
  lexer_.expect(')', "the operands of a call");
  return operand;
}

}  // namespace sim::ptx

#include <fmt/format.h>

#include <array>
#include <bit>

#include "ptx/parser.h"

namespace sim::ptx {
namespace {

using Kind = Constant::Kind;

double as_double(const Constant& c) {
  switch (c.kind) {
    case Kind::signed_:
      return static_cast<double>(static_cast<std::int64_t>(c.bits));
    case Kind::unsigned_:
      return static_cast<double>(c.bits);
    case Kind::floating:
      break;
  }
  return c.width == 32 ? static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(c.bits)))
                       : std::bit_cast<double>(c.bits);
}

Constant of_double(double value) { return {Kind::floating, std::bit_cast<std::uint64_t>(value), 64}; }
bool truth(const Constant& c) { return c.kind == Kind::floating ? as_double(c) != 0 : c.bits != 0; }

struct Operator {
  std::string_view text;
  int precedence;
};
constexpr std::array operators{
    Operator{"||", 1}, Operator{"&&", 2}, Operator{"|", 3},  Operator{"^", 4},  Operator{"&", 5},  Operator{"==", 6},
    Operator{"!=", 6}, Operator{"<", 7},  Operator{"<=", 7}, Operator{">", 7},  Operator{">=", 7}, Operator{"<<", 8},
    Operator{">>", 8}, Operator{"+", 9},  Operator{"-", 9},  Operator{"*", 10}, Operator{"/", 10}, Operator{"%", 10},
};

template <class T>
bool compare(std::string_view op, T a, T b, bool& result) {
  if (op == "==")
    result = a == b;
  else if (op == "!=")
    result = a != b;
  else if (op == "<")
    result = a < b;
  else if (op == "<=")
    result = a <= b;
  else if (op == ">")
    result = a > b;
  else if (op == ">=")
    result = a >= b;
  else
    return false;
  return true;
}

Constant floating_result(std::string_view op, double a, double b, int line) {
  bool result = false;
  if (compare(op, a, b, result)) return {Kind::signed_, result, 0};
  if (op == "+") return of_double(a + b);
  if (op == "-") return of_double(a - b);
  if (op == "*") return of_double(a * b);
  if (op == "/" && b != 0) return of_double(a / b);
  fail(line, fmt::format("'{}' can not be applied to these floating-point constants", op));
}

// Arithmetic wraps at 64 bits; an operation with an unsigned operand is unsigned, but for shifts, which are as their left
// operand.
Constant result_of(std::string_view op, const Constant& a, const Constant& b, int line) {
  if (op == "&&") return {Kind::signed_, truth(a) && truth(b), 0};
  if (op == "||") return {Kind::signed_, truth(a) || truth(b), 0};
  if (a.kind == Kind::floating || b.kind == Kind::floating) return floating_result(op, as_double(a), as_double(b), line);
  if (op == "<<") return {a.kind, b.bits < 64 ? a.bits << b.bits : 0, 0};
  if (op == ">>") {
    const auto value = static_cast<std::int64_t>(a.bits);
    if (a.kind == Kind::signed_) return {a.kind, static_cast<std::uint64_t>(value >> std::min<std::uint64_t>(b.bits, 63)), 0};
    return {a.kind, b.bits < 64 ? a.bits >> b.bits : 0, 0};
  }
  const bool is_unsigned = a.kind == Kind::unsigned_ || b.kind == Kind::unsigned_;
  const Kind kind = is_unsigned ? Kind::unsigned_ : Kind::signed_;
  const auto x = static_cast<std::int64_t>(a.bits), y = static_cast<std::int64_t>(b.bits);
  bool result = false;
  if (is_unsigned ? compare(op, a.bits, b.bits, result) : compare(op, x, y, result)) return {Kind::signed_, result, 0};
  if (op == "|") return {kind, a.bits | b.bits, 0};
  if (op == "^") return {kind, a.bits ^ b.bits, 0};
  if (op == "&") return {kind, a.bits & b.bits, 0};
  if (op == "+") return {kind, a.bits + b.bits, 0};
  if (op == "-") return {kind, a.bits - b.bits, 0};
  if (op == "*") return {kind, a.bits * b.bits, 0};
  if (b.bits == 0) fail(line, "division by zero in a constant expression");
  const bool remainder = op == "%";
  if (is_unsigned) return {kind, remainder ? a.bits % b.bits : a.bits / b.bits, 0};
  if (y == -1) return {kind, remainder ? 0 : 0 - a.bits, 0};  // the least number's quotient wraps
  return {kind, static_cast<std::uint64_t>(remainder ? x % y : x / y), 0};
}

}  // namespace

bool Parser::at_constant() const {
  const Token& token = lexer_.peek();
  if (token.kind == Token::Kind::integer || token.kind == Token::Kind::floating) return true;
  if (token.kind == Token::Kind::identifier) return token.text == "WARP_SZ";
  return token.is('-') || token.is('+') || token.is('~') || token.is('!') || token.is('(');
}

Constant Parser::constant(int lowest_precedence) {
  const Nesting nesting(depth_, lexer_.line());
  Constant left = constant_unary();
  while (lexer_.at(Token::Kind::punctuation)) {
    const Token token = lexer_.peek();
    if (token.is('?') && lowest_precedence == 0) {
      lexer_.skip();
      const Constant yes = constant();
      lexer_.expect(':', "the second part of a conditional expression");
      const Constant no = constant();
      left = truth(left) ? yes : no;
      continue;
    }
    if (token.is(',') || token.is(';') || token.is(']')) break;
    const Operator* found = nullptr;
    for (const Operator& op : operators) {
      if (op.text == token.text) found = &op;
    }
    if (found == nullptr || found->precedence < lowest_precedence) break;
    lexer_.skip();
    left = result_of(token.text, left, constant(found->precedence + 1), token.line);
  }
  return left;
}

Constant Parser::constant_unary() {
  const Nesting nesting(depth_, lexer_.line());
  const Token token = lexer_.next();
  if (token.kind == Token::Kind::integer) return {token.is_unsigned ? Kind::unsigned_ : Kind::signed_, token.value, 0};
  if (token.kind == Token::Kind::floating) return {Kind::floating, token.value, token.width};
  if (token.is("WARP_SZ")) return {Kind::signed_, 32, 0};
  if (token.is('+')) return constant_unary();
  if (token.is('-')) {
    Constant c = constant_unary();
    if (c.kind == Kind::floating) {
      c.bits ^= std::uint64_t{1} << (c.width - 1);
      return c;
    }
    return {c.kind, 0 - c.bits, 0};
  }
  if (token.is('!')) return {Kind::signed_, !truth(constant_unary()), 0};
  if (token.is('~')) {
    const Constant c = constant_unary();
    if (c.kind == Kind::floating) fail(token.line, "'~' can not be applied to a floating-point constant");
    return {c.kind, ~c.bits, 0};
  }
  if (token.is('(')) {
    if (lexer_.at(".s64") || lexer_.at(".u64")) {
      const Kind kind = lexer_.next().text == ".s64" ? Kind::signed_ : Kind::unsigned_;
      lexer_.expect(')', "the type of a cast");
      const Constant c = constant_unary();
      if (c.kind != Kind::floating) return {kind, c.bits, 0};
      const double value = as_double(c);
      if (!(value > -9223372036854775808.0 && value < 9223372036854775808.0))
        fail(token.line, "the constant does not fit 64 bits");
      return {kind, static_cast<std::uint64_t>(static_cast<std::int64_t>(value)), 0};
    }
    const Constant c = constant();
    lexer_.expect(')', "an expression in parentheses");
    return c;
  }
  if (token.kind == Token::Kind::end) fail(token.line, "the text ends where a constant is expected");
  fail(token.line, fmt::format("expected a constant, not '{}'", shown(token.text)));
}

std::int64_t Parser::integer_constant(std::string_view what) {
  const int line = lexer_.line();
  if (!at_constant()) lexer_.fail_expected(what);
  const Constant c = constant();
  if (c.kind == Kind::floating) fail(line, fmt::format("{} must be an integer", what));
  return static_cast<std::int64_t>(c.bits);
}

}  // namespace sim::ptx

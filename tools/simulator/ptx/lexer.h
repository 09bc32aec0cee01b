// The words of PTX text. Comments are skipped; whatever is not a word of PTX is an Error with its line.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace sim::ptx {

/// Throws Error "PTX line N: what".
[[noreturn]] void fail(int line, std::string_view what);

/// `text` as it can be shown in a message: cut and without control characters.
std::string shown(std::string_view text);

struct Token {
  enum class Kind : std::uint8_t {
    end,
    identifier,   // %r1, $L__BB0_1, foo, _
    directive,    // .global, .L2::128B; text has the dot
    integer,      // value; `is_unsigned` by suffix or size
    floating,     // value holds the bits, `width` 32 or 64
    text,         // "…"; text has no quotes
    punctuation,  // one character, or two of a comparison, a shift or a logical operator
  };
  Kind kind = Kind::end;
  bool is_unsigned = false;
  std::uint8_t width = 0;
  int line = 1;
  std::uint64_t value = 0;
  std::string_view text;

  bool is(char c) const { return kind == Kind::punctuation && text.size() == 1 && text[0] == c; }
  bool is(std::string_view word) const { return text == word && kind != Kind::text && kind != Kind::end; }
};

class Lexer {
 public:
  explicit Lexer(std::string_view text);

  const Token& peek() const { return token_; }
  int line() const { return token_.line; }
  Token next();
  void skip() { advance(); }

  bool at(char c) const { return token_.is(c); }
  bool at(std::string_view word) const { return token_.is(word); }
  bool at(Token::Kind kind) const { return token_.kind == kind; }
  bool accept(char c);
  bool accept(std::string_view word);
  void expect(char c, std::string_view after);  // `after` names what comes before it in the message
  std::string_view identifier(std::string_view what);
  std::string_view string(std::string_view what);

  /// Whether the next token but one is `c`.
  bool followed_by(char c) const;
  /// The whole of an opcode whose first word is the present token: every `.modifier` up to the first other character.
  std::string_view opcode();
  /// Skips up to the brace that closes the present one. What is between need not be PTX.
  void skip_braces();

  [[noreturn]] void fail(std::string_view what) const { ptx::fail(token_.line, what); }
  [[noreturn]] void fail_expected(std::string_view what) const;

 private:
  void advance();
  void skip_space();
  void number();
  void string_literal();
  void punctuation();

  std::string_view text_;
  std::size_t at_ = 0;  // behind the present token
  int line_ = 1;
  Token token_;
};

}  // namespace sim::ptx

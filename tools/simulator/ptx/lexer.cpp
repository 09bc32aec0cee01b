#include "ptx/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>

#include "error.h"

namespace sim::ptx {
namespace {

enum : std::uint8_t { start = 1, follow = 2, digit = 4, hexadecimal = 8, space = 16 };

constexpr std::array<std::uint8_t, 256> classes = [] {
  std::array<std::uint8_t, 256> table{};
  for (int c = 'a'; c <= 'z'; ++c) table[c] = table[c - 'a' + 'A'] = start | follow;
  for (int c = '0'; c <= '9'; ++c) table[c] = follow | digit | hexadecimal;
  for (int c = 'a'; c <= 'f'; ++c) table[c] = table[c - 'a' + 'A'] |= hexadecimal;
  table['_'] = table['$'] = start | follow;
  table['%'] = start;
  for (const char c : {' ', '\t', '\n', '\r', '\f', '\v'}) table[static_cast<unsigned char>(c)] = space;
  return table;
}();
bool is(char c, std::uint8_t what) { return (classes[static_cast<unsigned char>(c)] & what) != 0; }

}  // namespace

void fail(int line, std::string_view what) { throw Error("PTX line {}: {}", line, what); }

std::string shown(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string result;
  for (const char c : text.substr(0, longest))
    result += c >= ' ' && c <= '~' ? std::string(1, c) : fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text.size() > longest ? result + "..." : result;
}

Lexer::Lexer(std::string_view text) : text_(text) { advance(); }

Token Lexer::next() {
  Token token = token_;
  advance();
  return token;
}

bool Lexer::accept(char c) {
  if (!at(c)) return false;
  advance();
  return true;
}

bool Lexer::accept(std::string_view word) {
  if (!at(word)) return false;
  advance();
  return true;
}

void Lexer::expect(char c, std::string_view after) {
  if (!accept(c)) fail_expected(fmt::format("'{}' after {}", c, shown(after)));
}

std::string_view Lexer::identifier(std::string_view what) {
  if (!at(Token::Kind::identifier)) fail_expected(what);
  return next().text;
}

std::string_view Lexer::string(std::string_view what) {
  if (!at(Token::Kind::text)) fail_expected(what);
  return next().text;
}

void Lexer::fail_expected(std::string_view what) const {
  if (at(Token::Kind::end)) fail(fmt::format("the text ends where {} is expected", what));
  fail(fmt::format("expected {}, not '{}'", what, shown(token_.text)));
}

bool Lexer::followed_by(char c) const {
  Lexer ahead(*this);
  ahead.skip_space();
  return ahead.at_ < text_.size() && text_[ahead.at_] == c && (ahead.at_ + 1 == text_.size() || text_[ahead.at_ + 1] != c);
}

std::string_view Lexer::opcode() {
  const std::size_t begin = static_cast<std::size_t>(token_.text.data() - text_.data());
  std::size_t end = at_;
  while (end < text_.size()) {
    if (is(text_[end], follow) || text_[end] == '.') {
      ++end;
    } else if (text_[end] == ':' && end + 2 < text_.size() && text_[end + 1] == ':' && is(text_[end + 2], follow)) {
      end += 2;
    } else {
      break;
    }
  }
  at_ = end;
  advance();
  return text_.substr(begin, end - begin);
}

void Lexer::skip_braces() {
  const int opened = token_.line;
  int depth = 1;
  while (depth > 0) {
    skip_space();
    if (at_ >= text_.size()) ptx::fail(opened, "the block that begins here has no end");
    const char c = text_[at_];
    if (c == '"') {
      string_literal();
      continue;
    }
    if (c == '{') ++depth;
    if (c == '}') --depth;
    ++at_;
  }
  advance();
}

void Lexer::skip_space() {
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (is(c, space)) {
      if (c == '\n') ++line_;
      ++at_;
    } else if (c == '/' && text_.substr(at_, 2) == "//") {
      at_ = std::min(text_.find('\n', at_), text_.size());
    } else if (c == '/' && text_.substr(at_, 2) == "/*") {
      const std::size_t end = text_.find("*/", at_ + 2);
      if (end == std::string_view::npos) ptx::fail(line_, "the comment that begins here has no end");
      for (; at_ < end + 2; ++at_) line_ += text_[at_] == '\n';
    } else {
      return;
    }
  }
}

void Lexer::advance() {
  skip_space();
  token_ = Token();
  token_.line = line_;
  if (at_ >= text_.size()) return;
  const std::size_t begin = at_;
  const char c = text_[at_];
  const char second = at_ + 1 < text_.size() ? text_[at_ + 1] : '\0';
  if (is(c, start) && (c != '%' || is(second, follow))) {
    while (++at_ < text_.size() && is(text_[at_], follow)) {
    }
    token_.kind = Token::Kind::identifier;
  } else if (is(c, digit) || (c == '.' && is(second, digit))) {
    return number();
  } else if (c == '.' && is(second, follow)) {
    token_.kind = Token::Kind::directive;
    ++at_;
    while (at_ < text_.size()) {
      if (is(text_[at_], follow)) {
        ++at_;
      } else if (text_[at_] == ':' && at_ + 2 < text_.size() && text_[at_ + 1] == ':' && is(text_[at_ + 2], follow)) {
        at_ += 2;
      } else {
        break;
      }
    }
  } else if (c == '"') {
    return string_literal();
  } else {
    return punctuation();
  }
  token_.text = text_.substr(begin, at_ - begin);
}

void Lexer::string_literal() {
  const std::size_t begin = ++at_;
  while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\n')
    at_ += text_[at_] == '\\' && at_ + 1 < text_.size() && text_[at_ + 1] != '\n' ? 2 : 1;
  if (at_ >= text_.size() || text_[at_] != '"') ptx::fail(line_, "the string that begins here has no end");
  token_.kind = Token::Kind::text;
  token_.text = text_.substr(begin, at_ - begin);
  ++at_;
}

void Lexer::number() {
  const std::size_t begin = at_;
  const auto rest = [&] { return text_.substr(at_); };
  const auto finish = [&] {
    token_.text = text_.substr(begin, at_ - begin);
    if (at_ < text_.size() && (is(text_[at_], follow) || text_[at_] == '%')) {
      while (at_ < text_.size() && is(text_[at_], follow)) ++at_;
      fail(fmt::format("'{}' is not a number", shown(text_.substr(begin, at_ - begin))));
    }
  };
  const char c = text_[at_];
  const char kind = at_ + 1 < text_.size() ? static_cast<char>(text_[at_ + 1] | 0x20) : '\0';
  if (c == '0' && (kind == 'f' || kind == 'd')) {
    const std::size_t digits = kind == 'f' ? 8 : 16;
    at_ += 2;
    const std::string_view bits = rest().substr(0, digits);
    const auto [end, error] = std::from_chars(bits.data(), bits.data() + bits.size(), token_.value, 16);
    if (error != std::errc() || bits.size() != digits || end != bits.data() + digits) {
      fail(fmt::format("'{}' is not a number: 0{} takes {} hexadecimal digits", shown(text_.substr(begin, digits + 2)), kind,
                       digits));
    }
    at_ += digits;
    token_.kind = Token::Kind::floating;
    token_.width = kind == 'f' ? 32 : 64;
    return finish();
  }
  std::size_t end = at_;
  int base = 10;
  if (c == '0' && (kind == 'x' || kind == 'b')) {
    base = kind == 'x' ? 16 : 2;
    at_ += 2;
    end = at_;
    while (end < text_.size() && is(text_[end], hexadecimal)) ++end;
  } else {
    while (end < text_.size() && is(text_[end], digit)) ++end;
    const bool point = end < text_.size() && text_[end] == '.';
    const bool exponent = end < text_.size() && (text_[end] | 0x20) == 'e';
    if (point || exponent) {
      double value = 0;
      const auto [stop, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
      if (error != std::errc()) fail(fmt::format("'{}' is not a number", shown(text_.substr(begin, end - begin + 1))));
      at_ = static_cast<std::size_t>(stop - text_.data());
      token_.kind = Token::Kind::floating;
      token_.width = 64;
      token_.value = std::bit_cast<std::uint64_t>(value);
      return finish();
    }
    if (c == '0' && end - at_ > 1) base = 8;
  }
  const auto [stop, error] = std::from_chars(text_.data() + at_, text_.data() + end, token_.value, base);
  if (error == std::errc::result_out_of_range)
    fail(fmt::format("{} does not fit 64 bits", shown(text_.substr(begin, end - begin))));
  if (error != std::errc() || stop != text_.data() + end) {
    fail(fmt::format("'{}' is not a number", shown(text_.substr(begin, end - begin))));
  }
  at_ = end;
  token_.kind = Token::Kind::integer;
  token_.is_unsigned = token_.value > static_cast<std::uint64_t>(INT64_MAX);
  if (at_ < text_.size() && (text_[at_] | 0x20) == 'u') {
    ++at_;
    token_.is_unsigned = true;
  }
  finish();
}

void Lexer::punctuation() {
  constexpr std::string_view single = "{}()[]<>,;:@!|=+-*/%&^~?";
  constexpr std::array<std::string_view, 8> pairs = {"<<", ">>", "<=", ">=", "==", "!=", "&&", "||"};
  std::size_t size = 1;
  for (const std::string_view pair : pairs) {
    if (text_.substr(at_, 2) == pair) size = 2;
  }
  if (single.find(text_[at_]) == std::string_view::npos)
    fail(fmt::format("'{}' is not a character of PTX", shown(text_.substr(at_, 1))));
  token_.kind = Token::Kind::punctuation;
  token_.text = text_.substr(at_, size);
  at_ += size;
}

}  // namespace sim::ptx

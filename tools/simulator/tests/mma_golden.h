// The generator of make_mma_golden.py, its checksum, and its file.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "error.h"

namespace sim::test {

inline constexpr int kGoldenBlocks = 20, kGoldenBlock = 50;

/// A line of golden/mma.txt.
struct Golden {
  int architecture = 0;
  std::string form;  // "m16n8k16.f32.bf16.bf16.f32": the shape, then qualifiers and the types of d, a, b, c
  bool extreme = false;
  std::vector<std::uint64_t> sums;   // of each block of results
  std::vector<std::uint64_t> first;  // results in full
  // Parts of `form`.
  int m = 0, n = 0, k = 0;
  std::string shape, d, a, b, c, operation;
  bool saturate = false;
};

inline std::uint64_t golden_mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}
inline constexpr std::uint64_t kGoldenStep = 0x9e3779b97f4a7c15u;

/// What result `index` of a block adds to its checksum.
inline std::uint64_t golden_checksum(std::uint64_t result, std::uint64_t index) {
  return golden_mix(golden_mix(result + 0x632be59bd9b4e019u) + (index + 1) * kGoldenStep);
}

/// The matrices of A (m x k), B (k x n) or C (m x n): `operand` is 'a', 'b' or 'c'.
class GoldenInput {
  static constexpr int kSchemes = 10;  // of extreme inputs, one a matrix in turn

 public:
  GoldenInput(const Golden& golden, char operand)
      : element_(operand == 'a'   ? golden.a
                 : operand == 'b' ? golden.b
                                  : golden.c),
        operand_(operand),
        extreme_(golden.extreme),
        rows_(operand == 'b' ? golden.k : golden.m),
        columns_(operand == 'a' ? golden.k : golden.n) {
    static constexpr std::pair<std::string_view, std::pair<int, int>> kFormats[] = {
        {"f16", {5, 10}}, {"bf16", {8, 7}}, {"tf32", {8, 23}}, {"e4m3", {4, 3}},
        {"e5m2", {5, 2}}, {"f32", {8, 23}}, {"f64", {11, 52}}};
    for (const auto& [name, bits] : kFormats) {
      if (name == element_) std::tie(exponent_bits_, mantissa_bits_) = bits;
    }
    width_ = exponent_bits_ > 0       ? 1 + exponent_bits_ + mantissa_bits_
             : element_ == "s32"      ? 32
             : element_ == "b1"       ? 1
             : element_.back() == '8' ? 8
                                      : 4;
    seed_ = 0xcbf29ce484222325u;
    for (char c : golden.form + (extreme_ ? "/extreme/" : "/random/") + operand)
      seed_ = (seed_ ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  }

  int rows() const { return rows_; }
  int columns() const { return columns_; }
  int width() const { return width_; }  // bits of an element

  std::uint64_t operator()(int matrix, int i, int j) const {
    const std::uint64_t r = random(matrix, i, j);
    if (exponent_bits_ == 0) return integer(r);
    const int scheme = extreme_ ? matrix % kSchemes : kSchemes, k = operand_ == 'a' ? j : i;
    if (scheme != 3 || operand_ == 'c' || k % 2 == 0) return floating(r, scheme);
    std::uint64_t other = floating(operand_ == 'a' ? random(matrix, i, j - 1) : random(matrix, i - 1, j), scheme);
    if (operand_ == 'a') other ^= std::uint64_t{1} << (exponent_bits_ + mantissa_bits_);
    return (r >> 48 & 3) == 0 ? other ^ (element_ == "tf32" ? std::uint64_t{1} << 13 : 1) : other;
  }

 private:
  std::uint64_t random(int matrix, int i, int j) const {
    const std::int64_t index = (static_cast<std::int64_t>(matrix) * rows_ + i) * columns_ + j;
    return golden_mix(seed_ + (static_cast<std::uint64_t>(index) + 1) * kGoldenStep);
  }

  std::uint64_t integer(std::uint64_t r) const {
    const std::uint64_t all = (std::uint64_t{1} << width_) - 1;
    if (!extreme_ || width_ == 1) return r & all;
    return std::array<std::uint64_t, 4>{std::uint64_t{1} << (width_ - 1), all >> 1, all, r & all}[r >> 40 & 3];
  }

  std::uint64_t floating(std::uint64_t r, int scheme) const {
    const std::uint64_t bias = (std::uint64_t{1} << (exponent_bits_ - 1)) - 1, top = (std::uint64_t{1} << exponent_bits_) - 1;
    const std::uint64_t ones = (std::uint64_t{1} << mantissa_bits_) - 1, pick = r >> 52 & 0x7ff;
    const bool accumulator = operand_ == 'c', zero = accumulator ? pick % 4 != 0 : pick % 2 == 0, special = pick % 32 == 0;
    std::uint64_t sign = r >> 63, mantissa = r & ones, field = bias - 6 + pick % 13;
    switch (scheme) {
      case 0:
        field = pick & top;
        break;
      case 1:
        field = pick % 3;
        break;
      case 2:
        field = top - 1 - pick % 3;
        break;
      case 4:
        if (special) field = top;
        if (pick % 32 == 1) field = mantissa = 0;
        if (special && (r >> 51 & 1) == 0) mantissa = 0;
        break;
      case 5:
      case 9:
        field = accumulator ? pick % 3 : exponent_bits_ == 8 ? bias - 60 - pick % 12 : pick % 5;
        if (scheme == 9)
          mantissa = (r >> 50 & 1) == 0 ? 0 : std::uint64_t{1} << (r >> 40) % static_cast<unsigned>(mantissa_bits_);
        if (zero) field = mantissa = 0;
        break;
      case 6:
        field = pick % top;
        break;
      case 7:
        field = accumulator ? bias + 4 + pick % 8 : bias - 2 + pick % 4;
        mantissa = std::array<std::uint64_t, 4>{0, 1, ones, (ones + 1) / 2}[r >> 50 & 3];
        break;
      case 8:
        sign = 0;
        field = bias;
        mantissa = ones - pick % 4;
        break;
      default:
        break;
    }
    return sign << (exponent_bits_ + mantissa_bits_) | std::min(field, top) << mantissa_bits_ | mantissa;
  }

  std::string element_;
  char operand_;
  bool extreme_;
  int rows_, columns_;
  int exponent_bits_ = 0, mantissa_bits_ = 0, width_ = 0;
  std::uint64_t seed_ = 0;
};

inline std::vector<Golden> read_golden(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw Error("can not read {}", path);
  std::vector<Golden> all;
  std::string line;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Golden golden;
    std::string kind, sums, first;
    words >> golden.architecture >> golden.form >> kind >> sums >> first;
    golden.extreme = kind == "extreme";
    std::vector<std::string> parts;
    std::istringstream form(golden.form);
    for (std::string part; std::getline(form, part, '.');) {
      if (part == "satfinite") {
        golden.saturate = true;
      } else {
        parts.push_back(part);
      }
    }
    if (parts.size() < 5 || sums.size() != 16 * kGoldenBlocks) throw Error("malformed line: {}", line);
    golden.shape = parts[0];
    golden.d = parts[1];
    golden.a = parts[2];
    golden.b = parts[3];
    golden.c = parts[4];
    if (parts.size() > 5) golden.operation = parts[5];
    const std::size_t n = golden.shape.find('n'), k = golden.shape.find('k');
    golden.m = std::stoi(golden.shape.substr(1));
    golden.n = std::stoi(golden.shape.substr(n + 1));
    golden.k = std::stoi(golden.shape.substr(k + 1));
    for (std::size_t at = 0; at < sums.size(); at += 16) golden.sums.push_back(std::stoull(sums.substr(at, 16), nullptr, 16));
    const std::size_t digits = golden.d == "f16" ? 4 : golden.d == "f64" ? 16 : 8;
    for (std::size_t at = 0; at < first.size(); at += digits)
      golden.first.push_back(std::stoull(first.substr(at, digits), nullptr, 16));
    all.push_back(std::move(golden));
  }
  return all;
}

}  // namespace sim::test

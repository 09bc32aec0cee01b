#include "engine/data/unicode.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <pugixml.hpp>

#include "kernels/check.h"

namespace gannet {

namespace {

constexpr std::uint32_t variation_selector_16 = 0xfe0f;

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// Calls part(piece) for each trimmed piece of text between separators.
template <typename Part>
void split(std::string_view text, char separator, Part part) {
  while (true) {
    const std::size_t end = text.find(separator);
    part(trim(text.substr(0, end)));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

// The code points of UTF-8 text that pugixml has read (which it does not check); nothing when it is malformed.
std::optional<std::vector<std::uint32_t>> code_points(std::string_view utf8) {
  std::vector<std::uint32_t> points;
  for (std::size_t i = 0; i < utf8.size();) {
    const auto lead = static_cast<unsigned char>(utf8[i]);
    const int length = lead < 0x80 ? 1 : lead >> 5 == 6 ? 2 : lead >> 4 == 14 ? 3 : lead >> 3 == 30 ? 4 : 0;
    if (length == 0 || i + static_cast<std::size_t>(length) > utf8.size()) return {};
    std::uint32_t point = length == 1 ? lead : lead & (0x7fu >> length);
    for (int k = 1; k < length; ++k) {
      const auto next = static_cast<unsigned char>(utf8[i + static_cast<std::size_t>(k)]);
      if (next >> 6 != 2) return {};
      point = point << 6 | (next & 0x3f);
    }
    points.push_back(point);
    i += static_cast<std::size_t>(length);
  }
  return points;
}

// The one code point of a sequence, but for the variation selector; nothing when there are others.
std::optional<std::uint32_t> single(std::vector<std::uint32_t> points) {
  std::erase(points, variation_selector_16);
  if (points.size() != 1) return {};
  return points[0];
}

}  // namespace

EmojiGroups parse_emoji_groups(std::string_view text, std::string_view file) {
  constexpr std::string_view group_mark = "# group:";
  EmojiGroups groups;
  std::string group;
  int number = 0;
  split(text, '\n', [&](std::string_view line) {
    ++number;
    if (line.starts_with(group_mark)) group = trim(line.substr(group_mark.size()));
    if (line.empty() || line.starts_with('#')) return;
    const std::size_t semicolon = line.find(';');
    GANNET_CHECK(semicolon != std::string_view::npos && !group.empty(), "{}: line {} is not one of emoji-test.txt", file,
                 number);
    std::vector<std::uint32_t> points;
    split(trim(line.substr(0, semicolon)), ' ', [&](std::string_view digits) {
      std::uint32_t point = 0;
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), point, 16);
      GANNET_CHECK(error == std::errc() && end == digits.data() + digits.size() && point <= 0x10ffff,
                   "{}: line {}: '{}' is no code point", file, number, digits);
      points.push_back(point);
    });
    const std::string_view status = trim(line.substr(semicolon + 1, line.find('#', semicolon) - semicolon - 1));
    const std::optional<std::uint32_t> point = single(points);
    if (status == "component" || !point) return;
    if (groups.names.empty() || groups.names.back() != group) groups.names.push_back(group);
    groups.group_of.emplace(*point, static_cast<std::int32_t>(groups.names.size()) - 1);
  });
  GANNET_CHECK(!groups.names.empty(), "{}: no emoji in it; it should be Unicode's emoji-test.txt", file);
  return groups;
}

std::map<std::uint32_t, std::string> parse_annotations(std::span<const std::byte> xml, std::string_view file) {
  pugi::xml_document document;
  const pugi::xml_parse_result result = document.load_buffer(xml.data(), xml.size(), pugi::parse_default, pugi::encoding_utf8);
  GANNET_CHECK(result, "{}: not XML at its byte {}: {}", file, result.offset, result.description());
  std::map<std::uint32_t, std::string> names, keywords;
  for (const pugi::xml_node node : document.child("ldml").child("annotations").children("annotation")) {
    const auto points = code_points(node.attribute("cp").value());
    GANNET_CHECK(points.has_value(), "{}: an annotation's cp is not UTF-8", file);
    const std::optional<std::uint32_t> point = single(*points);
    if (!point) continue;
    const bool is_name = std::string_view(node.attribute("type").value()) == "tts";
    (is_name ? names : keywords).emplace(*point, trim(node.child_value()));
  }
  GANNET_CHECK(!names.empty(), "{}: no annotations in it; it should be a CLDR annotations file", file);
  for (auto& [point, caption] : names) {
    const std::string name = caption;
    split(keywords[point], '|', [&caption = caption, &name](std::string_view keyword) {
      if (!keyword.empty() && keyword != name) caption += fmt::format(", {}", keyword);
    });
  }
  return names;
}

}  // namespace gannet

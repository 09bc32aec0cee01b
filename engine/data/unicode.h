// What Unicode's data files say about emoji of a single code point. U+FE0F, which only asks for the colour form, is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gannet {

// emoji-test.txt: the group ("Food & Drink") of each emoji; components such as skin tones are left out.
struct EmojiGroups {
  std::vector<std::string> names;                  // in the file's order
  std::map<std::uint32_t, std::int32_t> group_of;  // code point -> index of the name
};
EmojiGroups parse_emoji_groups(std::string_view text, std::string_view file);

// CLDR annotations: code point -> "name, keyword, keyword".
std::map<std::uint32_t, std::string> parse_annotations(std::span<const std::byte> xml, std::string_view file);

}  // namespace gannet

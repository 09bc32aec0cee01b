// The pictures of a colour font, through FreeType: one per code point that draws something.
#include <ft2build.h>
#include FT_FREETYPE_H

#include <algorithm>
#include <memory>
#include <set>

#include "engine/data/file.h"
#include "engine/data/source.h"
#include "engine/data/unicode.h"
#include "kernels/check.h"

namespace gannet {

namespace {

constexpr int default_size = 64;

void check_freetype(FT_Error error, std::string_view file, std::string_view what) {
  if (error == FT_Err_Out_Of_Memory) throw RuntimeError("FreeType: out of memory");
  const char* text = FT_Error_String(error);  // null where FreeType is built without texts
  GANNET_CHECK(error == 0, "{}: {}: {}", file, what, text != nullptr ? text : fmt::format("FreeType error {}", error));
}

class Font {
 public:
  explicit Font(const std::filesystem::path& path) : file_(path), name_(path.string()) {
    if (FT_Init_FreeType(&library_) != 0) throw RuntimeError("FreeType: cannot start");
    const std::span<const std::byte> bytes = file_.bytes();
    const FT_Error error = FT_New_Memory_Face(library_, reinterpret_cast<const FT_Byte*>(bytes.data()),
                                              static_cast<FT_Long>(bytes.size()), 0, &face_);
    try {
      check_freetype(error, name_, "not a font");
      GANNET_CHECK(FT_HAS_COLOR(face_), "{}: not a colour font", name_);
      check_freetype(FT_Select_Charmap(face_, FT_ENCODING_UNICODE), name_, "no Unicode characters");
    } catch (...) {
      FT_Done_FreeType(library_);
      throw;
    }
  }
  ~Font() { FT_Done_FreeType(library_); }  // and its faces
  Font(const Font&) = delete;
  Font& operator=(const Font&) = delete;

  // The smallest strike that needs no enlarging, else the largest; outlines in colour at twice the size.
  void select_size(int size) {
    if (FT_HAS_FIXED_SIZES(face_)) {
      int best = 0;
      for (int i = 1; i < face_->num_fixed_sizes; ++i) {
        const int height = face_->available_sizes[i].height, chosen = face_->available_sizes[best].height;
        if (chosen < size ? height > chosen : height >= size && height < chosen) best = i;
      }
      check_freetype(FT_Select_Size(face_, best), name_, "cannot select its bitmaps");
    } else {
      check_freetype(FT_Set_Pixel_Sizes(face_, 0, static_cast<FT_UInt>(2 * size)), name_, "cannot be scaled");
    }
  }

  std::vector<std::pair<std::uint32_t, FT_UInt>> characters() const {  // code point, glyph
    std::vector<std::pair<std::uint32_t, FT_UInt>> characters;
    FT_UInt glyph = 0;
    for (FT_ULong code = FT_Get_First_Char(face_, &glyph); glyph != 0; code = FT_Get_Next_Char(face_, code, &glyph)) {
      characters.emplace_back(static_cast<std::uint32_t>(code), glyph);
    }
    return characters;
  }

  // The glyph on a white square; without pixels when it has no colour or draws nothing.
  Image draw(FT_UInt glyph) {
    const std::string what = fmt::format("glyph {}", glyph);
    check_freetype(FT_Load_Glyph(face_, glyph, FT_LOAD_COLOR | FT_LOAD_RENDER), name_, what);
    const FT_Bitmap& bitmap = face_->glyph->bitmap;
    if (bitmap.pixel_mode != FT_PIXEL_MODE_BGRA || bitmap.width == 0 || bitmap.rows == 0) return {};
    const int height = static_cast<int>(bitmap.rows), width = static_cast<int>(bitmap.width);
    Image image(height, width, 3);
    bool drawn = false;
    for (int y = 0; y < height; ++y) {
      const unsigned char* bgra = bitmap.buffer + std::ptrdiff_t{y} * bitmap.pitch;
      std::uint8_t* rgb = &image.pixels[std::size_t(y) * std::size_t(width) * 3];
      for (int x = 0; x < width; ++x, bgra += 4, rgb += 3) {
        // Colours are premultiplied: white shows through what alpha leaves. Clamped, as a font may hold colour > alpha.
        const int white = 255 - bgra[3];
        for (int c = 0; c < 3; ++c) rgb[c] = static_cast<std::uint8_t>(std::min(bgra[2 - c] + white, 255));
        drawn = drawn || bgra[3] != 0;
      }
    }
    if (!drawn) return {};
    const int em = FT_HAS_FIXED_SIZES(face_) ? 0 : face_->size->metrics.y_ppem;
    const int side = std::max({height, width, em});
    return pad_to(image, side, side, 255);
  }

 private:
  MappedFile file_;
  std::string name_;
  FT_Library library_ = nullptr;
  FT_Face face_ = nullptr;
};

}  // namespace

PictureSource open_emoji(const PrepareOptions& options) {
  Font font(options.source);
  PictureSource source;
  source.size = options.size > 0 ? options.size : default_size;
  font.select_size(source.size);

  EmojiGroups groups;
  if (!options.groups.empty()) {
    const MappedFile file(options.groups);
    const std::span<const std::byte> bytes = file.bytes();
    groups = parse_emoji_groups({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, options.groups.string());
    source.classes = groups.names;
  }
  std::map<std::uint32_t, std::string> captions;
  if (!options.names.empty()) captions = parse_annotations(MappedFile(options.names).bytes(), options.names.string());

  // FreeType's faces are not for several threads, and which glyphs are blank shows only when they are drawn: all are, here.
  const auto pictures = std::make_shared<std::vector<Image>>();
  std::set<FT_UInt> seen;  // several code points may share a picture, which then is the first one's
  for (const auto& [point, glyph] : font.characters()) {
    const auto group = groups.group_of.find(point);
    if (!options.groups.empty() && group == groups.group_of.end()) continue;
    if (!seen.insert(glyph).second) continue;
    Image picture = font.draw(glyph);
    if (picture.pixels.empty()) continue;
    pictures->push_back(std::move(picture));
    source.codepoints.push_back(static_cast<std::int32_t>(point));
    if (!options.groups.empty()) source.labels.push_back(group->second);
    if (!options.names.empty()) source.captions.push_back(captions[point]);
  }
  GANNET_CHECK(!pictures->empty(), "{}: no pictures in it{}", options.source.string(),
               options.groups.empty() ? "" : fmt::format(" of what {} lists", options.groups.string()));
  source.count = static_cast<std::int64_t>(pictures->size());
  source.picture = [pictures](std::int64_t index) { return (*pictures)[static_cast<std::size_t>(index)]; };
  return source;
}

}  // namespace gannet

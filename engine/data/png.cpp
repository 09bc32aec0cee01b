// PNG by libpng. Its errors arrive as a longjmp, so the functions that it can jump out of hold no object with a destructor.
#include <png.h>

#include <array>
#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <memory>

#include "engine/data/codecs.h"
#include "kernels/check.h"

namespace gannet {

namespace {

struct PngError {
  std::jmp_buf jump;
  std::array<char, 160> message{};
};

void on_error(png_structp png, png_const_charp message) {
  auto* error = static_cast<PngError*>(png_get_error_ptr(png));
  std::snprintf(error->message.data(), error->message.size(), "%s", message);
  std::longjmp(error->jump, 1);
}

// Warnings are about ancillary chunks (profiles, text), which nothing here depends on.
void on_warning(png_structp, png_const_charp) {}

struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  PngError error;
  std::span<const std::byte> rest;

  Reader() {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &error, on_error, on_warning);
    if (png != nullptr) info = png_create_info_struct(png);
    if (info == nullptr) {
      png_destroy_read_struct(&png, nullptr, nullptr);
      throw RuntimeError("libpng: out of memory");
    }
  }
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
};

void read_bytes(png_structp png, png_bytep target, png_size_t count) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader->rest.size()) png_error(png, "truncated");
  std::memcpy(target, reader->rest.data(), count);
  reader->rest = reader->rest.subspan(count);
}

// Reads the header and asks for 8 bits, grey or RGB, with alpha where the file has transparency of any kind.
bool read_header(Reader& reader) {
  if (setjmp(reader.error.jump) != 0) return false;
  png_set_read_fn(reader.png, &reader, read_bytes);
  png_read_info(reader.png, reader.info);
  png_set_expand(reader.png);  // palettes, tRNS, and 1, 2, 4 bits
  png_set_scale_16(reader.png);
  png_set_interlace_handling(reader.png);
  png_read_update_info(reader.png, reader.info);
  return true;
}

bool read_rows(Reader& reader, png_bytepp rows) {
  if (setjmp(reader.error.jump) != 0) return false;
  png_read_image(reader.png, rows);
  png_read_end(reader.png, nullptr);
  return true;
}

struct Writer {
  png_structp png = nullptr;
  png_infop info = nullptr;
  PngError error;
  std::vector<std::byte>* bytes = nullptr;
  bool out_of_memory = false;

  ~Writer() { png_destroy_write_struct(&png, &info); }
};

void write_bytes(png_structp png, png_bytep source, png_size_t count) {
  auto* writer = static_cast<Writer*>(png_get_io_ptr(png));
  const auto* from = reinterpret_cast<const std::byte*>(source);
  try {
    writer->bytes->insert(writer->bytes->end(), from, from + count);
    return;
  } catch (const std::bad_alloc&) {  // not through C
    writer->out_of_memory = true;
  }
  png_error(png, "out of memory");
}

bool write_rows(Writer& writer, const Image& image, int colour_type, png_bytepp rows) {
  if (setjmp(writer.error.jump) != 0) return false;
  png_set_write_fn(writer.png, &writer, write_bytes, nullptr);
  png_set_IHDR(writer.png, writer.info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8,
               colour_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_rows(writer.png, writer.info, rows);
  png_write_png(writer.png, writer.info, PNG_TRANSFORM_IDENTITY, nullptr);
  return true;
}

// Drops the alpha that follows the colours of each pixel: colour * alpha + white * (1 - alpha).
Image compose_on_white(const Image& image) {
  const int colours = image.channels - 1;
  Image result(image.height, image.width, colours);
  const std::uint8_t* source = image.pixels.data();
  for (std::size_t i = 0; i < result.pixels.size(); i += std::size_t(colours), source += image.channels) {
    const unsigned alpha = source[colours];
    for (int c = 0; c < colours; ++c) {
      result.pixels[i + std::size_t(c)] = static_cast<std::uint8_t>((source[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
  }
  return result;
}

}  // namespace

bool is_png(std::span<const std::byte> bytes) {
  return bytes.size() >= 8 && png_sig_cmp(reinterpret_cast<png_const_bytep>(bytes.data()), 0, 8) == 0;
}

Image decode_png(std::span<const std::byte> bytes, const ImageLimits& limits) {
  Reader reader;
  reader.rest = bytes;
  GANNET_CHECK(read_header(reader), "broken PNG: {}", reader.error.message.data());
  const std::int64_t height = png_get_image_height(reader.png, reader.info);
  const std::int64_t width = png_get_image_width(reader.png, reader.info);
  check_limits(height, width, limits);
  Image image(static_cast<int>(height), static_cast<int>(width), png_get_channels(reader.png, reader.info));
  const std::size_t row_bytes = std::size_t(width) * std::size_t(image.channels);
  GANNET_CHECK(png_get_rowbytes(reader.png, reader.info) == row_bytes, "broken PNG: rows of {} bytes for {} pixels",
               png_get_rowbytes(reader.png, reader.info), width);
  std::vector<png_bytep> rows(static_cast<std::size_t>(height));
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = image.pixels.data() + y * row_bytes;
  GANNET_CHECK(read_rows(reader, rows.data()), "broken PNG: {}", reader.error.message.data());
  return image.channels % 2 == 0 ? compose_on_white(image) : image;
}

std::vector<std::byte> encode_png(const Image& image) {
  constexpr std::array colour_types = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_GRAY_ALPHA, PNG_COLOR_TYPE_RGB, PNG_COLOR_TYPE_RGBA};
  GANNET_CHECK(image.height > 0 && image.width > 0 && image.channels >= 1 && image.channels <= 4,
               "cannot write a picture of {} x {} x {} as PNG", image.height, image.width, image.channels);
  const std::size_t row_bytes = std::size_t(image.width) * std::size_t(image.channels);
  std::vector<png_bytep> rows(std::size_t(image.height));
  // libpng's interface lacks the const; it does not write to the rows.
  for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = const_cast<png_bytep>(image.pixels.data() + y * row_bytes);

  std::vector<std::byte> bytes;
  Writer writer;
  writer.bytes = &bytes;
  writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &writer.error, on_error, on_warning);
  if (writer.png != nullptr) writer.info = png_create_info_struct(writer.png);
  if (writer.info == nullptr) throw RuntimeError("libpng: out of memory");
  if (!write_rows(writer, image, colour_types[std::size_t(image.channels - 1)], rows.data())) {
    if (writer.out_of_memory) throw std::bad_alloc();
    GANNET_CHECK(false, "cannot write a picture of {} x {} as PNG: {}", image.width, image.height, writer.error.message.data());
  }
  return bytes;
}

}  // namespace gannet

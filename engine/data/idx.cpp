// IDX files: MNIST, Fashion-MNIST and their kin.
#define ZLIB_CONST
#include <zlib.h>

#include <algorithm>
#include <array>
#include <memory>

#include "engine/data/file.h"
#include "engine/data/source.h"
#include "kernels/check.h"

namespace gannet {

namespace {

// Reads bytes, through gunzip when they begin like a gzip file.
class ByteStream {
 public:
  ByteStream(std::span<const std::byte> bytes, std::string_view file) : rest_(bytes), file_(file) {
    gzip_ = begins_as_gzip();
    if (gzip_ && ::inflateInit2(&zlib_, 16 + MAX_WBITS) != Z_OK) throw RuntimeError("zlib: out of memory");
  }
  ~ByteStream() {
    if (gzip_) ::inflateEnd(&zlib_);
  }
  ByteStream(const ByteStream&) = delete;
  ByteStream& operator=(const ByteStream&) = delete;

  // At most this many bytes are left: deflate does not compress better than 1032 to 1.
  std::uint64_t bound() const { return gzip_ ? (rest_.size() + 64) * 1032 : rest_.size(); }

  // Fills `out` as far as the stream goes; the number of bytes read.
  std::size_t read(std::span<std::uint8_t> out) {
    if (!gzip_) {
      const std::size_t count = std::min(out.size(), rest_.size());
      std::transform(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(count), out.begin(),
                     [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
      rest_ = rest_.subspan(count);
      return count;
    }
    std::size_t count = 0;
    while (count < out.size() && !ended_) count += inflate_some(out.subspan(count));
    return count;
  }

 private:
  std::size_t inflate_some(std::span<std::uint8_t> out) {
    constexpr std::size_t longest = 1u << 30;  // zlib counts in 32 bits
    const std::size_t input = std::min(rest_.size(), longest), output = std::min(out.size(), longest);
    zlib_.next_in = reinterpret_cast<const Bytef*>(rest_.data());
    zlib_.avail_in = static_cast<uInt>(input);
    zlib_.next_out = out.data();
    zlib_.avail_out = static_cast<uInt>(output);
    const int status = ::inflate(&zlib_, Z_NO_FLUSH);
    if (status == Z_MEM_ERROR) throw RuntimeError("zlib: out of memory");
    GANNET_CHECK(status != Z_BUF_ERROR, "{}: truncated: the gzip stream ends early", file_);
    GANNET_CHECK(status == Z_OK || status == Z_STREAM_END, "{}: corrupt gzip stream: {}", file_,
                 zlib_.msg != nullptr ? zlib_.msg : "malformed");
    rest_ = rest_.subspan(input - zlib_.avail_in);
    if (status == Z_STREAM_END) {
      // Streams may follow one another; their contents do, too.
      ended_ = rest_.empty();
      GANNET_CHECK(ended_ || begins_as_gzip(), "{}: {} bytes after the end of the gzip stream", file_, rest_.size());
      if (!ended_ && ::inflateReset(&zlib_) != Z_OK) throw RuntimeError("zlib: cannot go on");
    }
    return output - zlib_.avail_out;
  }

  bool begins_as_gzip() const { return rest_.size() >= 2 && rest_[0] == std::byte{0x1f} && rest_[1] == std::byte{0x8b}; }

  std::span<const std::byte> rest_;
  std::string_view file_;
  bool gzip_ = false, ended_ = false;
  z_stream zlib_{};
};

std::uint32_t big_endian(const std::uint8_t* bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 | bytes[3];
}

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// The file of `folder` that holds the pictures of the split: "train-images-idx3-ubyte", with or without ".gz".
std::filesystem::path find_images(const std::filesystem::path& folder, const std::string& split) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool of_split = contains(name, split) || (split == "test" && contains(name, "t10k"));
    if (entry.is_regular_file() && of_split && contains(name, "images") && contains(name, "idx3"))
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  GANNET_CHECK(!found.empty(), "{}: no file of the {} pictures in it (such as {}-images-idx3-ubyte.gz)", folder.string(), split,
               split == "test" ? "t10k" : split);
  // The same file plain and compressed: the plain one, which sorts first.
  const bool one = found.size() == 1 || (found.size() == 2 && found[1] == found[0].string() + ".gz");
  GANNET_CHECK(one, "{}: {} and {} could both be meant; name one of them", folder.string(), found[0].filename().string(),
               found[1].filename().string());
  return found[0];
}

// The labels beside a file of pictures; empty when there are none.
std::filesystem::path find_labels(const std::filesystem::path& images) {
  std::string name = images.filename().string();
  const std::size_t kind = name.rfind("images");
  if (kind == std::string::npos) return {};
  name.replace(kind, std::string_view("images").size(), "labels");
  if (const std::size_t rank = name.rfind("idx3"); rank != std::string::npos) name.replace(rank, 4, "idx1");
  const std::string plain = name.ends_with(".gz") ? name.substr(0, name.size() - 3) : name;
  for (const std::string& candidate : {name, plain, plain + ".gz"}) {
    if (auto path = images.parent_path() / candidate; std::filesystem::is_regular_file(path)) return path;
  }
  return {};
}

IdxArray read_idx(const std::filesystem::path& path, int rank) {
  const MappedFile file(path);
  IdxArray array = decode_idx(file.bytes(), path.string());
  GANNET_CHECK(array.shape.rank() == rank, "{}: has {} dimensions where {} have {}", path.string(), array.shape.rank(),
               rank == 3 ? "pictures" : "labels", rank);
  GANNET_CHECK(array.shape.elements() > 0, "{}: is empty: {}", path.string(), to_string(array.shape));
  return array;
}

}  // namespace

IdxArray decode_idx(std::span<const std::byte> bytes, std::string_view file) {
  ByteStream stream(bytes, file);
  std::array<std::uint8_t, 4> word;
  GANNET_CHECK(stream.read(word) == word.size(), "{}: truncated: {} bytes", file, bytes.size());
  GANNET_CHECK(word[0] == 0 && word[1] == 0 && word[2] == 8 && word[3] >= 1 && word[3] <= 4,
               "{}: not an IDX file of bytes: it begins with {:02x} {:02x} {:02x} {:02x}, not with 00 00 08 and the dimensions",
               file, word[0], word[1], word[2], word[3]);
  std::vector<std::int64_t> extents(word[3]);
  std::int64_t product = 1;  // but for extents of zero, which would hide an overflow
  for (std::int64_t& extent : extents) {
    GANNET_CHECK(stream.read(word) == word.size(), "{}: truncated in its header", file);
    extent = big_endian(word.data());
    GANNET_CHECK(!__builtin_mul_overflow(product, std::max<std::int64_t>(extent, 1), &product), "{}: its extents are absurd",
                 file);
  }
  IdxArray array{Shape(extents), {}};
  const auto count = static_cast<std::uint64_t>(array.shape.elements());
  GANNET_CHECK(count <= stream.bound(), "{}: truncated: {} values of shape {} cannot be in a file of {} bytes", file, count,
               to_string(array.shape), bytes.size());
  // Grown as the values come: a lying header costs no memory.
  constexpr std::size_t step = std::size_t{1} << 24;
  while (array.values.size() < count) {
    const std::size_t start = array.values.size();
    array.values.resize(std::min<std::uint64_t>(count, start + step));
    const std::span<std::uint8_t> part = std::span(array.values).subspan(start);
    const std::size_t got = stream.read(part);
    GANNET_CHECK(got == part.size(), "{}: truncated: {} of {} values", file, start + got, count);
  }
  // Asking for one byte more reads the end of a gzip stream, and so its checksum.
  GANNET_CHECK(stream.read(std::span(word).first(1)) == 0, "{}: more values than its shape {} has", file,
               to_string(array.shape));
  return array;
}

PictureSource open_idx(const PrepareOptions& options) {
  const bool folder = std::filesystem::is_directory(options.source);
  const std::filesystem::path images_path = folder ? find_images(options.source, options.split) : options.source;
  const auto images = std::make_shared<const IdxArray>(read_idx(images_path, 3));
  PictureSource source;
  source.count = images->shape[0];
  source.channels = 1;
  source.picture = [images](std::int64_t index) {
    Image picture(static_cast<int>(images->shape[1]), static_cast<int>(images->shape[2]), 1);
    std::copy_n(images->values.begin() + index * static_cast<std::int64_t>(picture.pixels.size()), picture.pixels.size(),
                picture.pixels.begin());
    return picture;
  };

  const std::filesystem::path labels_path = find_labels(images_path);
  if (labels_path.empty()) {
    GANNET_CHECK(options.classes.empty(), "{}: class names are given, but there is no file of labels beside it",
                 images_path.string());
    return source;
  }
  const IdxArray labels = read_idx(labels_path, 1);
  GANNET_CHECK(labels.shape[0] == source.count, "{}: {} labels, but {} has {} pictures", labels_path.string(), labels.shape[0],
               images_path.string(), source.count);
  source.labels.assign(labels.values.begin(), labels.values.end());
  source.classes = options.classes;
  const std::int32_t largest = *std::max_element(source.labels.begin(), source.labels.end());
  if (source.classes.empty()) {
    for (std::int32_t label = 0; label <= largest; ++label) source.classes.push_back(std::to_string(label));
  }
  GANNET_CHECK(static_cast<std::size_t>(largest) < source.classes.size(), "{}: has the label {}, but {} class names are given",
               labels_path.string(), largest, source.classes.size());
  return source;
}

}  // namespace gannet

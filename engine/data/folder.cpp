// A folder of PNG and JPEG files: pictures in it, or a class per subfolder.
#include <algorithm>
#include <memory>

#include "engine/data/file.h"
#include "engine/data/source.h"
#include "kernels/check.h"

namespace gannet {

namespace {

namespace fs = std::filesystem;

bool is_picture(const fs::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

// Adds the pictures in a subfolder at any depth, sorted.
void collect(const fs::path& folder, std::vector<fs::path>& pictures, std::int64_t& ignored) {
  const auto first = static_cast<std::ptrdiff_t>(pictures.size());
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file() || is_hidden(entry.path())) continue;
    if (is_picture(entry.path())) {
      pictures.push_back(entry.path());
    } else {
      ++ignored;
    }
  }
  std::sort(pictures.begin() + first, pictures.end());
}

}  // namespace

PictureSource open_folder(const PrepareOptions& options) {
  const fs::path& root = options.source;
  GANNET_CHECK(fs::is_directory(root), "{}: not a folder", root.string());
  GANNET_CHECK(options.size > 0, "{}: pictures of a folder need a size", root.string());
  PictureSource source;
  const auto pictures = std::make_shared<std::vector<fs::path>>();
  std::vector<fs::path> subfolders;
  for (const auto& entry : fs::directory_iterator(root)) {
    if (is_hidden(entry.path())) continue;
    if (entry.is_directory()) {
      subfolders.push_back(entry.path());
    } else if (is_picture(entry.path())) {
      pictures->push_back(entry.path());
    } else {
      ++source.ignored;
    }
  }
  std::sort(pictures->begin(), pictures->end());
  std::sort(subfolders.begin(), subfolders.end());

  const std::size_t unlabelled = pictures->size();
  for (const fs::path& subfolder : subfolders) {
    const std::size_t before = pictures->size();
    collect(subfolder, *pictures, source.ignored);
    if (pictures->size() == before) continue;  // of no pictures no class
    source.labels.insert(source.labels.end(), pictures->size() - before, static_cast<std::int32_t>(source.classes.size()));
    source.classes.push_back(subfolder.filename().string());
  }
  GANNET_CHECK(!pictures->empty(), "{}: no PNG or JPEG files in it", root.string());
  GANNET_CHECK(unlabelled == 0 || source.classes.empty(),
               "{}: pictures both in it ({}) and in its subfolders ({}): are the subfolders classes or not?", root.string(),
               pictures->front().filename().string(), source.classes.front());
  source.count = static_cast<std::int64_t>(pictures->size());
  source.picture = [pictures](std::int64_t index) {
    const fs::path& path = (*pictures)[static_cast<std::size_t>(index)];
    const MappedFile file(path);
    try {
      return decode_image(file.bytes());
    } catch (const InputError& error) {
      throw InputError(fmt::format("{}: {}", path.string(), error.what()));
    }
  };
  return source;
}

}  // namespace gannet

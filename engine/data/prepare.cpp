#include "engine/data/prepare.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "engine/data/file.h"
#include "engine/data/image.h"
#include "engine/data/safetensors.h"
#include "engine/data/source.h"
#include "kernels/check.h"

namespace gannet {

namespace {

constexpr std::array<PrepareKind, 4> kinds = {{
    {"idx", "an images file (.gz or not) with its labels beside it, or a folder that holds them",
     "MNIST, Fashion-MNIST and others in IDX files"},
    {"cifar10", "a binary batch file, or the folder that holds them", "CIFAR-10, binary version"},
    {"folder", "a folder of PNG and JPEG files, or of a subfolder per class", "any pictures: centre crop, resized"},
    {"emoji", "a font with colour bitmaps, such as NotoColorEmoji.ttf", "the emoji of a colour font, on white"},
}};

constexpr int largest_size = 8192;

PictureSource open_source(const PrepareOptions& options) {
  try {
    if (options.kind == "idx") return open_idx(options);
    if (options.kind == "cifar10") return open_cifar10(options);
    if (options.kind == "folder") return open_folder(options);
    return open_emoji(options);
  } catch (const std::filesystem::filesystem_error& error) {  // a folder that cannot be listed
    throw InputError(fmt::format("{}: {}", error.path1().string(), error.code().message()));
  }
}

void check_options(const PrepareOptions& options) {
  const std::string& kind = options.kind;
  const bool known = std::any_of(kinds.begin(), kinds.end(), [&](const PrepareKind& one) { return one.name == kind; });
  GANNET_CHECK(known, "no kind of source '{}'; there are idx, cifar10, folder, emoji", kind);
  const bool arrays = kind == "idx" || kind == "cifar10";
  GANNET_CHECK(options.size >= 0 && options.size <= largest_size, "a size of {}; it may be up to {}", options.size,
               largest_size);
  GANNET_CHECK(options.channels == 0 || options.channels == 1 || options.channels == 3, "{} channels; 1 and 3 can be made",
               options.channels);
  GANNET_CHECK(options.limit >= 0, "a limit of {} pictures", options.limit);
  GANNET_CHECK(options.split == "train" || options.split == "test", "no split '{}'; there are train and test", options.split);
  GANNET_CHECK(!options.pad || (arrays && options.size > 0), "padding is for idx and cifar10, and needs a size");
  GANNET_CHECK(options.classes.empty() || kind == "idx", "class names are given for idx only");
  GANNET_CHECK(!options.skip_bad || kind == "folder", "only files of a folder can be skipped");
  GANNET_CHECK((options.names.empty() && options.groups.empty()) || kind == "emoji", "names and groups are for emoji only");
  static_cast<void>(resize_filter(options.filter));

  std::error_code none;
  GANNET_CHECK(std::filesystem::exists(options.source, none), "{}: no such file or folder", options.source.string());
  const std::filesystem::path folder = options.out.has_parent_path() ? options.out.parent_path() : ".";
  GANNET_CHECK(std::filesystem::is_directory(folder, none), "{}: no such folder to write {} in", folder.string(),
               options.out.filename().string());
  GANNET_CHECK(options.force || !std::filesystem::exists(options.out, none), "{}: exists already; --force replaces it",
               options.out.string());
  for (const auto& input : {options.source, options.names, options.groups}) {
    GANNET_CHECK(!std::filesystem::equivalent(options.out, input, none), "{}: would replace its own source",
                 options.out.string());
  }
}

// As many numbers below count as the limit allows, evenly spaced.
std::vector<std::int64_t> choose(std::int64_t count, std::int64_t limit) {
  const std::int64_t kept = limit > 0 ? std::min(count, limit) : count;
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < kept; ++i) chosen.push_back(static_cast<std::int64_t>(__int128{i} * count / kept));
  return chosen;
}

// How pictures of a source become those of the dataset.
struct Fitting {
  int size = 0;  // 0: as they are
  int channels = 3;
  bool pad = false;
  ResizeFilter filter = ResizeFilter::lanczos;

  Image operator()(Image image) const {
    if (size > 0 && pad) {
      image = pad_to(image, size, size, 0);
    } else if (size > 0) {
      image = resize(centre_crop(image), size, size, filter);
    }
    return convert_channels(image, channels);
  }
};

// The chosen pictures from `first` on, made by all processors. A bad one's message stands in its place.
struct Made {
  Image image;
  std::string bad;
};
std::vector<Made> make(const PictureSource& source, const Fitting& fit, std::span<const std::int64_t> chosen) {
  std::vector<Made> made(chosen.size());
  std::atomic<std::size_t> next = 0;
  const std::size_t threads = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, chosen.size());
  std::vector<std::exception_ptr> failures(threads);
  const auto work = [&](std::size_t thread) {
    try {
      for (std::size_t i = next++; i < chosen.size(); i = next++) {
        try {
          made[i].image = fit(source.picture(chosen[i]));
        } catch (const InputError& error) {
          made[i].bad = error.what();
        }
      }
    } catch (...) {
      failures[thread] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> workers;
    for (std::size_t thread = 1; thread < threads; ++thread) workers.emplace_back(work, thread);
    work(0);
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure != nullptr) std::rethrow_exception(failure);
  }
  return made;
}

template <typename T>
std::vector<T> pick(const std::vector<T>& values, std::span<const std::int64_t> chosen) {
  std::vector<T> picked;
  for (const std::int64_t index : chosen) picked.push_back(values[static_cast<std::size_t>(index)]);
  return picked;
}

std::vector<std::int32_t> text_offsets(std::span<const std::string> texts) {
  std::vector<std::int32_t> offsets = {0};
  for (const std::string& text : texts) offsets.push_back(offsets.back() + static_cast<std::int32_t>(text.size()));
  return offsets;
}

// Writes the dataset of the chosen pictures, unless some are bad: then writes nothing and returns their places and messages.
using BadPictures = std::vector<std::pair<std::size_t, std::string>>;
BadPictures write_dataset(const PrepareOptions& options, const PictureSource& source, const Fitting& fit,
                          std::span<const std::int64_t> chosen, PrepareSummary& summary) {
  const std::vector<std::int32_t> labels = source.labels.empty() ? source.labels : pick(source.labels, chosen);
  const std::vector<std::int32_t> codepoints = source.codepoints.empty() ? source.codepoints : pick(source.codepoints, chosen);
  const std::vector<std::string> captions = source.captions.empty() ? source.captions : pick(source.captions, chosen);
  const std::vector<std::int32_t> offsets = text_offsets(captions);
  const std::string blob = fmt::format("{}", fmt::join(captions, ""));

  Metadata metadata = {{"source", options.kind}};
  if (fit.size > 0) metadata["resized"] = fit.pad ? "pad" : options.filter;
  if (!labels.empty()) metadata["classes"] = nlohmann::json(source.classes).dump();

  // Whether the pictures are alike, and of what shape, shows with the first good one.
  std::unique_ptr<SafetensorsWriter> writer;
  std::size_t images_at = 0;
  const auto start = [&](const Image& image) {
    const auto count = static_cast<std::int64_t>(chosen.size());
    summary.images = {count, image.height, image.width, image.channels};
    // Elements of four bytes first, so that all are aligned.
    std::vector<TensorDeclaration> tensors;
    std::vector<std::span<const std::byte>> contents;
    const auto declare = [&](const char* name, DType type, const Shape& shape, std::span<const std::byte> bytes) {
      tensors.push_back({name, type, shape});
      contents.push_back(bytes);
    };
    if (!captions.empty()) declare("captions_offsets", DType::i32, {count + 1}, std::as_bytes(std::span(offsets)));
    if (!codepoints.empty()) declare("codepoints", DType::i32, {count}, std::as_bytes(std::span(codepoints)));
    if (!labels.empty()) declare("labels", DType::i32, {count}, std::as_bytes(std::span(labels)));
    if (!captions.empty()) declare("captions", DType::u8, {offsets.back()}, std::as_bytes(std::span(blob)));
    images_at = tensors.size();
    tensors.push_back({"images", DType::u8, summary.images});
    writer = std::make_unique<SafetensorsWriter>(options.out, tensors, metadata);
    for (std::size_t i = 0; i < contents.size(); ++i) writer->append(i, contents[i]);
  };

  BadPictures bad;
  std::size_t group = 64;  // pictures made at a time; later, as many as fit 64 MiB
  for (std::size_t first = 0; first < chosen.size();) {
    const std::vector<Made> made = make(source, fit, chosen.subspan(first, std::min(group, chosen.size() - first)));
    for (std::size_t i = 0; i < made.size(); ++i) {
      const Image& image = made[i].image;
      if (!made[i].bad.empty()) {
        GANNET_CHECK(options.skip_bad, "{}", made[i].bad);
        bad.emplace_back(first + i, made[i].bad);
      }
      if (!bad.empty()) continue;
      if (writer == nullptr) {
        start(image);
        group = std::clamp<std::size_t>((std::size_t{64} << 20) / image.pixels.size(), 16, 4096);
      }
      const Shape shape = {summary.images[0], image.height, image.width, image.channels};
      GANNET_CHECK(shape == summary.images, "{}: picture {} is {} x {}, others are {} x {}; give a size",
                   options.source.string(), chosen[first + i], image.width, image.height, summary.images[2], summary.images[1]);
      writer->append(images_at, std::as_bytes(std::span(image.pixels)));
    }
    first += made.size();
  }
  if (!bad.empty()) return bad;
  writer->finish();

  summary.labelled = !labels.empty();
  summary.classes = source.classes;
  summary.histogram.assign(source.classes.size(), 0);
  for (const std::int32_t label : labels) ++summary.histogram[static_cast<std::size_t>(label)];
  summary.captions =
      std::count_if(captions.begin(), captions.end(), [](const std::string& caption) { return !caption.empty(); });
  return {};
}

}  // namespace

std::span<const PrepareKind> prepare_kinds() { return kinds; }

PrepareSummary prepare(const PrepareOptions& options) {
  check_options(options);
  const PictureSource source = open_source(options);
  const Fitting fit = {options.size > 0 ? options.size : source.size, options.channels > 0 ? options.channels : source.channels,
                       options.pad, resize_filter(options.filter)};
  PrepareSummary summary;
  summary.ignored = source.ignored;
  std::vector<std::int64_t> chosen = choose(source.count, options.limit);
  // A file says first how many pictures it holds, so with bad ones it is written in a second pass, without them.
  while (true) {
    const BadPictures bad = write_dataset(options, source, fit, chosen, summary);
    if (bad.empty()) break;
    for (const auto& [place, message] : bad) {
      chosen[place] = -1;
      summary.skipped.push_back(message);
    }
    std::erase(chosen, -1);
    GANNET_CHECK(!chosen.empty(), "{}: none of its pictures can be decoded; the first: {}", options.source.string(),
                 summary.skipped.front());
  }
  summary.bytes = std::filesystem::file_size(options.out);
  return summary;
}

std::string to_string(const PrepareSummary& summary) {
  const Shape& shape = summary.images;
  std::string text = fmt::format("{} pictures of {} x {}, {} channel{}, {}\n", shape[0], shape[2], shape[1], shape[3],
                                 shape[3] == 1 ? "" : "s", format_bytes(static_cast<double>(summary.bytes)));
  if (summary.captions > 0) text += fmt::format("{} with captions\n", summary.captions);
  if (summary.ignored > 0) text += fmt::format("{} files passed over that are neither PNG nor JPEG by name\n", summary.ignored);
  for (const std::string& skipped : summary.skipped) text += fmt::format("skipped {}\n", skipped);
  if (!summary.labelled) return text + "no labels\n";
  std::size_t width = 0;
  for (const std::string& name : summary.classes) width = std::max(width, name.size());
  const std::int64_t most = std::max<std::int64_t>(1, *std::max_element(summary.histogram.begin(), summary.histogram.end()));
  for (std::size_t i = 0; i < summary.classes.size(); ++i) {
    const std::string bar(static_cast<std::size_t>(40 * summary.histogram[i] / most), '#');
    text += fmt::format("{:>3} {:<{}} {:>8}{}{}\n", i, summary.classes[i], width, summary.histogram[i], bar.empty() ? "" : " ",
                        bar);
  }
  return text;
}

}  // namespace gannet

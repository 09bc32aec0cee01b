#include "engine/train/tensorboard.h"

#include <unistd.h>

#include <bit>
#include <chrono>
#include <cstring>

#include "engine/train/crc32c.h"
#include "kernels/check.h"

namespace gannet {
namespace {

static_assert(std::endian::native == std::endian::little, "records and fixed-width fields are little-endian");

// Field numbers of the messages.
enum Event { event_wall_time = 1, event_step = 2, event_file_version = 3, event_summary = 5, event_session_log = 7 };
enum Summary { summary_value = 1 };
enum SummaryValue { value_tag = 1, value_simple = 2, value_image = 4 };
enum Image { image_height = 1, image_width = 2, image_colorspace = 3, image_encoded = 4 };
enum SessionLog { session_status = 1, session_start = 1 };
enum WireType { varint = 0, fixed64 = 1, length_delimited = 2, fixed32 = 5 };

void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out.push_back(static_cast<char>(value | 128));
  out.push_back(static_cast<char>(value));
}

void put_key(std::string& out, int field, WireType type) { put_varint(out, static_cast<std::uint64_t>(field) << 3 | type); }

void put_integer(std::string& out, int field, std::int64_t value) {
  put_key(out, field, varint);
  put_varint(out, static_cast<std::uint64_t>(value));
}

void put_bytes(std::string& out, int field, std::string_view bytes) {
  put_key(out, field, length_delimited);
  put_varint(out, bytes.size());
  out.append(bytes);
}

template <typename Number>
void put_fixed(std::string& out, int field, Number value) {
  put_key(out, field, sizeof(Number) == 8 ? fixed64 : fixed32);
  char bytes[sizeof(Number)];
  std::memcpy(bytes, &value, sizeof(Number));
  out.append(bytes, sizeof(Number));
}

double wall_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

void begin_event(std::string& event, std::int64_t step) {
  event.clear();
  put_fixed(event, event_wall_time, wall_time());
  put_integer(event, event_step, step);
}

// TFRecord: "masked" because the checksum of data that holds its own checksum says little.
std::uint32_t masked_crc(std::string_view bytes) {
  const std::uint32_t crc = crc32c(bytes.data(), bytes.size());
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

template <typename Number>
std::string_view bytes_of(const Number& value) {
  return {reinterpret_cast<const char*>(&value), sizeof(Number)};
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder, std::int64_t first_step) {
  char host[256] = "localhost";
  if (::gethostname(host, sizeof(host) - 1) != 0) std::strcpy(host, "localhost");
  file_ = OutputFile(
      folder / fmt::format("events.out.tfevents.{:010}.{}.{}.0", static_cast<std::int64_t>(wall_time()), host, ::getpid()));
  for (std::string* buffer : {&value_, &summary_, &event_}) buffer->reserve(1024);

  begin_event(event_, 0);
  put_bytes(event_, event_file_version, "brain.Event:2");
  write(event_);
  if (first_step > 0) {
    begin_event(event_, first_step);
    value_.clear();
    put_integer(value_, session_status, session_start);
    put_bytes(event_, event_session_log, value_);
    write(event_);
  }
  file_.flush();
}

void EventFile::scalar(std::string_view tag, std::int64_t step, float value) {
  value_.clear();
  put_bytes(value_, value_tag, tag);
  put_fixed(value_, value_simple, value);
  summary_.clear();
  put_bytes(summary_, summary_value, value_);
  begin_event(event_, step);
  put_bytes(event_, event_summary, summary_);
  write(event_);
}

void EventFile::image(std::string_view tag, std::int64_t step, int height, int width, int channels, std::string_view png) {
  std::string image;
  put_integer(image, image_height, height);
  put_integer(image, image_width, width);
  put_integer(image, image_colorspace, channels);
  put_bytes(image, image_encoded, png);
  value_.clear();
  put_bytes(value_, value_tag, tag);
  put_bytes(value_, value_image, image);
  summary_.clear();
  put_bytes(summary_, summary_value, value_);
  begin_event(event_, step);
  put_bytes(event_, event_summary, summary_);
  write(event_);
}

void EventFile::write(std::string_view event) {
  const std::uint64_t length = event.size();
  const std::uint32_t length_crc = masked_crc(bytes_of(length)), event_crc = masked_crc(event);
  file_.append(bytes_of(length));
  file_.append(bytes_of(length_crc));
  file_.append(event);
  file_.append(bytes_of(event_crc));
}

}  // namespace gannet

// Configurations: what is accepted, and what each refusal says.
#include "engine/train/config.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/train/nearest.h"

namespace gannet {
namespace {

using nlohmann::json;

const json minimal = json::parse(R"({"model": {"family": "dcgan"}})");

std::string refusal(const std::function<void()>& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "";
}

TEST(Config, TakesDefaultsFromTheTable) {
  const Config config(minimal, common_keys());
  EXPECT_EQ(config.integer("train.batch"), 64);
  EXPECT_EQ(config.real("generator_optimizer.beta1"), 0.5);
  EXPECT_EQ(config.text("loss.generator"), "non_saturating");
  EXPECT_FALSE(config.boolean("data.flip"));
  EXPECT_TRUE(Config(config.json(), common_keys()).json() == config.json()) << "a resolved configuration resolves to itself";
}

TEST(Config, KeepsNumbersInTheTypeOfTheirKey) {
  json given = minimal;
  given["train"] = {{"steps", 1e5}, {"ema", 0}};
  const Config config(given, common_keys());
  EXPECT_TRUE(config.json()["train"]["steps"].is_number_integer());
  EXPECT_EQ(config.integer("train.steps"), 100000);
  EXPECT_TRUE(config.json()["train"]["ema"].is_number_float());
}

// What is given on top of the minimal configuration, and what the message must say.
struct Refusal {
  const char* name;
  const char* given;
  std::vector<const char*> says;
};

class Refusals : public testing::TestWithParam<Refusal> {};

TEST_P(Refusals, NameTheKeyAndWhatIsAllowed) {
  json given = minimal;
  given.merge_patch(json::parse(GetParam().given));
  const std::string message = refusal([&] { Config(given, common_keys()); });
  EXPECT_FALSE(message.empty()) << "accepted";
  for (const char* words : GetParam().says) EXPECT_NE(message.find(words), message.npos) << message;
}

INSTANTIATE_TEST_SUITE_P(
    Table, Refusals,
    testing::Values(
        Refusal{"unknown_key", R"({"train": {"bacth": 1}})", {"'train.bacth'", "'train.batch'"}},
        Refusal{"unknown_section", R"({"trian": {"batch": 1}})", {"'trian'", "nearest"}},
        Refusal{"section_as_value", R"({"train": 3})", {"'train'", "object"}},
        Refusal{"key_as_section", R"({"train": {"batch": {"a": 1}}})", {"'train.batch'", "an integer"}},
        Refusal{"text_for_integer", R"({"train": {"batch": "64"}})", {"'train.batch'", "an integer", "\"64\""}},
        Refusal{"fraction_for_integer", R"({"train": {"batch": 6.5}})", {"'train.batch'", "an integer", "6.5"}},
        Refusal{"huge_integer", R"({"train": {"batch": 18446744073709551615}})", {"'train.batch'"}},
        Refusal{"number_for_boolean", R"({"data": {"flip": 1}})", {"'data.flip'", "true or false"}},
        Refusal{"number_for_text", R"({"data": {"file": 1}})", {"'data.file'", "a text"}},
        Refusal{"null", R"({"train": {"batch": [null]}})", {"'train.batch'", "an integer"}},
        Refusal{"zero_batch", R"({"train": {"batch": 0}})", {"'train.batch'", "from 1 to 65536", "0"}},
        Refusal{"negative_rate", R"({"generator_optimizer": {"learning_rate": -1}})", {"learning_rate", "from 0 to 100", "-1"}},
        Refusal{"choice", R"({"train": {"precision": "fp16"}})", {"'train.precision'", "fp32, tf32, bf16", "'fp16'"}}),
    [](const auto& info) { return info.param.name; });

TEST(Config, NamesAMissingKey) {
  EXPECT_NE(refusal([] { Config(json::object(), common_keys()); }).find("'model.family' is missing"), std::string::npos);
  EXPECT_NE(refusal([] { Config(json::array(), common_keys()); }).find("must be a JSON object"), std::string::npos);
}

TEST(Config, FamilyKeysReplaceCommonOnes) {
  const std::vector<Key> own = {{"train.batch", Key::Type::integer, 512, "", 1, 512},
                                {"model.latent", Key::Type::integer, 100, ""}};
  const auto keys = all_keys(own);
  const Config config(minimal, keys);
  EXPECT_EQ(config.integer("train.batch"), 512);
  EXPECT_EQ(config.integer("model.latent"), 100);
  EXPECT_EQ(keys.size(), common_keys().size() + 1);
}

TEST(SetKey, ReadsValuesAsJsonWhereTheyAre) {
  json config = minimal;
  set_key(config, "train.batch=32");
  set_key(config, "data.file=a=b.safetensors");
  set_key(config, "data.flip=true");
  EXPECT_EQ(config["train"]["batch"], 32);
  EXPECT_EQ(config["data"]["file"], "a=b.safetensors");
  EXPECT_EQ(config["data"]["flip"], true);
  for (const char* bad : {"train.batch", "=3", "", "train..batch=3", ".=1", "train/batch=3", "model.family.x=1"})
    EXPECT_FALSE(refusal([&] { set_key(config, bad); }).empty()) << bad;
}

TEST(ParseJson, NamesSourceLineAndDuplicates) {
  const std::string malformed = refusal([] { parse_json("{\n \"a\": 1,\n}", "x.json"); });
  EXPECT_NE(malformed.find("x.json"), malformed.npos);
  EXPECT_NE(malformed.find("line 3, column 1"), malformed.npos) << malformed;
  EXPECT_NE(refusal([] { parse_json(R"({"a": {"b": 1, "b": 2}})", "x.json"); }).find("'b' is given twice"), std::string::npos);
  EXPECT_EQ(refusal([] { parse_json(R"({"a": {"b": 1}, "c": {"b": 2}})", "x.json"); }), "");
  EXPECT_FALSE(refusal([] { parse_json(R"({"a": 1e999})", "x.json"); }).empty());
  EXPECT_FALSE(refusal([] { parse_json("", "x.json"); }).empty());
}

TEST(ReadJson, RefusesWhatIsNoFile) {
  EXPECT_NE(refusal([] { read_json("/nowhere/at.json"); }).find("cannot open /nowhere/at.json"), std::string::npos);
  EXPECT_NE(refusal([] { read_json("/"); }).find("is a folder"), std::string::npos);
}

TEST(FirstDifference, NamesPathAndValues) {
  json other = minimal;
  other["train"] = {{"batch", 32}, {"steps", 7}};
  const Config before(minimal, common_keys()), now(other, common_keys());
  const std::string_view ignored[] = {"train.steps"};
  EXPECT_EQ(first_difference(before, now, ignored), "train.batch: 64, now 32");
  EXPECT_EQ(first_difference(before, before, {}), "");
}

TEST(Nearest, IsTheSmallestEditDistance) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  const std::vector<std::string> known = {"vanilla", "dcgan", "wgan_gp"};
  EXPECT_EQ(nearest("dcgn", known), "dcgan");
  EXPECT_EQ(nearest("wgan-gp", known), "wgan_gp");
}

}  // namespace
}  // namespace gannet

// What errors say.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace gannet {

// what() of the error that the function throws; "no error" when it throws none. Another type of exception passes through.
template <typename Error, typename Function>
std::string message_of(Function function) {
  try {
    function();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// EXPECT_TRUE(says(text, part)): the part is in the text.
inline ::testing::AssertionResult says(const std::string& text, std::string_view part) {
  if (text.find(part) != std::string::npos) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "\"" << text << "\" does not say \"" << part << "\"";
}

}  // namespace gannet

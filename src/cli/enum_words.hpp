// SPDX-License-Identifier: Apache-2.0
#pragma once
// The words of the command line for values of the API's enums: the name in the .proto file without
// the prefix of the enum, in lower case. EVENT_KIND_DIAL_FAILED is "dial_failed". Pure functions;
// any thread.

#include <google/protobuf/descriptor.h>
#include <google/protobuf/generated_enum_reflection.h>

#include <string>
#include <string_view>
#include <vector>

namespace mc::cli {

using EnumType = google::protobuf::EnumDescriptor;

/// "unknown" for the unspecified value, and for one that only a newer server knows.
std::string enum_word(const EnumType& type, int value);
/// Every word of the enum but that of its unspecified value, in the order of the .proto file.
std::vector<std::string> enum_words(const EnumType& type);
/// The value for the word; 0, the unspecified one, if there is none.
int enum_value(const EnumType& type, std::string_view word);

template <class Enum>
std::string word_of(Enum value) {
  return enum_word(*google::protobuf::GetEnumDescriptor<Enum>(), value);
}
template <class Enum>
std::vector<std::string> words_of() {
  return enum_words(*google::protobuf::GetEnumDescriptor<Enum>());
}
template <class Enum>
Enum value_of(std::string_view word) {
  return static_cast<Enum>(enum_value(*google::protobuf::GetEnumDescriptor<Enum>(), word));
}

}  // namespace mc::cli

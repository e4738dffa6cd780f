// SPDX-License-Identifier: Apache-2.0
#include "cli/print_json.hpp"

#include <google/protobuf/util/json_util.h>

#include <cstdio>
#include <string>

namespace mc::cli {
namespace {

std::string to_json(const google::protobuf::Message& message,
                    google::protobuf::util::JsonPrintOptions options) {
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto converted = google::protobuf::util::MessageToJsonString(message, &text, options);
  return converted.ok() ? text : "{}";
}

}  // namespace

void print_json(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  std::fputs(to_json(message, options).c_str(), stdout);
}

bool print_json_line(const google::protobuf::Message& message) {
  return std::puts(to_json(message, {}).c_str()) >= 0;
}

}  // namespace mc::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The output of commands with --json: the API's messages, with the names of the .proto file. One
// thread.

#include <google/protobuf/message.h>

namespace mc::cli {

/// Prints the message as JSON, with the names of the .proto file.
void print_json(const google::protobuf::Message& message);
/// The same in one line. Returns whether it was written.
bool print_json_line(const google::protobuf::Message& message);

}  // namespace mc::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once
// Makes foreign text safe to print: in messages to people, in log lines, in JSON. For any bytes of
// a peer or a file the result is printable, stays on one line and cannot be mistaken for something
// else. Pure functions; any thread.

#include <cstddef>
#include <string>
#include <string_view>

namespace mc {

/// The most bytes of a text that quote() repeats: enough to recognise it, too few to drown the
/// message.
inline constexpr std::size_t kQuotedBytesMax = 128;

/// The text in double quotes, for an error message: escaped as append_quoted() does, and cut with
/// "..." after kQuotedBytesMax bytes.
std::string quote(std::string_view text);

/// The text without quotes, with escapes only for what does not print: for messages of a library
/// that may repeat foreign text.
std::string printable(std::string_view text);

/// Appends the whole text in double quotes, with the escapes of Go's strconv.Quote: \n, \t, \", \\
/// and the like by name, other control characters and bytes that are no UTF-8 as \xNN, characters
/// that do not print as \uNNNN. Text in any script stays readable.
void append_quoted(std::string& out, std::string_view text);

/// Appends the text as a log value: bare when that is unambiguous, else as append_quoted(). The
/// rule is that of Go's slog: quotes for the empty text, spaces, '=', '"' and anything that does
/// not print.
void append_log_value(std::string& out, std::string_view text);

/// Appends the text as a JSON string (RFC 8259), quotes included. Bytes that are no UTF-8 become
/// U+FFFD.
void append_json_string(std::string& out, std::string_view text);

/// The longest start of `text` that has at most `bytes_max` bytes and does not cut a UTF-8
/// character.
std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max);

}  // namespace mc

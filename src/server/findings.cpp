// SPDX-License-Identifier: Apache-2.0
#include "server/findings.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/json.hpp"

namespace mc::server {

void Findings::add(std::string subject, std::string text, Finding finding) {
  if (finding == Finding::kBad) bad_ = true;
  lines_.push_back({finding, std::move(subject), std::move(text)});
}

void Findings::print_text() const {
  for (const Line& line : lines_) {
    const char* const mark = line.finding == Finding::kGood   ? "ok  "
                             : line.finding == Finding::kNote ? "note"
                                                              : "BAD ";
    fmt::print("{} {:<16} {}\n", mark, line.subject, line.text);
  }
}

void Findings::print_json() const {
  JsonWriter json;
  json.begin_object(JsonWriter::Layout::kLines).member("good", !bad_);
  json.key("findings").begin_array(JsonWriter::Layout::kLines);
  for (const Line& line : lines_) {
    const char* const word = line.finding == Finding::kGood   ? "good"
                             : line.finding == Finding::kNote ? "note"
                                                              : "bad";
    json.begin_object().member("finding", word);
    json.member("subject", line.subject).member("text", line.text).end();
  }
  fmt::print("{}\n", json.end().end().text());
}

}  // namespace mc::server

// SPDX-License-Identifier: Apache-2.0
#include "server/findings.hpp"

#include <fmt/format.h>

#include <utility>

#include "base/quote.hpp"

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
  std::string out = fmt::format("{{\n \"good\": {},\n \"findings\": [", !bad_);
  for (const Line& line : lines_) {
    const char* const word = line.finding == Finding::kGood   ? "good"
                             : line.finding == Finding::kNote ? "note"
                                                              : "bad";
    out += fmt::format(
        "{}\n  {{\"finding\": \"{}\", \"subject\": ", &line == &lines_.front() ? "" : ",", word);
    append_json_string(out, line.subject);
    out += ", \"text\": ";
    append_json_string(out, line.text);
    out += '}';
  }
  fmt::print("{}\n ]\n}}\n", out);
}

}  // namespace mc::server

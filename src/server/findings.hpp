// SPDX-License-Identifier: Apache-2.0
#pragma once
// The results of `mc-proxy check`: lines in their order, and whether one of them would keep a
// server from starting. A value; one thread.

#include <string>
#include <vector>

namespace mc::server {

enum class Finding { kGood, kNote, kBad };

class Findings {
 public:
  void add(std::string subject, std::string text, Finding finding = Finding::kGood);
  /// Whether a start would fail.
  [[nodiscard]] bool bad() const { return bad_; }

  /// A line each, "ok   subject   text", to stdout.
  void print_text() const;
  void print_json() const;

 private:
  struct Line {
    Finding finding;
    std::string subject;
    std::string text;
  };
  std::vector<Line> lines_;
  bool bad_ = false;
};

}  // namespace mc::server

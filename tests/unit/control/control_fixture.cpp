// SPDX-License-Identifier: Apache-2.0
#include "unit/control/control_fixture.hpp"

#include <fmt/format.h>

#include <utility>

#include "store/sqlite.hpp"

namespace mc::control::test {
namespace {

constexpr std::string_view kListeners =
    "[[listeners]]\naddr = \":443\"\n[[listeners]]\naddr = \":8443\"\n";

}  // namespace

Plant::Plant(const std::string& toml)
    : log_({.level = LogLevel::kError, .priorities = LogPriorities::kNever}) {
  configure(toml);
}

Plant::~Plant() { close(); }

void Plant::configure(const std::string& toml) {
  const std::string listeners(toml.contains("[[listeners]]") ? "" : kListeners);
  const std::string text =
      fmt::format("{}\n{}\n[database]\npath = \"{}\"\n", listeners, toml, database_);
  auto parsed = config::load_from_text(text, "test.toml", config::NamedFiles::kIgnored);
  INFO((parsed.has_value() ? "" : config::to_string(parsed.error())));
  REQUIRE(parsed.has_value());
  config_ = *std::move(parsed);
}

std::string Plant::open() {
  published_ = std::make_unique<policy::PublishedPolicy>(State().policy(), 0);
  auto opened = Control::open(config_, *published_, enforcer_, log_);
  if (!opened.has_value()) return opened.error().message;
  control_ = *std::move(opened);
  const auto seeded = control_->seed();
  return seeded.has_value() ? "" : seeded.error().message;
}

void Plant::close() { control_.reset(); }

void Plant::restart() {
  close();
  REQUIRE(open() == "");
}

std::string Plant::route(std::string_view name, std::size_t listener) {
  const policy::LiveRoute* const route = published().route(listener, {.name = name});
  return route != nullptr ? policy::target_of(route->spec) : "none";
}

std::string Plant::query(const std::string& sql) const {
  auto connection = store::Connection::open(database_, store::Access::kReadOnly);
  REQUIRE(connection.has_value());
  const auto value = connection->query_text(sql);
  REQUIRE(value.has_value());
  return *value;
}

ChangeOptions by_test() { return {.who = "CN=test", .action = "test"}; }

std::string told(const Refusal& refusal) {
  static constexpr const char* kKinds[] = {
      "invalid",         "not found",    "already exists", "failed precondition",
      "stale",           "too many",     "stopping",       "store full",
      "store read-only", "store locked", "store replaced", "store failed"};
  std::string text = kKinds[static_cast<std::size_t>(refusal.kind)];
  if (refusal.index.has_value()) text += fmt::format(" [{}]", *refusal.index);
  if (!refusal.message.empty()) text += ": " + refusal.message;
  for (const Violation& violation : refusal.violations) {
    static constexpr const char* kOf[] = {"", "", "rule ", "", "pool ", "backend "};
    const std::string backend =
        violation.backend.has_value() ? fmt::format("backends[{}].", *violation.backend) : "";
    text += fmt::format("; [{}] {}{}{}: {}", violation.index,
                        kOf[static_cast<std::size_t>(violation.field.of)], backend,
                        violation.field.name, violation.description);
  }
  return text;
}

}  // namespace mc::control::test

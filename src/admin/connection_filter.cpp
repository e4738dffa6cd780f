// SPDX-License-Identifier: Apache-2.0
#include "admin/connection_filter.hpp"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string_view>
#include <utility>

#include "base/quote.hpp"
#include "policy/pool.hpp"
#include "policy/route.hpp"

namespace mc::admin {
namespace {

using Words = std::array<std::pair<std::string_view, const std::string*>, 6>;

Words words(const ConnectionFilterText& text) {
  return {{{"id", &text.id},
           {"listener", &text.listener},
           {"sni", &text.sni},
           {"source", &text.source},
           {"backend", &text.backend},
           {"pool", &text.pool}}};
}

Result<traffic::ConnectionId> parse_id(const std::string& text) {
  const auto id = traffic::ConnectionId::parse(text);
  if (id.has_value()) return *id;
  return fail(fmt::format(
      "{}: not the id of a connection; write one as it is listed, like \"0-17\"", quote(text)));
}

}  // namespace

bool ConnectionFilterText::empty() const {
  for (const auto& [name, text] : words(*this)) {
    if (!text->empty()) return false;
  }
  return true;
}

std::string ConnectionFilterText::describe() const {
  std::string said;
  for (const auto& [name, text] : words(*this)) {
    if (!text->empty()) said += fmt::format("{}{}={}", said.empty() ? "" : " ", name, *text);
  }
  return said.empty() ? "all" : said;
}

control::Outcome<traffic::ConnectionFilter> read_filter(const ConnectionFilterText& text,
                                                        const control::Listeners& listeners) {
  control::Refusal refusal{.kind = control::RefusalKind::kInvalid};
  const auto read = [&refusal](std::string_view name, const std::string& word, auto parse,
                               auto& into) {
    if (word.empty()) return;
    auto parsed = parse(word);
    if (parsed.has_value()) {
      into = *std::move(parsed);
    } else {
      refusal.violations.push_back({.field = {control::Field::Of::kFilter, name},
                                    .description = std::move(parsed.error().message)});
    }
  };
  traffic::ConnectionFilter filter;
  read("sni", text.sni, policy::parse_hostname, filter.sni);
  read("source", text.source, IpPrefix::parse_block_or_address, filter.source);
  read("backend", text.backend, policy::parse_pool_address, filter.backend);
  read("id", text.id, parse_id, filter.id);
  read("pool", text.pool, policy::parse_pool_name, filter.pool);
  if (!refusal.violations.empty()) return std::unexpected(std::move(refusal));
  // A session stores its backend's interface by number, or by name if there was no number.
  const auto resolved = filter.backend.has_value() ? filter.backend->resolve() : std::nullopt;
  if (resolved.has_value() && !resolved->is_unix()) filter.backend = resolved->ip_address();
  if (!text.listener.empty()) {
    filter.listener = listeners.find(text.listener);
    if (!filter.listener.has_value()) {
      return refuse(control::RefusalKind::kNotFound, listeners.unknown(text.listener));
    }
  }
  return filter;
}

}  // namespace mc::admin

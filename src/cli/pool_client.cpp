// SPDX-License-Identifier: Apache-2.0
#include "cli/pool_client.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/quote.hpp"
#include "cli/format.hpp"
#include "cli/print_json.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// Others may change routes all the time; then a person has to say which revision is meant.
constexpr int kEditsMax = 5;

// What comes after `mark`; nothing if it is not in the text.
std::optional<std::string> after(const std::string& text, std::string_view mark) {
  const auto at = text.find(mark);
  if (at == text.npos) return std::nullopt;
  return text.substr(at + mark.size());
}

// "backends[1].weight": the address as the request has it, and what is wrong of it.
std::optional<std::string> name_of_backend(const std::string& field, const api::Pool& pool) {
  const auto rest = after(field, "backends[");
  if (!rest.has_value()) return std::nullopt;
  int index = 0;
  const auto parsed = std::from_chars(rest->data(), rest->data() + rest->size(), index);
  if (parsed.ec != std::errc() || index < 0 || index >= pool.backends_size()) return std::nullopt;
  const std::string part = field.substr(field.rfind('.') + 1);
  // The description of a wrong address quotes it.
  return part == "address" ? part : fmt::format("{} of {}", part, pool.backends(index).address());
}

grpc::Status send(Client& client, const api::Change& change, const ChangeWords& words,
                  api::ApplyChangesResponse& response) {
  api::ApplyChangesRequest request;
  *request.add_changes() = change;
  request.set_dry_run(words.dry_run);
  if (words.if_revision.has_value()) request.set_if_revision(*words.if_revision);
  return client.call(&Client::Stub::ApplyChanges, request, response);
}

std::unexpected<int> give_up(const Client& client, const grpc::Status& status,
                             const api::Change& change) {
  return std::unexpected(client.fail(
      status, [&change](const std::string& field) { return name_of_field(field, change); }));
}

}  // namespace

std::expected<api::ListPoolsResponse, int> fetch_pools(Client& client, const std::string& name) {
  constexpr int kAttempts = 3;
  api::ListPoolsResponse all;
  bool is_of_one_revision = false;
  for (int attempt = 0; attempt < kAttempts && !is_of_one_revision; ++attempt) {
    all.Clear();
    is_of_one_revision = true;
    api::ListPoolsRequest request;
    request.set_name(name);
    do {
      api::ListPoolsResponse page;
      const grpc::Status asked = client.call(&Client::Stub::ListPools, request, page);
      if (!asked.ok()) return std::unexpected(client.fail(asked));
      is_of_one_revision &= all.pools_size() == 0 || page.revision() == all.revision();
      request.set_page_token(page.next_page_token());
      all.MergeFrom(page);
      all.clear_next_page_token();
    } while (!request.page_token().empty());
  }
  return all;
}

void with_conditions(CLI::App& command, ChangeWords& words) {
  command.add_flag("--dry-run", words.dry_run, "Only print what would change");
  command.add_option("--if-revision", words.if_revision,
                     "Refuse if anything was changed since this revision");
}

std::expected<api::ApplyChangesResponse, int> apply_change(Client& client,
                                                           const api::Change& change,
                                                           const ChangeWords& words) {
  api::ApplyChangesResponse response;
  const grpc::Status asked = send(client, change, words, response);
  if (!asked.ok()) return give_up(client, asked, change);
  return response;
}

std::expected<api::ApplyChangesResponse, int> edit_pool(Client& client, const std::string& name,
                                                        const Edit& edit,
                                                        const ChangeWords& words) {
  for (int attempt = 1;; ++attempt) {
    const auto read = fetch_pools(client, name);
    if (!read.has_value()) return std::unexpected(read.error());
    ChangeWords conditions = words;
    if (!words.if_revision.has_value()) conditions.if_revision = read->revision();
    api::Change change;
    if (read->pools_size() != 1 || !edit(read->pools(0).pool(), change)) {
      return std::unexpected(int{kFailed});
    }
    api::ApplyChangesResponse response;
    const grpc::Status asked = send(client, change, conditions, response);
    if (asked.ok()) return response;
    const bool again = asked.error_code() == grpc::StatusCode::ABORTED && attempt < kEditsMax &&
                       !words.if_revision.has_value();
    if (!again) return give_up(client, asked, change);
  }
}

void print_change(const api::ApplyChangesResponse& response, const ClientOptions& options,
                  const ChangeWords& words, std::string_view what, std::string_view more) {
  if (options.json) {
    print_json(response);
    return;
  }
  const api::ChangeResult result =
      response.effects_size() == 1 ? response.effects(0).result() : api::CHANGE_RESULT_UNSPECIFIED;
  std::string done = "made";
  if (result == api::CHANGE_RESULT_ADDED) done = "added";
  if (result == api::CHANGE_RESULT_CHANGED) done = "changed";
  if (result == api::CHANGE_RESULT_REMOVED) done = "removed";
  const bool is_same = result == api::CHANGE_RESULT_UNCHANGED;
  if (is_same) done = "unchanged";
  fmt::print("{}{} {}{}, revision {}\n", words.dry_run && !is_same ? "would have " : "", done, what,
             more, response.revision());
}

std::string name_of_field(const std::string& field, const api::Change& change) {
  for (const std::string_view mark : {".add_pool.", ".put_pool."}) {
    const auto setting = after(field, mark);
    if (!setting.has_value()) continue;
    const api::Pool& pool = change.has_add_pool() ? change.add_pool() : change.put_pool();
    if (const auto backend = name_of_backend(*setting, pool)) return *backend;
    if (*setting == "name" || *setting == "backends") return *setting;
    if (setting->starts_with("send_proxy_tlvs")) return "--send-proxy-tlv";
    std::string option = "--" + *setting;
    std::ranges::replace_if(option, [](char c) { return c == '.' || c == '_'; }, '-');
    return option == "--check-kind" ? "--check" : option;
  }
  const std::string part = field.substr(field.rfind('.') + 1);
  if (part == "pool" || part == "address" || part == "name") return part;
  std::string option = "--" + part;
  std::ranges::replace(option, '_', '-');
  return option;
}

policy::RouteText text_of(const api::Route& route) {
  return {
      .hostname = route.hostname(),
      .backend = route.backend(),
      .pool = route.pool(),
      .match = {.alpn = route.alpn(), .sources = {route.sources().begin(), route.sources().end()}}};
}

bool is_out_of_reach(const api::BackendStatus& backend) {
  return backend.health() == api::BACKEND_HEALTH_DOWN ||
         backend.health() == api::BACKEND_HEALTH_EJECTED;
}

std::string time_since(const api::BackendStatus& backend,
                       std::chrono::system_clock::time_point now) {
  if (!backend.has_since()) return "";
  const auto age = now.time_since_epoch() - std::chrono::seconds(backend.since().seconds());
  // The clocks of two machines differ.
  return format_seconds(std::max(age, std::chrono::system_clock::duration(0)));
}

}  // namespace mc::cli

// SPDX-License-Identifier: Apache-2.0
// mc-proxy firewall: the rules of a running server.

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "app/client.hpp"
#include "app/commands.hpp"

namespace mc::app {

namespace api = mc_proxy::v1;

namespace {

// The values of the three types cannot be mistaken for each other; what is none of them the server
// refuses, as an address.
api::FirewallRule rule_of(const std::string& value) {
  api::FirewallRule rule;
  rule.set_value(value);
  if (value.find('/') != value.npos) {
    rule.set_type(api::FIREWALL_RULE_TYPE_CIDR);
  } else if (value.size() == 2 && value != "::") {
    rule.set_type(api::FIREWALL_RULE_TYPE_COUNTRY);
  } else {
    rule.set_type(api::FIREWALL_RULE_TYPE_IP);
  }
  return rule;
}

std::string_view word_of(api::FirewallRuleType type) {
  switch (type) {
    case api::FIREWALL_RULE_TYPE_IP:
      return "ip";
    case api::FIREWALL_RULE_TYPE_CIDR:
      return "cidr";
    case api::FIREWALL_RULE_TYPE_COUNTRY:
      return "country";
    default:
      return "unknown";
  }
}

// One kind of change, all of it or nothing.
int apply(const ClientOptions& options, const api::ApplyChangesRequest& request,
          std::string_view done) {
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  api::ApplyChangesResponse response;
  const grpc::Status asked = client->call(&Client::Stub::ApplyChanges, request, response);
  if (!asked.ok())
    return client->fail(asked, [](const std::string&) { return std::string("rule"); });
  if (options.json) {
    print_json(response);
  } else {
    fmt::print("{} {} {}, revision {}\n", done, request.changes_size(),
               request.changes_size() == 1 ? "rule" : "rules", response.revision());
  }
  return kDone;
}

}  // namespace

int list_rules(const ClientOptions& options) {
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  api::GetFirewallRulesResponse all;
  api::GetFirewallRulesRequest request;
  do {
    api::GetFirewallRulesResponse page;
    const grpc::Status asked = client->call(&Client::Stub::GetFirewallRules, request, page);
    if (!asked.ok()) return client->fail(asked);
    request.set_page_token(page.next_page_token());
    all.MergeFrom(page);
    all.clear_next_page_token();
  } while (!request.page_token().empty());
  if (options.json) {
    print_json(all);
    return kDone;
  }
  fmt::print("# revision {}\n", all.revision());
  for (const api::FirewallRule& rule : all.rules()) {
    fmt::print("{} {}\n", word_of(rule.type()), rule.value());
  }
  return kDone;
}

int add_rules(const ClientOptions& options, const std::vector<std::string>& values,
              std::optional<bool> cut_established) {
  api::ApplyChangesRequest request;
  for (const std::string& value : values) {
    if (!all_ascii({value})) return kFailed;
    // To cut is worth it for a client that is blocked already, too.
    api::Change& change = *request.add_changes();
    *(cut_established == true ? change.mutable_put_firewall_rule()
                              : change.mutable_add_firewall_rule()) = rule_of(value);
  }
  if (cut_established.has_value()) request.set_cut_established(*cut_established);
  return apply(options, request, "added");
}

int remove_rules(const ClientOptions& options, const std::vector<std::string>& values) {
  api::ApplyChangesRequest request;
  for (const std::string& value : values) {
    if (!all_ascii({value})) return kFailed;
    *request.add_changes()->mutable_remove_firewall_rule() = rule_of(value);
  }
  return apply(options, request, "removed");
}

}  // namespace mc::app

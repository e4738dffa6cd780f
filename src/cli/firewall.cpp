// SPDX-License-Identifier: Apache-2.0
// mc-proxy firewall: the rules of a running server.

#include <fmt/format.h>

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/quote.hpp"
#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/complain.hpp"
#include "cli/enum_words.hpp"
#include "cli/format.hpp"
#include "cli/print_json.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// Whether all of them can be sent, and are of one of the three types. If not, it has printed that.
bool are_rules(const std::vector<std::string>& values) {
  for (const std::string& value : values) {
    if (!all_ascii({value})) return false;
    if (value.size() == 2 || value.find_first_of("/.:") != value.npos) continue;
    complain(fmt::format(
        "mc-proxy: rule: {}: not an IP address, a CIDR block or a country; write one like "
        "203.0.113.50, 198.51.100.0/24 or KP (a country's two letters in ISO 3166-1)",
        quote(value)));
    return false;
  }
  return true;
}

// The values of the three types cannot be mistaken for each other.
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

// All of the changes or none.
std::expected<api::ApplyChangesResponse, int> apply(const ClientOptions& options,
                                                    const api::ApplyChangesRequest& request) {
  auto client = Client::connect(options);
  if (!client.has_value()) return std::unexpected(client.error());
  api::ApplyChangesResponse response;
  const grpc::Status asked = client->call(&Client::Stub::ApplyChanges, request, response);
  if (asked.ok()) return response;
  return std::unexpected(
      client->fail(asked, [](const std::string&) { return std::string("rule"); }));
}

// Prints the values alone, which show the type: an address, a block, a country.
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
  if (!are_rules(values)) return kFailed;
  api::ApplyChangesRequest request;
  for (const std::string& value : values) {
    *request.add_changes()->mutable_put_firewall_rule() = rule_of(value);
  }
  if (cut_established.has_value()) request.set_cut_established(*cut_established);
  const auto response = apply(options, request);
  if (!response.has_value()) return response.error();
  if (options.json) {
    print_json(*response);
    return kDone;
  }
  fmt::print("added {}, revision {}\n",
             format_items(response->summary().firewall_rules_added(), "rule"),
             response->revision());
  for (int i = 0; i < response->effects_size(); ++i) {
    if (response->effects(i).result() != api::CHANGE_RESULT_UNCHANGED) continue;
    fmt::print("{}: was there already\n", request.changes(i).put_firewall_rule().value());
  }
  return kDone;
}

int remove_rules(const ClientOptions& options, const std::vector<std::string>& values) {
  if (!are_rules(values)) return kFailed;
  api::ApplyChangesRequest request;
  for (const std::string& value : values) {
    *request.add_changes()->mutable_remove_firewall_rule() = rule_of(value);
  }
  const auto response = apply(options, request);
  if (!response.has_value()) return response.error();
  if (options.json) {
    print_json(*response);
  } else {
    fmt::print("removed {}, revision {}\n",
               format_items(response->summary().firewall_rules_removed(), "rule"),
               response->revision());
  }
  return kDone;
}

}  // namespace

void add_firewall(CommandLine& line) {
  struct Words {
    std::vector<std::string> values;
    std::optional<bool> cut;
  };
  const auto words = std::make_shared<Words>();
  CLI::App& firewall = line.add_group("firewall", "Show and change firewall rules");
  line.with_server(line.add(firewall, "list", "Show the rules", list_rules));

  CLI::App& add =
      line.with_server(line.add(firewall, "add", "Block addresses, CIDR blocks, countries",
                                [words](const ClientOptions& options) {
                                  return add_rules(options, words->values, words->cut);
                                }));
  add.add_option("value", words->values, "Such as 203.0.113.50, 198.51.100.0/24 or RU")->required();
  add_choice(add, "--cut,!--no-cut", words->cut,
             "Whether matching open connections are reset too; default: as configured");

  CLI::App& remove = line.with_server(line.add(
      firewall, "remove", "Remove rules",
      [words](const ClientOptions& options) { return remove_rules(options, words->values); }));
  remove.add_option("value", words->values, "As in `firewall list`")->required();
}

}  // namespace mc::cli

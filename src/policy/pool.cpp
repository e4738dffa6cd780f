// SPDX-License-Identifier: Apache-2.0
#include "policy/pool.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/ascii.hpp"
#include "base/duration.hpp"
#include "base/quote.hpp"
#include "policy/limits.hpp"
#include "policy/route.hpp"
#include "tls/host_name.hpp"

namespace mc::policy {
namespace {

using std::chrono::milliseconds;

bool is_name_start(char c) { return is_letter(c) || is_digit(c); }

// Collects the errors of a pool's fields.
class Errors {
 public:
  void add(std::string_view field, std::string message, std::string value = {}) {
    errors_.push_back({.field = field,
                       .backend = backend_,
                       .value = std::move(value),
                       .message = std::move(message)});
  }
  void require_range(std::string_view field, std::int64_t value, std::int64_t min,
                     std::int64_t max) {
    if (value >= min && value <= max) return;
    add(field, fmt::format("out of range; write {} to {}", min, max), fmt::format("{}", value));
  }
  void require_range(std::string_view field, milliseconds value, milliseconds min,
                     milliseconds max) {
    if (value >= min && value <= max) return;
    add(field,
        fmt::format("out of range; write {} to {}", format_duration(min), format_duration(max)),
        fmt::format("{}ms", value.count()));
  }
  /// The errors that follow are about this backend.
  void at(std::optional<std::size_t> backend) { backend_ = backend; }

  [[nodiscard]] bool none() const { return errors_.empty(); }
  std::vector<PoolError> take() && { return std::move(errors_); }

 private:
  std::vector<PoolError> errors_;
  std::optional<std::size_t> backend_;
};

// Its name becomes the form in which a hello has it.
void read_check(Check& check, Errors& errors) {
  constexpr milliseconds kLeast{1};
  errors.require_range("check.interval", check.interval, kCheckIntervalMin, kCheckIntervalMax);
  errors.require_range("check.fast_interval", check.fast_interval, kCheckIntervalMin,
                       kCheckIntervalMax);
  errors.require_range("check.timeout", check.timeout, kLeast, kCheckIntervalMax);
  errors.require_range("check.rise", check.rise, 1, kRiseFallMax);
  errors.require_range("check.fall", check.fall, 1, kRiseFallMax);
  if (!check.name.empty()) {
    const auto pattern = parse_hostname(check.name);
    if (!pattern.has_value()) {
      errors.add("check.name", pattern.error().message);
    } else if (pattern->kind() != PatternKind::kExact) {
      errors.add("check.name",
                 fmt::format("{}: a check sends one name; write one without a wildcard",
                             quote(check.name)));
    } else {
      check.name = pattern->text();
    }
  } else if (check.kind == CheckKind::kTls) {
    errors.add("check.name",
               "a TLS check sends a name, and none is given; write the name that a client of "
               "these backends asks for, such as \"app.example.com\"");
  }
}

void read_send_proxy(const PoolSettings& settings, Errors& errors) {
  if (settings.send_proxy == SendProxy::kV2 || settings.send_proxy_tlvs == ProxyTlvs()) return;
  errors.add("send_proxy_tlvs",
             "only a PROXY header of version 2 has TLVs; send that (v2), or leave them out");
}

void read_settings(PoolSettings& settings, Errors& errors) {
  errors.require_range("hash_prefix_v4", settings.hash_prefix_v4, 1, 32);
  errors.require_range("hash_prefix_v6", settings.hash_prefix_v6, 1, 128);
  errors.require_range("retries", settings.retries, 0, kRetriesMax);
  errors.require_range("dial_budget", settings.dial_budget, milliseconds(1), kDialBudgetMax);
  errors.require_range("slow_start", settings.slow_start, milliseconds(0), kSlowStartMax);
  read_send_proxy(settings, errors);
  read_check(settings.check, errors);
}

std::optional<Backend> read_backend(const BackendText& text, Errors& errors) {
  errors.require_range("weight", text.weight, 0, kWeightMax);
  errors.require_range("max_connections", text.max_connections, 0, kBackendConnectionsMax);
  auto address = parse_pool_address(text.address);
  if (!address.has_value()) {
    errors.add("address", std::move(address.error().message));
    return std::nullopt;
  }
  return Backend{.address = *std::move(address),
                 .weight = text.weight,
                 .backup = text.backup,
                 .max_connections = text.max_connections,
                 .state = text.state};
}

void require_backends(const PoolText& text, Errors& errors) {
  if (text.backends.empty()) {
    errors.add("backends", "a pool needs at least one backend, such as 10.0.0.1:443");
  }
  if (text.backends.size() > kPoolBackendsMax) {
    errors.add("backends",
               fmt::format("there are {}, but a pool has at most {}; make several pools",
                           text.backends.size(), kPoolBackendsMax));
  }
}

}  // namespace

Result<std::string> parse_pool_name(std::string_view text) {
  const bool is_name = !text.empty() && text.size() <= kPoolNameBytesMax &&
                       is_name_start(text.front()) && std::ranges::all_of(text, [](char c) {
                         return is_name_start(c) || c == '_' || c == '-' || c == '.';
                       });
  if (is_name) return std::string(text);
  return fail(
      fmt::format("{}: not a pool's name: write 1 to {} of the letters a-z and A-Z, digits, "
                  "\"_\", \"-\" and \".\", a letter or digit first, such as \"app\"",
                  quote(text), kPoolNameBytesMax));
}

namespace {

// "name", "name:0": a name is meant, which needs a port.
bool is_name_without_port(std::string_view text) {
  const auto colon = std::min(text.find(':'), text.size());
  const auto host = text.substr(0, colon);
  const auto port = text.substr(std::min(colon + 1, text.size()));
  return std::ranges::all_of(port, is_digit) && std::ranges::any_of(host, is_letter) &&
         tls::HostName::from(host).has_value();
}

}  // namespace

Result<BackendAddress> parse_pool_address(std::string_view text) {
  auto address = BackendAddress::parse(text);
  if (!address && is_name_without_port(text)) {
    return fail(fmt::format("{}: a name needs a port from 1 to 65535; write \"{}:443\"",
                            quote(text), text.substr(0, text.find(':'))));
  }
  if (!address || address->kind() != BackendAddress::Kind::kName) return parse_backend(text);
  const auto name = tls::HostName::from(address->host());
  if (name.has_value()) return address;
  return fail(fmt::format("{}: not a host name: {}; write one like \"app.internal:{}\"",
                          quote(text), tls::to_string(name.error()), address->port()));
}

std::string to_string(const ProxyTlvs& tlvs) {
  std::string words;
  for (const ProxyTlv& tlv : kProxyTlvs) {
    if (tlvs.*tlv.is_sent) words += (words.empty() ? "" : " ") + std::string(tlv.word);
  }
  return words;
}

std::optional<ProxyTlvs> parse_proxy_tlvs(std::string_view text) {
  ProxyTlvs tlvs;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    const auto* const tlv = std::ranges::find(kProxyTlvs, word, &ProxyTlv::word);
    if (tlv == kProxyTlvs.end()) return std::nullopt;
    tlvs.*tlv->is_sent = true;
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return tlvs;
}

std::expected<Pool, std::vector<PoolError>> parse_pool(const PoolText& text) {
  Errors errors;
  auto name = parse_pool_name(text.name);
  if (!name.has_value()) errors.add("name", name.error().message);
  Pool pool{.name = name.value_or(""), .settings = text.settings, .backends = {}};
  read_settings(pool.settings, errors);
  require_backends(text, errors);
  if (text.backends.size() > kPoolBackendsMax) return std::unexpected(std::move(errors).take());
  std::map<std::string, std::size_t> place_of;  // by address
  for (std::size_t i = 0; i < text.backends.size(); ++i) {
    errors.at(i);
    auto backend = read_backend(text.backends[i], errors);
    if (!backend.has_value()) continue;
    const auto [first, is_new] = place_of.try_emplace(backend->address.to_string(), i);
    if (!is_new) {
      errors.add("address", fmt::format("{}: the same address as backends[{}]; leave one out",
                                        quote(text.backends[i].address), first->second));
    }
    pool.backends.push_back(*std::move(backend));
  }
  if (!errors.none()) return std::unexpected(std::move(errors).take());
  return pool;
}

std::expected<Backend, std::vector<PoolError>> parse_pool_backend(const BackendText& text) {
  Errors errors;
  auto backend = read_backend(text, errors);
  if (!errors.none()) return std::unexpected(std::move(errors).take());
  return *std::move(backend);
}

std::string describe(const PoolError& error) {
  return error.value.empty() ? error.message : error.value + " is " + error.message;
}

BackendText to_text(const Backend& backend) {
  return {.address = backend.address.to_string(),
          .weight = backend.weight,
          .backup = backend.backup,
          .max_connections = backend.max_connections,
          .state = backend.state};
}

PoolText to_text(const Pool& pool) {
  PoolText text{.name = pool.name, .settings = pool.settings, .backends = {}};
  for (const Backend& backend : pool.backends) text.backends.push_back(to_text(backend));
  return text;
}

std::optional<std::size_t> find_backend(const Pool& pool, const BackendAddress& address) {
  const auto found = std::ranges::find(pool.backends, address, &Backend::address);
  if (found == pool.backends.end()) return std::nullopt;
  return static_cast<std::size_t>(found - pool.backends.begin());
}

}  // namespace mc::policy

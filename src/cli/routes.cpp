// SPDX-License-Identifier: Apache-2.0
// mc-proxy routes: the routes of a running server.

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/quote.hpp"
#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/complain.hpp"
#include "cli/format.hpp"
#include "cli/pool_client.hpp"
#include "cli/print_json.hpp"
#include "policy/route.hpp"

namespace mc::cli {

namespace api = mc_proxy::v1;

namespace {

// Options of a command for one route. An empty `listener` is the server's only one.
struct RouteOptions {
  std::string listener;
  policy::RouteText text;
  std::string target;    // "ip:port" or "pool=app"; empty: text.pool
  bool replace = false;  // a route that is there for the host name and match is changed
};

struct ReplaceOptions {
  std::string listener;
  std::string file;  // "-": stdin. Lines of a host name, a target and a match; '#' begins a comment
  bool dry_run = false;
  bool allow_empty = false;  // a file without routes is intended
  std::optional<std::uint64_t> if_revision;
};

struct MoveOptions {
  std::string from, to;  // listeners, configured or not
  bool keep = false;
  bool replace = false;
  bool dry_run = false;
  std::optional<std::uint64_t> if_revision;
};

// All pages; of one revision if possible.
grpc::Status fetch_routes(Client& client, const std::string& listener,
                          api::ListRoutesResponse& all) {
  for (int attempt = 0;; ++attempt) {
    all.Clear();
    bool changed = false;
    api::ListRoutesRequest request;
    request.set_listener_addr(listener);
    do {
      api::ListRoutesResponse page;
      const grpc::Status asked = client.call(&Client::Stub::ListRoutes, request, page);
      if (!asked.ok()) return asked;
      changed |= all.routes_size() > 0 && page.revision() != all.revision();
      request.set_page_token(page.next_page_token());
      all.MergeFrom(page);
      all.clear_next_page_token();
    } while (!request.page_token().empty());
    if (!changed || attempt == 2) return grpc::Status::OK;
  }
}

// What `routes replace` reads, and `routes list` prints.
struct RouteFile {
  std::vector<api::Route> routes;
  std::vector<std::size_t> lines;  // of each route, from 1
};

// The fields of a Route, or of a message that names one.
template <class Message>
void set_match(const policy::RouteMatchText& match, Message& message) {
  message.set_alpn(match.alpn);
  message.mutable_sources()->Assign(match.sources.begin(), match.sources.end());
}

api::Route to_api(const policy::RouteText& text) {
  api::Route route;
  route.set_hostname(text.hostname);
  route.set_backend(text.backend);
  route.set_pool(text.pool);
  set_match(text.match, route);
  return route;
}

// Reads the lines of such a file one by one.
class RouteReader {
 public:
  void read(std::string_view line) {
    ++number_;
    constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";  // some editors write it
    if (number_ == 1 && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
    std::istringstream words{std::string(line.substr(0, line.find('#')))};
    policy::RouteText text;
    std::string target;
    if (!(words >> text.hostname)) return;
    if (!(words >> target)) {
      complain_of(
          "write a host name and a backend or a pool, such as `app.example.com 127.0.0.1:18443` or "
          "`app.example.com pool=app`");
      return;
    }
    policy::read_target(target, text);
    for (std::string word; words >> word;) {
      if (auto read = policy::read_word(word, text.match); !read.has_value()) {
        complain_of(read.error().message);
        return;
      }
    }
    // The server applies the same rules, but its answer has no room for the faults of all lines.
    const auto route = policy::parse_route(text);
    if (!route.has_value()) {
      for (const policy::RouteError& error : route.error()) {
        complain_of(fmt::format("{}: {}", error.field, error.message));
      }
      return;
    }
    const auto [first, is_new] =
        line_of_.try_emplace({route->pattern.text(), route->match}, number_);
    if (!is_new) {
      complain_of(fmt::format("hostname: {}: the same host name{} as in line {}; leave one out",
                              quote(text.hostname),
                              route->match.empty() ? "" : ", alpn and sources", first->second));
      return;
    }
    file_.routes.push_back(to_api(text));
    file_.lines.push_back(number_);
  }

  /// What was read, or all errors in it: "4: backend: ...".
  std::expected<RouteFile, std::vector<std::string>> finish() && {
    if (!problems_.empty()) return std::unexpected(std::move(problems_));
    return std::move(file_);
  }

 private:
  void complain_of(const std::string& problem) {
    problems_.push_back(fmt::format("{}: {}", number_, problem));
  }

  RouteFile file_;
  std::vector<std::string> problems_;
  std::map<std::pair<std::string, policy::RouteMatch>, std::size_t> line_of_;  // of each route
  std::size_t number_ = 0;
};

std::expected<RouteFile, int> read_routes(const std::string& path) {
  std::ifstream file;
  if (path != "-") {
    file.open(path);
    if (!file) {
      complain(
          fmt::format("mc-proxy: {}: cannot be opened: {}", quote(path), std::strerror(errno)));
      return std::unexpected(kFailed);
    }
  }
  std::istream& input = path == "-" ? std::cin : file;
  RouteReader reader;
  for (std::string line; std::getline(input, line);) reader.read(line);
  if (input.bad()) {  // such as a directory: not all was read
    complain(fmt::format("mc-proxy: {}: cannot be read: {}", quote(path), std::strerror(errno)));
    return std::unexpected(kFailed);
  }
  auto read = std::move(reader).finish();
  if (read.has_value()) return *std::move(read);
  for (const std::string& problem : read.error()) {
    complain(fmt::format("mc-proxy: {}:{}", path, problem));
  }
  return std::unexpected(kFailed);
}

// The file's line for "routes[3].backend" in the server's reply.
std::string place_in_file(const std::string& field, const std::string& path,
                          const RouteFile& file) {
  constexpr std::string_view kBegin = "routes[";
  if (!field.starts_with(kBegin)) return field;
  std::size_t index = 0;
  const char* const end = field.data() + field.size();
  const auto parsed = std::from_chars(field.data() + kBegin.size(), end, index);
  if (parsed.ec != std::errc() || index >= file.lines.size()) return field;
  const auto dot = field.find('.');
  return fmt::format("{}:{}: {}", path, file.lines[index],
                     dot == field.npos ? field : field.substr(dot + 1));
}

// What became of the one route that the request was about.
void print_added(const policy::RouteText& route, const std::string& listener,
                 const api::ApplyChangesResponse& response) {
  const api::ChangeEffect effect =
      response.effects_size() == 1 ? response.effects(0) : api::ChangeEffect();
  const std::string added = fmt::format(
      "{} -> {} at {}", policy::named(route.hostname, route.match), target_of(route), listener);
  switch (effect.result()) {
    case api::CHANGE_RESULT_CHANGED:
      fmt::print("changed {}, was {}, revision {}\n", added, effect.previous_backend(),
                 response.revision());
      return;
    case api::CHANGE_RESULT_UNCHANGED:
      fmt::print("unchanged {}, revision {}\n", added, response.revision());
      return;
    default:
      fmt::print("added {}, revision {}\n", added, response.revision());
  }
}

bool is_ascii_match(const policy::RouteMatchText& match) {
  return all_ascii({match.alpn}) &&
         std::ranges::all_of(match.sources,
                             [](const std::string& source) { return all_ascii({source}); });
}

// The command line's name for "changes[0].add_route.route.backend": "backend".
std::string last_part(const std::string& field) { return field.substr(field.rfind('.') + 1); }

int list_routes(const ClientOptions& options, const std::string& listener) {
  if (!all_ascii({listener})) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto name = client->listener_or_only(listener);
  if (!name.has_value()) return name.error();
  api::ListRoutesResponse response;
  const grpc::Status asked = fetch_routes(*client, *name, response);
  if (!asked.ok()) return client->fail(asked);
  if (options.json) {
    print_json(response);
    return kDone;
  }
  fmt::print("# listener {}, revision {}\n", *name, response.revision());
  for (const api::Route& route : response.routes()) {
    const policy::RouteText text = text_of(route);
    const std::string match = to_words(text.match);
    fmt::print("{} {}{}{}\n", text.hostname, target_of(text), match.empty() ? "" : " ", match);
  }
  return kDone;
}

int add_route(const ClientOptions& options, const RouteOptions& words) {
  if (words.target.empty() == words.text.pool.empty()) {
    complain(
        "mc-proxy: where does the route lead? Give one backend, such as 127.0.0.1:18443, or "
        "one pool, such as pool=app; see `mc-proxy routes add --help`");
    return kUsage;
  }
  policy::RouteText text = words.text;
  if (text.pool.empty()) policy::read_target(words.target, text);
  if (!all_ascii({words.listener, text.hostname, text.backend, text.pool})) return kFailed;
  if (!is_ascii_match(text.match)) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto name = client->listener_or_only(words.listener);
  if (!name.has_value()) return name.error();
  api::ApplyChangesRequest request;
  api::Change& change = *request.add_changes();
  api::ListenerRoute& route =
      *(words.replace ? change.mutable_put_route() : change.mutable_add_route());
  route.set_listener_addr(*name);
  *route.mutable_route() = to_api(text);
  api::ApplyChangesResponse response;
  const grpc::Status asked = client->call(&Client::Stub::ApplyChanges, request, response);
  if (!asked.ok()) return client->fail(asked, last_part);
  if (options.json) {
    print_json(response);
  } else {
    print_added(text, *name, response);
  }
  return kDone;
}

int remove_route(const ClientOptions& options, const std::string& listener,
                 const policy::RouteText& route) {
  if (!all_ascii({listener, route.hostname}) || !is_ascii_match(route.match)) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto name = client->listener_or_only(listener);
  if (!name.has_value()) return name.error();
  api::RemoveRouteRequest request;
  request.set_listener_addr(*name);
  request.set_hostname(route.hostname);
  set_match(route.match, request);
  api::RemoveRouteResponse response;
  const grpc::Status asked = client->call(&Client::Stub::RemoveRoute, request, response);
  if (!asked.ok()) return client->fail(asked);
  if (options.json) {
    print_json(response);
  } else {
    fmt::print("removed {} at {}, revision {}\n", policy::named(route.hostname, route.match), *name,
               response.revision());
  }
  return kDone;
}

int replace_routes(const ClientOptions& options, const ReplaceOptions& replace) {
  if (!all_ascii({replace.listener})) return kFailed;
  const auto file = read_routes(replace.file);
  if (!file.has_value()) return file.error();
  if (file->routes.empty() && !replace.allow_empty) {
    complain(
        fmt::format("mc-proxy: {}: the file has no routes, so the listener would lose all of its "
                    "own; to do that, add --allow-empty",
                    quote(replace.file)));
    return kFailed;
  }
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  const auto name = client->listener_or_only(replace.listener);
  if (!name.has_value()) return name.error();
  api::ReplaceRoutesRequest request;
  request.set_listener_addr(*name);
  request.set_dry_run(replace.dry_run);
  if (replace.if_revision.has_value()) request.set_if_revision(*replace.if_revision);
  for (const api::Route& route : file->routes) *request.add_routes() = route;
  api::ReplaceRoutesResponse response;
  const grpc::Status asked = client->call(&Client::Stub::ReplaceRoutes, request, response);
  if (!asked.ok()) {
    return client->fail(
        asked, [&](const std::string& field) { return place_in_file(field, replace.file, *file); });
  }
  if (options.json) {
    print_json(response);
    return kDone;
  }
  const api::ChangeSummary& summary = response.summary();
  fmt::print("{} {}, changed {}, removed {} at {}, revision {}\n",
             replace.dry_run ? "would have added" : "added", summary.routes_added(),
             summary.routes_changed(), summary.routes_removed(), *name, response.revision());
  return kDone;
}

int move_routes(const ClientOptions& options, const MoveOptions& move) {
  if (!all_ascii({move.from, move.to})) return kFailed;
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  api::MoveRoutesRequest request;
  request.set_from_listener_addr(move.from);
  request.set_to_listener_addr(move.to);
  request.set_keep(move.keep);
  request.set_replace(move.replace);
  request.set_dry_run(move.dry_run);
  if (move.if_revision.has_value()) request.set_if_revision(*move.if_revision);
  api::MoveRoutesResponse response;
  const grpc::Status asked = client->call(&Client::Stub::MoveRoutes, request, response);
  if (!asked.ok()) return client->fail(asked);
  if (options.json) {
    print_json(response);
    return kDone;
  }
  const char* const done = move.keep ? (move.dry_run ? "would have copied" : "copied")
                                     : (move.dry_run ? "would have moved" : "moved");
  fmt::print("{} {} from {} to {}, revision {}\n", done,
             format_items(response.routes_moved(), "route"), move.from, move.to,
             response.revision());
  return kDone;
}

void with_listener(CLI::App& command, std::string& listener) {
  command.add_option("-l,--listener", listener,
                     "Listener as configured, such as :443; not needed if there is only one");
}

void with_match(CLI::App& command, policy::RouteMatchText& match) {
  command
      .add_option("--alpn", match.alpn,
                  "Only clients that offer this protocol (ALPN), such as acme-tls/1")
      ->check([](const std::string& protocol) {
        return std::string(protocol.empty() ? "\"\": write a protocol such as acme-tls/1" : "");
      });
  command
      .add_option("--source", match.sources,
                  "Only clients with these addresses, such as 10.0.0.0/8; may be repeated")
      ->allow_extra_args(false);
}

void add_list_add_remove(CommandLine& line, CLI::App& routes) {
  const auto words = std::make_shared<RouteOptions>();
  CLI::App& list = line.with_server(line.add(
      routes, "list", "Show the routes of a listener",
      [words](const ClientOptions& options) { return list_routes(options, words->listener); }));
  with_listener(list, words->listener);

  CLI::App& add = line.with_server(
      line.add(routes, "add", "Add a route",
               [words](const ClientOptions& options) { return add_route(options, *words); }));
  with_listener(add, words->listener);
  add.add_option("hostname", words->text.hostname, "app.example.com, *.example.com or *")
      ->required();
  add.add_option("target", words->target,
                 "A backend: ip:port, [ipv6]:port or unix:/path; or a pool: pool=NAME");
  add.add_option("--pool", words->text.pool, "The pool, instead of a target");
  with_match(add, words->text.match);
  add.add_flag("--replace", words->replace,
               "If there is such a route for the host name, change its target");

  CLI::App& remove =
      line.with_server(line.add(routes, "remove", "Remove a route", [words](const auto& options) {
        return remove_route(options, words->listener, words->text);
      }));
  with_listener(remove, words->listener);
  remove.add_option("hostname", words->text.hostname, "As in `routes list`")->required();
  with_match(remove, words->text.match);
}

void add_replace(CommandLine& line, CLI::App& routes) {
  const auto words = std::make_shared<ReplaceOptions>();
  CLI::App& command = line.with_server(
      line.add(routes, "replace", "Replace all routes of a listener with those of a file",
               [words](const ClientOptions& options) { return replace_routes(options, *words); }));
  with_listener(command, words->listener);
  command
      .add_option(
          "file", words->file,
          "Lines of a host name, a target and a match, as `routes list` prints them; -: stdin")
      ->required();
  command.add_flag("--dry-run", words->dry_run, "Only print what would change");
  command.add_flag("--allow-empty", words->allow_empty,
                   "Accept a file without routes, which removes all");
  command.add_option("--if-revision", words->if_revision,
                     "Refuse if anything was changed since this revision");
}

void add_move(CommandLine& line, CLI::App& routes) {
  const auto words = std::make_shared<MoveOptions>();
  CLI::App& command = line.with_server(
      line.add(routes, "move", "Give all routes of a listener to another one",
               [words](const ClientOptions& options) { return move_routes(options, *words); }));
  command.add_option("from", words->from, "Listener, configured or not, such as 192.0.2.1:443")
      ->required();
  command.add_option("to", words->to, "Listener, configured or not, such as :443")->required();
  command.add_flag("--keep", words->keep, "Copy the routes: the first listener keeps them too");
  command.add_flag(
      "--replace", words->replace,
      "Replace routes of the other listener that have the same host names and matches");
  command.add_flag("--dry-run", words->dry_run, "Only print how many would be moved");
  command.add_option("--if-revision", words->if_revision,
                     "Refuse if anything was changed since this revision");
}

}  // namespace

void add_routes(CommandLine& line) {
  CLI::App& routes = line.add_group("routes", "Show and change routes");
  add_list_add_remove(line, routes);
  add_replace(line, routes);
  add_move(line, routes);
}

}  // namespace mc::cli

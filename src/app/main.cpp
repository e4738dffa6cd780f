// SPDX-License-Identifier: Apache-2.0
// The command line. Each subcommand has a file of its own; this one only reads the words.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "app/commands.hpp"
#include "app/last_words.hpp"
#include "app/spelling.hpp"
#include "base/quote.hpp"

namespace mc::app {
namespace {

// A descriptor that was closed at the start would become a socket's, and the log would go to a
// client.
void open_standard_descriptors() {
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

// What the words say, and which command they choose.
class CommandLine {
 public:
  CommandLine() {
    app_.require_subcommand(1);
    app_.set_help_flag("-h,--help", "Show this help");
    app_.set_help_all_flag("--help-all", "Show the help of every command");
    app_.set_version_flag("--version", "mc-proxy v" MC_PROXY_VERSION, "Print the version");
    app_.footer(
        "Exit codes: 0, done; 1, it could not be done; 2, the command line is wrong; 3, no server "
        "could be asked; 78, `server` was not started because the configuration is wrong.");
    add_server();
    add_status();
    add_snapshot();
    add_routes();
    add_firewall();
    add_connections();
    add_events();
    add_top();
    add_log_level();
    add_check();
    add_others();
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::RequiredError& error) {
      // The last word that is a command may want another one behind it.
      const CLI::App& last = last_command();
      if (last.get_require_subcommand_min() > 0) return complain_of_command(last);
      return exit(error);
    } catch (const CLI::ParseError& error) {
      return exit(error);
    }
    const int code = command_();
    if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
    complain(std::string("mc-proxy: the answer could not be written: ") + std::strerror(errno));
    return code == kDone ? int{kFailed} : code;
  }

 private:
  int exit(const CLI::Error& error) { return app_.exit(error) == 0 ? kDone : kUsage; }

  [[nodiscard]] const CLI::App& last_command() const {
    const CLI::App* last = &app_;
    while (!last->get_subcommands().empty()) last = last->get_subcommands().front();
    return *last;
  }

  // The words so far are those of `parent`, and what comes then is none of its commands.
  static int complain_of_command(const CLI::App& parent) {
    const std::vector<std::string> words = parent.remaining();
    const auto word = std::ranges::find_if(words, [](const auto& one) { return one[0] != '-'; });
    return word != words.end() ? complain_of_word(parent, *word) : complain_of_word(parent, "");
  }

  static int complain_of_word(const CLI::App& parent, const std::string& word) {
    std::vector<std::string> known;
    for (const CLI::App* const one : parent.get_subcommands({})) known.push_back(one->get_name());
    const std::string meant = nearest(word, known);
    std::string path = "mc-proxy";
    if (parent.get_parent() != nullptr) path += " " + parent.get_name();
    std::string problem = word.empty() ? std::string("a command is missing")
                                       : fmt::format("there is no command {}", quote(word));
    if (!meant.empty()) problem += fmt::format("; did you mean {}?", quote(meant));
    complain(fmt::format("{}: {}\nThere are: {}. `{} --help` says more.", path, problem,
                         fmt::join(known, ", "), path));
    return kUsage;
  }

  // The help of a command, or of the program.
  [[nodiscard]] int print_help() const {
    const CLI::App* command = &app_;
    std::string path = app_.get_name();
    for (const std::string& word : values_) {
      const auto below = command->get_subcommands(
          [&word](const CLI::App* one) { return one->get_name() == word; });
      if (below.empty()) return complain_of_word(*command, word);
      command = below.front();
      path += " " + word;
    }
    // App::help() would tell of the command that was given: of this one.
    const auto formatter = command->get_formatter();
    std::fputs(formatter->make_help(command, path, CLI::AppFormatMode::Normal).c_str(), stdout);
    return kDone;
  }

  CLI::App* add(CLI::App& parent, const char* name, const char* help, std::function<int()> run) {
    CLI::App* const command = parent.add_subcommand(name, help);
    command->callback([this, run = std::move(run)] { command_ = run; });
    return command;
  }

  CLI::App* with_config(CLI::App* command) {
    command->add_option("-c,--config", client_.config_path, "Configuration file")
        ->capture_default_str();
    return command;
  }

  CLI::App* with_json(CLI::App* command) {
    command->add_flag("--json", client_.json, "Answer in JSON");
    return command;
  }

  // A command that asks a running server.
  CLI::App* with_server(CLI::App* command) {
    with_json(with_config(command));
    command->add_option("--address", client_.address,
                        "Ask the server at HOST:PORT instead of the socket of the configuration");
    command
        ->add_option("--socket", client_.socket,
                     "Ask the server at this Unix socket; the configuration is not read")
        ->excludes("--address");
    CLI::Option* const ca =
        command->add_option("--ca", client_.ca, "CA of the server's certificate (PEM)");
    CLI::Option* const certificate =
        command->add_option("--cert", client_.certificate, "Certificate of this client (PEM)");
    CLI::Option* const key = command->add_option("--key", client_.key, "Its key (PEM)");
    ca->needs(certificate)->needs(key);
    certificate->needs(ca)->needs(key);
    key->needs(ca)->needs(certificate);
    return command;
  }

  void with_listener(CLI::App* command) {
    command->add_option("-l,--listener", listener_,
                        "Listener as configured, such as :443; not needed if there is only one");
  }

  void add_server() {
    CLI::App* const command =
        with_config(add(app_, "server", "Serve until SIGTERM or SIGINT", [this] {
          serve_.config_path = client_.config_path;
          return serve(serve_);
        }));
    command->add_flag_callback(
        "--take-over", [this] { serve_.take_over = TakeOver::kYes; },
        "Replace the server that runs with this database: take over its listeners; it finishes its "
        "connections");
    command->add_flag_callback(
        "--keeper",
        [this] {
          serve_.take_over = TakeOver::kYes;
          serve_.keeper = WithKeeper::kYes;
        },
        "The same, with a parent process for systemd, so that a restart of the unit is a "
        "take-over");

    CLI::App* const upgraded = with_config(
        add(app_, "upgrade", "Replace the running server with a new one, without refusing clients",
            [this] { return upgrade(client_, leave_routes_); }));
    upgraded->add_flag_callback(
        "--leave-routes", [this] { leave_routes_ = LeaveRoutes::kYes; },
        "Also where routes in force belong to a listener that the configuration does not have");
  }

  void add_status() {
    CLI::App* const command = with_server(add(app_, "status", "Show the state of the server",
                                              [this] { return status(client_, count_); }));
    command->add_option("--routes", count_, "Show the busiest N routes of each listener")
        ->check(CLI::Range(0, 10'000));
  }

  void add_snapshot() {
    CLI::App* const command =
        with_server(add(app_, "snapshot", "Copy the database, while a server runs or not",
                        [this] { return snapshot(client_, snapshot_); }));
    command->add_option("-o,--output", snapshot_.output,
                        "Path of the copy; default: backups/mc-proxy-TIME.db beside the database; "
                        "required with --socket and --address");
    command->add_option("--prune", snapshot_.prune,
                        "Then remove the backups in that directory that are older, such as 30d");
  }

  void add_routes() {
    CLI::App* const routes = app_.add_subcommand("routes", "Show and change routes");
    routes->require_subcommand(1);
    CLI::App* command = with_server(add(*routes, "list", "Show the routes of a listener",
                                        [this] { return list_routes(client_, listener_); }));
    with_listener(command);

    command = with_server(add(*routes, "add", "Add a route", [this] {
      return add_route(client_, listener_, hostname_, backend_,
                       put_ ? Existing::kReplace : Existing::kRefuse);
    }));
    with_listener(command);
    command->add_option("hostname", hostname_, "app.example.com, *.example.com or *")->required();
    command->add_option("backend", backend_, "ip:port or [ipv6]:port")->required();
    command->add_flag("--replace", put_,
                      "If there is a route for the host name, change its backend");

    command = with_server(add(*routes, "remove", "Remove a route",
                              [this] { return remove_route(client_, listener_, hostname_); }));
    with_listener(command);
    command->add_option("hostname", hostname_, "As in `routes list`")->required();

    command = with_server(
        add(*routes, "replace", "Replace all routes of a listener with those of a file", [this] {
          replace_.listener = listener_;
          return replace_routes(client_, replace_);
        }));
    with_listener(command);
    command
        ->add_option("file", replace_.file,
                     "Lines of a host name and a backend, as `routes list` prints them; -: stdin")
        ->required();
    command->add_flag("--dry-run", replace_.dry_run, "Only say what would change");
    command->add_flag("--allow-empty", replace_.allow_empty,
                      "Accept a file without routes, which removes all");
    command->add_option("--if-revision", replace_.if_revision,
                        "Refuse if anything was changed since this revision");
    add_move(*routes);
  }

  void add_move(CLI::App& routes) {
    CLI::App* const command =
        with_server(add(routes, "move", "Give all routes of a listener to another one",
                        [this] { return move_routes(client_, move_); }));
    command->add_option("from", move_.from, "Listener, configured or not, such as 192.0.2.1:443")
        ->required();
    command->add_option("to", move_.to, "Listener, configured or not, such as :443")->required();
    command->add_flag("--keep", move_.keep, "The first one keeps them too");
    command->add_flag("--replace", move_.replace,
                      "They win over those that the other one has for the same host names");
    command->add_flag("--dry-run", move_.dry_run, "Only say how many would be moved");
    command->add_option("--if-revision", move_.if_revision,
                        "Refuse if anything was changed since this revision");
  }

  void add_firewall() {
    CLI::App* const firewall = app_.add_subcommand("firewall", "Show and change firewall rules");
    firewall->require_subcommand(1);
    with_server(add(*firewall, "list", "Show the rules", [this] { return list_rules(client_); }));

    CLI::App* command = with_server(add(*firewall, "add", "Block addresses, CIDR blocks, countries",
                                        [this] { return add_rules(client_, values_, cut_); }));
    command->add_option("value", values_, "Such as 203.0.113.50, 198.51.100.0/24 or RU")
        ->required();
    command->add_flag("--cut,!--no-cut", cut_,
                      "Whether matching open connections are reset too; default: as configured");

    command = with_server(add(*firewall, "remove", "Remove rules",
                              [this] { return remove_rules(client_, values_); }));
    command->add_option("value", values_, "As in `firewall list`")->required();
  }

  void add_log_level() {
    CLI::App* const command =
        with_server(add(app_, "log-level", "Show the level of the server's log, or change it",
                        [this] { return log_level(client_, level_); }));
    command->add_option("level", level_, "In force until the server's next start")
        ->check(CLI::IsMember({"debug", "info", "warn", "error"}));
  }

  void with_filter(CLI::App* command) {
    command->add_option("-l,--listener", which_.listener, "Those of this listener, such as :443");
    command->add_option("--sni", which_.sni, "Those of this name: app.example.com, *.example.com");
    command->add_option("--source", which_.source, "Those of this address or CIDR block");
    command->add_option("--backend", which_.backend, "Those to this backend: ip:port");
    command->add_option("--id", which_.id, "The one with this id, as listed");
  }

  void add_connections() {
    CLI::App* const connections =
        app_.add_subcommand("connections", "Show and close open connections");
    connections->require_subcommand(1);
    with_filter(
        with_server(add(*connections, "list", "Show open connections; with --json, one per line",
                        [this] { return list_connections(client_, which_); })));
    CLI::App* const close = with_server(add(*connections, "close", "Reset open connections",
                                            [this] { return close_connections(client_, which_); }));
    with_filter(close);
    close->add_flag("--all", which_.all, "All open connections");
    close->add_flag("--dry-run", which_.dry_run, "Only say how many match");
  }

  void add_events() {
    CLI::App* const events =
        with_server(add(app_, "events", "Show events until interrupted; with --json, one per line",
                        [this] { return watch_events(client_, values_, since_revision_); }));
    events->add_option("--kind", values_, "Only events of this kind; can be given several times")
        ->check(CLI::IsMember(event_kinds()));
    events->add_option("--since-revision", since_revision_,
                       "Start with the changes of policy after this revision");
  }

  void add_top() {
    CLI::App* const command =
        with_server(add(app_, "top", "Show the server live in the terminal", [this] {
          return top(client_, once_ ? TopMode::kOnce : TopMode::kLive,
                     std::chrono::seconds(interval_));
        }));
    command->remove_option(command->get_option("--json"));
    command->add_flag("--once", once_, "Print one page as text and exit");
    command->add_option("--interval", interval_, "Seconds between two readings of the server")
        ->check(CLI::Range(1, 60))
        ->capture_default_str();
  }

  void add_check() {
    CLI::App* const command = with_json(
        with_config(add(app_, "check", "Check whether a server would start with a configuration",
                        [this] { return check(client_, user_); })));
    command->add_option("--user", user_,
                        "Look as this user; default: that of the systemd unit that has the "
                        "configuration, for root");
  }

  void add_others() {
    with_json(add(app_, "version", "Print the version", [this] {
      std::puts(client_.json ? R"({"version": ")" MC_PROXY_VERSION R"("})"
                             : "mc-proxy v" MC_PROXY_VERSION);
      return int{kDone};
    }));
    CLI::App* const help =
        add(app_, "help", "Show this help, or that of a command", [this] { return print_help(); });
    help->add_option("command", values_, "Such as: routes add");
    CLI::App* const completion = add(app_, "completion", "Print a completion script for a shell",
                                     [this] { return print_completion(app_, shell_); });
    completion->add_option("shell", shell_)->required()->check(CLI::IsMember({"bash", "zsh"}));
  }

  CLI::App app_{"mc-proxy: routes TLS connections by server name, without decrypting them"};
  std::function<int()> command_;
  ClientOptions client_;
  ServeOptions serve_;
  LeaveRoutes leave_routes_ = LeaveRoutes::kNo;
  MoveOptions move_;
  ReplaceOptions replace_;
  SnapshotOptions snapshot_;
  ConnectionOptions which_;
  std::optional<std::uint64_t> since_revision_;
  std::string listener_, hostname_, backend_, shell_, level_, user_;
  std::vector<std::string> values_;
  std::optional<bool> cut_;
  bool put_ = false;
  bool once_ = false;
  int interval_ = 1;
  std::uint32_t count_ = 0;
};

}  // namespace
}  // namespace mc::app

int main(int argc, char** argv) {
  // A write beyond RLIMIT_FSIZE then fails with EFBIG, which every writer reports, instead of
  // ending the process without a word (setrlimit(2)).
  std::signal(SIGXFSZ, SIG_IGN);
  mc::app::open_standard_descriptors();
  mc::app::install_last_words();
  return mc::app::CommandLine().run(argc, argv);
}

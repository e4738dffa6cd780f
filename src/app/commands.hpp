// SPDX-License-Identifier: Apache-2.0
#pragma once
// The subcommands. Each returns the process's exit code, one of ExitCode, and says on stderr
// why it is not 0.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace mc::app {

inline constexpr const char* kDefaultConfigPath = "/srv/mc-proxy/mc-proxy.toml";
/// The admin API's socket in the configuration that the package suggests.
inline constexpr const char* kDefaultSocket = "/run/mc-proxy/admin.sock";
/// The systemd unit that runs a server with it.
inline constexpr const char* kUnit = "mc-proxy";

enum ExitCode : int {
  kDone = 0,
  kFailed = 1,          // it could not be done, or the server refused
  kUsage = 2,           // the command line is wrong
  kUnreachable = 3,     // no server could be asked
  kMisconfigured = 78,  // `server` alone: the configuration is wrong (EX_CONFIG, sysexits.h)
};

/// How the commands that ask a running server find it, and how they answer.
struct ClientOptions {
  std::string config_path = kDefaultConfigPath;
  /// "host:port" of a server elsewhere, which needs the three files; empty: the socket of the
  /// configuration.
  std::string address;
  /// The path of the server's Unix socket; empty: that of the configuration.
  std::string socket;
  std::string ca, certificate, key;
  bool json = false;
};

enum class TakeOver : std::uint8_t { kNo, kYes };
enum class WithKeeper : std::uint8_t { kNo, kYes };

/// Serves until a signal ends it. SIGTERM, SIGINT: no new connections, open ones have
/// shutdown_timeout; the same again: at once. SIGHUP: reads the GeoIP database anew.
struct ServeOptions {
  std::string config_path;
  /// Whether the server that runs with this database, if one does, hands over to this one.
  TakeOver take_over = TakeOver::kNo;
  /// Whether this process becomes the parent of the server (lifecycle/keeper.hpp).
  WithKeeper keeper = WithKeeper::kNo;
};
int serve(const ServeOptions& options);

/// Puts a new server in the place of the running one: through systemd if that runs it, else as a
/// process beside it that goes on with its log. Refuses where routes that are in force would not be
/// any more, because the configuration does not have their listener, unless that is meant.
enum class LeaveRoutes : std::uint8_t { kNo, kYes };
int upgrade(const ClientOptions& options, LeaveRoutes leave);

/// Prints what is wrong with a configuration file, then what would keep a server from starting with
/// it. As `user`; empty: as the user of the unit that has the configuration, or as this process is.
int check(const ClientOptions& options, const std::string& user);

/// Prints what the server is and does; the busiest `routes` of each listener too.
int status(const ClientOptions& options, std::uint32_t routes);

struct SnapshotOptions {
  std::string output;  // empty: a file named by the time, in backups/ beside the database
  std::optional<std::string> prune;  // the age of the backups in that folder that go, such as "30d"
};
/// Copies the database, whether a server runs or not; then, if that went well, prunes.
int snapshot(const ClientOptions& options, const SnapshotOptions& snapshot);

/// An empty `listener` stands for the only one that the server has.
int list_routes(const ClientOptions& options, const std::string& listener);
/// What becomes of a route that is there for the host name: the command fails, or it gets the
/// backend.
enum class Existing : std::uint8_t { kRefuse, kReplace };
int add_route(const ClientOptions& options, const std::string& listener,
              const std::string& hostname, const std::string& backend, Existing existing);
int remove_route(const ClientOptions& options, const std::string& listener,
                 const std::string& hostname);

struct ReplaceOptions {
  std::string listener;
  std::string file;  // "-": stdin. Lines of a host name and a backend; '#' begins a comment
  bool dry_run = false;
  bool allow_empty = false;  // a file without routes is meant, and no accident
  std::optional<std::uint64_t> if_revision;
};
int replace_routes(const ClientOptions& options, const ReplaceOptions& replace);

struct MoveOptions {
  std::string from, to;  // listeners, configured or not
  bool keep = false;
  bool replace = false;
  bool dry_run = false;
  std::optional<std::uint64_t> if_revision;
};
int move_routes(const ClientOptions& options, const MoveOptions& move);

/// Rules are given by their values alone, which tell the type: an address, a block, a country.
int list_rules(const ClientOptions& options);
int add_rules(const ClientOptions& options, const std::vector<std::string>& values,
              std::optional<bool> cut_established);
int remove_rules(const ClientOptions& options, const std::vector<std::string>& values);

/// Prints the level of the server's log; with a `level` ("debug", "info", "warn" or "error") makes
/// it that until the server's next start.
int log_level(const ClientOptions& options, const std::string& level);

/// Which open connections are meant: those that match all that is not empty.
struct ConnectionOptions {
  std::string listener, sni, source, backend, id;
  bool all = false;  // to close all of them is meant
  bool dry_run = false;
};
int list_connections(const ClientOptions& options, const ConnectionOptions& which);
int close_connections(const ClientOptions& options, const ConnectionOptions& which);

/// The kinds of events by name: "policy_changed", ...
std::vector<std::string> event_kinds();
/// Prints events until it is interrupted or the server ends. No kinds: all.
int watch_events(const ClientOptions& options, const std::vector<std::string>& kinds,
                 std::optional<std::uint64_t> since_revision);

enum class TopMode : std::uint8_t {
  kLive,  // in a terminal, until `q`
  kOnce,  // one page as text
};
/// Shows the server as it is at moments that are so far apart.
int top(const ClientOptions& options, TopMode mode, std::chrono::seconds every);

/// Prints a script that completes the words of `app` in a shell: "bash" or "zsh".
int print_completion(const CLI::App& app, const std::string& shell);

/// Writes lines to stderr: what keeps a command from doing its work, before there is a log.
void complain(const std::string& lines);

}  // namespace mc::app

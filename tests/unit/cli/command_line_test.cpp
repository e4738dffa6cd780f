// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "cli/complain.hpp"
#include "support/catch.hpp"
#include "support/files.hpp"

namespace mc::cli {
namespace {

// What goes to this process's stderr meanwhile.
class Stderr {
 public:
  Stderr() {
    const Fd file(::open(directory_.file("stderr").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    REQUIRE(::dup2(file.get(), STDERR_FILENO) == STDERR_FILENO);
  }
  ~Stderr() { ::dup2(before_.get(), STDERR_FILENO); }
  Stderr(const Stderr&) = delete;
  Stderr& operator=(const Stderr&) = delete;

  [[nodiscard]] std::string text() const {
    std::fflush(stderr);
    return test::read_file(directory_.file("stderr"));
  }

 private:
  test::TempDir directory_;
  Fd before_{::dup(STDERR_FILENO)};
};

// A command line of `status`, and of `routes` with `list` and `add`.
class Line {
 public:
  Line() {
    line_.with_server(line_.add("status", "Show the status", noting("status")));
    CLI::App& routes = line_.add_group("routes", "Change the routes");
    line_.with_json(line_.add(routes, "list", "List them", noting("list")));
    line_.add(routes, "add", "Add one", noting("add"));
  }

  int run(std::vector<std::string> words) {
    words.insert(words.begin(), "mc-proxy");
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    const Stderr output;
    const int result = line_.run(static_cast<int>(arguments.size()), arguments.data());
    error = output.text();
    return result;
  }

  int code = kDone;  // of the command
  std::string ran;   // which it was
  ClientOptions options;
  std::string error;  // what the last run wrote to stderr

 private:
  CommandLine::Run noting(const char* name) {
    return [this, name](const ClientOptions& given) {
      ran = name;
      options = given;
      return code;
    };
  }

  CommandLine line_;
};

}  // namespace

TEST_CASE("the words choose a command, and its exit code is the program's") {
  Line line;
  CHECK(line.run({"routes", "list", "--json"}) == kDone);
  CHECK(line.ran == "list");
  CHECK(line.options.json);
  line.code = kUnreachable;
  CHECK(line.run({"status"}) == kUnreachable);
  CHECK(line.ran == "status");
  CHECK(line.error.empty());
}

TEST_CASE("the words by which a server is found fill in the options") {
  Line line;
  CHECK(line.run({"status", "-c", "/etc/other.toml", "--address", "proxy.example.com:9090", "--ca",
                  "ca.pem", "--cert", "me.pem", "--key", "me.key"}) == kDone);
  CHECK(line.options.config_path == "/etc/other.toml");
  CHECK(line.options.address == "proxy.example.com:9090");
  CHECK(line.options.ca == "ca.pem");
  CHECK(line.options.certificate == "me.pem");
  CHECK(line.options.key == "me.key");
  CHECK_FALSE(line.options.json);
}

TEST_CASE("words that contradict each other, or want others, are refused") {
  Line line;
  CHECK(line.run({"status", "--socket", "a.sock", "--address", "h:1"}) == kUsage);
  CHECK(line.run({"status", "--ca", "ca.pem"}) == kUsage);
  CHECK(line.run({"status", "--cert", "me.pem", "--key", "me.key"}) == kUsage);
  CHECK(line.run({"routes", "add", "--json"}) == kUsage);  // it has no such word
  CHECK(line.ran.empty());
}

TEST_CASE("a missing or misspelt command is answered with those that there are") {
  Line line;
  CHECK(line.run({}) == kUsage);
  CHECK(line.error ==
        "mc-proxy: a command is missing\nThere are: status, routes. See `mc-proxy --help`.\n");
  CHECK(line.run({"statsu"}) == kUsage);
  CHECK(
      line.error.starts_with("mc-proxy: there is no command \"statsu\"; did you mean \"status\"?"));
  CHECK(line.run({"routes"}) == kUsage);
  CHECK(line.error ==
        "mc-proxy routes: a command is missing\nThere are: list, add. "
        "See `mc-proxy routes --help`.\n");
  CHECK(line.run({"routes", "ad"}) == kUsage);
  CHECK(
      line.error.starts_with("mc-proxy routes: there is no command \"ad\"; did you mean \"add\"?"));
  CHECK(line.ran.empty());
}

TEST_CASE("a flag that has an opposite is empty where neither is given") {
  const auto read = [](std::vector<const char*> words) {
    std::optional<bool> cut;
    CLI::App app;
    add_choice(app, "--cut,!--no-cut", cut, "Whether to cut");
    words.insert(words.begin(), "program");
    app.parse(static_cast<int>(words.size()), const_cast<char**>(words.data()));
    return cut;
  };
  CHECK_FALSE(read({}).has_value());
  CHECK(read({"--cut"}) == true);
  CHECK(read({"--no-cut"}) == false);
}

TEST_CASE("complaints are lines of their own, and of their priority under systemd") {
  const char* const before = std::getenv("JOURNAL_STREAM");
  const std::string kept = before != nullptr ? before : "";
  const auto told = [] {
    const Stderr output;
    complain("first\nsecond");
    return output.text();
  };
  ::unsetenv("JOURNAL_STREAM");
  CHECK(told() == "first\nsecond\n");
  ::setenv("JOURNAL_STREAM", "8:1", 1);
  CHECK(told() == "<3>first\n<3>second\n");
  ::unsetenv("JOURNAL_STREAM");
  if (!kept.empty()) ::setenv("JOURNAL_STREAM", kept.c_str(), 1);
}

}  // namespace mc::cli

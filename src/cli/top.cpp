// SPDX-License-Identifier: Apache-2.0
// mc-proxy top: a running server in a terminal, live.

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "cli/client.hpp"
#include "cli/commands.hpp"
#include "cli/complain.hpp"
#include "cli/top_page.hpp"
#include "cli/top_sampler.hpp"

// Last, and without the macros, which have names of the standard library.
#define NCURSES_NOMACROS
#include <curses.h>

namespace mc::cli {
namespace {

enum class TopMode : std::uint8_t {
  kLive,  // in a terminal, until `q`
  kOnce,  // one page as text
};

// How long to wait for a key before checking whether there is something new to show.
constexpr int kKeyWaitMs = 100;
// The ages on the page change.
constexpr std::chrono::seconds kDrawAgain{1};

constexpr std::size_t kOnceColumns = 100;
constexpr std::size_t kOnceEntries = 10;

// Set by a signal: restore the terminal.
std::atomic<bool> interrupted{false};

// The terminal, as curses has it: one at a time.
class Screen {
 public:
  /// Null, with nothing changed, if curses does not know the terminal.
  static std::unique_ptr<Screen> open() {
    std::setlocale(LC_ALL, "");
    SCREEN* const terminal = ::newterm(nullptr, stdout, stdin);
    if (terminal == nullptr) return nullptr;
    return std::unique_ptr<Screen>(new Screen(terminal));
  }
  ~Screen() {
    ::endwin();
    ::delscreen(terminal_);
  }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  [[nodiscard]] static TopSize size() {
    return {static_cast<std::size_t>(COLS), static_cast<std::size_t>(LINES)};
  }

  /// Makes the next draw() paint everything: the content of a resized terminal is unknown.
  static void forget() { ::clearok(stdscr, TRUE); }

  static void draw(const std::vector<TopLine>& lines) {
    ::erase();
    for (std::size_t y = 0; y < lines.size(); ++y) {
      ::move(static_cast<int>(y), 0);
      for (const TopSpan& span : lines[y]) {
        ::attrset(static_cast<NCURSES_ATTR_T>(attributes(span.style)));
        ::addnstr(span.text.c_str(), static_cast<int>(span.text.size()));
      }
    }
    ::refresh();
  }

  /// The next key, or ERR if none comes in time.
  static int key() { return ::getch(); }

 private:
  explicit Screen(SCREEN* terminal) : terminal_(terminal) {
    ::cbreak();
    ::noecho();
    ::keypad(stdscr, TRUE);
    ::curs_set(0);
    ::timeout(kKeyWaitMs);
    if (::has_colors()) {
      ::start_color();
      ::use_default_colors();
      ::init_pair(kRed, COLOR_RED, -1);
      ::init_pair(kCyan, COLOR_CYAN, -1);
    }
  }

  static chtype attributes(TopStyle style) {
    switch (style) {
      case TopStyle::kPlain:
        return A_NORMAL;
      case TopStyle::kBar:
        return A_REVERSE;
      case TopStyle::kTitle:
        return A_BOLD;
      case TopStyle::kChosenTitle:
        return A_BOLD | A_UNDERLINE | color(kCyan);
      case TopStyle::kBad:
        return color(kRed);
    }
    return A_NORMAL;
  }
  static chtype color(short pair) {
    return ::has_colors() ? static_cast<chtype>(COLOR_PAIR(pair)) : A_NORMAL;
  }

  static constexpr short kRed = 1;
  static constexpr short kCyan = 2;

  SCREEN* const terminal_;
};

template <class Choice>
Choice next_of(Choice now, std::size_t count, std::size_t step) {
  return static_cast<Choice>((static_cast<std::size_t>(now) + step) % count);
}

// Returns whether to continue.
bool apply(int key, TopChoice& choice) {
  switch (key) {
    case 'q':
      return false;
    case 'p':
    case ' ':
      choice.paused = !choice.paused;
      break;
    case '\t':
    case KEY_DOWN:
      choice.pane = next_of(choice.pane, kTopPanes, 1);
      break;
    case KEY_BTAB:
    case KEY_UP:
      choice.pane = next_of(choice.pane, kTopPanes, kTopPanes - 1);
      break;
    case KEY_RIGHT:
      choice.order = next_of(choice.order, kTopOrders, 1);
      break;
    case KEY_LEFT:
      choice.order = next_of(choice.order, kTopOrders, kTopOrders - 1);
      break;
    default:  // none, or a new size, which the next page has
      break;
  }
  return true;
}

// curses prefers LINES and COLUMNS to a window's size and its changes; use_tioctl() corrects only
// the first. They hold the size at the time of their export. A terminal without a size, such as a
// serial line, still uses them. Call it before there are threads, which may read the environment.
void prefer_size_of_window() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return;
  if (size.ws_row > 0) ::unsetenv("LINES");
  if (size.ws_col > 0) ::unsetenv("COLUMNS");
}

// Whether the terminal has gone without a signal, as when its other end was closed: then every read
// returns at once.
bool terminal_is_gone() {
  pollfd terminal{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return ::poll(&terminal, 1, 0) > 0 && (terminal.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}

int show(TopSampler& sampler) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    std::signal(signal, [](int) { interrupted = true; });
  }
  const auto screen = Screen::open();
  if (screen == nullptr) {
    const char* const term = std::getenv("TERM");
    complain(
        fmt::format("mc-proxy: top: the terminal {} is unknown here; set TERM, or print one page "
                    "as text: mc-proxy top --once",
                    term != nullptr ? term : "without a name"));
    return kFailed;
  }
  TopChoice choice;
  TopNews news;
  auto drawn = std::chrono::steady_clock::time_point();
  for (int key = KEY_RESIZE; !interrupted && apply(key, choice); key = Screen::key()) {
    if (key == ERR && terminal_is_gone()) return kFailed;
    const auto now = std::chrono::steady_clock::now();
    TopNews latest = choice.paused ? news : sampler.latest();
    const bool is_new = latest.picture != news.picture || latest.trouble != news.trouble;
    if (key == ERR && !is_new && now < drawn + kDrawAgain) continue;
    news = std::move(latest);
    drawn = now;
    if (key == KEY_RESIZE) Screen::forget();
    Screen::draw(lay_out(news, choice, Screen::size()));
  }
  return kDone;
}

int print_once(TopSampler& sampler) {
  const TopNews news = sampler.first();
  if (!news.trouble.empty()) {
    complain("mc-proxy: " + news.trouble);
    return kUnreachable;
  }
  for (const TopLine& line : lay_out_once(news, {}, kOnceColumns, kOnceEntries)) {
    std::string text;
    for (const TopSpan& span : line) text += span.text;
    text.erase(text.find_last_not_of(' ') + 1);
    std::puts(text.c_str());
  }
  return kDone;
}

// Shows the state of the server at this interval.
int top(const ClientOptions& options, TopMode mode, std::chrono::seconds every) {
  const bool has_terminal = ::isatty(STDIN_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
  if (mode == TopMode::kLive && !has_terminal) {
    complain(
        "mc-proxy: top needs a terminal; for programs there are `mc-proxy connections list "
        "--json` and `mc-proxy events --json`, and `mc-proxy top --once` prints one page");
    return kUsage;
  }
  if (mode == TopMode::kLive) prefer_size_of_window();
  auto client = Client::connect(options);
  if (!client.has_value()) return client.error();
  TopSampler sampler(options, *std::move(client), every);
  return mode == TopMode::kLive ? show(sampler) : print_once(sampler);
}

}  // namespace

void add_top(CommandLine& line) {
  struct Words {
    bool once = false;
    int interval_seconds = 1;
  };
  const auto words = std::make_shared<Words>();
  CLI::App& command = line.with_server(line.add(
      "top", "Show the server live in the terminal", [words](const ClientOptions& options) {
        return top(options, words->once ? TopMode::kOnce : TopMode::kLive,
                   std::chrono::seconds(words->interval_seconds));
      }));
  command.remove_option(command.get_option("--json"));
  command.add_flag("--once", words->once, "Print one page as text and exit");
  command
      .add_option("--interval", words->interval_seconds,
                  "Seconds between two readings of the server")
      ->check(CLI::Range(1, 60))
      ->capture_default_str();
}

}  // namespace mc::cli

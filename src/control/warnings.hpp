// SPDX-License-Identifier: Apache-2.0
#pragma once
// Conditions that an operator should act on although the server serves: `mc-proxy status`, the
// admin API and the metrics show them while they hold. Any thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mc::control {

enum class WarningKind : std::uint8_t {
  kTakeOverFailed,    // a restart or an upgrade: no new server took over
  kDatabaseChanged,   // changes are refused: the file was replaced, or written to
  kDatabaseReadOnly,  // changes are refused: its file system is full or read-only since the start
  kGeoIpNotReloaded,  // the database's file cannot be used; the data read before are in force
  kNamesNotResolved,  // DNS fails for names of backends; their last addresses are in use
};

inline constexpr std::size_t kWarningKinds = 5;

/// "take_over_failed", ...: the label in the metrics.
std::string_view to_string(WarningKind kind);

class Warnings {
 public:
  /// Sets the condition; the text states it and the remedy.
  void raise(WarningKind kind, std::string text);
  void clear(WarningKind kind);

  [[nodiscard]] bool is_raised(WarningKind kind) const;
  /// The texts of the conditions that hold.
  [[nodiscard]] std::vector<std::string> texts() const;

 private:
  mutable std::mutex lock_;
  std::array<std::optional<std::string>, kWarningKinds> raised_;
};

}  // namespace mc::control

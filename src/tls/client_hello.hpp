// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads the ClientHello at the start of a TCP stream, from bytes that were peeked and stay where
// they are. A pure function of those bytes: no sockets, no time, no routes, and no trust. It checks
// what the route decision depends on, and that the hello has only one reading; it rejects a hello
// with more than one, so that no route depends on a doubt. The rest is left to the backend.

#include <cstddef>
#include <cstdint>
#include <expected>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <variant>

#include "tls/host_name.hpp"

namespace mc::tls {

/// Why a stream is refused. Each is a log reason and a counter.
enum class Reject : std::uint8_t {
  kNotTls,           ///< The first byte is not that of a handshake record.
  kSslV2,            ///< An SSLv2 CLIENT-HELLO (RFC 5246 appendix E.2), which cannot name a host.
  kMalformedRecord,  ///< A record is of another type or version, empty, or too long.
  kMalformedHandshake,  ///< Not a ClientHello, or its fields do not add up.
  kMalformedExtension,  ///< An extension, or the block of them, does not add up or is there twice.
  kNameInvalid,         ///< The server name is no host name.
  kTooLarge,            ///< Past kHelloMessageMax or kHelloStreamMax.
  kNoSni,               ///< A good hello without a server name.
};
inline constexpr std::size_t kRejectCount = 8;

/// As it is written in logs and counters: "not_tls", "sslv2", "malformed_record" ...
[[nodiscard]] std::string_view to_string(Reject reject);

/// The protocols that a client offers (ALPN, RFC 7301), most wanted first: a forward range of
/// std::string_view, none of them empty. They are arbitrary bytes. A view that does not own them.
class AlpnList {
 public:
  class Iterator {
   public:
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;

    Iterator() = default;
    explicit Iterator(const std::uint8_t* at) : at_(at) {}
    std::string_view operator*() const { return {reinterpret_cast<const char*>(at_ + 1), *at_}; }
    Iterator& operator++() {
      at_ += 1 + *at_;
      return *this;
    }
    Iterator operator++(int) {
      auto before = *this;
      ++*this;
      return before;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const std::uint8_t* at_ = nullptr;
  };

  AlpnList() = default;

  /// Reads a ProtocolName list without its outer length. Nothing if it is empty, if a name is, or
  /// if the lengths do not add up.
  [[nodiscard]] static std::optional<AlpnList> from(std::span<const std::uint8_t> names);

  [[nodiscard]] Iterator begin() const { return Iterator(names_.data()); }
  [[nodiscard]] Iterator end() const { return Iterator(names_.data() + names_.size()); }
  [[nodiscard]] bool empty() const { return names_.empty(); }

 private:
  explicit AlpnList(std::span<const std::uint8_t> names) : names_(names) {}

  std::span<const std::uint8_t> names_;
};

static_assert(std::forward_iterator<AlpnList::Iterator>);

/// The parts of a hello that a route may depend on.
struct ClientHello {
  /// With ECH this is the outer name: the one that the client shows to the network on purpose.
  HostName server_name;
  AlpnList alpn;
  /// What the client offered before TLS 1.3; 0x0303 from every newer one.
  std::uint16_t legacy_version = 0;
  /// The highest TLS version on offer: 0x0304 for TLS 1.3. Drafts and GREASE (RFC 8701) do not
  /// count; 0 if supported_versions offers nothing else.
  std::uint16_t highest_version = 0;
  /// The encrypted_client_hello extension is there. GREASE looks the same (RFC 9849 section 6.2).
  bool ech_offered = false;
};

/// So far the bytes are valid. No ClientHello can be complete before the stream is `needed` bytes
/// long, counted from its start; always more than there are, never more than kHelloStreamMax. A
/// Reject may be provable sooner, so a caller that waits for `needed` bytes (SO_RCVLOWAT) also
/// needs a deadline.
struct Incomplete {
  std::size_t needed = 0;
};

using ParseResult = std::variant<ClientHello, Incomplete, Reject>;

/// Parses hellos. Owns the 64 KiB in which a hello of several records is put together, so that
/// parse() never allocates; a hello in one record is read in place. One for each worker thread.
class ClientHelloParser {
 public:
  ClientHelloParser();
  ClientHelloParser(const ClientHelloParser&) = delete;
  ClientHelloParser& operator=(const ClientHelloParser&) = delete;

  /// Judges the first bytes of a stream; ignores what follows the hello. Returns Incomplete for a
  /// growing stream until the result is final. `alpn` lives until the next call, and no longer than
  /// the bytes. RFC 8446 sections 4.1.2, 4.2 and 5.1, RFC 5246 section 7.4.1.2, RFC 6066 section 3,
  /// RFC 7301.
  [[nodiscard]] ParseResult parse(std::span<const std::uint8_t> stream_start);
  /// The server name of the hello that parse() has just refused with kNameInvalid: any bytes. Has
  /// the lifetime of `alpn`.
  [[nodiscard]] std::span<const std::uint8_t> refused_name() const { return refused_name_; }

 private:
  std::span<const std::uint8_t> message_in(std::span<const std::uint8_t> stream, std::size_t size);

  std::unique_ptr<std::uint8_t[]> message_;
  std::span<const std::uint8_t> refused_name_;
};

}  // namespace mc::tls

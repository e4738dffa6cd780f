// SPDX-License-Identifier: Apache-2.0
#include "tls/alert.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "tls/record.hpp"

namespace mc::tls {
namespace {

// RFC 8446 section 6; those that only RFC 5246 section 7.2, RFC 7507 and RFC 7301 have too.
constexpr auto kNames = std::to_array<std::pair<std::uint8_t, std::string_view>>({
    {0, "close_notify"},
    {10, "unexpected_message"},
    {20, "bad_record_mac"},
    {21, "decryption_failed"},
    {22, "record_overflow"},
    {30, "decompression_failure"},
    {40, "handshake_failure"},
    {41, "no_certificate"},
    {42, "bad_certificate"},
    {43, "unsupported_certificate"},
    {44, "certificate_revoked"},
    {45, "certificate_expired"},
    {46, "certificate_unknown"},
    {47, "illegal_parameter"},
    {48, "unknown_ca"},
    {49, "access_denied"},
    {50, "decode_error"},
    {51, "decrypt_error"},
    {60, "export_restriction"},
    {70, "protocol_version"},
    {71, "insufficient_security"},
    {80, "internal_error"},
    {86, "inappropriate_fallback"},
    {90, "user_canceled"},
    {100, "no_renegotiation"},
    {109, "missing_extension"},
    {110, "unsupported_extension"},
    {111, "certificate_unobtainable"},
    {112, "unrecognized_name"},
    {113, "bad_certificate_status_response"},
    {114, "bad_certificate_hash_value"},
    {115, "unknown_psk_identity"},
    {116, "certificate_required"},
    {120, "no_application_protocol"},
    {121, "ech_required"},
});

}  // namespace

std::string to_string(Alert alert) {
  const auto* const found = std::ranges::find(kNames, alert.description,
                                              &std::pair<std::uint8_t, std::string_view>::first);
  if (found != kNames.end()) return std::string(found->second);
  return std::to_string(alert.description);
}

std::array<std::uint8_t, 7> alert_record(Alert alert) {
  return {kContentAlert, kRecordVersion >> 8, kRecordVersion & 0xff, 0,
          kAlertSize,    kAlertFatal,         alert.description};
}

}  // namespace mc::tls

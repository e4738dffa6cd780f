// SPDX-License-Identifier: Apache-2.0
#include "tls/check_hello.hpp"

#include <initializer_list>
#include <span>

#include "tls/record.hpp"

namespace mc::tls {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint16_t kFirstVersion = 0x0301;  // of the first record, RFC 8446 section 5.1
constexpr std::uint16_t kTls12 = 0x0303;         // legacy_version, section 4.1.2
constexpr std::uint16_t kTls13 = 0x0304;
constexpr std::uint8_t kNoCompression = 0;
constexpr std::uint16_t kX25519 = 0x001d;  // RFC 8446 section 4.2.7

enum class Extension : std::uint16_t {  // RFC 8446 section 4.2, unless another is named
  kServerName = 0,
  kSupportedGroups = 10,
  kEcPointFormats = 11,  // RFC 8422 section 5.1.2
  kSignatureAlgorithms = 13,
  kExtendedMasterSecret = 23,  // RFC 7627 section 5.1
  kSupportedVersions = 43,
  kKeyShare = 51,
  kRenegotiationInfo = 0xff01,  // RFC 5746 section 3.2
};

// Of TLS 1.3 (RFC 8446 appendix B.4); of TLS 1.2 with ECDHE and AEAD (RFC 5289, RFC 7905); those
// that old servers have (RFC 8422, RFC 5288, RFC 5246).
constexpr auto kCiphers = std::to_array<std::uint16_t>({
    0x1301, 0x1302, 0x1303,                          // AES_128_GCM, AES_256_GCM, CHACHA20_POLY1305
    0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,  // the same for ECDHE_ECDSA, ECDHE_RSA
    0xc009, 0xc013, 0xc00a, 0xc014,                  // ECDHE with AES_CBC_SHA
    0x009c, 0x009d, 0x002f, 0x0035,                  // RSA with AES_GCM, AES_CBC_SHA
});
// X25519, secp256r1, secp384r1, secp521r1: a server without X25519 sends a HelloRetryRequest.
constexpr auto kGroups = std::to_array<std::uint16_t>({kX25519, 0x0017, 0x0018, 0x0019});
// RFC 8446 section 4.2.3: a server refuses a hello that has none for its certificate.
constexpr auto kSignatures = std::to_array<std::uint16_t>({
    0x0403, 0x0503, 0x0603,  // ecdsa_secp256r1_sha256, ecdsa_secp384r1_sha384, ..521r1_sha512
    0x0807, 0x0808,          // ed25519, ed448
    0x0804, 0x0805, 0x0806,  // rsa_pss_rsae_sha256, 384, 512
    0x0809, 0x080a, 0x080b,  // rsa_pss_pss_sha256, 384, 512
    0x0401, 0x0501, 0x0601,  // rsa_pkcs1_sha256, 384, 512
    0x0203, 0x0201,          // ecdsa_sha1, rsa_pkcs1_sha1
});

Bytes u16(std::size_t value) {
  return {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

Bytes join(std::initializer_list<std::span<const std::uint8_t>> parts) {
  Bytes all;
  for (const auto part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes list(std::span<const std::uint16_t> numbers) {
  Bytes all;
  for (const std::uint16_t number : numbers) all = join({all, u16(number)});
  return all;
}

// With the length in front, in one, two or three bytes (RFC 8446 section 3.4).
Bytes vector8(std::span<const std::uint8_t> body) {
  return join({Bytes{static_cast<std::uint8_t>(body.size())}, body});
}
Bytes vector16(std::span<const std::uint8_t> body) { return join({u16(body.size()), body}); }
Bytes vector24(std::span<const std::uint8_t> body) {
  return join(
      {Bytes{static_cast<std::uint8_t>(body.size() >> 16)}, u16(body.size() & 0xffff), body});
}

Bytes extension(Extension type, std::span<const std::uint8_t> body) {
  return join({u16(static_cast<std::uint16_t>(type)), vector16(body)});
}

Bytes server_name(std::string_view name) {
  const Bytes host(name.begin(), name.end());
  return extension(Extension::kServerName, vector16(join({Bytes{kNameTypeHost}, vector16(host)})));
}

Bytes extensions(std::string_view name, const HelloRandoms& randoms) {
  constexpr std::array<std::uint16_t, 2> kVersions = {kTls13, kTls12};
  const Bytes uncompressed = {0};
  const Bytes no_renegotiation = {0};
  return join({
      server_name(name),
      extension(Extension::kSupportedGroups, vector16(list(kGroups))),
      extension(Extension::kEcPointFormats, vector8(uncompressed)),
      extension(Extension::kSignatureAlgorithms, vector16(list(kSignatures))),
      extension(Extension::kExtendedMasterSecret, {}),
      extension(Extension::kRenegotiationInfo, no_renegotiation),
      extension(Extension::kSupportedVersions, vector8(list(kVersions))),
      extension(Extension::kKeyShare, vector16(join({u16(kX25519), vector16(randoms.key_share)}))),
  });
}

}  // namespace

std::vector<std::uint8_t> check_hello(std::string_view name, const HelloRandoms& randoms) {
  const Bytes compression = {kNoCompression};
  const Bytes body =
      join({u16(kTls12), randoms.random, vector8(randoms.session_id), vector16(list(kCiphers)),
            vector8(compression), vector16(extensions(name, randoms))});
  const Bytes message = join({Bytes{kTypeClientHello}, vector24(body)});
  return join({Bytes{kContentHandshake}, u16(kFirstVersion), vector16(message)});
}

}  // namespace mc::tls

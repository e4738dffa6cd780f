// SPDX-License-Identifier: Apache-2.0
#include "rpc/credentials.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "base/quote.hpp"
#include "rpc/openssl.hpp"
#include "rpc/pem_file.hpp"

namespace mc::rpc {
namespace {

/// The names of the three files in messages.
struct Roles {
  std::string_view certificate, key, ca;
};

Roles roles_of(Side side) {
  if (side == Side::kServer) return {"grpc.tls_cert", "grpc.tls_key", "grpc.client_ca"};
  return {"client certificate", "client key", "CA file"};
}

std::unexpected<Error> fail_with_mismatch(const File& key_file, const EVP_PKEY& key,
                                          const File& certificate_file,
                                          const std::vector<Certificate>& chain) {
  for (std::size_t i = 1; i < chain.size(); ++i) {
    if (::X509_check_private_key(chain[i].get(), &key) != 1) continue;
    return fail_with(certificate_file,
                     fmt::format("the key belongs to its certificate {}, not to its first", i + 1),
                     "put that one first, and after it those that verify it");
  }
  return fail_with(
      key_file,
      fmt::format("the key does not belong to the certificate in {}", quote(certificate_file.path)),
      "copy the certificate and the key that were issued together");
}

/// Requires that certificate and key can be used in a handshake on this machine: its crypto policy
/// may require longer keys or newer signatures.
Result<void> check_usable(const File& file, const std::vector<Certificate>& chain, EVP_PKEY& key,
                          Side side) {
  const int purpose = side == Side::kServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT;
  if (::X509_check_purpose(chain.front().get(), purpose, 0) != 1) {
    const bool is_server = side == Side::kServer;
    return fail_with(file,
                     fmt::format("it does not allow use by a {}", is_server ? "server" : "client"),
                     fmt::format("issue one with extendedKeyUsage = {}",
                                 is_server ? "serverAuth" : "clientAuth"));
  }
  const Context context(::SSL_CTX_new(::TLS_method()));
  MC_ASSERT(context != nullptr, "without memory there is no way on");
  bool is_usable = ::SSL_CTX_use_certificate(context.get(), chain.front().get()) == 1 &&
                   ::SSL_CTX_use_PrivateKey(context.get(), &key) == 1;
  for (std::size_t i = 1; i < chain.size() && is_usable; ++i) {
    is_usable = ::SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) == 1;
  }
  if (is_usable) return {};
  return fail_with(file, fmt::format("OpenSSL does not accept it ({})", openssl_reason()),
                   "issue one that this machine's policy allows (RSA of 2048 bits, ECDSA P-256; "
                   "SHA-256)");
}

}  // namespace

Result<Credentials> read_credentials(const CertificatePaths& paths, Side side) {
  const Roles roles = roles_of(side);
  const File certificate_file{roles.certificate, paths.certificate};
  const File key_file{roles.key, paths.key};
  const File ca_file{roles.ca, paths.client_ca};

  auto certificate_pem = read_text(certificate_file);
  if (!certificate_pem) return std::unexpected(certificate_pem.error());
  const auto chain = parse_certificates(certificate_file, *certificate_pem);
  if (!chain) return std::unexpected(chain.error());

  auto key_pem = read_text(key_file);
  if (!key_pem) return std::unexpected(key_pem.error());
  const auto key = parse_key(key_file, *key_pem);
  if (!key) return std::unexpected(key.error());
  if (::X509_check_private_key(chain->front().get(), key->get()) != 1) {
    return fail_with_mismatch(key_file, **key, certificate_file, *chain);
  }
  if (const auto usable = check_usable(certificate_file, *chain, **key, side); !usable) {
    return std::unexpected(usable.error());
  }

  auto ca_pem = read_text(ca_file);
  if (!ca_pem) return std::unexpected(ca_pem.error());
  const auto authorities = parse_certificates(ca_file, *ca_pem);
  if (!authorities) return std::unexpected(authorities.error());

  return Credentials{.certificate_pem = *std::move(certificate_pem),
                     .key_pem = *std::move(key_pem),
                     .ca_pem = *std::move(ca_pem),
                     .info = describe_certificate(*chain->front())};
}

}  // namespace mc::rpc

// SPDX-License-Identifier: Apache-2.0
#pragma once
// PEM files of certificates and keys. Errors name the role of the file, its path, the problem and
// the remedy. Never asks for a passphrase. Any thread.

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/quote.hpp"
#include "base/result.hpp"
#include "rpc/openssl.hpp"

namespace mc::rpc {

/// A file and its name in messages: `grpc.tls_key "/srv/key.pem"`.
struct File {
  std::string_view role;
  const std::string& path;

  [[nodiscard]] std::string name() const { return fmt::format("{} {}", role, quote(path)); }
};

/// All messages about these files have this form: `FILE: PROBLEM; REMEDY`.
std::unexpected<Error> fail_with(const File& file, std::string_view problem,
                                 std::string_view remedy);

/// The reason of OpenSSL's last error, such as "ee key too small", without its codes.
std::string openssl_reason();

/// Reads the whole file, at most kCredentialBytesMax.
Result<std::string> read_text(const File& file);

/// All certificates in the file's text, at least one. Text between them is a comment.
Result<std::vector<Certificate>> parse_certificates(const File& file, const std::string& text);

/// The private key in the file's text.
Result<Key> parse_key(const File& file, const std::string& text);

}  // namespace mc::rpc

// SPDX-License-Identifier: Apache-2.0
#pragma once
// The base of the tests of the admin API's transport: a directory that is removed with its content,
// in which the openssl program makes real certificates.

#include <string>
#include <string_view>

#include "rpc/credentials.hpp"
#include "support/files.hpp"

namespace mc::rpc::test {

using mc::test::read_file;
using mc::test::write_file;

/// Has a CA, "ca", from the beginning. Certificates are NAME.pem and NAME.key.
class Workshop : public mc::test::TempDir {
 public:
  /// The properties of the certificate "CN=name".
  struct Order {
    std::string name;
    std::string ca = "ca";
    std::string use = "serverAuth";
    std::string from = "20200101000000Z", until = "20991231235959Z";
    std::string names = "DNS:localhost,IP:127.0.0.1";
  };

  Workshop();

  [[nodiscard]] std::string pem(std::string_view name) const { return file(name) + ".pem"; }
  [[nodiscard]] std::string key(std::string_view name) const { return file(name) + ".key"; }
  [[nodiscard]] std::string socket() const { return file("admin.sock"); }

  [[nodiscard]] CertificatePaths paths(std::string_view name, std::string_view ca = "ca") const {
    return {.certificate = pem(name), .key = key(name), .client_ca = pem(ca)};
  }

  void openssl(const std::string& arguments) const;
  /// A CA whose certificate is NAME.pem with the subject "CN=subject"; empty: "CN=name".
  void make_ca(const std::string& name, const std::string& subject = "") const;
  void issue(const Order& order) const;
  void copy(const std::string& from, const std::string& to) const;
};

}  // namespace mc::rpc::test

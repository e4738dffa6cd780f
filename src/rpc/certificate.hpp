// SPDX-License-Identifier: Apache-2.0
#pragma once
// What people are shown of a certificate. Any thread.

#include <chrono>
#include <string>

#include "base/result.hpp"

// OpenSSL's X509 and X509_NAME.
struct x509_st;
struct X509_name_st;

namespace mc::rpc {

/// What a person wants to know of a certificate, made printable. Subject and issuer are as RFC 2253
/// writes them, "CN=alice,O=Example"; `names` are the alternative names, "DNS:alice, DNS:bob", cut
/// where there are very many. A certificate without a subject goes by its names.
struct CertificateInfo {
  std::string subject, issuer, names;
  std::chrono::sys_seconds not_before, not_after;
};

/// The first certificate of a PEM file. Errors name the file.
Result<CertificateInfo> describe_certificate(const std::string& path);

/// Of a certificate of OpenSSL's (X509).
CertificateInfo describe_certificate(const x509_st& certificate);

/// A name of OpenSSL's (X509_NAME) as CertificateInfo has it.
std::string describe_name(const X509_name_st& name);

/// Seconds in UTC as people write them: "2026-11-22 15:28:03 UTC".
std::string format_time(std::chrono::sys_seconds time);

}  // namespace mc::rpc

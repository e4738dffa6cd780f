// SPDX-License-Identifier: Apache-2.0
#pragma once
// Describes certificates for people. Any thread.

#include <chrono>
#include <string>

#include "base/result.hpp"

// OpenSSL's X509 and X509_NAME.
struct x509_st;
struct X509_name_st;

namespace mc::rpc {

/// A certificate as printable text. Subject and issuer are in the form of RFC 2253,
/// "CN=alice,O=Example"; `names` are the alternative names, "DNS:alice, DNS:bob", cut if there are
/// very many. A certificate without a subject has its names as the subject.
struct CertificateInfo {
  std::string subject, issuer, names;
  std::chrono::sys_seconds not_before, not_after;
};

/// The first certificate of a PEM file. Errors name the file.
Result<CertificateInfo> describe_certificate(const std::string& path);

/// Describes an X509 of OpenSSL.
CertificateInfo describe_certificate(const x509_st& certificate);

/// An X509_NAME of OpenSSL, in the form that CertificateInfo has.
std::string describe_name(const X509_name_st& name);

/// A time in UTC, to the second: "2026-11-22 15:28:03 UTC".
std::string format_time(std::chrono::sys_seconds time);

}  // namespace mc::rpc

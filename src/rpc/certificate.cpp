// SPDX-License-Identifier: Apache-2.0
#include "rpc/certificate.hpp"

#include <fmt/format.h>

#include <ctime>
#include <string_view>

#include "base/quote.hpp"
#include "rpc/limits.hpp"
#include "rpc/openssl.hpp"
#include "rpc/pem_file.hpp"

namespace mc::rpc {
namespace {

std::chrono::sys_seconds to_time(const ASN1_TIME* time) {
  std::tm fields{};
  if (::ASN1_TIME_to_tm(time, &fields) != 1) return {};
  return std::chrono::sys_seconds(std::chrono::seconds(::timegm(&fields)));
}

std::string text_of(BIO& bio) {
  char* text = nullptr;
  const long size = ::BIO_get_mem_data(&bio, &text);
  return size > 0 ? printable(std::string_view(text, static_cast<std::size_t>(size))) : "";
}

std::string alternative_names(const X509& certificate) {
  const Names names(static_cast<GENERAL_NAMES*>(
      ::X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr)));
  std::string text;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const Bio bio(::BIO_new(::BIO_s_mem()));
    ::GENERAL_NAME_print(bio.get(), sk_GENERAL_NAME_value(names.get(), i));
    text += (text.empty() ? "" : ", ") + text_of(*bio);
    if (text.size() > kNamesBytesMax) {
      return std::string(utf8_prefix(text, kNamesBytesMax)) + "...";
    }
  }
  return text;
}

}  // namespace

std::string format_time(std::chrono::sys_seconds time) {
  const std::time_t seconds = time.time_since_epoch().count();
  std::tm fields{};
  if (::gmtime_r(&seconds, &fields) == nullptr) return fmt::format("@{}", seconds);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", fields.tm_year + 1900,
                     fields.tm_mon + 1, fields.tm_mday, fields.tm_hour, fields.tm_min,
                     fields.tm_sec);
}

std::string describe_name(const X509_name_st& name) {
  const Bio bio(::BIO_new(::BIO_s_mem()));
  // Without ESC_MSB, names in any script stay readable; printable() escapes the rest.
  ::X509_NAME_print_ex(bio.get(), &name, 0,
                       XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
  return text_of(*bio);
}

CertificateInfo describe_certificate(const X509& certificate) {
  CertificateInfo info{.subject = describe_name(*::X509_get_subject_name(&certificate)),
                       .issuer = describe_name(*::X509_get_issuer_name(&certificate)),
                       .names = alternative_names(certificate),
                       .not_before = to_time(::X509_get0_notBefore(&certificate)),
                       .not_after = to_time(::X509_get0_notAfter(&certificate))};
  // Public CAs now issue certificates without a subject.
  if (info.subject.empty()) info.subject = info.names.empty() ? "(no subject)" : info.names;
  return info;
}

Result<CertificateInfo> describe_certificate(const std::string& path) {
  const File file{"certificate", path};
  const auto text = read_text(file);
  if (!text) return std::unexpected(text.error());
  const auto certificates = parse_certificates(file, *text);
  if (!certificates) return std::unexpected(certificates.error());
  return describe_certificate(*certificates->front());
}

}  // namespace mc::rpc

// SPDX-License-Identifier: Apache-2.0
#include "rpc/pem_file.hpp"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/fd.hpp"
#include "rpc/limits.hpp"

namespace mc::rpc {
namespace {

std::unexpected<Error> fail_with_errno(const File& file, int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail_with(file, "there is no such file", "correct the path");
    case EACCES:
    case EPERM:
      return fail_with(file, fmt::format("uid {} has no permission to read it", ::geteuid()),
                       "give it permission (chgrp, chmod g+r; also x on the directories above)");
    default:
      return fail_with(file, std::strerror(error), "correct the path, or remove the cause");
  }
}

bool failed_with(int library, int reason) {
  const unsigned long code = ::ERR_peek_last_error();
  return ERR_GET_LIB(code) == library && ERR_GET_REASON(code) == reason;
}

Bio text_bio(const std::string& text) {
  return Bio(::BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

/// Never asks for a passphrase; sets `user`, a bool, if one is needed.
int refuse_passphrase(char*, int, int, void* user) {
  if (user != nullptr) *static_cast<bool*>(user) = true;
  return -1;
}

}  // namespace

std::unexpected<Error> fail_with(const File& file, std::string_view problem,
                                 std::string_view remedy) {
  return fail(fmt::format("{}: {}; {}", file.name(), problem, remedy));
}

std::string openssl_reason() {
  const unsigned long code = ::ERR_peek_last_error();
  const char* reason = ::ERR_reason_error_string(code);
  return reason != nullptr ? reason : fmt::format("OpenSSL error {:#x}", code);
}

Result<std::string> read_text(const File& file) {
  // O_NONBLOCK: otherwise opening a FIFO would wait for a writer.
  const Fd fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0) return fail_with_errno(file, errno);
  if (!S_ISREG(status.st_mode)) return fail_with(file, "this is not a file", "correct the path");
  std::string text(kCredentialBytesMax + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t part = ::read(fd.get(), text.data() + size, text.size() - size);
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return fail_with_errno(file, errno);
    if (part == 0) break;
    size += static_cast<std::size_t>(part);
  }
  if (size > kCredentialBytesMax) {
    return fail_with(file, fmt::format("it has more than {} bytes", kCredentialBytesMax),
                     "correct the path");
  }
  text.resize(size);
  if (text.empty()) return fail_with(file, "it is empty", "copy it again");
  // gRPC's texts end at their first NUL: it would use less than the text that is checked here.
  if (text.contains('\0')) {
    return fail_with(file, "this is not PEM text",
                     "if it is DER, convert it: openssl x509 (or pkey) -inform DER -in FILE -out "
                     "FILE.pem");
  }
  return text;
}

Result<std::vector<Certificate>> parse_certificates(const File& file, const std::string& text) {
  const Bio bio = text_bio(text);
  std::vector<Certificate> certificates;
  for (;;) {
    ::ERR_clear_error();
    Certificate next(::PEM_read_bio_X509_AUX(bio.get(), nullptr, &refuse_passphrase, nullptr));
    if (!next) break;
    certificates.push_back(std::move(next));
  }
  if (!failed_with(ERR_LIB_PEM, PEM_R_NO_START_LINE)) {
    return fail_with(file,
                     fmt::format("certificate {} of it is damaged ({})", certificates.size() + 1,
                                 openssl_reason()),
                     "copy it again, whole");
  }
  if (certificates.empty()) {
    return fail_with(file, "there is no certificate in it",
                     text.contains("PRIVATE KEY-----")
                         ? "it holds a key: are the two paths swapped?"
                         : "name a PEM file, with \"-----BEGIN CERTIFICATE-----\" in it");
  }
  return certificates;
}

Result<Key> parse_key(const File& file, const std::string& text) {
  const Bio bio = text_bio(text);
  bool needs_passphrase = false;
  ::ERR_clear_error();
  Key key(::PEM_read_bio_PrivateKey(bio.get(), nullptr, &refuse_passphrase, &needs_passphrase));
  if (key) return key;
  if (needs_passphrase) {
    return fail_with(
        file, "it is protected by a passphrase, which cannot be asked for here",
        fmt::format("make a copy without one: openssl pkey -in {} -out FILE", file.path));
  }
  if (!text.contains("PRIVATE KEY-----")) {
    return fail_with(file, "there is no private key in it",
                     text.contains("BEGIN CERTIFICATE")
                         ? "it holds a certificate: are the two paths swapped?"
                         : "name a PEM file, with \"-----BEGIN PRIVATE KEY-----\" in it");
  }
  return fail_with(file, fmt::format("the key is damaged ({})", openssl_reason()),
                   "copy it again, whole");
}

}  // namespace mc::rpc

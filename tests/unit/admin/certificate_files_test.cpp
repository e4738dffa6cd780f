// SPDX-License-Identifier: Apache-2.0
// The server's certificates: real ones that the openssl program makes, real files that are renewed
// as certbot and people do it, and real handshakes of gRPC with gRPC.

#include "admin/certificate_files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <grpcpp/grpcpp.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>

#include "rpc/limits.hpp"
#include "support/catch.hpp"
#include "unit/admin/generic_call.hpp"
#include "unit/rpc/workshop.hpp"

using namespace mc;
using namespace mc::admin;
using namespace mc::rpc;
using namespace mc::admin::test;
using namespace mc::rpc::test;

namespace {

std::unique_ptr<CertificateFiles> load(const CertificatePaths& paths) {
  auto files = CertificateFiles::load(paths);
  if (!files) FAIL(files.error().message);
  return *std::move(files);
}

/// Requires that the files are refused with a message that has all of `parts`.
void check_refused(const CertificatePaths& paths, std::initializer_list<std::string_view> parts) {
  const auto files = CertificateFiles::load(paths);
  REQUIRE(!files.has_value());
  INFO(files.error().message);
  for (const std::string_view part : parts) {
    INFO(part);
    CHECK(files.error().message.contains(part));
  }
}

/// Requires that refresh() returns nothing, and shows what it returned.
void check_silent(CertificateFiles& files) {
  const auto answer = files.refresh();
  if (answer) FAIL_CHECK((*answer ? "Renewal: " + (*answer)->subject : answer->error().message));
}

std::string renewed_to(CertificateFiles& files) {
  const auto answer = files.refresh();
  if (!answer) return "nothing";
  return *answer ? (*answer)->subject : answer->error().message;
}

/// A gRPC server with two ports of the same credentials.
class Server {
 public:
  explicit Server(CertificateFiles& files) {
    const auto credentials = files.server_credentials();
    grpc::ServerBuilder builder;
    builder.RegisterCallbackGenericService(&service_);
    builder.AddListeningPort("127.0.0.1:0", credentials, &port);
    builder.AddListeningPort("127.0.0.1:0", credentials, &other_port);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
    REQUIRE(port > 0);
    REQUIRE(other_port > 0);
  }
  ~Server() { server_->Shutdown(); }

  int port = 0, other_port = 0;

 private:
  StatusService service_{[](const grpc::GenericCallbackServerContext&) {
    return grpc::Status(grpc::StatusCode::ABORTED, "served");
  }};
  std::unique_ptr<grpc::Server> server_;
};

/// Makes a handshake and a call; returns the name in the server's certificate, or "refused".
/// `client` is empty for one without a certificate.
std::string server_seen(const Workshop& workshop, int port, const std::string& client,
                        const std::string& ca = "ca") {
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = read_file(workshop.pem(ca));
  if (!client.empty()) {
    options.pem_private_key = read_file(workshop.key(client));
    options.pem_cert_chain = read_file(workshop.pem(client));
  }
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else connections are shared
  const Answer answer = call(grpc::CreateCustomChannel(fmt::format("localhost:{}", port),
                                                       grpc::SslCredentials(options), arguments));
  if (answer.status.error_message() == "served") return answer.server_name;
  INFO(answer.status.error_message());
  CHECK(answer.status.error_code() == grpc::StatusCode::UNAVAILABLE);
  return "refused";
}

}  // namespace

TEST_CASE("a certificate, its key and a CA are loaded") {
  const Workshop workshop;
  workshop.issue({.name = "server", .until = "20400102030405Z"});
  const auto files = load(workshop.paths("server"));
  CHECK(files->subject() == "CN=server");
  CHECK(format_time(files->expires_at()) == "2040-01-02 03:04:05 UTC");
  check_silent(*files);
}

TEST_CASE("an expired certificate is loaded: whoever renews it needs no restart then") {
  const Workshop workshop;
  workshop.issue({.name = "server", .until = "20210101000000Z"});
  CHECK(format_time(load(workshop.paths("server"))->expires_at()) == "2021-01-01 00:00:00 UTC");
}

TEST_CASE("a chain and text around the certificates are no trouble") {
  const Workshop workshop;
  workshop.issue({.name = "server"});
  write_file(workshop.pem("chain"), "the server's\n" + read_file(workshop.pem("server")) +
                                        "the CA's\n" + read_file(workshop.pem("ca")));
  const auto paths = workshop.paths("chain");
  const auto files = load({paths.certificate, workshop.key("server"), paths.client_ca});
  CHECK(files->subject() == "CN=server");
}

TEST_CASE("what is wrong with a file is said with its key, its path and the remedy") {
  const Workshop workshop;
  workshop.issue({.name = "server"});
  const CertificatePaths paths = workshop.paths("server");
  const std::string certificate = read_file(paths.certificate);

  SECTION("no file") {
    check_refused({paths.certificate, workshop.file("none"), paths.client_ca},
                  {"grpc.tls_key \"/", "/none\": there is no such file; correct the path"});
  }
  SECTION("a directory") {
    check_refused({workshop.file(""), paths.key, paths.client_ca},
                  {"grpc.tls_cert", "this is not a file"});
  }
  SECTION("a FIFO, which is not waited for") {
    REQUIRE(::mkfifo(workshop.pem("fifo").c_str(), 0600) == 0);
    check_refused(workshop.paths("server", "fifo"), {"grpc.client_ca", "this is not a file"});
  }
  SECTION("an empty file") {
    write_file(paths.client_ca, "");
    check_refused(paths, {"grpc.client_ca", "it is empty; copy it again"});
  }
  SECTION("a file of another kind that is too large") {
    write_file(paths.client_ca, std::string(kCredentialBytesMax + 1, 'x'));
    check_refused(paths, {"grpc.client_ca", "it has more than 1048576 bytes"});
  }
  SECTION("DER") {
    workshop.openssl("x509 -in server.pem -outform DER -out der.pem");
    check_refused({workshop.pem("der"), paths.key, paths.client_ca},
                  {"grpc.tls_cert", "this is not PEM text", "openssl x509"});
  }
  SECTION("a PEM file without a certificate") {
    write_file(paths.client_ca, "hello\n");
    check_refused(paths, {"grpc.client_ca", "there is no certificate in it; name a PEM file"});
  }
  SECTION("certificate and key swapped") {
    check_refused({paths.key, paths.certificate, paths.client_ca},
                  {"grpc.tls_cert", "it holds a key: are the two paths swapped?"});
    check_refused({paths.certificate, paths.certificate, paths.client_ca},
                  {"grpc.tls_key", "it holds a certificate: are the two paths swapped?"});
  }
  SECTION("a certificate that was copied by half") {
    write_file(paths.certificate, certificate.substr(0, certificate.size() / 2));
    check_refused(paths, {"grpc.tls_cert", "certificate 1 of it is damaged", "copy it again"});
  }
  SECTION("a CA bundle of which the second was copied by half") {
    write_file(paths.client_ca, certificate + certificate.substr(0, certificate.size() / 2));
    check_refused(paths, {"grpc.client_ca", "certificate 2 of it is damaged", "copy it again"});
  }
  SECTION("a damaged key") {
    write_file(paths.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    check_refused(paths, {"grpc.tls_key", "the key is damaged", "copy it again"});
  }
  SECTION("a key with a passphrase, which is not asked for") {
    workshop.openssl("pkey -in server.key -aes256 -passout pass:secret -out locked.key");
    check_refused(
        {paths.certificate, workshop.key("locked"), paths.client_ca},
        {"grpc.tls_key", "protected by a passphrase", "openssl pkey -in /", "locked.key"});
  }
  SECTION("the key of another certificate") {
    workshop.issue({.name = "other"});
    check_refused({paths.certificate, workshop.key("other"), paths.client_ca},
                  {"grpc.tls_key", "other.key\": the key does not belong to the certificate in \"/",
                   "server.pem\"; copy the certificate and the key that were issued together"});
  }
  SECTION("a chain in the wrong order") {
    write_file(paths.certificate, read_file(workshop.pem("ca")) + certificate);
    check_refused(paths, {"grpc.tls_cert", "the key belongs to its certificate 2, not to its first",
                          "put that one first"});
  }
  SECTION("a client's certificate") {
    workshop.issue({.name = "server", .use = "clientAuth"});
    check_refused(paths, {"grpc.tls_cert", "it does not allow use by a server",
                          "extendedKeyUsage = serverAuth"});
  }
  SECTION("a key that is too short for this machine") {
    workshop.openssl(
        "req -x509 -newkey rsa:1024 -nodes -days 30 -subj /CN=weak -keyout weak.key "
        "-out weak.pem");
    check_refused(workshop.paths("weak"),
                  {"grpc.tls_cert", "OpenSSL does not accept it (ee key too small)"});
  }
}

TEST_CASE("only a client whose certificate the CA verifies is served") {
  const Workshop workshop;
  workshop.make_ca("stranger-ca");
  workshop.issue({.name = "server"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  workshop.issue({.name = "mallory", .ca = "stranger-ca", .use = "clientAuth"});
  workshop.issue({.name = "old", .use = "clientAuth", .until = "20210101000000Z"});
  workshop.issue({.name = "early", .use = "clientAuth", .from = "20900101000000Z"});
  workshop.issue({.name = "another-server"});
  const auto files = load(workshop.paths("server"));
  const Server server(*files);
  CHECK(server_seen(workshop, server.port, "alice") == "server");
  CHECK(server_seen(workshop, server.port, "") == "refused");
  CHECK(server_seen(workshop, server.port, "mallory") == "refused");
  CHECK(server_seen(workshop, server.port, "old") == "refused");
  CHECK(server_seen(workshop, server.port, "early") == "refused");
  CHECK(server_seen(workshop, server.port, "another-server") == "refused");
  CHECK(server_seen(workshop, server.other_port, "alice") == "server");
}

TEST_CASE("TLS 1.2 and 1.3 are spoken, and nothing older") {
  const Workshop workshop;
  workshop.issue({.name = "server"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  const auto files = load(workshop.paths("server"));
  const Server server(*files);
  const auto version_spoken = [&](const std::string& options) {
    const std::string command = fmt::format(
        "openssl s_client -connect 127.0.0.1:{} -CAfile {} -cert {} -key {} -alpn h2 {} "
        "</dev/null >{} 2>&1",
        server.port, workshop.pem("ca"), workshop.pem("alice"), workshop.key("alice"), options,
        workshop.file("log"));
    [[maybe_unused]] const int ignored = std::system(command.c_str());
    const std::string log = read_file(workshop.file("log"));
    const auto at = log.find("\nNew, ");
    return at == log.npos ? log : log.substr(at + 6, log.find(',', at + 6) - at - 6);
  };
  CHECK(version_spoken("-tls1_3") == "TLSv1.3");
  CHECK(version_spoken("-tls1_2") == "TLSv1.2");
  CHECK(version_spoken("-tls1_1 -cipher DEFAULT@SECLEVEL=0") == "(NONE)");
}

TEST_CASE("a renewed certificate is in force for the next handshake, at every port") {
  const Workshop workshop;
  workshop.issue({.name = "first"});
  workshop.issue({.name = "second", .until = "20500101000000Z"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  workshop.copy("first.pem", "server.pem");
  workshop.copy("first.key", "server.key");
  const auto files = load(workshop.paths("server"));
  const Server server(*files);
  REQUIRE(server_seen(workshop, server.port, "alice") == "first");
  REQUIRE(server_seen(workshop, server.other_port, "alice") == "first");

  SECTION("written over") {
    workshop.copy("second.pem", "server.pem");
    workshop.copy("second.key", "server.key");
  }
  SECTION("renamed over") {
    std::filesystem::rename(workshop.pem("second"), workshop.pem("server"));
    std::filesystem::rename(workshop.key("second"), workshop.key("server"));
  }
  SECTION("by a symbolic link that leads elsewhere now") {
    for (const char* suffix : {"pem", "key"}) {
      const std::string link = workshop.file(fmt::format("server.{}", suffix));
      std::filesystem::remove(link);
      std::filesystem::create_symlink(workshop.file(fmt::format("second.{}", suffix)), link);
    }
  }
  const auto renewal = files->refresh();
  REQUIRE(renewal.has_value());
  REQUIRE(renewal->has_value());
  CHECK((*renewal)->subject == "CN=second");
  CHECK(format_time((*renewal)->expires_at) == "2050-01-01 00:00:00 UTC");
  CHECK(files->subject() == "CN=second");
  CHECK(files->expires_at() == (*renewal)->expires_at);
  CHECK(server_seen(workshop, server.port, "alice") == "second");
  CHECK(server_seen(workshop, server.other_port, "alice") == "second");
  check_silent(*files);
  check_silent(*files);
}

TEST_CASE("a change is seen although size and time of modification stay") {
  const Workshop workshop;
  workshop.issue({.name = "first"});
  workshop.issue({.name = "other"});
  std::string first = read_file(workshop.pem("first")), other = read_file(workshop.pem("other"));
  const std::size_t size = std::max(first.size(), other.size());
  first.resize(size, '\n');
  other.resize(size, '\n');
  CertificatePaths paths = workshop.paths("first");
  paths.client_ca = workshop.pem("client-ca");
  const timespec times[] = {{.tv_sec = 1'700'000'000, .tv_nsec = 0},
                            {.tv_sec = 1'700'000'000, .tv_nsec = 0}};
  const auto put = [&](const std::string& content) {
    write_file(paths.client_ca, content);
    REQUIRE(::utimensat(AT_FDCWD, paths.client_ca.c_str(), times, 0) == 0);
  };
  put(first);
  const auto files = load(paths);
  check_silent(*files);
  check_silent(*files);
  // Until the file system's clock has advanced, because changes show by it.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  std::string answer = "nothing";
  while (answer == "nothing" && std::chrono::steady_clock::now() < deadline) {
    put(other);
    answer = renewed_to(*files);
  }
  CHECK(answer == "CN=first");
}

TEST_CASE("a CA that is taken away is no longer accepted") {
  const Workshop workshop;
  workshop.make_ca("next-ca");
  workshop.issue({.name = "server"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  workshop.issue({.name = "bob", .ca = "next-ca", .use = "clientAuth"});
  workshop.copy("ca.pem", "clients.pem");
  const auto files = load(workshop.paths("server", "clients"));
  const Server server(*files);
  CHECK(server_seen(workshop, server.port, "alice") == "server");
  CHECK(server_seen(workshop, server.port, "bob") == "refused");

  write_file(workshop.pem("clients"),
             read_file(workshop.pem("ca")) + read_file(workshop.pem("next-ca")));
  CHECK(renewed_to(*files) == "CN=server");
  CHECK(server_seen(workshop, server.port, "alice") == "server");
  CHECK(server_seen(workshop, server.port, "bob") == "server");

  workshop.copy("next-ca.pem", "clients.pem");
  CHECK(renewed_to(*files) == "CN=server");
  CHECK(server_seen(workshop, server.port, "alice") == "refused");
  CHECK(server_seen(workshop, server.port, "bob") == "server");
}

TEST_CASE("a renewal by halves leaves the old certificate in force") {
  const Workshop workshop;
  workshop.issue({.name = "first"});
  workshop.issue({.name = "second"});
  workshop.issue({.name = "alice", .use = "clientAuth"});
  workshop.copy("first.pem", "server.pem");
  workshop.copy("first.key", "server.key");
  const auto files = load(workshop.paths("server"));
  const Server server(*files);
  workshop.copy("second.pem", "server.pem");

  SECTION("without a word if the other half follows") {
    check_silent(*files);
    CHECK(server_seen(workshop, server.port, "alice") == "first");
    workshop.copy("second.key", "server.key");
    CHECK(renewed_to(*files) == "CN=second");
    CHECK(server_seen(workshop, server.port, "alice") == "second");
  }
  SECTION("with one if it does not") {
    check_silent(*files);
    CHECK(renewed_to(*files).contains("the key does not belong to the certificate"));
    check_silent(*files);
    check_silent(*files);
    CHECK(files->subject() == "CN=first");
    CHECK(server_seen(workshop, server.port, "alice") == "first");

    write_file(workshop.pem("server"), "something else that is wrong");
    check_silent(*files);
    CHECK(renewed_to(*files).contains("there is no certificate in it"));

    workshop.copy("first.pem", "server.pem");
    check_silent(*files);
    workshop.copy("second.key", "server.key");
    workshop.copy("second.pem", "server.pem");
    CHECK(renewed_to(*files) == "CN=second");
    CHECK(server_seen(workshop, server.port, "alice") == "second");
  }
}

TEST_CASE("a file that is missing for a moment is no event") {
  const Workshop workshop;
  workshop.issue({.name = "server"});
  const auto files = load(workshop.paths("server"));
  std::filesystem::rename(workshop.key("server"), workshop.key("away"));
  check_silent(*files);
  std::filesystem::rename(workshop.key("away"), workshop.key("server"));
  check_silent(*files);
  check_silent(*files);

  SECTION("one that stays away is") {
    std::filesystem::remove(workshop.key("server"));
    check_silent(*files);
    CHECK(renewed_to(*files).contains("there is no such file"));
    check_silent(*files);
  }
}

// SPDX-License-Identifier: Apache-2.0
#include "unit/rpc/workshop.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "support/catch.hpp"

namespace mc::rpc::test {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, std::string_view content) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << content << std::flush;
  REQUIRE(file.good());
}

Workshop::Workshop() {
  std::string name = std::filesystem::temp_directory_path() / "mc-proxy-admin-XXXXXX";
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  REQUIRE(::chmod(name.c_str(), 0755) == 0);  // the files' modes alone refuse other users
  path_ = std::filesystem::canonical(name);
  write_file(file("index.txt"), "");
  write_file(file("ca.cnf"),
             fmt::format("[ca]\ndefault_ca=d\n[d]\ndatabase={0}/index.txt\nserial={0}/serial\n"
                         "new_certs_dir={0}\nunique_subject=no\ndefault_md=sha256\npolicy=p\n"
                         "[p]\ncommonName=supplied\n",
                         path_));
  make_ca("ca");
}

Workshop::~Workshop() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Workshop::file(std::string_view name) const {
  return fmt::format("{}/{}", path_, name);
}

void Workshop::openssl(const std::string& arguments) const {
  const std::string command =
      fmt::format("cd {} && openssl {} >openssl.log 2>&1", path_, arguments);
  const int status = std::system(command.c_str());
  INFO(command << "\n" << read_file(file("openssl.log")));
  REQUIRE(status == 0);
}

void Workshop::make_ca(const std::string& name, const std::string& subject) const {
  openssl(
      fmt::format("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 "
                  "-subj /CN={1} -keyout {0}.key -out {0}.pem",
                  name, subject.empty() ? name : subject));
}

void Workshop::issue(const Order& order) const {
  openssl(
      fmt::format("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={0} "
                  "-keyout {0}.key -out {0}.csr",
                  order.name));
  write_file(file("extensions"),
             fmt::format("extendedKeyUsage={}\nsubjectAltName={}\n", order.use, order.names));
  openssl(
      fmt::format("ca -config ca.cnf -batch -notext -create_serial -in {0}.csr -out {0}.pem "
                  "-cert {1}.pem -keyfile {1}.key -extfile extensions -startdate {2} "
                  "-enddate {3}",
                  order.name, order.ca, order.from, order.until));
}

void Workshop::copy(const std::string& from, const std::string& to) const {
  write_file(file(to), read_file(file(from)));
}

}  // namespace mc::rpc::test

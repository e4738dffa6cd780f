// SPDX-License-Identifier: Apache-2.0
#include "unit/rpc/workshop.hpp"

#include <fmt/format.h>

#include <cstdlib>

#include "support/catch.hpp"

namespace mc::rpc::test {

Workshop::Workshop() {
  write_file(file("index.txt"), "");
  write_file(file("ca.cnf"),
             fmt::format("[ca]\ndefault_ca=d\n[d]\ndatabase={0}/index.txt\nserial={0}/serial\n"
                         "new_certs_dir={0}\nunique_subject=no\ndefault_md=sha256\npolicy=p\n"
                         "[p]\ncommonName=supplied\n",
                         path()));
  make_ca("ca");
}

void Workshop::openssl(const std::string& arguments) const {
  const std::string command =
      fmt::format("cd {} && openssl {} >openssl.log 2>&1", path(), arguments);
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
  mc::test::copy_over(file(from), file(to));
}

}  // namespace mc::rpc::test

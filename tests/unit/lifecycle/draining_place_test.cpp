// SPDX-License-Identifier: Apache-2.0
#include "lifecycle/draining_place.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include "support/catch.hpp"
#include "support/files.hpp"

using namespace mc;
using namespace mc::lifecycle;

namespace {

struct Scene {
  test::TempDir directory;
  std::string database = directory.file("mc-proxy.db");
};

}  // namespace

TEST_CASE("a draining place is found by its number as long as somebody listens") {
  const Scene scene;
  CHECK(find_draining_places(scene.database).empty());
  Fd first = open_draining_place(scene.database, 17);
  const Fd second = open_draining_place(scene.database, 4711);
  REQUIRE(first);
  REQUIRE(second);
  const std::string path = draining_path(scene.database, 17);
  struct stat file{};
  REQUIRE(::lstat(path.c_str(), &file) == 0);
  CHECK((file.st_mode & 07777) == 0600);

  auto found = find_draining_places(scene.database);
  REQUIRE(found.size() == 2);
  CHECK(found[0].pid == 17);
  CHECK(found[0].path == path);
  CHECK(found[1].pid == 4711);
  CHECK(connect_to(found[0]));
  CHECK(std::chrono::system_clock::now() - found[0].since < std::chrono::minutes(1));

  first.reset();  // as a kill leaves it
  found = find_draining_places(scene.database);
  REQUIRE(found.size() == 1);
  CHECK(found[0].pid == 4711);
  CHECK(::access(path.c_str(), F_OK) != 0);
}

TEST_CASE("the one to be reached knows its path, whatever its own number is") {
  const Scene scene;
  const Fd place = open_draining_place(scene.database, 0);
  REQUIRE(place);
  CHECK(path_of_draining_place(scene.database, place) == draining_path(scene.database, 0));
  CHECK(path_of_draining_place(scene.database + "2", place).empty());
  CHECK(path_of_draining_place(scene.database, Fd()).empty());
}

TEST_CASE("a draining place that is in use is not taken from its server") {
  const Scene scene;
  const Fd place = open_draining_place(scene.database, 0);
  REQUIRE(place);
  CHECK_FALSE(open_draining_place(scene.database, 0));
  CHECK(errno == EADDRINUSE);
  CHECK(connect_to(find_draining_places(scene.database).at(0)));
}

TEST_CASE("one whose queue is full counts as there") {
  const Scene scene;
  const Fd place = open_draining_place(scene.database, 17);
  const auto found = find_draining_places(scene.database);
  REQUIRE(found.size() == 1);
  std::vector<Fd> waiting;
  for (int i = 0; i < 100; ++i) {
    Fd one = connect_to(found[0]);
    if (!one) break;
    waiting.push_back(std::move(one));
  }
  CHECK(errno == EAGAIN);
  CHECK(waiting.size() < 100);
  CHECK(find_draining_places(scene.database).size() == 1);
  CHECK_FALSE(open_draining_place(scene.database, 17));
}

TEST_CASE("other files beside the database are no draining places, and stay") {
  const Scene scene;
  for (const char* const name : {".draining.", ".draining.x", ".draining.1x", ".draining.-1",
                                 ".draining.5", ".handover", "2.draining.6"}) {
    std::ofstream(scene.database + name) << "x";
  }
  CHECK(find_draining_places(scene.database).empty());
  CHECK(scene.directory.names().size() == 7);
}

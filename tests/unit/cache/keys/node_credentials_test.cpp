#include "cache/keys/node_credentials.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/memory_disk.h"

using namespace atl;

TEST_CASE("A drive's account with nodes is the keyring's, a device's key is its folder's", "[keys]") {
  SystemRandom random;
  MemoryDisk disk;
  REQUIRE(disk.make_directory("/here"));
  REQUIRE(disk.make_directory("/there"));
  const Keyring keyring = Keyring::generate(random);
  const auto first = node_credentials(disk, "/here", keyring, random);
  REQUIRE(first);
  const auto again = node_credentials(disk, "/here", keyring.rotated(random), random);
  REQUIRE(again);
  CHECK((*again)->account.id() == (*first)->account.id());
  CHECK((*again)->device.id() == (*first)->device.id());
  const auto elsewhere = node_credentials(disk, "/there", keyring, random);
  REQUIRE(elsewhere);
  CHECK((*elsewhere)->account.id() == (*first)->account.id());
  CHECK((*elsewhere)->device.id() != (*first)->device.id());
  CHECK((*first)->account.id() != (*first)->device.id());
  const auto passing = passing_node_credentials(keyring, random);
  REQUIRE(passing);
  CHECK((*passing)->account.id() == (*first)->account.id());
  const auto other = passing_node_credentials(Keyring::generate(random), random);
  REQUIRE(other);
  CHECK((*other)->account.id() != (*first)->account.id());

  // Whoever has the file has not the key: nothing of it is open, and another drive's keyring does not open it.
  const auto kept = read_file(disk, "/here/device.key", 4096);
  REQUIRE(kept);
  CHECK(node_credentials(disk, "/here", Keyring::generate(random), random).error().code == Code::corrupt);
  Bytes changed = *kept;
  changed.back() ^= 1;
  REQUIRE(replace_file(disk, "/here/device.key", changed));
  CHECK(node_credentials(disk, "/here", keyring, random).error().code == Code::corrupt);
  REQUIRE(replace_file(disk, "/here/device.key", as_bytes("short")));
  CHECK(node_credentials(disk, "/here", keyring, random).error().code == Code::corrupt);
}

TEST_CASE("A device's key that an older version kept open is sealed, and stays the same", "[keys]") {
  SystemRandom random;
  MemoryDisk disk;
  REQUIRE(disk.make_directory("/here"));
  const Keyring keyring = Keyring::generate(random);
  KeySeed seed;
  random.fill(seed.bytes);
  REQUIRE(replace_file(disk, "/here/device.key", seed.bytes));
  const KeyId device = KeyPair::from_seed(seed).id();
  for (int i = 0; i < 2; ++i) {
    const auto credentials = node_credentials(disk, "/here", keyring, random);
    REQUIRE(credentials);
    CHECK((*credentials)->device.id() == device);
    const auto kept = read_file(disk, "/here/device.key", 4096);
    REQUIRE(kept);
    CHECK(std::search(kept->begin(), kept->end(), seed.bytes.begin(), seed.bytes.end()) == kept->end());
  }
}

#include "cache/keys/node_credentials.h"

#include <sodium.h>

#include <algorithm>
#include <optional>

#include "cache/keys/sealed_secret.h"

namespace atl {

namespace {

KeyPair pair_of(ByteView secret) {
  KeySeed seed;
  std::copy_n(secret.begin(), KeySeed::size, seed.bytes.begin());
  KeyPair pair = KeyPair::from_seed(seed);
  wipe(seed);
  return pair;
}

Result<std::shared_ptr<const NodeCredentials>> credentials_of(const Keyring& keyring, const KeyPair& device) {
  auto account = account_key(keyring);
  if (!account) return fail(account.error());
  return std::make_shared<const NodeCredentials>(NodeCredentials{std::move(*account), device});
}

}  // namespace

Result<KeyPair> account_key(const Keyring& keyring) {
  const auto account = keyring.derive(KeyEpoch(1), KeyPurpose::node_account);
  if (!account) return fail(account.error());
  return pair_of(account->view());
}

Result<std::shared_ptr<const NodeCredentials>> node_credentials(Disk& disk, const std::string& directory, const Keyring& keyring,
                                                                Random& random) {
  const std::string path = directory + "/device.key";
  const std::string hint = "remove it: another is made, which the nodes accept as well";
  auto bytes = read_file(disk, path, sealed_secret_bytes);
  if (!bytes && bytes.error().code != Code::not_found && bytes.error().code != Code::too_large) return fail(bytes.error());
  std::optional<SecretKey> seed;
  if (bytes && bytes->size() == sealed_secret_bytes) {
    auto opened = open_secret(*bytes, device_key_secret, keyring);
    if (!opened) return fail(Code::corrupt, "this device's key " + path + " does not open: " + opened.error().what, hint);
    return credentials_of(keyring, pair_of(opened->view()));
  }
  if (bytes && bytes->size() == KeySeed::size) {  // as older versions kept it: open
    seed = SecretKey::from(*bytes);
    sodium_memzero(bytes->data(), bytes->size());
  } else if (!bytes && bytes.error().code == Code::not_found) {
    seed = SecretKey::random(random);
  } else {
    return fail(Code::corrupt, "this device's key " + path + " has a wrong length", hint);
  }
  const auto sealed = seal_secret(*seed, device_key_secret, keyring, random);
  if (!sealed) return fail(sealed.error());
  if (auto written = replace_file(disk, path, *sealed); !written) return fail(written.error());
  return credentials_of(keyring, pair_of(seed->view()));
}

Result<std::shared_ptr<const NodeCredentials>> passing_node_credentials(const Keyring& keyring, Random& random) {
  return credentials_of(keyring, KeyPair::generate(random));
}

}  // namespace atl

// A node's server on a free port of the loopback, with its data in memory, and what it takes to speak to it.
// One owner; the server stops in the destructor.
#pragma once

#include <memory>
#include <stdexcept>

#include "engine/daemon/server.h"
#include "engine/daemon/server_folder.h"
#include "engine/net/credentials.h"
#include "tests/support/memory_disk.h"
#include "tests/support/memory_object_store.h"

namespace atl {

struct NodeHost {
  static constexpr const char* folder = "/node";

  explicit NodeHost(ServerLimits limits = {}, std::uint64_t quota = std::uint64_t{1} << 30)
      : credentials{KeyPair::generate(random), KeyPair::generate(random)} {
    must(disk.make_directory(folder));
    ServerOptions options;
    options.listen = {"127.0.0.1", 0};
    options.metrics = NetAddress{"127.0.0.1", 0};
    options.labels = {{"country", "de"}};
    options.limits = limits;
    const KeyPair key = node_key(disk, folder, random).value();
    server = NodeServer::start(store, disk, folder, key, options, clock).value();
    must(write_advertised(disk, folder, server->address()));
    Account account;
    account.id = account_id();
    account.quota_bytes = quota;
    account.blob = blob_of(credentials.account.public_key());
    must(store.put_account(account));
  }
  ~NodeHost() { server->stop(std::chrono::seconds(10)); }

  static void must(const Result<>& result) {
    if (!result) throw std::runtime_error(result.error().what);
  }
  AccountId account_id() const {
    AccountId id;
    id.bytes = credentials.account.id().bytes;
    return id;
  }
  static Bytes blob_of(const PublicKey& key) {
    const std::string text = "{\"key\":\"" + key.hex() + "\",\"revoked\":[]}";
    return Bytes(text.begin(), text.end());
  }

  SystemRandom random;
  SystemClock clock;
  MemoryDisk disk;
  MemoryObjectStore store;
  NodeCredentials credentials;
  std::unique_ptr<NodeServer> server;
};

}  // namespace atl

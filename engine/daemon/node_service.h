// A node as a whole: its data folder, locked; the store, the server, and the upkeep of both.
//
// What `atoll node serve` runs. start() and stop() block and belong to the owner; the rest is thread-safe. Errors of
// start(): busy (another daemon has the folder, or the address is taken), not_empty (the folder holds other things),
// invalid (an address that is not this machine's), newer_format, and those of the disk.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/random.h"
#include "engine/daemon/server.h"
#include "engine/daemon/store/object_store.h"

namespace atl {

struct NodeServiceOptions {
  std::string folder;  // absolute; made if its parent is there
  StoreOptions store;
  ServerOptions server;
  std::optional<NetAddress> advertise;  // how drives reach it; without, where it listens
};

class NodeService {
 public:
  /// Clock and random outlive it.
  static Result<std::unique_ptr<NodeService>> start(const NodeServiceOptions& options, Clock& clock, Random& random);
  virtual ~NodeService() = default;

  virtual NodeServer& server() = 0;
  virtual ObjectStore& store() = 0;
  /// As invites name it.
  virtual const NetAddress& advertised() const = 0;
  /// Takes no new requests, finishes those that run, for at most `patience`. Once. False if a disk hangs: the process
  /// should end without destroying this.
  virtual bool stop(Duration patience) = 0;
};

}  // namespace atl

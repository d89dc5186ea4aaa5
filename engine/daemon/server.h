// The server of a node: PROTOCOL.md over an ObjectStore.
//
// One thread does the network, a few call the store. Everything a peer can make it hold is bounded by ServerLimits.
// start() and stop() block and belong to the owner; the rest is thread-safe. Errors of start(): the address is taken or
// not this machine's (Code::busy, invalid), the data folder cannot be written.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/base/clock.h"
#include "engine/base/disk.h"
#include "engine/daemon/admission.h"
#include "engine/daemon/store/object_store.h"
#include "engine/net/address.h"

namespace atl {

struct ServerLimits {
  Admission::Limits connections;
  Duration handshake = std::chrono::seconds(10);  // from accepting a connection to knowing its key
  Duration header = std::chrono::seconds(15);     // from a request's first byte to its last header
  Duration idle = std::chrono::minutes(5);        // between requests
  Duration chunk = std::chrono::seconds(15);      // for each 64 KiB of a body, either way: the least rate
  std::size_t served = 256;                       // requests at once
  std::size_t served_per_tenant = 16;             // more wait
  std::size_t disk_threads = 8;
  std::size_t disk_threads_per_tenant = 6;
};

struct ServerOptions {
  NetAddress listen;                     // port 0: any free one
  std::optional<NetAddress> metrics;     // of this machine's loopback; plain HTTP
  std::map<std::string, std::string> labels;
  ServerLimits limits;
};

/// Since the start. Read at any time.
struct ServerCounters {
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> handshakes{0};          // that succeeded
  std::atomic<std::uint64_t> handshakes_refused{0};  // unknown keys, broken TLS, deadlines
  std::atomic<std::uint64_t> displaced{0};           // closed for want of room
  std::atomic<std::uint64_t> strangers{0};           // now: connections without a proven key
  std::atomic<std::uint64_t> connections{0};         // now: with one
  std::atomic<std::uint64_t> serving{0};             // now: requests
  std::atomic<std::uint64_t> waiting{0};             // now: requests that wait for others of their tenant
  std::atomic<std::uint64_t> timed_out{0};           // connections that were too slow
  std::atomic<std::uint64_t> received_bytes{0};      // bodies
  std::atomic<std::uint64_t> sent_bytes{0};
};

class NodeServer {
 public:
  /// Store, disk and clock outlive it. `folder` is the store's data folder; its key is `key`.
  static Result<std::unique_ptr<NodeServer>> start(ObjectStore& store, Disk& disk, const std::string& folder,
                                                   const KeyPair& key, const ServerOptions& options, Clock& clock);
  virtual ~NodeServer() = default;

  /// With the real port.
  virtual NetAddress address() const = 0;
  virtual std::optional<NetAddress> metrics_address() const = 0;
  virtual NodeId id() const = 0;
  virtual const ServerCounters& counters() const = 0;
  /// Takes no new requests, finishes those that run, for at most `patience`; then cuts what is left. Once. False if a
  /// disk hangs, so that server and store must never be destroyed.
  virtual bool stop(Duration patience) = 0;
};

}  // namespace atl

// The network as the cache sees it: named immutable objects on nodes, written and read by many transfers at once.
//
// The engine knows shards and nodes, never files, names or content keys. All calls return at once; completions run on
// threads of the engine and must not block: they hand work to a Runtime. No Asio type appears here, so that nothing
// above compiles it. Thread-safe. close() cancels what runs (completions see Code::cancelled) and returns when no
// completion is left running; never from a completion. What is asked after close() completes with Code::cancelled at
// once, in the calling thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"
#include "engine/base/random.h"
#include "engine/base/result.h"

namespace atl {

/// Failure domains of a node: country=de, operator=anna. Any key.
using Labels = std::map<std::string, std::string>;

/// What a drive remembers of a node.
struct NodeSpec {
  NodeId id;
  std::string url;  // dir:/path, later atoll: and s3:
  Labels labels;
  bool draining = false;  // is read, and gets nothing new
  friend bool operator==(const NodeSpec&, const NodeSpec&) = default;
};

enum class NodeState { ok, slow, absent, full, stale, lying };
/// "ok", "slow", ... as status prints them.
std::string_view to_string(NodeState state);

struct NodeStatus {
  NodeSpec spec;
  NodeState state = NodeState::absent;
  std::string last_error;             // empty if none
  std::uint64_t used_bytes = 0;       // by this drive's objects, as far as the engine counted
  std::uint64_t free_bytes = 0;       // what the node says it can still take
  std::uint64_t device = 0;           // equal for two nodes that share one file system; 0 if unknown
  std::uint64_t capacity_bytes = 0;
};

/// Monotonic since the engine was made; read without locks.
struct EngineCounters {
  std::uint64_t node_reads = 0;         // objects or ranges asked of nodes
  std::uint64_t node_read_bytes = 0;
  std::uint64_t node_writes = 0;        // objects acknowledged by nodes
  std::uint64_t node_write_bytes = 0;
  std::uint64_t node_removes = 0;
  std::uint64_t node_errors = 0;
  std::uint64_t bad_shards = 0;         // answers that did not verify
  std::uint64_t hedged_reads = 0;       // asked a further node since the first lagged or failed
};

/// Something running in the engine; destroying the handle does not cancel it.
class Transfer {
 public:
  virtual ~Transfer() = default;
  /// Asks it to end soon; its completion still runs, exactly once, with Code::cancelled unless it had finished.
  virtual void cancel() = 0;
};

struct ShardHome {
  ShardIndex shard;
  NodeId node;
  friend auto operator<=>(const ShardHome&, const ShardHome&) = default;
};

/// The content of an object as a gather list, and what keeps that list's bytes alive.
struct ObjectBody {
  std::vector<ByteView> pieces;
  std::shared_ptr<const void> owner;

  ObjectBody() = default;
  ObjectBody(std::vector<ByteView> pieces_, std::shared_ptr<const void> owner_)
      : pieces(std::move(pieces_)), owner(std::move(owner_)) {}

  std::uint64_t size() const {
    std::uint64_t total = 0;
    for (ByteView piece : pieces) total += piece.size();
    return total;
  }
};

/// Shards of one segment to bring to nodes, one node at most one shard.
struct UploadRequest {
  std::vector<ShardIndex> shards;                                  // to place now
  std::vector<ShardHome> placed;                                   // of this attempt, already durable somewhere
  std::size_t need = 0;                                            // k: so many of all bring the segment back
  /// The object; called on engine threads, for a shard that is not stored. A body lives until its put has ended.
  std::function<ObjectBody(ShardIndex)> body;
  std::function<std::string(ShardIndex, NodeId)> object_name;
  /// A shard is durable on a node, and its body is not asked for again. Runs before `done`.
  std::function<void(ShardHome)> on_stored;
  /// All were stored, or no node is left that could take what is missing now (Code::unavailable, no_space), or
  /// cancelled. What was stored stays stored.
  std::function<void(Result<>)> done;
};

/// One object that could answer a read.
struct FetchSource {
  ShardHome home;
  std::string object_name;
};

/// A range of one segment's shards. The same byte range is asked of every source.
struct FetchRequest {
  /// The shard whose bytes are wanted as such (systematic read); it alone suffices. Absent: only `need` others do.
  std::optional<FetchSource> wanted;
  std::vector<FetchSource> others;   // further shards, any order; the engine asks the likeliest fast first
  std::size_t need = 0;              // this many of wanted + others suffice
  std::uint64_t offset = 0;          // in the object
  std::uint64_t length = 0;
  /// Verifies an answer, on an engine thread. False counts as a bad shard of that node, and another is asked.
  std::function<bool(ShardIndex, ByteView)> verify;
  std::optional<MonotonicTime> deadline;
  /// Verified answers: the wanted shard alone, or `need` shards. Code::too_few_nodes if all sources are spent,
  /// timed_out, cancelled.
  std::function<void(Result<std::vector<std::pair<ShardIndex, Bytes>>>)> done;
};

/// The result of asking whether an object is where it should be.
struct ObjectStat {
  std::uint64_t size = 0;
};

struct EngineOptions {
  std::size_t transfers_max = 32;          // at once, over all nodes
  std::size_t transfers_per_node_max = 4;
  Duration probe_interval = std::chrono::seconds(5);   // how often an absent node is looked for, and one that owes an answer
  Duration hedge_after_min = std::chrono::milliseconds(30);
  Duration put_timeout = std::chrono::seconds(120);    // also of removals and listings
  Duration get_timeout = std::chrono::seconds(15);     // a node silent for so long counts as absent
  Duration close_patience = std::chrono::seconds(3);   // for a disk that hangs; then it is left behind
  std::size_t threads = 4;                             // at most, for the disk of each dir: node
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual void close() = 0;

  virtual std::shared_ptr<Transfer> upload(UploadRequest request) = 0;
  virtual std::shared_ptr<Transfer> fetch(FetchRequest request) = 0;
  /// Stores one whole object on one node; put-if-absent. The same content under the name already: success.
  virtual void put(NodeId node, std::string name, std::shared_ptr<const Bytes> body, std::function<void(Result<>)> done) = 0;
  /// Removes objects of one node; a missing one counts as removed. Result: how many are gone now, in order of the
  /// names; fewer than asked if the node stopped answering.
  virtual void remove(NodeId node, std::vector<std::string> names, std::function<void(Result<std::size_t>)> done) = 0;
  /// All names under a prefix, at most `limit` after `after`, in byte order.
  virtual void list(NodeId node, std::string prefix, std::string after, std::size_t limit,
                    std::function<void(Result<std::vector<std::string>>)> done) = 0;
  virtual void stat(NodeId node, std::string name, std::function<void(Result<ObjectStat>)> done) = 0;

  /// From now on these are the nodes. A new one, and one whose address is another, is looked for at once, without
  /// waiting; other changes of what is known of a node just apply. What runs on a node that is not named any more ends
  /// (uploads go elsewhere), and no completion tells of something stored there once this has returned. Waits for the
  /// engine's thread; never from a completion. Code::invalid for a URL that cannot be one, or an id named twice, and
  /// cancelled: then nothing has changed.
  virtual Result<> set_nodes(std::vector<NodeSpec> nodes) = 0;
  virtual std::vector<NodeStatus> nodes() const = 0;
  virtual EngineCounters counters() const = 0;
  /// Called (on an engine thread) whenever a node's state changes: what waited for nodes may go on.
  virtual void on_node_change(std::function<void()> callback) = 0;
};

/// An engine with the nodes given, on real threads and the real clock. Nodes that cannot be reached are absent, and
/// are looked for until close(). `random` and `clock` outlive it.
Result<std::unique_ptr<Engine>> make_engine(std::vector<NodeSpec> nodes, EngineOptions options, Clock& clock, Random& random);

/// Gives a fresh node an identity, or reads the one it has, for `init` and `node add`. For dir: creates the folder and
/// writes the identity file once. Blocks.
Result<NodeSpec> adopt_node(const std::string& url, Random& random);

}  // namespace atl

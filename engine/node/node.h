// A storage node: named immutable objects, whatever stores them.
//
// Contract, the same for every kind (tests/unit/engine/node runs one suite over all of them):
//   Names are 1 to 128 of [A-Za-z0-9._-] and do not start with a dot; others are Code::invalid.
//   Code::unavailable: the node cannot be reached, or is not the node it should be. Never an empty answer instead.
//   Code::no_space: the node takes nothing of that size now.
//   Code::io and others: the node answered that it failed.
// A node believes nothing and proves nothing: who reads verifies what came.
//
// Calls are made on the engine's loop and end there. A cancelled call may have had its effect. Arguments are taken by
// value; the node outlives its calls.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/ids.h"
#include "engine/base/result.h"
#include "engine/engine.h"

namespace atl {

namespace asio = boost::asio;

struct NodeUsage {
  std::uint64_t used_bytes = 0;  // by objects, as far as counted
  std::uint64_t free_bytes = 0;
  std::uint64_t capacity_bytes = 0;
  std::uint64_t device = 0;      // equal for two nodes that share one file system; 0 if unknown
};

class Node {
 public:
  virtual ~Node() = default;

  /// Stores a whole object if the name is free; durable when this succeeds. The same content under the name already:
  /// success. Other content: Code::conflict, and nothing is changed.
  virtual asio::awaitable<Result<>> put(std::string name, ObjectBody body) = 0;
  /// Bytes [offset, offset + length) of an object, fewer where it ends before. Code::not_found.
  virtual asio::awaitable<Result<Bytes>> get(std::string name, std::uint64_t offset, std::uint64_t length) = 0;
  /// Code::not_found.
  virtual asio::awaitable<Result<ObjectStat>> stat(std::string name) = 0;
  /// Names that start with `prefix` and come after `after`, in byte order, at most `limit`.
  virtual asio::awaitable<Result<std::vector<std::string>>> list(std::string prefix, std::string after,
                                                                 std::size_t limit) = 0;
  /// Removes objects; a missing one counts as removed. The count of those gone, from the front of the list.
  virtual asio::awaitable<Result<std::size_t>> remove(std::vector<std::string> names) = 0;
  /// What is used and free; also how one asks whether the node is there at all.
  virtual asio::awaitable<Result<NodeUsage>> usage() = 0;

  /// What this kind of node likes: so much time at least between one shipment of small objects (a journal and what names
  /// it) and the next, since each request costs its owner something. Zero: any. Never changes; any thread.
  virtual Duration ship_interval() const { return Duration::zero(); }

  /// What asking this kind of node costs: one that is present is asked whether it still is when it has said nothing for so
  /// long. Minutes, since requests cross a network and may be charged for; zero where they cost nothing: as often as an
  /// absent one is looked for. Never changes; any thread.
  virtual Duration silence_max() const { return std::chrono::minutes(5); }

  /// Called once, off the loop, after the loop has stopped: ends threads, waiting for what runs at most `patience`.
  /// False if something hangs, so that the node must never be destroyed.
  virtual bool close(Duration patience) = 0;
};

/// Whether a text may name an object.
bool is_object_name(std::string_view name);

}  // namespace atl

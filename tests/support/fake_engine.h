// An engine whose nodes are maps in memory, answering through a Runtime: for tests of the cache under virtual time.
//
// Faults by node: absent, garbage (answers of the right length that do not verify), full, refuses, hangs. Not for use with threads.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/runtime.h"
#include "engine/engine.h"

namespace atl {

class FakeEngine final : public Engine {
 public:
  struct FakeNode {
    NodeSpec spec;
    bool absent = false;
    bool garbage = false;
    bool full = false;
    bool refuses = false;  // single objects that are put; what an upload brings is taken
    bool hangs = false;  // takes a shard and never says that it has it: the upload ends when it is cancelled
    std::map<std::string, Bytes> objects;
  };

  FakeEngine(Runtime& runtime, std::vector<FakeNode> nodes) : runtime_(runtime), nodes_(std::move(nodes)) {}

  static std::vector<FakeNode> make_nodes(std::size_t count) {
    std::vector<FakeNode> nodes(count);
    for (std::size_t i = 0; i < count; ++i) {
      nodes[i].spec.id.bytes[0] = static_cast<std::uint8_t>(i + 1);
      nodes[i].spec.url = "fake:" + std::to_string(i + 1);
    }
    return nodes;
  }
  static std::vector<NodeSpec> specs(const std::vector<FakeNode>& nodes) {
    std::vector<NodeSpec> all;
    for (const FakeNode& node : nodes) all.push_back(node.spec);
    return all;
  }

  std::vector<FakeNode>& all() { return nodes_; }
  /// Called when an upload begins, before a node has anything of it.
  std::function<void()> on_upload;
  void changed() {
    if (on_change_) runtime_.post(on_change_);
  }

  void close() override {}

  std::shared_ptr<Transfer> upload(UploadRequest request) override {
    auto transfer = std::make_shared<FakeTransfer>(runtime_);
    if (on_upload) on_upload();
    runtime_.post([this, request = std::move(request), transfer] {
      std::set<NodeId> used;
      for (const ShardHome& home : request.placed) used.insert(home.node);
      bool all = true;
      bool waits = false;
      for (ShardIndex shard : request.shards) {
        const auto node = std::find_if(nodes_.begin(), nodes_.end(), [&](const FakeNode& n) { return !n.absent && !n.full && !n.spec.draining && !used.contains(n.spec.id); });
        if (transfer->cancelled || node == nodes_.end()) {
          all = false;
          continue;
        }
        Bytes body;
        for (ByteView piece : request.body(shard).pieces) body.insert(body.end(), piece.begin(), piece.end());
        node->objects[request.object_name(shard, node->spec.id)] = std::move(body);
        used.insert(node->spec.id);
        if (node->hangs) {
          waits = true;
          continue;
        }
        ++counters_.node_writes;
        request.on_stored({shard, node->spec.id});
      }
      if (waits && !transfer->cancelled) {
        transfer->given_up = [done = request.done] { done(fail(Code::cancelled)); };
        return;
      }
      request.done(all ? Result<>() : fail(transfer->cancelled ? Code::cancelled : Code::unavailable));
    });
    return transfer;
  }

  std::shared_ptr<Transfer> fetch(FetchRequest request) override {
    auto transfer = std::make_shared<FakeTransfer>(runtime_);
    runtime_.post([this, request = std::move(request), transfer] {
      if (transfer->cancelled) return request.done(fail(Code::cancelled));
      std::vector<std::pair<ShardIndex, Bytes>> answers;
      if (request.wanted) {
        if (auto answer = ask(*request.wanted, request)) {
          answers.emplace_back(request.wanted->home.shard, std::move(*answer));
          return request.done(std::move(answers));
        }
      }
      for (const FetchSource& source : request.others) {
        if (answers.size() == request.need) break;
        if (auto answer = ask(source, request)) answers.emplace_back(source.home.shard, std::move(*answer));
      }
      if (answers.empty() || answers.size() < request.need) return request.done(fail(Code::too_few_nodes, "too few nodes answered"));
      request.done(std::move(answers));
    });
    return transfer;
  }

  void put(NodeId id, std::string name, std::shared_ptr<const Bytes> body, std::function<void(Result<>)> done) override {
    runtime_.post([this, id, name, body, done] {
      FakeNode* node = find(id);
      if (node == nullptr || node->absent) return done(fail(Code::unavailable));
      if (node->refuses) return done(fail(Code::io, "the node refuses what is put"));
      const auto [object, fresh] = node->objects.try_emplace(name, *body);
      done(fresh || object->second == *body ? Result<>() : fail(Code::conflict));
    });
  }

  void remove(NodeId id, std::vector<std::string> names, std::function<void(Result<std::size_t>)> done) override {
    runtime_.post([this, id, names, done] {
      FakeNode* node = find(id);
      if (node == nullptr || node->absent) return done(fail(Code::unavailable));
      for (const std::string& name : names) counters_.node_removes += node->objects.erase(name);
      done(names.size());
    });
  }

  void list(NodeId id, std::string prefix, std::string after, std::size_t limit,
            std::function<void(Result<std::vector<std::string>>)> done) override {
    runtime_.post([this, id, prefix, after, limit, done] {
      FakeNode* node = find(id);
      if (node == nullptr || node->absent) return done(fail(Code::unavailable));
      std::vector<std::string> names;
      for (auto it = node->objects.upper_bound(std::max(prefix, after)); it != node->objects.end() && names.size() < limit; ++it)
        if (it->first.starts_with(prefix)) names.push_back(it->first);
      done(std::move(names));
    });
  }

  void stat(NodeId id, std::string name, std::function<void(Result<ObjectStat>)> done) override {
    runtime_.post([this, id, name, done] {
      FakeNode* node = find(id);
      if (node == nullptr || node->absent) return done(fail(Code::unavailable));
      const auto it = node->objects.find(name);
      if (it == node->objects.end()) return done(fail(Code::not_found));
      done(ObjectStat{it->second.size()});
    });
  }

  Result<> set_nodes(std::vector<NodeSpec> specs) override {
    std::vector<FakeNode> next;
    for (const NodeSpec& spec : specs) {
      FakeNode* known = find(spec.id);
      next.push_back(known != nullptr ? std::move(*known) : FakeNode{});
      next.back().spec = spec;
    }
    nodes_ = std::move(next);
    changed();
    return {};
  }

  std::vector<NodeStatus> nodes() const override {
    std::vector<NodeStatus> all;
    all.reserve(nodes_.size());
    for (const FakeNode& node : nodes_) {
      NodeStatus status;
      status.spec = node.spec;
      status.state = node.absent ? NodeState::absent : node.full ? NodeState::full : NodeState::ok;
      status.free_bytes = 1ull << 40;
      all.push_back(status);
    }
    return all;
  }
  EngineCounters counters() const override { return counters_; }
  void on_node_change(std::function<void()> callback) override { on_change_ = std::move(callback); }

  std::uint64_t stored_bytes() const {
    std::uint64_t sum = 0;
    for (const FakeNode& node : nodes_)
      for (const auto& [name, body] : node.objects) sum += body.size();
    return sum;
  }

 private:
  struct FakeTransfer final : Transfer {
    explicit FakeTransfer(Runtime& runtime_) : runtime(runtime_) {}
    void cancel() override {
      cancelled = true;
      if (given_up) runtime.post(std::exchange(given_up, nullptr));
    }
    Runtime& runtime;
    bool cancelled = false;
    std::function<void()> given_up;
  };

  FakeNode* find(NodeId id) {
    for (FakeNode& node : nodes_)
      if (node.spec.id == id) return &node;
    return nullptr;
  }

  std::optional<Bytes> ask(const FetchSource& source, const FetchRequest& request) {
    FakeNode* node = find(source.home.node);
    if (node == nullptr || node->absent) return std::nullopt;
    const auto it = node->objects.find(source.object_name);
    if (it == node->objects.end() || it->second.size() < request.offset + request.length) return std::nullopt;
    ++counters_.node_reads;
    counters_.node_read_bytes += request.length;
    const auto begin = it->second.begin() + static_cast<std::ptrdiff_t>(request.offset);
    Bytes answer(begin, begin + static_cast<std::ptrdiff_t>(request.length));
    if (node->garbage) answer[answer.size() / 2] ^= 1;
    if (request.verify(source.home.shard, answer)) return answer;
    ++counters_.bad_shards;
    return std::nullopt;
  }

  Runtime& runtime_;
  std::vector<FakeNode> nodes_;
  EngineCounters counters_;
  std::function<void()> on_change_;
};

}  // namespace atl

// A node in memory that fails as a test wants it to. Faults may be changed at any time between the loop's steps.
// On the loop's thread; the loop outlives it. Errors as Node.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "engine/loop/loop.h"
#include "engine/node/node.h"

namespace atl {

class MemoryNode final : public Node {
 public:
  struct Faults {
    bool absent = false;       // every call: unavailable
    bool hangs = false;        // calls begin and never end, unless cancelled
    Duration delay{};          // before every call does its work
    Duration put_delay{};      // and before each put, beside
    bool garbage = false;      // answers of the right length with other bytes
    bool truncates = false;    // answers that lack their second half
    bool swaps = false;        // answers another object's bytes, if there is one
    std::deque<Code> refuses;  // the next calls that store or read fail with these
  };

  explicit MemoryNode(Loop& loop, std::uint64_t capacity = std::uint64_t{1} << 30) : loop_(loop), capacity_(capacity) {}

  asio::awaitable<Result<>> put(std::string name, ObjectBody body) override;
  asio::awaitable<Result<Bytes>> get(std::string name, std::uint64_t offset, std::uint64_t length) override;
  asio::awaitable<Result<ObjectStat>> stat(std::string name) override;
  asio::awaitable<Result<std::vector<std::string>>> list(std::string prefix, std::string after,
                                                         std::size_t limit) override;
  asio::awaitable<Result<std::size_t>> remove(std::vector<std::string> names) override;
  asio::awaitable<Result<NodeUsage>> usage() override;
  bool close(Duration) override { return true; }
  Duration ship_interval() const override { return likes_interval; }
  Duration silence_max() const override { return silence; }

  Faults faults;
  Duration likes_interval{};  // before an engine is made for it
  Duration silence{};         // the same; asked all the time
  std::map<std::string, Bytes> objects;
  std::size_t gets = 0;  // begun
  std::size_t puts = 0;
  std::size_t usages = 0;
  std::size_t running = 0;
  std::size_t running_most = 0;

 private:
  asio::awaitable<Result<>> enter();
  std::uint64_t used() const;

  Loop& loop_;
  std::uint64_t capacity_;
};

}  // namespace atl

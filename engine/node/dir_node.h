// A node that is a folder: `dir:PATH`. The embedded default, a NAS mount, a USB disk.
// Calls run on the node's own threads, so that a disk that hangs stops nobody else. Errors and threads as Node.
#pragma once

#include "engine/base/blocking_pool.h"
#include "engine/loop/loop.h"
#include "engine/node/dir_store.h"
#include "engine/node/node.h"

namespace atl {

class DirNode final : public Node {
 public:
  /// `loop` outlives it. `threads` bounds the calls that the disk sees at once.
  DirNode(Loop& loop, std::shared_ptr<DirStore> store, std::size_t threads);

  asio::awaitable<Result<>> put(std::string name, ObjectBody body) override;
  asio::awaitable<Result<Bytes>> get(std::string name, std::uint64_t offset, std::uint64_t length) override;
  asio::awaitable<Result<ObjectStat>> stat(std::string name) override;
  asio::awaitable<Result<std::vector<std::string>>> list(std::string prefix, std::string after,
                                                         std::size_t limit) override;
  asio::awaitable<Result<std::size_t>> remove(std::vector<std::string> names) override;
  asio::awaitable<Result<NodeUsage>> usage() override;
  bool close(Duration patience) override;
  /// A folder is looked at for nothing, and a disk that was pulled out is noticed soon.
  Duration silence_max() const override { return Duration::zero(); }

 private:
  Loop& loop_;
  std::shared_ptr<DirStore> store_;
  BlockingPool pool_;
  bool counted_ = false;  // loop's thread only
};

/// The folder of a `dir:` URL, absolute and without "." or "..". Code::invalid for another URL or an empty path.
Result<std::string> folder_of_url(const std::string& url);

}  // namespace atl

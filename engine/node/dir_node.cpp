#include "engine/node/dir_node.h"

#include <filesystem>

#include "engine/node/run_blocking.h"

namespace atl {

DirNode::DirNode(Loop& loop, std::shared_ptr<DirStore> store, std::size_t threads)
    : loop_(loop), store_(std::move(store)), pool_(threads) {}

asio::awaitable<Result<>> DirNode::put(std::string name, ObjectBody body) {
  auto work = [store = store_, name = std::move(name), body = std::move(body)] { return store->put(name, body); };
  co_return co_await run_blocking(pool_, std::move(work));
}

asio::awaitable<Result<Bytes>> DirNode::get(std::string name, std::uint64_t offset, std::uint64_t length) {
  auto work = [store = store_, name = std::move(name), offset, length, now = loop_.now()] {
    return store->get(name, offset, length, now);
  };
  co_return co_await run_blocking(pool_, std::move(work));
}

asio::awaitable<Result<ObjectStat>> DirNode::stat(std::string name) {
  auto work = [store = store_, name = std::move(name), now = loop_.now()] { return store->stat(name, now); };
  co_return co_await run_blocking(pool_, std::move(work));
}

asio::awaitable<Result<std::vector<std::string>>> DirNode::list(std::string prefix, std::string after,
                                                                std::size_t limit) {
  auto work = [store = store_, prefix = std::move(prefix), after = std::move(after), limit, now = loop_.now()] {
    return store->list(prefix, after, limit, now);
  };
  co_return co_await run_blocking(pool_, std::move(work));
}

asio::awaitable<Result<std::size_t>> DirNode::remove(std::vector<std::string> names) {
  auto work = [store = store_, names = std::move(names)] { return store->remove(names); };
  co_return co_await run_blocking(pool_, std::move(work));
}

asio::awaitable<Result<NodeUsage>> DirNode::usage() {
  auto work = [store = store_] { return store->usage(); };
  auto answer = co_await run_blocking(pool_, std::move(work));
  if (answer && !counted_) {
    counted_ = true;
    pool_.post([store = store_] { store->count_used(); });
  }
  co_return answer;
}

bool DirNode::close(Duration patience) { return pool_.close(patience); }

Result<std::string> folder_of_url(const std::string& url) {
  constexpr std::string_view scheme = "dir:";
  if (!url.starts_with(scheme)) {
    return fail(Code::invalid, "'" + url + "' is not the URL of a node", "write it like dir:/path/of/a/folder");
  }
  const std::string path = url.substr(scheme.size());
  if (path.empty() || path.find('\0') != std::string::npos)
    return fail(Code::invalid, "'" + url + "' names no folder", "write it like dir:/path/of/a/folder");
  std::error_code error;
  std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (error) return fail(Code::io, "the current directory is gone: " + error.message(), "give an absolute path");
  std::string folder = absolute.lexically_normal().string();
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  if (folder == "/") return fail(Code::invalid, "the root of the file system cannot be a node", "name a folder in it");
  return folder;
}

}  // namespace atl

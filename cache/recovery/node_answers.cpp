#include "cache/recovery/node_answers.h"

#include "cache/heads/fetch_object.h"

namespace atl {
namespace {

constexpr std::size_t heads_listed = 1000;
constexpr std::size_t listings_max = 64;

}  // namespace

Result<std::vector<std::string>> list_all(DriveSeams seams, Engine& engine, NodeId node, const std::string& prefix, MonotonicTime deadline) {
  std::vector<std::string> names;
  for (std::size_t page = 0; page < listings_max; ++page) {
    Answer<std::vector<std::string>> answer;
    engine.list(node, prefix, names.empty() ? std::string() : names.back(), heads_listed, answer.sink());
    auto found = answer.wait(seams, deadline);
    if (!found) return fail(found.error());
    names.insert(names.end(), found->begin(), found->end());
    if (found->size() < heads_listed) break;
  }
  return names;
}

Result<Bytes> fetch_now(DriveSeams seams, Engine& engine, NodeId node, const std::string& name, MonotonicTime deadline,
                        std::function<bool(ByteView)> valid) {
  Answer<Bytes> answer;
  fetch_object(engine, node, name, deadline, std::move(valid), answer.sink());
  return answer.wait(seams, deadline);
}

}  // namespace atl

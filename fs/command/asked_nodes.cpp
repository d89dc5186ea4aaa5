#include "fs/command/asked_nodes.h"

#include <algorithm>

#include "engine/daemons.h"

namespace atl {

Result<AskedNodes> ask_nodes(DriveSeams seams, const std::vector<NodeSpec>& known, const std::shared_ptr<const NodeCredentials>& credentials,
                             const Keyring& keyring, const std::function<void(std::vector<NodeSpec>&)>& adjust) {
  AskedNodes asked;
  asked.nodes = known;
  const auto ask = [&]() -> Result<> {
    auto engine = make_engine(asked.nodes, credentials, {}, seams.clock, seams.random);
    if (!engine) return fail(engine.error());
    asked.engine = std::move(*engine);
    auto survey = survey_heads(seams, *asked.engine, asked.nodes, keyring, node_patience);
    if (!survey) return fail(survey.error());
    asked.survey = std::move(*survey);
    return {};
  };
  if (auto done = ask(); !done) return fail(done.error());
  if (!asked.survey.head) return asked;
  std::vector<NodeSpec> all = asked.survey.head->nodes;
  for (const NodeSpec& node : known)
    if (std::none_of(all.begin(), all.end(), [&](const NodeSpec& other) { return other.id == node.id; })) all.push_back(node);
  if (adjust) adjust(all);
  if (all == asked.nodes) return asked;
  asked.engine->close();
  asked.nodes = std::move(all);
  if (auto done = ask(); !done) return fail(done.error());
  return asked;
}

}  // namespace atl

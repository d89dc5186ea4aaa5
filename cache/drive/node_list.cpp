#include "cache/drive/node_list.h"

#include "cache/drive/drive_impl.h"

namespace atl {

Result<> put_node(Drive& drive, const NodeSpec& node) {
  auto* const real = dynamic_cast<DriveImpl*>(&drive);
  return real != nullptr ? real->put_node(node) : Result<>(fail(Code::unsupported, "this drive's nodes cannot be changed"));
}

Result<> DriveImpl::put_node(const NodeSpec& node) {
  NodeSpec logged = node;
  logged.draining = false;  // another record says so
  {
    std::lock_guard lock(core_->mutex);
    if (auto refused = core_->refusal()) return fail(*refused);
    const auto& known = core_->tables->nodes();
    const auto found = known.find(logged.id);
    if (found == known.end() || found->second != logged) core_->log(NodeAdded{logged});
  }
  if (auto r = committer_.commit(); !r) return r;
  if (core_->engine.load() != nullptr) caretaker_.hurry();  // tells the engine
  return {};
}

}  // namespace atl

// The two ways into the drive's state. Included by drive_impl.h.
#pragma once

namespace atl {

template <typename Operation>
auto DriveImpl::locked(Operation operation) -> decltype(operation()) {
  std::lock_guard lock(core_->mutex);
  try {
    return operation();
  } catch (const IndexFailure& failure) {
    core_->fail_stop(failure.error());
    return fail(Code::io, failure.error().what, failure.error().hint);
  }
}

template <typename Operation>
auto DriveImpl::changing(Operation operation) -> decltype(operation()) {
  return locked([&]() -> decltype(operation()) {
    if (auto refused = core_->refusal()) return fail(*refused);
    return operation();
  });
}

}  // namespace atl

#include "fs/fuse/errno.h"

#include <cerrno>
#include <catch2/catch.hpp>

using namespace atl;

TEST_CASE("Every error code becomes an errno that a manual page knows") {
  // `key` is the last of the enumeration; a code added behind it is caught by the compiler's check of the switch.
  for (int code = 0; code <= static_cast<int>(Code::key); ++code) {
    INFO("code " << code);
    CHECK(to_errno(static_cast<Code>(code)) > 0);
  }
}

TEST_CASE("Errors that programs react to keep their meaning") {
  CHECK(to_errno(Code::not_found) == ENOENT);
  CHECK(to_errno(Code::exists) == EEXIST);
  CHECK(to_errno(Code::not_empty) == ENOTEMPTY);
  CHECK(to_errno(Code::no_attribute) == ENODATA);
  CHECK(to_errno(Code::name_too_long) == ENAMETOOLONG);
  CHECK(to_errno(Code::too_large) == EFBIG);
  CHECK(to_errno(Code::no_space) == ENOSPC);
  CHECK(to_errno(Code::read_only) == EROFS);
  CHECK(to_errno(Code::fenced) == EROFS);
  CHECK(to_errno(Code::cancelled) == EINTR);
  CHECK(to_errno(Code::timed_out) == EIO);
  CHECK(to_errno(Code::too_few_nodes) == EIO);
}

// What an operation returns when the world, not the programmer, may make it fail.
//
// An Error names what was being done, to what, and what the person can do about it. A Code exists only if some
// caller reacts to it differently from `failed`. Mapping to errno happens in one file: fs/fuse/errno.cpp.
// Values; free to copy between threads.
//
// The namespace is `atl`, since C's library has a function atoll().
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace atl {

enum class Code {
  failed,              // nothing more precise helps anyone
  io,                  // a disk or a node said no, or bytes are gone
  corrupt,             // bytes are there and are not what was written
  not_found,           // no such file, object, drive
  exists,              // the name is taken
  not_directory,       // a path component is not a directory
  is_directory,        // a directory where a file is needed
  not_empty,           // a directory that still has entries
  no_attribute,        // no such extended attribute
  too_small,           // the caller's buffer cannot hold the answer
  name_too_long,       // over 255 bytes
  too_large,           // beyond the largest file, attribute or message
  too_many_links,      // link count exhausted
  invalid,             // arguments that can never work
  not_permitted,       // never allowed, whoever asks
  access_denied,       // allowed for others
  read_only,           // the drive takes no changes now
  fenced,              // another machine owns the drive's epoch
  no_space,            // staging, disk, node or quota is full
  unsupported,         // not offered here
  newer_format,        // written by a newer version
  conflict,            // the same object name with other content
  unavailable,         // a node cannot be reached now
  too_few_nodes,       // fewer valid answers than k
  timed_out,           // a stated bound has passed
  cancelled,           // the caller gave up
  busy,                // held by somebody else
  key,                 // wrong key or passphrase
};

struct Error {
  Code code = Code::failed;
  std::string what;  // what happened, to what
  std::string hint;  // what the person can do; may be empty
  int os_error = 0;  // errno of the system call, 0 if none

  Error() = default;
  explicit Error(Code code_, std::string what_ = {}, std::string hint_ = {}, int os_error_ = 0)
      : code(code_), what(std::move(what_)), hint(std::move(hint_)), os_error(os_error_) {}
};

template <typename T = void>
using Result = tl::expected<T, Error>;

/// Builds the failed half of a Result: `return fail(Code::corrupt, "…");`
inline tl::unexpected<Error> fail(Code code, std::string what = {}, std::string hint = {}, int os_error = 0) {
  return tl::unexpected<Error>(Error(code, std::move(what), std::move(hint), os_error));
}

/// Passes an error on from a Result of another type.
inline tl::unexpected<Error> fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

}  // namespace atl

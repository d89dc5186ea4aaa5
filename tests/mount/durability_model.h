// A small tree in memory, the operations that the durability test performs on it and on a real directory, and the
// comparison of the two. Single-threaded; values throughout. Failures of the real directory are errno values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace durability {

struct Inode {
  enum Type { file, directory, symlink } type = file;
  unsigned mode = 0644;
  std::string content;  // a file's bytes, a symlink's target
  std::string xattr;    // value of user.mark; empty: none
};

/// Paths relative to the writer's folder. Two names of one file share its Inode.
struct Tree {
  std::map<std::string, std::shared_ptr<Inode>> names;
  Tree();  // with the folders d0 and d1
};

struct Operation {
  enum Kind {
    create, append, append_synchronously, overwrite, truncate, punch, rename, exchange, unlink, link, make_directory,
    remove_directory, make_symlink, set_mode, set_xattr, fsync_file, fdatasync_file, fsync_directory, sync_file_system
  } kind = create;
  std::string path, other;
  std::uint64_t offset = 0, length = 0, seed = 0;

  bool writes_data() const { return kind == append || kind == append_synchronously || kind == overwrite; }
  /// Whether its success means that all up to it is durable. Not so syncfs: the kernel writes back for it, but tells an
  /// ordinary FUSE file system nothing.
  bool flushes() const { return (kind >= fsync_file && kind <= fsync_directory) || kind == append_synchronously; }
};

/// The n-th operation, from the seed and the tree before it.
Operation next_operation(const Tree& tree, std::uint64_t seed, std::uint64_t n);
void apply(Tree& tree, const Operation& op);
/// Performs it below `folder`; 0 or the error number.
int perform(const std::string& folder, const Operation& op);
std::string describe(const Operation& op);

/// What lies below `folder`; `problem` says what could not be read.
Tree read_tree(const std::string& folder, std::string& problem);
bool equal(const Tree& a, const Tree& b);
/// Whether `found` is `before` with a part of a writing operation done: each byte old or new, the size between.
bool partly_applied(const Tree& before, const Operation& op, const Tree& found);
/// For a person: how `found` differs from the state after `least` operations and the following, at its most similar.
std::string difference(std::uint64_t seed, std::uint64_t least, std::uint64_t most, const Tree& found);

}  // namespace durability

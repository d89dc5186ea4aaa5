#include "tests/mount/durability_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace durability {
namespace {

constexpr std::size_t file_bytes_most = 200'000;

struct Random {
  std::uint64_t state;
  std::uint64_t next() {  // splitmix64
    std::uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t n) { return next() % n; }
};

std::string bytes_of(std::uint64_t seed, std::size_t length) {
  std::string out(length, '\0');
  Random random{seed};
  for (std::size_t at = 0; at < length; at += 8) {
    std::uint64_t word = random.next() | 0x0101010101010101ull;  // never zero, so that lost bytes show
    std::memcpy(out.data() + at, &word, std::min<std::size_t>(8, length - at));
  }
  return out;
}

std::string random_name(Random& random) {
  static const char* const places[] = {"", "d0/", "d1/"};
  return std::string(places[random.below(3)]) + "f" + std::to_string(random.below(8));
}

bool is(const Tree& tree, const std::string& path, Inode::Type type) {
  auto it = tree.names.find(path);
  return it != tree.names.end() && it->second->type == type;
}

int result(long value) { return value < 0 ? errno : 0; }

template <class Work>
int with_file(const std::string& path, int flags, Work work) {
  int fd = ::open(path.c_str(), flags, 0644);
  if (fd < 0) return errno;
  int error = work(fd);
  if (::close(fd) != 0 && error == 0) error = errno;
  return error;
}

int write_all(int fd, const std::string& bytes, off_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    ssize_t put = ::pwrite(fd, bytes.data() + done, bytes.size() - done, offset + static_cast<off_t>(done));
    if (put < 0) return errno;
    done += static_cast<std::size_t>(put);
  }
  return 0;
}

void overwrite(std::string& content, std::uint64_t offset, const std::string& bytes) {
  if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size(), '\0');
  content.replace(offset, bytes.size(), bytes);
}

}  // namespace

Tree::Tree() {
  for (const char* name : {"d0", "d1"}) names[name] = std::make_shared<Inode>(Inode{Inode::directory, 0755, "", ""});
}

Operation next_operation(const Tree& tree, std::uint64_t seed, std::uint64_t n) {
  Random random{seed * 0x100000001b3ull + n * 7919};
  random.next();
  // Draw until one fits the tree; the first kinds always fit some day.
  for (;;) {
    Operation op;
    op.seed = random.next();
    op.path = random_name(random);
    op.other = random_name(random);
    const bool file = is(tree, op.path, Inode::file), there = tree.names.count(op.path) > 0;
    const std::size_t size = file ? tree.names.at(op.path)->content.size() : 0;
    // Half of the rounds flush often; in the others little but the periodic flush keeps what was done.
    std::uint64_t die = random.below(seed / 8 % 2 == 0 || random.below(20) == 0 ? 100 : 86);
    if (die < 16) {
      op.kind = Operation::create;
      if (!there) return op;
    } else if (die < 38) {
      op.kind = die < 36 || seed / 8 % 2 == 1 ? Operation::append : Operation::append_synchronously;
      op.length = 1 + random.below(random.below(4) == 0 ? 50'000 : 3000);
      op.offset = size;
      if (file && size + op.length < file_bytes_most) return op;
    } else if (die < 46) {
      op.kind = Operation::overwrite;
      op.offset = random.below(size + 10'000);
      op.length = 1 + random.below(9000);
      if (file && op.offset + op.length < file_bytes_most) return op;
    } else if (die < 50) {
      op.kind = Operation::truncate;
      op.length = random.below(std::min<std::size_t>(size + 5000, file_bytes_most));
      if (file) return op;
    } else if (die < 52) {
      op.kind = Operation::punch;
      op.offset = random.below(size + 1);
      op.length = 1 + random.below(20'000);
      if (file) return op;
    } else if (die < 64) {
      op.kind = Operation::rename;
      if (there && op.path != op.other &&
          (tree.names.count(op.other) == 0 || tree.names.at(op.other) != tree.names.at(op.path))) return op;
    } else if (die < 67) {
      op.kind = Operation::exchange;
      if (there && op.path != op.other && tree.names.count(op.other) > 0) return op;
    } else if (die < 75) {
      op.kind = Operation::unlink;
      if (there) return op;
    } else if (die < 79) {
      op.kind = Operation::link;
      if (file && tree.names.count(op.other) == 0) return op;
    } else if (die < 81) {
      op.path = "s" + std::to_string(random.below(3));
      op.kind = tree.names.count(op.path) > 0 ? Operation::remove_directory : Operation::make_directory;
      return op;
    } else if (die < 83) {
      op.kind = Operation::make_symlink;
      if (!there) return op;
    } else if (die < 86) {
      op.kind = Operation::set_mode;
      op.length = 0600 | random.below(0200);
      if (file) return op;
    } else if (die < 89) {
      op.kind = Operation::set_xattr;
      if (file) return op;
    } else if (die < 94) {
      op.kind = Operation::fsync_file;
      if (file) return op;
    } else if (die < 97) {
      op.kind = Operation::fdatasync_file;
      if (file) return op;
    } else if (die < 99) {
      op.kind = Operation::fsync_directory;
      op.path = random.below(2) == 0 ? "d0" : "d1";
      return op;
    } else {
      op.kind = Operation::sync_file_system;
      return op;
    }
  }
}

void apply(Tree& tree, const Operation& op) {
  auto& names = tree.names;
  auto change = [&](auto work) {
    // A value of its own: other trees may share the inode. All names of the file move on together.
    std::shared_ptr<Inode> old = names.at(op.path), fresh = std::make_shared<Inode>(*old);
    work(*fresh);
    for (auto& [name, inode] : names) {
      if (inode == old) inode = fresh;
    }
  };
  switch (op.kind) {
    case Operation::create: names[op.path] = std::make_shared<Inode>(); break;
    case Operation::append:
    case Operation::append_synchronously:
    case Operation::overwrite: change([&](Inode& i) { overwrite(i.content, op.offset, bytes_of(op.seed, op.length)); }); break;
    case Operation::truncate: change([&](Inode& i) { i.content.resize(op.length, '\0'); }); break;
    case Operation::punch:
      change([&](Inode& i) {
        std::size_t length = std::min<std::size_t>(op.length, i.content.size() - op.offset);
        i.content.replace(op.offset, length, length, '\0');
      });
      break;
    case Operation::rename:
      names[op.other] = names.at(op.path);
      names.erase(op.path);
      break;
    case Operation::exchange: std::swap(names.at(op.path), names.at(op.other)); break;
    case Operation::unlink:
    case Operation::remove_directory: names.erase(op.path); break;
    case Operation::link: names[op.other] = names.at(op.path); break;
    case Operation::make_directory: names[op.path] = std::make_shared<Inode>(Inode{Inode::directory, 0755, "", ""}); break;
    case Operation::make_symlink:
      names[op.path] = std::make_shared<Inode>(Inode{Inode::symlink, 0777, "to-" + std::to_string(op.seed % 1000), ""});
      break;
    case Operation::set_mode: change([&](Inode& i) { i.mode = static_cast<unsigned>(op.length); }); break;
    case Operation::set_xattr: change([&](Inode& i) { i.xattr = std::to_string(op.seed); }); break;
    case Operation::fsync_file:
    case Operation::fdatasync_file:
    case Operation::fsync_directory:
    case Operation::sync_file_system: break;
  }
}

int perform(const std::string& folder, const Operation& op) {
  const std::string a = folder + "/" + op.path, b = folder + "/" + op.other;
  switch (op.kind) {
    case Operation::create: return with_file(a, O_WRONLY | O_CREAT | O_EXCL, [](int) { return 0; });
    case Operation::append:
      return with_file(a, O_WRONLY | O_APPEND, [&](int fd) { return write_all(fd, bytes_of(op.seed, op.length), 0); });
    case Operation::append_synchronously:
      return with_file(a, O_WRONLY | O_APPEND | O_SYNC, [&](int fd) { return write_all(fd, bytes_of(op.seed, op.length), 0); });
    case Operation::overwrite:
      return with_file(a, O_WRONLY, [&](int fd) { return write_all(fd, bytes_of(op.seed, op.length), static_cast<off_t>(op.offset)); });
    case Operation::truncate: return result(::truncate(a.c_str(), static_cast<off_t>(op.length)));
    case Operation::punch:
      return with_file(a, O_WRONLY, [&](int fd) {
        return result(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(op.offset), static_cast<off_t>(op.length)));
      });
    case Operation::rename: return result(::rename(a.c_str(), b.c_str()));
    case Operation::exchange: return result(::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE));
    case Operation::unlink: return result(::unlink(a.c_str()));
    case Operation::link: return result(::link(a.c_str(), b.c_str()));
    case Operation::make_directory: return result(::mkdir(a.c_str(), 0755));
    case Operation::remove_directory: return result(::rmdir(a.c_str()));
    case Operation::make_symlink: return result(::symlink(("to-" + std::to_string(op.seed % 1000)).c_str(), a.c_str()));
    case Operation::set_mode: return result(::chmod(a.c_str(), static_cast<mode_t>(op.length)));
    case Operation::set_xattr: {
      std::string value = std::to_string(op.seed);
      return result(::setxattr(a.c_str(), "user.mark", value.data(), value.size(), 0));
    }
    case Operation::fsync_file: return with_file(a, O_WRONLY, [](int fd) { return result(::fsync(fd)); });
    case Operation::fdatasync_file: return with_file(a, O_WRONLY, [](int fd) { return result(::fdatasync(fd)); });
    case Operation::fsync_directory: return with_file(a, O_RDONLY | O_DIRECTORY, [](int fd) { return result(::fsync(fd)); });
    case Operation::sync_file_system: return with_file(folder, O_RDONLY | O_DIRECTORY, [](int fd) { return result(::syncfs(fd)); });
  }
  return EINVAL;
}

std::string describe(const Operation& op) {
  static const char* const kinds[] = {"create", "append", "append_synchronously", "overwrite", "truncate", "punch", "rename", "exchange",
                                      "unlink", "link", "make_directory", "remove_directory", "make_symlink", "set_mode", "set_xattr",
                                      "fsync_file", "fdatasync_file", "fsync_directory", "sync_file_system"};
  return std::string(kinds[op.kind]) + " " + op.path + " " + op.other + " offset " + std::to_string(op.offset) + " length " + std::to_string(op.length);
}

Tree read_tree(const std::string& folder, std::string& problem) {
  Tree tree;
  tree.names.clear();
  std::map<ino_t, std::shared_ptr<Inode>> files;
  auto trouble = [&](const std::string& what) {
    if (problem.empty()) problem = what + ": " + std::strerror(errno);
  };
  std::vector<std::string> folders{""};
  while (!folders.empty()) {
    std::string inside = folders.back();
    folders.pop_back();
    DIR* d = ::opendir((folder + "/" + inside).c_str());
    if (d == nullptr) {
      trouble(folder + "/" + inside);
      continue;
    }
    while (const dirent* e = ::readdir(d)) {
      std::string name = e->d_name;
      if (name == "." || name == "..") continue;
      std::string path = inside.empty() ? name : inside + "/" + name, full = folder + "/" + path;
      struct stat s;
      if (::lstat(full.c_str(), &s) != 0) {
        trouble(full);
        continue;
      }
      std::shared_ptr<Inode>& inode = files[s.st_ino];
      if (inode == nullptr) {
        inode = std::make_shared<Inode>();
        inode->type = S_ISDIR(s.st_mode) ? Inode::directory : S_ISLNK(s.st_mode) ? Inode::symlink : Inode::file;
        inode->mode = s.st_mode & 07777;
        if (inode->type == Inode::file) {
          int fd = ::open(full.c_str(), O_RDONLY);
          inode->content.resize(static_cast<std::size_t>(s.st_size));
          if (fd < 0 || ::pread(fd, inode->content.data(), inode->content.size(), 0) != s.st_size) trouble(full);
          if (fd >= 0) ::close(fd);
          char value[64];
          ssize_t got = ::getxattr(full.c_str(), "user.mark", value, sizeof value);
          if (got > 0) inode->xattr.assign(value, static_cast<std::size_t>(got));
        } else if (inode->type == Inode::symlink) {
          char target[256];
          ssize_t got = ::readlink(full.c_str(), target, sizeof target);
          if (got < 0) trouble(full);
          else inode->content.assign(target, static_cast<std::size_t>(got));
        }
      }
      if (inode->type == Inode::directory) folders.push_back(path);
      tree.names[path] = inode;
    }
    ::closedir(d);
  }
  return tree;
}

namespace {
/// Compares but for one file's content. Names of one file in `a` must be names of one file in `b` and the reverse.
std::string compare(const Tree& a, const Tree& b, const Inode* skip_content) {
  std::map<const Inode*, const Inode*> there, back;
  auto x = a.names.begin(), y = b.names.begin();
  for (; x != a.names.end() || y != b.names.end(); ++x, ++y) {
    if (y == b.names.end() || (x != a.names.end() && x->first < y->first)) return x->first + " is missing";
    if (x == a.names.end() || y->first < x->first) return y->first + " should not be there";
    const Inode &p = *x->second, &q = *y->second;
    if (p.type != q.type) return x->first + " has another type";
    if (p.mode != q.mode && p.type == Inode::file) return x->first + " has another mode";
    if (p.xattr != q.xattr) return x->first + " has another attribute";
    if (!there.emplace(&p, &q).second && there[&p] != &q) return x->first + " is no longer linked";
    if (!back.emplace(&q, &p).second && back[&q] != &p) return x->first + " is linked to another file";
    if (&p != skip_content && p.content != q.content) {
      std::size_t at = 0;
      while (at < p.content.size() && at < q.content.size() && p.content[at] == q.content[at]) ++at;
      return x->first + " differs at byte " + std::to_string(at) + " of " + std::to_string(q.content.size()) + " (expected " +
             std::to_string(p.content.size()) + ")";
    }
  }
  return "";
}
}  // namespace

bool equal(const Tree& a, const Tree& b) { return compare(a, b, nullptr).empty(); }

bool partly_applied(const Tree& before, const Operation& op, const Tree& found) {
  if (!op.writes_data()) return false;
  auto it = found.names.find(op.path);
  const Inode* old = before.names.at(op.path).get();
  if (it == found.names.end() || !compare(before, found, old).empty()) return false;
  std::string fresh = old->content;
  overwrite(fresh, op.offset, bytes_of(op.seed, op.length));
  const std::string& now = it->second->content;
  if (now.size() < old->content.size() || now.size() > fresh.size()) return false;
  for (std::size_t i = 0; i < now.size(); ++i) {
    bool is_old = i < old->content.size() && now[i] == old->content[i];
    if (now[i] != fresh[i] && !is_old) return false;
  }
  return true;
}

std::string difference(std::uint64_t seed, std::uint64_t least, std::uint64_t most, const Tree& found) {
  std::string text;
  Tree tree;
  for (std::uint64_t n = 1; n <= most; ++n) {
    Operation op = next_operation(tree, seed, n);
    apply(tree, op);
    if (n + 1 < least || (n > least + 12 && n + 3 < most)) continue;
    text += "  after " + std::to_string(n) + " (" + describe(op) + "): " + compare(tree, found, nullptr) + "\n";
  }
  return text;
}

}  // namespace durability

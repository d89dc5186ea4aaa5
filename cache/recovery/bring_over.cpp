#include "cache/recovery/bring_over.h"

#include <sys/stat.h>

#include <algorithm>
#include <unordered_map>

namespace atl {
namespace {

constexpr std::size_t chunk_bytes = 128u << 10;  // what a read that fails leaves out
constexpr std::size_t page_entries = 1024;
constexpr std::uint64_t commit_every = 32u << 20;
constexpr int names_tried = 10'000;

bool is(std::uint32_t mode, std::uint32_t type) { return (mode & S_IFMT) == type; }

class Bringer {
 public:
  Bringer(Drive& from, Drive& to, const std::function<bool(const Attributes&)>& wanted, const std::function<void(const Brought&)>& progress)
      : from_(from), to_(to), wanted_(wanted), progress_(progress) {}

  Result<Brought> run(const std::string& name) {
    auto root = from_.attributes(root_inode);
    if (!root) return fail(root.error());
    name_ = name;
    Folder top{nullptr, *root, "", InodeNumber{}};
    if (auto r = walk(top, ""); !r) return fail(r.error());
    return std::move(brought_);
  }

 private:
  /// A folder of `from`, made in `to` when something below it is.
  struct Folder {
    Folder* parent = nullptr;
    Attributes attributes;
    std::string name;
    InodeNumber made;  // 0: not yet
  };
  struct Child {
    std::string name;
    InodeNumber inode;
  };

  Result<std::vector<Child>> list(InodeNumber directory) {
    std::vector<Child> all;
    std::uint64_t cookie = 2;
    for (;;) {
      std::size_t count = 0;
      auto listed = from_.list_directory(directory, cookie, false, [&](const DirectoryEntry& entry) {
        if (count == page_entries) return false;
        all.push_back({std::string(entry.name), entry.inode});
        cookie = entry.cookie;
        ++count;
        return true;
      });
      if (!listed) return fail(listed.error());
      if (count < page_entries) return all;
    }
  }

  static Caller owner(const Attributes& attributes) { return {attributes.uid, attributes.gid, 0}; }

  Result<InodeNumber> make_top() {
    const Caller caller = owner(*from_.attributes(root_inode));
    for (int i = 1; i <= names_tried; ++i) {
      const std::string name = i == 1 ? name_ : name_ + " (" + std::to_string(i) + ")";
      auto made = to_.make_directory(root_inode, name, 0700, caller);
      if (!made && made.error().code == Code::exists) continue;
      if (!made) return fail(made.error());
      brought_.folder = name;
      return made->inode;
    }
    return fail(Code::exists, "there are too many folders called " + name_);
  }

  Result<InodeNumber> ensure(Folder& folder) {
    if (folder.made.value != 0) return folder.made;
    if (folder.parent == nullptr) {
      auto top = make_top();
      if (!top) return fail(top.error());
      folder.made = *top;
      return folder.made;
    }
    auto parent = ensure(*folder.parent);
    if (!parent) return fail(parent.error());
    auto made = to_.make_directory(*parent, folder.name, folder.attributes.mode & 07777, owner(folder.attributes));
    if (!made) return fail(made.error());
    folder.made = made->inode;
    return folder.made;
  }

  Result<> walk(Folder& folder, const std::string& path) {
    auto children = list(folder.attributes.inode);
    if (!children) return fail(children.error());
    for (const Child& child : *children) {
      auto attributes = from_.attributes(child.inode);
      if (!attributes) return fail(attributes.error());
      const std::string below = path + "/" + child.name;
      if (is(attributes->mode, S_IFDIR)) {
        Folder inner{&folder, *attributes, child.name, InodeNumber{}};
        if (wanted_(*attributes)) {
          if (auto made = ensure(inner); !made) return fail(made.error());
          ++brought_.files;
        }
        if (auto r = walk(inner, below); !r) return r;
        if (inner.made.value != 0)
          if (auto r = settle(inner.made, *attributes, below); !r) return r;
      } else if (wanted_(*attributes)) {
        auto parent = ensure(folder);
        if (!parent) return fail(parent.error());
        if (auto r = bring(*parent, child.name, *attributes, below); !r) return r;
      }
    }
    return {};
  }

  Result<> bring(InodeNumber parent, const std::string& name, const Attributes& attributes, const std::string& path) {
    if (const auto known = links_.find(attributes.inode); known != links_.end()) {
      auto linked = to_.link(known->second, parent, name);
      return linked ? Result<>() : fail(linked.error());
    }
    Result<Attributes> made = fail(Code::failed);
    if (is(attributes.mode, S_IFLNK)) {
      auto target = from_.read_symlink(attributes.inode);
      if (!target) return fail(target.error());
      made = to_.make_symlink(parent, name, *target, owner(attributes));
    } else {
      made = to_.make_node(parent, name, attributes.mode, attributes.device, owner(attributes));
    }
    if (!made) return fail(made.error());
    if (attributes.links > 1) links_[attributes.inode] = made->inode;
    ++brought_.files;
    if (is(attributes.mode, S_IFREG))
      if (auto r = bring_content(made->inode, attributes, path); !r) return r;
    if (auto r = settle(made->inode, attributes, path); !r) return r;
    if (progress_) progress_(brought_);
    return {};
  }

  Result<> bring_content(InodeNumber made, const Attributes& attributes, const std::string& path) {
    Bytes chunk(chunk_bytes);
    bool whole = true;
    for (std::uint64_t at = 0; at < attributes.size;) {
      const auto data = from_.seek(attributes.inode, at, SeekWhat::data);
      if (!data && data.error().code != Code::not_found) return fail(data.error());
      if (!data) break;  // only a hole is left
      at = *data;
      const auto hole = from_.seek(attributes.inode, at, SeekWhat::hole);
      const std::uint64_t end = hole ? std::min(*hole, attributes.size) : attributes.size;
      while (at < end) {
        const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(chunk_bytes - at % chunk_bytes, end - at));
        auto got = from_.read(attributes.inode, at, MutableBytes(chunk).first(want), false, {});
        if (got && *got == want) {
          if (auto written = to_.write(made, at, ByteView(chunk).first(want), {}); !written) return written;
          brought_.bytes += want;
          uncommitted_ += want;
          if (uncommitted_ >= commit_every) {
            if (auto r = to_.commit(); !r) return r;
            uncommitted_ = 0;
          }
        } else {
          whole = false;
        }
        at += want;
      }
    }
    if (!whole) brought_.partly.push_back(path);
    AttributeChange size;
    size.size = attributes.size;
    auto changed = to_.change_attributes(made, size);
    return changed ? Result<>() : fail(changed.error());
  }

  /// Everything but the content, times last.
  Result<> settle(InodeNumber made, const Attributes& attributes, const std::string& path) {
    auto names = from_.list_xattrs(attributes.inode);
    for (const std::string& name : names ? *names : std::vector<std::string>()) {
      auto value = from_.get_xattr(attributes.inode, name);
      if (!value) {
        brought_.partly.push_back(path);
        continue;
      }
      if (auto set = to_.set_xattr(made, name, *value, SetXattrMode::create_or_replace); !set) return set;
    }
    AttributeChange change;
    if (!is(attributes.mode, S_IFLNK)) change.mode = attributes.mode & 07777;
    change.uid = attributes.uid;
    change.gid = attributes.gid;
    auto changed = to_.change_attributes(made, change);
    if (!changed) return fail(changed.error());
    AttributeChange times;
    times.atime = attributes.atime;
    times.mtime = attributes.mtime;
    changed = to_.change_attributes(made, times);
    return changed ? Result<>() : fail(changed.error());
  }

  Drive& from_;
  Drive& to_;
  const std::function<bool(const Attributes&)>& wanted_;
  const std::function<void(const Brought&)>& progress_;
  std::string name_;
  Brought brought_;
  std::unordered_map<InodeNumber, InodeNumber> links_;
  std::uint64_t uncommitted_ = 0;
};

}  // namespace

Result<Brought> bring_over(Drive& from, Drive& to, const std::string& name, const std::function<bool(const Attributes&)>& wanted,
                           const std::function<void(const Brought&)>& progress) {
  return Bringer(from, to, wanted, progress).run(name);
}

std::function<bool(const Attributes&)> beyond_parting(std::optional<Changes> changes, Drive& to) {
  return [changes = std::move(changes), &to](const Attributes& attributes) {
    if (changes) return changes->changed.contains(attributes.inode);
    const auto known = to.attributes(attributes.inode);
    return !known || known->ctime != attributes.ctime || known->size != attributes.size || known->mode != attributes.mode;
  };
}

}  // namespace atl

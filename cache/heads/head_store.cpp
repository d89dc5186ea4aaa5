#include "cache/heads/head_store.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace atl {
namespace {

constexpr std::uint64_t file_bytes_max = 2 * MetaSealer::plain_bytes_max;

std::string file_name(const MetaName& name) {
  std::array<char, 48> text{};
  if (name.kind == MetaKind::head) {
    std::snprintf(text.data(), text.size(), "head-%08x-%016llx", name.epoch, static_cast<unsigned long long>(name.generation));
    return text.data();
  }
  if (name.kind == MetaKind::claim) {
    std::snprintf(text.data(), text.size(), "claim-%08x", name.epoch);
    return text.data();
  }
  return (name.kind == MetaKind::journal ? "journal-" : "checkpoint-") + name.id.hex();
}

std::optional<MetaName> parse(std::string_view text) {
  const auto number = [](std::string_view digits, auto& value) {
    const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    return result.ec == std::errc() && result.ptr == digits.data() + digits.size();
  };
  MetaName name;
  if (text.starts_with("head-") && text.size() == 5 + 8 + 1 + 16) {
    if (!number(text.substr(5, 8), name.epoch) || !number(text.substr(14), name.generation)) return std::nullopt;
    return name;
  }
  if (text.starts_with("claim-") && text.size() == 6 + 8) {
    name.kind = MetaKind::claim;
    if (!number(text.substr(6), name.epoch)) return std::nullopt;
    return name;
  }
  const bool journal = text.starts_with("journal-");
  if (!journal && !text.starts_with("checkpoint-")) return std::nullopt;
  auto id = PartId::from_hex(text.substr(text.find('-') + 1));
  if (!id) return std::nullopt;
  return MetaName::part(journal ? MetaKind::journal : MetaKind::checkpoint, *id);
}

}  // namespace

Result<std::unique_ptr<HeadStore>> HeadStore::open(Disk& disk, std::string directory) {
  if (auto made = disk.make_directory(directory); !made) return fail(made.error());
  if (auto synced = disk.sync_directory(directory.substr(0, directory.rfind('/'))); !synced) return fail(synced.error());
  auto names = disk.list(directory);
  if (!names) return fail(names.error());
  std::unique_ptr<HeadStore> store(new HeadStore(disk, std::move(directory)));
  for (const std::string& text : *names) {
    const auto name = parse(text);
    if (!name) continue;
    auto file = disk.open(store->path(*name), OpenMode::read);
    if (!file) return fail(file.error());
    auto size = (*file)->size();
    if (!size) return fail(size.error());
    store->known_[*name] = *size == 0;
  }
  return store;
}

std::string HeadStore::path(const MetaName& name) const { return directory_ + "/" + file_name(name); }

Result<> HeadStore::save(const MetaName& name, ByteView object) {
  if (auto saved = replace_file(disk_, path(name), object); !saved) return saved;
  std::lock_guard lock(mutex_);
  known_[name] = false;
  return {};
}

Result<std::shared_ptr<const Bytes>> HeadStore::load(const MetaName& name) {
  {
    std::lock_guard lock(mutex_);
    const auto found = known_.find(name);
    if (found == known_.end() || found->second) return fail(Code::not_found, file_name(name) + " is not kept here");
    if (last_ && last_name_ == name) return last_;
  }
  auto bytes = read_file(disk_, path(name), file_bytes_max);
  if (!bytes) return fail(bytes.error());
  std::lock_guard lock(mutex_);
  last_name_ = name;
  last_ = std::make_shared<const Bytes>(std::move(*bytes));
  return last_;
}

std::vector<MetaName> HeadStore::held() const {
  std::lock_guard lock(mutex_);
  std::vector<MetaName> names;
  for (const auto& [name, retired] : known_)
    if (!retired) names.push_back(name);
  return names;
}

std::vector<MetaName> HeadStore::retired() const {
  std::lock_guard lock(mutex_);
  std::vector<MetaName> names;
  for (const auto& [name, retired] : known_)
    if (retired) names.push_back(name);
  return names;
}

Result<> HeadStore::retire(const MetaName& name) {
  if (auto emptied = replace_file(disk_, path(name), {}); !emptied) return emptied;
  std::lock_guard lock(mutex_);
  known_[name] = true;
  return {};
}

Result<> HeadStore::forget(const MetaName& name) {
  if (auto removed = disk_.remove(path(name)); !removed) return removed;
  std::lock_guard lock(mutex_);
  known_.erase(name);
  return {};
}

Result<std::uint32_t> claimed_epoch(Disk& disk, const std::string& directory) {
  std::uint32_t epoch = 1;
  auto there = disk.exists(directory);
  if (!there) return fail(there.error());
  if (!*there) return epoch;
  auto names = disk.list(directory);
  if (!names) return fail(names.error());
  for (const std::string& text : *names)
    if (const auto name = parse(text); name && name->kind == MetaKind::claim) epoch = std::max(epoch, name->epoch);
  return epoch;
}

Result<std::optional<Head>> newest_head(HeadStore& store, const MetaSealer& sealer, const Keyring& keyring) {
  std::optional<MetaName> newest;
  for (const MetaName& name : store.held())
    if (name.kind == MetaKind::head) newest = name;  // in order
  if (!newest) return std::nullopt;
  auto object = store.load(*newest);
  if (!object) return fail(object.error());
  auto plain = sealer.open(*newest, **object);
  if (!plain) return fail(plain.error());
  auto head = decode_head(*plain, keyring);
  if (!head) return fail(head.error());
  return std::optional<Head>(std::move(*head));
}

}  // namespace atl

// A node daemon's store on a disk in memory, with two accounts. Not thread-safe.
#pragma once

#include <catch2/catch.hpp>

#include <memory>
#include <string>

#include "engine/daemon/store/object_file.h"
#include "engine/daemon/store/object_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/memory_disk.h"

namespace atl::store_test {

inline const std::string folder = "/data";

inline AccountId account_number(std::uint8_t number) {
  AccountId id;
  id.bytes[0] = number;
  return id;
}
inline const AccountId ann = account_number(1);
inline const AccountId bob = account_number(2);

inline std::string text_of(std::size_t size, unsigned salt) {
  std::string text(size, '\0');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 131 + (i >> 8) + salt * 7);
  return text;
}

struct Daemon {
  std::shared_ptr<MemoryDisk> disk;
  ManualClock clock;
  StoreOptions options;
  std::unique_ptr<ObjectStore> store;

  explicit Daemon(std::shared_ptr<MemoryDisk> disk_ = std::make_shared<MemoryDisk>(), std::uint64_t fold_at = 0)
      : disk(std::move(disk_)) {
    options.capacity_bytes = 1 << 30;
    options.trash_for = std::chrono::seconds(100);
    options.fold_at = fold_at;
  }
  Result<> open() {
    store.reset();
    auto opened = ObjectStore::open(disk, folder, options, clock);
    if (!opened) return fail(opened.error());
    store = std::move(*opened);
    return {};
  }
  void begin(std::uint64_t quota = 1 << 28) {
    REQUIRE(open());
    for (const AccountId& id : {ann, bob}) {
      Account account;
      account.id = id;
      account.quota_bytes = quota;
      REQUIRE(store->put_account(account));
    }
  }
  Result<> put(const AccountId& id, const std::string& name, const std::string& text) {
    auto upload = store->put(id, name, text.size(), content_hash(as_bytes(text)));
    if (!upload) return fail(upload.error());
    for (std::size_t at = 0; at < text.size(); at += 5000) {
      if (auto done = (*upload)->write(as_bytes(text).subspan(at, std::min<std::size_t>(5000, text.size() - at))); !done)
        return done;
    }
    return (*upload)->finish();
  }
  Result<std::string> get(const AccountId& id, const std::string& name, std::uint64_t offset = 0,
                          std::size_t length = 1 << 20) {
    auto reader = store->get(id, name);
    if (!reader) return fail(reader.error());
    Bytes out(length);
    auto count = (*reader)->read(offset, out);
    if (!count) return fail(count.error());
    out.resize(*count);
    return std::string(as_text(out));
  }
  Code error_of(const AccountId& id, const std::string& name) {
    auto found = get(id, name);
    REQUIRE_FALSE(found);
    return found.error().code;
  }
  void pass(int seconds) {
    clock.advance(std::chrono::seconds(seconds));
    REQUIRE(store->maintain());
  }
  AccountUsage usage(const AccountId& id) { return store->account_usage(id).value(); }
  std::size_t object_files() {
    std::size_t count = 0;
    for (const auto& [path, content] : disk->snapshot()) count += path.starts_with(folder + "/objects/") ? 1 : 0;
    return count;
  }
};

}  // namespace atl::store_test

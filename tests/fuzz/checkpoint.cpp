// A checkpoint's file: hostile bytes, and a sound one whose bytes were changed: the first two bytes say where, the rest what
// is written there. What is not whole leaves the index empty.
#include "cache/drive/checkpoint.h"
#include "cache/index/index_store.h"
#include "tests/fuzz/target.h"
#include "tests/support/memory_disk.h"

namespace {

constexpr const char* file = "/c/00000000000000000007.ckpt";

struct Sound {
  atl::VolumeId volume;
  atl::SecretKey key;
  atl::Bytes content;
  Sound() {
    atl::MemoryDisk disk;
    atl::demand(bool(disk.make_directory("/i")));
    auto index = std::move(*atl::IndexStore::create(disk, "/i/index.db"));
    atl::IndexChanges changes;
    changes.upto = atl::Lsn(7);
    changes.garbage.emplace_back(atl::AttemptId(), atl::GarbageRow());
    changes.volume = atl::VolumeRow();
    atl::demand(bool(index->apply({changes})));
    atl::demand(bool(atl::write_checkpoint(disk, "/c", *index, volume, key)));
    content = disk.content(file);
  }
};

void load(const Sound& sound, const atl::Bytes& content) {
  atl::MemoryDisk disk;
  atl::demand(bool(disk.make_directory("/c")));
  auto made = disk.open(file, atl::OpenMode::create);
  atl::demand(made && (*made)->write(0, content));
  // One index for all: whatever is not taken leaves it empty.
  static atl::MemoryDisk index_disk;
  static const bool made_folder = bool(index_disk.make_directory("/i"));
  atl::demand(made_folder);
  static auto index = std::move(*atl::IndexStore::create(index_disk, "/i/index.db"));
  const auto lsn = atl::load_checkpoint(disk, "/c", *index, sound.volume, sound.key);
  if (content == sound.content) {
    atl::demand(lsn && *lsn == atl::Lsn(7));
    index = std::move(*atl::IndexStore::create(index_disk, "/i/index.db"));
  } else {
    atl::demand(!lsn && index->garbage().empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Sound sound;
  load(sound, atl::Bytes(data, data + size));
  atl::Bytes changed = sound.content;
  if (size >= 2) {
    const std::size_t at = (data[0] * std::size_t{256} + data[1]) % changed.size();
    changed.resize(std::max(changed.size(), at + size - 2));
    std::copy(data + 2, data + size, changed.begin() + static_cast<std::ptrdiff_t>(at));
  }
  load(sound, changed);
  return 0;
}

// Checkpoints: all rows of the index as of one LSN, in canonical order, in one compressed file, so that the journal
// before it can be dropped and a lost index can be rebuilt. FORMAT.md, "Checkpoint".
//
// A file is whole or refused: its last bytes are a keyed hash over its blocks and its header.
#pragma once

#include <string>

#include "cache/index/index_store.h"
#include "cache/keys/keyring.h"
#include "engine/base/disk.h"
#include "engine/base/result.h"

namespace atl {

struct WrittenCheckpoint {
  Lsn lsn;  // it stands for
  std::uint64_t bytes = 0;
};

/// Writes DIRECTORY/<lsn>.ckpt from the index, durably, and removes older ones.
Result<WrittenCheckpoint> write_checkpoint(Disk& disk, const std::string& directory, IndexStore& index, const VolumeId& volume, const SecretKey& key);

/// Fills a new index from the newest whole checkpoint. Returns its LSN, 0 if there is none (the index stays empty).
/// Code::corrupt if there are checkpoints and none is whole, newer_format, key.
Result<Lsn> load_checkpoint(Disk& disk, const std::string& directory, IndexStore& index, const VolumeId& volume, const SecretKey& key);

}  // namespace atl

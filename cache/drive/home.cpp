#include "cache/drive/home.h"

#include <sodium.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "cache/keys/sealed_secret.h"

namespace atl {

namespace {

using Json = nlohmann::json;

// FORMAT.md, "State folder".
constexpr std::uint32_t format_number = 1;
constexpr std::uint64_t volume_file_bytes_max = 16u << 20;  // a keyring of all epochs, three times over
constexpr std::string_view restore_hint = "restore it from a copy, or use the recovery kit";

std::string volume_path(const std::string& directory) {
  return directory + "/volume";
}
std::string local_key_path(const std::string& directory) {
  return directory + "/local.key";
}

std::string to_base64(ByteView bytes) {
  std::string text(sodium_base64_ENCODED_LEN(bytes.size(), sodium_base64_VARIANT_ORIGINAL), '\0');
  sodium_bin2base64(text.data(), text.size(), bytes.data(), bytes.size(), sodium_base64_VARIANT_ORIGINAL);
  text.pop_back();  // the terminating zero
  return text;
}

std::optional<Bytes> from_base64(const std::string& text) {
  Bytes bytes(text.size() / 4 * 3 + 3);
  std::size_t count = 0;
  if (sodium_base642bin(bytes.data(), bytes.size(), text.data(), text.size(), nullptr, &count, nullptr,
                        sodium_base64_VARIANT_ORIGINAL) != 0)
    return std::nullopt;
  bytes.resize(count);
  return bytes;
}

/// What the volume file says.
struct VolumeFile {
  HomeInfo info;
  Bytes by_recovery_key;
  Bytes kept_recovery_key;  // sealed under the keyring; empty if an older version wrote the file
  Bytes by_local_key;  // or:
  Bytes by_passphrase;
  PassphraseParameters passphrase;
};

std::string serialize(const VolumeFile& file) {
  Json keyring{{"recovery_key", to_base64(file.by_recovery_key)}};
  if (!file.kept_recovery_key.empty()) keyring["kept_recovery_key"] = to_base64(file.kept_recovery_key);
  if (file.info.passphrase) {
    keyring["passphrase"] = {{"function", "argon2id13"},
                             {"salt", to_hex(file.passphrase.salt)},
                             {"operations", file.passphrase.operations},
                             {"memory_bytes", file.passphrase.memory_bytes},
                             {"wrapped", to_base64(file.by_passphrase)}};
  } else {
    keyring["local_key"] = to_base64(file.by_local_key);
  }
  return Json{{"format", file.info.format}, {"volume", file.info.volume.hex()}, {"keyring", keyring}}.dump(2) + "\n";
}

Result<VolumeFile> parse(ByteView content, const std::string& path) {
  const auto damaged = [&](const std::string& how) {
    return fail(Code::corrupt, "the volume file " + path + " is damaged: " + how, std::string(restore_hint));
  };
  const Json json = Json::parse(content.begin(), content.end(), nullptr, false);
  if (!json.is_object()) return damaged("it is not a JSON object");
  const auto format = json.find("format");
  if (format == json.end() || !format->is_number_unsigned() || *format == 0) return damaged("its format is missing");
  if (*format > format_number)
    return fail(Code::newer_format,
                "the volume file " + path + " has format " + format->dump() + "; this version reads up to " +
                    std::to_string(format_number),
                "use a newer version of atoll");
  const auto text = [](const Json& object, const char* name) {
    const auto found = object.is_object() ? object.find(name) : object.end();
    return object.is_object() && found != object.end() && found->is_string() ? found->get<std::string>()
                                                                             : std::string();
  };
  const auto blob = [&](const Json& object, const char* name) {
    return from_base64(text(object, name)).value_or(Bytes());
  };
  const auto number = [](const Json& object, const char* name) {
    const auto found = object.find(name);
    return found != object.end() && found->is_number_unsigned() ? found->get<std::uint64_t>() : std::uint64_t{0};
  };

  VolumeFile file;
  file.info.format = format_number;
  const auto volume = VolumeId::from_hex(text(json, "volume"));
  if (!volume) return damaged("its volume id is missing or malformed");
  file.info.volume = *volume;
  const auto keyring = json.find("keyring");
  if (keyring == json.end() || !keyring->is_object()) return damaged("its keyring is missing");
  file.by_recovery_key = blob(*keyring, "recovery_key");
  if (file.by_recovery_key.empty()) return damaged("its keyring under the recovery key is missing or malformed");
  file.kept_recovery_key = blob(*keyring, "kept_recovery_key");
  if (const auto passphrase = keyring->find("passphrase"); passphrase != keyring->end()) {
    if (!passphrase->is_object()) return damaged("its passphrase parameters are malformed");
    file.info.passphrase = true;
    const std::string function = text(*passphrase, "function");
    if (function != "argon2id13")
      return damaged("it names an unknown passphrase function '" + function.substr(0, 32) + "'");
    const auto salt = from_hex(text(*passphrase, "salt"));
    if (!salt || salt->size() != file.passphrase.salt.size()) return damaged("its salt is missing or malformed");
    std::ranges::copy(*salt, file.passphrase.salt.begin());
    file.passphrase.operations = number(*passphrase, "operations");
    file.passphrase.memory_bytes = number(*passphrase, "memory_bytes");
    file.by_passphrase = blob(*passphrase, "wrapped");
    if (file.by_passphrase.empty()) return damaged("its keyring under the passphrase is missing or malformed");
  } else {
    file.by_local_key = blob(*keyring, "local_key");
    if (file.by_local_key.empty()) return damaged("its keyring under the local key is missing or malformed");
  }
  return file;
}

Result<VolumeFile> load(Disk& disk, const std::string& directory) {
  const std::string path = volume_path(directory);
  const auto content = read_file(disk, path, volume_file_bytes_max);
  if (!content && content.error().code == Code::not_found)
    return fail(Code::not_found, "there is no drive in " + directory, "make one with `atoll init`");
  if (!content && content.error().code == Code::too_large)
    return fail(Code::corrupt, "the volume file " + path + " is damaged: it is far too long",
                std::string(restore_hint));
  if (!content) return fail(content.error());
  return parse(*content, path);
}

/// A keyring of this volume, not one that somebody put in its place.
Result<Keyring> unwrap_for(const VolumeFile& file, ByteView wrapped, const SecretKey& key) {
  auto keyring = Keyring::unwrap(wrapped, key);
  if (keyring && keyring->volume() != file.info.volume)
    return fail(Code::corrupt, "the volume file holds the keyring of another drive", std::string(restore_hint));
  return keyring;
}

Result<SecretKey> read_local_key(Disk& disk, const std::string& directory) {
  const std::string path = local_key_path(directory);
  auto bytes = read_file(disk, path, SecretKey::size);
  if (!bytes && bytes.error().code != Code::not_found && bytes.error().code != Code::too_large)
    return fail(bytes.error());
  if (!bytes && bytes.error().code == Code::not_found)
    return fail(Code::key, "the drive's local key " + path + " is missing", std::string(restore_hint));
  if (!bytes || bytes->size() != SecretKey::size)
    return fail(Code::key,
                "the drive's local key " + path + " does not have " + std::to_string(SecretKey::size) + " bytes",
                std::string(restore_hint));
  SecretKey key = SecretKey::from(*bytes);
  sodium_memzero(bytes->data(), bytes->size());
  return key;
}

}  // namespace

Result<SecretKey> read_recovery_key(Disk& disk, const std::string& directory, const Keyring& keyring) {
  const auto file = load(disk, directory);
  if (!file) return fail(file.error());
  const Bytes& kept = file->kept_recovery_key;
  if (kept.empty())
    return fail(Code::not_found, "this drive was made by an older version, which did not keep its recovery key",
                "make a new one: atoll key rotate --new-recovery-key");
  auto recovery = open_secret(kept, recovery_key_secret, keyring);
  if (!recovery && recovery.error().code == Code::corrupt)
    return fail(Code::corrupt, "the recovery key in the volume file " + volume_path(directory) + " is damaged: " + recovery.error().what,
                "make a new one: atoll key rotate --new-recovery-key");
  return recovery;
}

Result<> create_home(Disk& disk, const std::string& directory, const Keyring& keyring, const SecretKey& recovery,
                     std::optional<std::string_view> passphrase, Random& random) {
  // The volume file is written last: with it, and not before, the folder holds a drive.
  for (const std::string& path : {volume_path(directory), local_key_path(directory)}) {
    const auto there = disk.exists(path);
    if (!there) return fail(there.error());
    if (*there)
      return fail(Code::exists, "there is a drive, or a part of one, in " + directory + ": " + path,
                  "choose another name, or move what is there away");
  }
  VolumeFile file;
  file.info = {format_number, keyring.volume(), passphrase.has_value()};
  file.by_recovery_key = keyring.wrap(recovery, random);
  auto kept = seal_secret(recovery, recovery_key_secret, keyring, random);
  if (!kept) return fail(kept.error());
  file.kept_recovery_key = std::move(*kept);
  if (passphrase) {
    file.passphrase = PassphraseParameters::moderate(random);
    const auto key = key_from_passphrase(*passphrase, file.passphrase);
    if (!key) return fail(key.error());
    file.by_passphrase = keyring.wrap(*key, random);
  } else {
    const SecretKey key = SecretKey::random(random);
    file.by_local_key = keyring.wrap(key, random);
    if (auto written = replace_file(disk, local_key_path(directory), key.view()); !written) {
      (void)disk.remove(local_key_path(directory));
      return written;
    }
  }
  auto written = replace_file(disk, volume_path(directory), as_bytes(serialize(file)));
  if (!written) {
    (void)disk.remove(volume_path(directory));  // there if only the directory's flush failed
    if (!passphrase) (void)disk.remove(local_key_path(directory));
  }
  return written;
}

Result<> rewrap_home(Disk& disk, const std::string& directory, const Keyring& keyring, const SecretKey* recovery,
                     std::optional<std::string_view> passphrase, Random& random) {
  auto file = load(disk, directory);
  if (!file) return fail(file.error());
  const bool had_passphrase = file->info.passphrase;
  if (recovery != nullptr) {
    file->by_recovery_key = keyring.wrap(*recovery, random);
    auto kept = seal_secret(*recovery, recovery_key_secret, keyring, random);
    if (!kept) return fail(kept.error());
    file->kept_recovery_key = std::move(*kept);
  }
  file->info.passphrase = passphrase.has_value();
  file->by_local_key.clear();
  file->by_passphrase.clear();
  if (passphrase) {
    file->passphrase = PassphraseParameters::moderate(random);
    const auto key = key_from_passphrase(*passphrase, file->passphrase);
    if (!key) return fail(key.error());
    file->by_passphrase = keyring.wrap(*key, random);
  } else if (had_passphrase) {
    // Nothing looks at it while the volume file names a passphrase, so that it may be written first.
    const SecretKey key = SecretKey::random(random);
    file->by_local_key = keyring.wrap(key, random);
    if (auto written = replace_file(disk, local_key_path(directory), key.view()); !written) return written;
  } else {
    const auto key = read_local_key(disk, directory);
    if (!key) return fail(key.error());
    file->by_local_key = keyring.wrap(*key, random);
  }
  if (auto written = replace_file(disk, volume_path(directory), as_bytes(serialize(*file))); !written) return written;
  if (!passphrase) return {};
  // It opens nothing any more but copies of the old volume file.
  if (auto removed = disk.remove(local_key_path(directory)); !removed && removed.error().code != Code::not_found) return removed;
  return disk.sync_directory(directory);
}

Result<HomeInfo> read_home(Disk& disk, const std::string& directory) {
  const auto file = load(disk, directory);
  if (!file) return fail(file.error());
  return file->info;
}

Result<Bytes> read_wrapped_keyring(Disk& disk, const std::string& directory) {
  auto file = load(disk, directory);
  if (!file) return fail(file.error());
  return std::move(file->by_recovery_key);
}

Result<Keyring> unlock_home(Disk& disk, const std::string& directory, const std::function<Result<std::string>()>& ask) {
  const auto file = load(disk, directory);
  if (!file) return fail(file.error());
  if (!file->info.passphrase) {
    const auto key = read_local_key(disk, directory);
    if (!key) return fail(key.error());
    auto keyring = unwrap_for(*file, file->by_local_key, *key);
    if (!keyring && keyring.error().code == Code::key)
      return fail(
          Code::key,
          "the drive's local key " + local_key_path(directory) + " is not the one that its keyring was wrapped with",
          std::string(restore_hint));
    return keyring;
  }
  auto passphrase = ask();
  if (!passphrase) return fail(passphrase.error());
  const auto key = key_from_passphrase(*passphrase, file->passphrase);
  sodium_memzero(passphrase->data(), passphrase->size());
  if (!key) return fail(key.error());
  auto keyring = unwrap_for(*file, file->by_passphrase, *key);
  if (!keyring && keyring.error().code == Code::key)
    return fail(Code::key, "the passphrase is wrong", "try again, or use the recovery kit");
  return keyring;
}

Result<Keyring> unlock_home_with_recovery_key(Disk& disk, const std::string& directory, const SecretKey& recovery) {
  const auto file = load(disk, directory);
  if (!file) return fail(file.error());
  auto keyring = unwrap_for(*file, file->by_recovery_key, recovery);
  if (!keyring && keyring.error().code == Code::key)
    return fail(Code::key, "the recovery key is another drive's",
                "compare the volume id on the kit: here it is " + file->info.volume.hex());
  return keyring;
}

}  // namespace atl

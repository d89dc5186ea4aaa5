#include "fs/command/delegate.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "cache/care/delegate_keeper.h"
#include "engine/base/os_error.h"
#include "fs/command/new_files.h"
#include "fs/command/running_drive.h"

namespace atl {

using nlohmann::json;

namespace {

constexpr const char* program = "atoll-delegate";

}  // namespace

Outcome<> run_delegate_export(const DelegateExportArguments& arguments) {
  auto places = find_drive(arguments.name);
  if (!places) return tl::unexpected<Failure>(places.error());
  auto client = reach_drive(*places);
  if (!client) return tl::unexpected<Failure>(client.error());
  std::error_code error;
  // Before the nodes are told of a delegate that nobody gets.
  if (std::filesystem::exists(arguments.file, error)) return give_up(Error(Code::exists, arguments.file + " is there already", "name a new file"));
  auto answer = (*client)->ask({{"do", "delegate_export"}}, answer_patience, {});
  if (!answer) return give_up(answer.error());
  Undo undo;
  if (auto written = write_secret_file(arguments.file, answer->at("file").get<std::string>(), undo); !written) return give_up(written.error());
  undo.forget();
  const auto device = answer->at("device").get<std::string>();
  if (arguments.json) {
    std::cout << json{{"schema", 1}, {"file", arguments.file}, {"device", device}}.dump() << "\n";
    return {};
  }
  std::cout << "Wrote " << arguments.file << ". Whoever has it can audit and repair this drive, and not read it:\n  atoll delegate run " << arguments.file
            << "\nTo end that: atoll node revoke " << device.substr(0, 16) << "\n";
  return {};
}

Outcome<> run_delegate_program(const std::vector<std::string>& words) {
  std::error_code error;
  // Beside this program where it lies there, as in a build; else wherever programs are.
  const std::filesystem::path own = std::filesystem::read_symlink("/proc/self/exe", error);
  std::string path = program;
  if (!error && std::filesystem::exists(own.parent_path() / program, error)) path = (own.parent_path() / program).string();
  std::vector<std::string> all = words;
  all.insert(all.begin(), program);
  std::vector<char*> pointers;
  for (std::string& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  std::cout.flush();
  ::execvp(path.c_str(), pointers.data());
  const Result<> failed = fail_errno("run", path);
  return give_up(Error(Code::not_found, failed.error().what, "it comes with atoll: is it installed?"));
}

void add_delegate_commands(CLI::App& app, std::function<Outcome<>()>& command) {
  auto* const delegate = app.add_subcommand("delegate", "Others who keep a drive healthy while its owner is away, without being able to read it");
  delegate->require_subcommand(1);

  auto exported = std::make_shared<DelegateExportArguments>();
  auto words = std::make_shared<std::vector<std::string>>();
  auto* const exporting = delegate->add_subcommand("export", "Write the file that lets somebody audit and repair a mounted drive");
  exporting->add_option("NAME FILE", *words, "the drive's name (default: default) and the new file, which is secret")->required()->expected(1, 2);
  exporting->add_flag("--json", exported->json, "as JSON");
  exporting->callback([=, &command] {
    exported->file = words->back();
    if (words->size() == 2) exported->name = words->front();
    command = [=] { return run_delegate_export(*exported); };
  });

  auto* const running = delegate->add_subcommand("run", "Be one: FILE [--once] [--json], and more: atoll delegate run --help");
  // All that follows is for the other program to understand.
  running->set_help_flag();
  running->prefix_command();
  running->callback([running, &command] {
    const std::vector<std::string> rest = running->remaining();
    command = [rest] { return run_delegate_program(rest); };
  });
}

Result<json> export_delegate(Drive& drive, const std::string& name, std::stop_token stop) {
  DelegateKeeper* const keeper = delegate_keeper(drive.care());
  if (keeper == nullptr) return fail(Code::unsupported, "this drive has no delegates");
  auto made = keeper->make_delegate(name, std::move(stop));
  if (!made) return fail(made.error());
  return json{{"file", made->file}, {"device", made->device.hex()}};
}

void add_delegates(json& status, Drive& drive) {
  json delegates = json::array();
  if (DelegateKeeper* const keeper = delegate_keeper(drive.care()); keeper != nullptr)
    for (const DelegateStatus& delegate : keeper->delegates())
      delegates.push_back({{"id", delegate.id},
                           {"device", delegate.device.hex()},
                           {"reported_at", delegate.reported_at ? json(delegate.reported_at->seconds) : json()},
                           {"shards_taken_over", delegate.taken_over},
                           {"shards_refused", delegate.refused}});
  status["delegates"] = std::move(delegates);
}

}  // namespace atl

// The reporter `lines`: one `ok TITLE` or `FAIL TITLE` a test case, below a failed one what went wrong and the command
// that repeats it. With ATOLL_TEST_LABEL, titles begin with it.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <catch2/catch.hpp>

#include <unistd.h>

#include <cstdlib>
#include <string>

namespace {

class LinesReporter : public Catch::StreamingReporterBase<LinesReporter> {
 public:
  using StreamingReporterBase::StreamingReporterBase;
  static std::string getDescription() { return "one ok or FAIL line a test case"; }

  void assertionStarting(const Catch::AssertionInfo&) override {}

  bool assertionEnded(const Catch::AssertionStats& stats) override {
    const Catch::AssertionResult& result = stats.assertionResult;
    if (result.isOk()) return true;
    std::string file = result.getSourceInfo().file;
    details_ += "    | " + file.substr(file.rfind('/') + 1) + ":" + std::to_string(result.getSourceInfo().line) + ": ";
    if (result.hasExpression()) details_ += shortened(result.getExpression());
    if (result.hasExpandedExpression()) details_ += "  with  " + shortened(result.getExpandedExpression());
    if (result.hasMessage()) details_ += shortened(result.getMessage());
    for (const Catch::MessageInfo& message : stats.infoMessages) details_ += "\n    |   " + shortened(message.message);
    details_ += '\n';
    return true;
  }

  void testCaseEnded(const Catch::TestCaseStats& stats) override {
    const char* label = std::getenv("ATOLL_TEST_LABEL");
    std::string title = (label != nullptr ? std::string(label) + ": " : "") + stats.testInfo.name;
    if (stats.totals.assertions.failed == 0) {
      stream << "ok " << title << '\n';
    } else {
      stream << "FAIL " << title << '\n' << details_;
      std::string program(4096, '\0');
      ssize_t length = readlink("/proc/self/exe", program.data(), program.size());
      program.resize(length > 0 ? static_cast<std::size_t>(length) : 0);
      stream << "    repeat: ATOLL_TEST_DIR=DIRECTORY " << program << " '" << quoted(stats.testInfo.name) << "'\n";
    }
    stream << std::flush;
    details_.clear();
  }

 private:
  static std::string shortened(std::string text) {
    for (char& c : text) {
      if (c == '\n' || static_cast<unsigned char>(c) < 32) c = ' ';
    }
    return text.size() > 300 ? text.substr(0, 300) + "..." : text;
  }
  /// Catch's patterns know commas and brackets, and the shell knows quotes: both become the wildcard at the end.
  static std::string quoted(const std::string& title) {
    std::size_t end = title.find_first_of(",[]'\\");
    return end == std::string::npos ? title : title.substr(0, end) + "*";
  }

  std::string details_;
};

}  // namespace

CATCH_REGISTER_REPORTER("lines", LinesReporter)

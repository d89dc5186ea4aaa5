// A library that is loaded when it is first needed: what only one command uses costs the others no start-up time.
#pragma once

#include <dlfcn.h>

#include <string>

#include "engine/base/result.h"

namespace atl {

/// Stays loaded until the process ends, since such libraries keep threads and handlers of their own. Thread-safe.
class SharedLibrary {
 public:
  /// Code::unsupported, naming the Debian package that has it, where it is not installed.
  static Result<SharedLibrary> open(const char* file, const char* package) {
    void* handle = ::dlopen(file, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == nullptr)
      return fail(Code::unsupported, std::string("the library ") + file + " is needed for that and not installed", std::string("apt install ") + package);
    return SharedLibrary(handle);
  }

  /// Sets `function`, whose type comes from the library's header; false if the library has none of that name.
  template <typename Function>
  bool find(const char* name, Function*& function) const {
    function = reinterpret_cast<Function*>(::dlsym(handle_, name));
    return function != nullptr;
  }

 private:
  explicit SharedLibrary(void* handle) : handle_(handle) {}
  void* handle_;
};

}  // namespace atl

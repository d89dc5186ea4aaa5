// A task with a stack of its own, which can stop in the middle and go on later. For Scheduler alone.
#pragma once

#include <sys/mman.h>
#include <ucontext.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <stdexcept>
#include <utility>

namespace atl::sim {

class Fiber {
 public:
  static constexpr std::size_t stack_bytes = 512u << 10;  // committed by the kernel as it is touched

  Fiber() {
    stack_ = ::mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack_ == MAP_FAILED) throw std::runtime_error("no memory for a fiber's stack");
    ::mprotect(stack_, 4096, PROT_NONE);
    ::getcontext(&here_);
    here_.uc_stack.ss_sp = stack_;
    here_.uc_stack.ss_size = stack_bytes;
    here_.uc_link = nullptr;
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    ::makecontext(&here_, reinterpret_cast<void (*)()>(&Fiber::enter), 2, static_cast<unsigned>(self >> 32),
                  static_cast<unsigned>(self));
  }
  ~Fiber() { ::munmap(stack_, stack_bytes); }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Only while it has no task.
  void take(std::function<void()> task) { task_ = std::move(task); }
  /// Runs it from where it stopped, until it stops again or its task has ended.
  void resume() { ::swapcontext(&outside_, &here_); }
  /// In the fiber: back to whoever resumed it.
  void stop() { ::swapcontext(&here_, &outside_); }
  bool ended() const { return !task_; }
  std::exception_ptr take_thrown() { return std::exchange(thrown_, nullptr); }

 private:
  static void enter(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<Fiber*>((static_cast<std::uintptr_t>(high) << 32) | low);
    for (;;) {
      try {
        self->task_();
      } catch (...) {
        self->thrown_ = std::current_exception();
      }
      self->task_ = nullptr;
      self->stop();
    }
  }

  void* stack_ = nullptr;
  ucontext_t here_{};
  ucontext_t outside_{};
  std::function<void()> task_;
  std::exception_ptr thrown_;
};

}  // namespace atl::sim

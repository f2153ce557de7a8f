// A stack of its own to run on. Fibers take turns on one thread of the system: each runs until it switches to another.
// AddressSanitizer is told which stack is in use. To ThreadSanitizer a fiber is a thread, and a switch does not order
// what two of them do: only release() and acquire() do.
#pragma once

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <dlfcn.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

// What takes turns is no race, and ThreadSanitizer looks away.
#define FASTGAN_IN_TURN __attribute__((no_sanitize("thread")))

namespace fastgan::on_host {

#if defined(__SANITIZE_ADDRESS__)
// libc's own. AddressSanitizer's forgets the red zones of the stack that is left, which takes longer than all the rest.
inline void jump(jmp_buf registers) {
  static const auto libc = reinterpret_cast<void (*)(jmp_buf, int)>(dlsym(dlopen("libc.so.6", RTLD_LAZY), "_longjmp"));
  libc(registers, 1);
}
#else
inline void jump(jmp_buf registers) { _longjmp(registers, 1); }
#endif

#if defined(__SANITIZE_THREAD__)
// Whoever acquires what others have released sees all that they did before.
inline void release(char* what) { __tsan_release(what); }
inline void acquire(char* what) { __tsan_acquire(what); }
#else
inline void release(char*) {}
inline void acquire(char*) {}
#endif

class Fiber {
 public:
  // Of the thread that calls, on the stack that it has.
  Fiber() {
#if defined(__SANITIZE_THREAD__)
    thread_ = __tsan_get_current_fiber();
#endif
  }

  void prepare(void (*body)()) {
    stack_bytes_ = size_t{1} << 18;  // room for a sanitizer's report; what is not touched takes no memory
    void* stack = mmap(nullptr, stack_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) abort();
    stack_ = stack;
    getcontext(&start_);
    start_.uc_stack.ss_sp = stack;
    start_.uc_stack.ss_size = stack_bytes_;
    makecontext(&start_, body, 0);
    is_new_ = true;
#if defined(__SANITIZE_THREAD__)
    thread_ = __tsan_create_fiber(0);
#endif
  }

  // Leaves this fiber, which runs, for another, and returns when another comes back to it. A context only starts a
  // fiber: to change between contexts takes a system call.
  FASTGAN_IN_TURN void switch_to(Fiber& next) {
    left() = this;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack_, next.stack_, next.stack_bytes_);
#endif
    if (_setjmp(registers_) == 0) {
#if defined(__SANITIZE_THREAD__)
      __tsan_switch_to_fiber(next.thread_, __tsan_switch_to_fiber_no_sync);
#endif
      if (!next.is_new_) jump(next.registers_);
      next.is_new_ = false;
      setcontext(&next.start_);
    }
    arrive();
  }

  // What a body calls first. AddressSanitizer knows which stack was left: the launching thread's is news.
  FASTGAN_IN_TURN void arrive() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack_, &left()->stack_, &left()->stack_bytes_);
#endif
  }

 private:
  FASTGAN_IN_TURN static Fiber*& left() {
    static Fiber* fiber = nullptr;
    return fiber;
  }

  bool is_new_ = false;
  ucontext_t start_;
  jmp_buf registers_;
  const void* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  [[maybe_unused]] void* fake_stack_ = nullptr;  // AddressSanitizer's
  [[maybe_unused]] void* thread_ = nullptr;      // ThreadSanitizer's
};

}  // namespace fastgan::on_host

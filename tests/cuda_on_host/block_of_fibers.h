// The CUDA threads of a block as fibers: each has a stack of its own, and they take turns on the thread that
// launches. One runs until it waits at a barrier; who arrives there last lets the others go on. If nobody can go on,
// or a barrier's threads came to it from different lines, the program ends and says where each of them stands.
#pragma once

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#else
inline void __sanitizer_start_switch_fiber(void**, const void*, size_t) {}
inline void __sanitizer_finish_switch_fiber(void*, const void**, size_t*) {}
#endif

inline Dim3 threadIdx, blockIdx;

namespace fastgan::on_host {

class Fiber {
 public:
  // Of the thread that calls, on the stack that it has.
  Fiber() = default;

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
  }

  // Leaves this fiber, which runs, for another, and returns when another comes back to it. A context only starts a
  // fiber: to change between contexts takes a system call.
  void switch_to(Fiber& next) {
    left() = this;
    __sanitizer_start_switch_fiber(&fake_stack_, next.stack_, next.stack_bytes_);
    if (_setjmp(registers_) == 0) {
      if (!next.is_new_) _longjmp(next.registers_, 1);
      next.is_new_ = false;
      setcontext(&next.start_);
    }
    arrive();
  }

  // What a body calls first. AddressSanitizer knows which stack was left: the launching thread's is news.
  void arrive() { __sanitizer_finish_switch_fiber(fake_stack_, &left()->stack_, &left()->stack_bytes_); }

 private:
  static Fiber*& left() {
    static Fiber* fiber = nullptr;
    return fiber;
  }

  bool is_new_ = false;
  ucontext_t start_;
  jmp_buf registers_;
  const void* stack_ = nullptr;
  size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
};

class Block {
 public:
  static Block& get() {
    static Block* block = new Block;  // never destroyed: a kernel may run until the process ends
    return *block;
  }

  void run(unsigned blocks, size_t shared_bytes, const std::function<void()>& kernel) {
    const std::lock_guard<std::mutex> one_launch(launching_);
    const std::unique_ptr<unsigned char[]> shared(new unsigned char[shared_bytes]);
    dynamic_shared = shared.get();
    kernel_ = &kernel;
    gridDim.x = blocks;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) {
      for (Thread& thread : threads_) thread.state = State::ready;
      threadIdx.x = 0;
      launcher_.switch_to(threads_[0].fiber);  // until all have left
    }
  }

  void wait_for_block(Place place) { wait(0, kThreads, block_arrived_, place); }

  void wait_for_warp(Place place) {
    const unsigned warp = threadIdx.x / 32;
    wait(32 * warp, 32, warp_arrived_[warp], place);
  }

 private:
  enum class State { ready, waiting, left };

  struct Thread {
    Fiber fiber;
    State state;
    Place place;
  };

  Block() {
    for (Thread& thread : threads_) thread.fiber.prepare(run_threads);
  }

  static void run_threads() {
    Block& block = get();
    Thread& thread = block.threads_[threadIdx.x];
    thread.fiber.arrive();
    while (true) {
      (*block.kernel_)();
      thread.state = State::left;
      block.run_next();
    }
  }

  // Until all of `count` threads from the first one on have come here.
  void wait(unsigned first, unsigned count, unsigned& arrived, Place place) {
    Thread& thread = threads_[threadIdx.x];
    thread.place = place;
    thread.state = State::waiting;
    if (++arrived < count) return run_next();
    arrived = 0;
    for (unsigned each = first; each < first + count; ++each)
      if (threads_[each].place != place) stop("threads wait for each other in different places");
    for (unsigned each = first; each < first + count; ++each) threads_[each].state = State::ready;
  }

  // Leaves the current thread for the next that can run.
  void run_next() {
    Fiber& current = threads_[threadIdx.x].fiber;
    bool have_left = true;
    for (unsigned each = 0; each < kThreads; ++each) {
      threadIdx.x = (threadIdx.x + 1) % kThreads;
      if (threads_[threadIdx.x].state == State::ready) return current.switch_to(threads_[threadIdx.x].fiber);
      have_left = have_left && threads_[threadIdx.x].state == State::left;
    }
    if (!have_left) stop("threads wait for others that never come");
    current.switch_to(launcher_);
  }

  [[noreturn]] void stop(const char* why) const {
    fprintf(stderr, "CUDA on the host: %s, in block %u of %u:\n", why, blockIdx.x, gridDim.x);
    for (unsigned each = 0; each < kThreads; ++each) {
      const Thread &thread = threads_[each], &before = threads_[each == 0 ? 0 : each - 1];
      const bool is_waiting = thread.state == State::waiting;
      if (each > 0 && thread.state == before.state && !(is_waiting && thread.place != before.place)) continue;
      fprintf(stderr, "  from thread %u on: ", each);
      if (is_waiting)
        fprintf(stderr, "at %s:%d\n", thread.place.file, thread.place.line);
      else
        fprintf(stderr, thread.state == State::left ? "left the kernel\n" : "runs\n");
    }
    abort();
  }

  std::mutex launching_;
  const std::function<void()>* kernel_ = nullptr;
  Fiber launcher_;
  Thread threads_[kThreads];
  unsigned block_arrived_ = 0, warp_arrived_[kThreads / 32] = {};
};

}  // namespace fastgan::on_host

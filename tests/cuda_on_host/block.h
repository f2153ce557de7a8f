// The CUDA threads of a block as fibers, which take turns on the thread that launches. One runs until it waits at a
// barrier; who arrives there last lets the others go on. If nobody can go on, or a barrier's threads came to it from
// different lines, the program ends and says where each of them stands.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>

#include "fiber.h"

inline Dim3 threadIdx, blockIdx;

namespace fastgan::on_host {

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
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x) run_block();
  }

  FASTGAN_IN_TURN void wait_for_block(Place place) { wait(0, kThreads, block_, place); }

  FASTGAN_IN_TURN void wait_for_warp(Place place) {
    const unsigned warp = threadIdx.x / 32;
    wait(32 * warp, 32, warps_[warp], place);
  }

 private:
  enum class State { ready, waiting, left };

  struct Thread {
    Fiber fiber;
    State state;
    Place place;
  };

  // Two marks in turn: a thread that is ahead at the next barrier must not order what another does before it.
  struct Barrier {
    unsigned arrived = 0, turn = 0;
    char marks[2] = {};
  };

  Block() {
    for (Thread& thread : threads_) thread.fiber.prepare(run_threads);
  }

  FASTGAN_IN_TURN void run_block() {
    release(&began_);
    for (Thread& thread : threads_) thread.state = State::ready;
    threadIdx.x = 0;
    launcher_.switch_to(threads_[0].fiber);  // until all have left
    acquire(&ended_);
  }

  FASTGAN_IN_TURN static void run_threads() {
    Block& block = get();
    Thread& thread = block.threads_[threadIdx.x];
    thread.fiber.arrive();
    while (true) {
      acquire(&block.began_);
      (*block.kernel_)();
      release(&block.ended_);
      thread.state = State::left;
      block.run_next();
    }
  }

  // Until all of `count` threads from the first one on have come here.
  FASTGAN_IN_TURN void wait(unsigned first, unsigned count, Barrier& barrier, Place place) {
    char* const mark = &barrier.marks[barrier.turn % 2];
    release(mark);
    Thread& thread = threads_[threadIdx.x];
    thread.place = place;
    thread.state = State::waiting;
    if (++barrier.arrived < count) {
      run_next();
    } else {
      barrier.arrived = 0;
      ++barrier.turn;
      for (unsigned each = first; each < first + count; ++each)
        if (threads_[each].place != place) stop("threads wait for each other in different places");
      for (unsigned each = first; each < first + count; ++each) threads_[each].state = State::ready;
    }
    acquire(mark);
  }

  // Leaves the current thread for the next that can run.
  FASTGAN_IN_TURN void run_next() {
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
  Barrier block_, warps_[kThreads / 32];
  char began_ = 0, ended_ = 0;
};

}  // namespace fastgan::on_host

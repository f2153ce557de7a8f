// The CUDA threads of a block as threads of the system, for ThreadSanitizer: it sees which of them wait for which.
#pragma once

#include <pthread.h>

#include <functional>
#include <memory>
#include <thread>

inline thread_local Dim3 threadIdx, blockIdx;

namespace fastgan::on_host {

class Barrier {
 public:
  explicit Barrier(unsigned threads) { pthread_barrier_init(&barrier_, nullptr, threads); }
  void wait() { pthread_barrier_wait(&barrier_); }

 private:
  pthread_barrier_t barrier_;
};

// Threads that live as long as the process and run one block after another. Whoever launches waits.
class Block {
 public:
  static Block& get() {
    static Block* block = new Block;  // never destroyed: its threads run to the end
    return *block;
  }

  void run(unsigned blocks, size_t shared_bytes, const std::function<void()>& kernel) {
    pthread_mutex_lock(&one_launch_);
    const std::unique_ptr<unsigned char[]> shared(new unsigned char[shared_bytes]);
    dynamic_shared = shared.get();
    kernel_ = &kernel;
    gridDim.x = blocks;
    for (index_ = 0; index_ < blocks; ++index_) {
      start_.wait();
      end_.wait();
    }
    pthread_mutex_unlock(&one_launch_);
  }

  void wait_for_block(Place) { threads_.wait(); }
  void wait_for_warp(Place) { warps_[threadIdx.x / 32].wait(); }

 private:
  Block() {
    for (unsigned thread = 0; thread < kThreads; ++thread)
      std::thread([this, thread] {
        threadIdx.x = thread;
        while (true) {
          start_.wait();
          blockIdx.x = index_;
          (*kernel_)();
          end_.wait();
        }
      }).detach();
  }

  Barrier threads_{kThreads};
  Barrier warps_[kThreads / 32] = {Barrier(32), Barrier(32)};
  Barrier start_{kThreads + 1}, end_{kThreads + 1};
  pthread_mutex_t one_launch_ = PTHREAD_MUTEX_INITIALIZER;
  const std::function<void()>* kernel_ = nullptr;
  unsigned index_ = 0;
};

}  // namespace fastgan::on_host

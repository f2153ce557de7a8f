// Zeros in which the blocks of a launch count each other (reduce.cuh). They lie in the module's own memory: zeros that
// PyTorch allocates during a capture lie in the graph's memory, where torch.compile accepts no tensor that outlives the
// call. A slot belongs to one stream, or to one stream of one captured graph: fastgan/kernels/counters.py decides.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

constexpr int kSlots = 256, kCountersOfSlot = 1024;

// The current device's [kSlots, kCountersOfSlot] counters, zero between launches; null where it has no such memory.
unsigned* counter_bank();

// A number of the capture that a stream takes part in, which no other capture has had; 0 for none.
uint64_t capture_id(cudaStream_t stream);

// A slot of a device that nobody holds, or -1. If the stream is being captured, the slot becomes free again once the
// graph, whatever was instantiated from it, and their last launches are gone. Otherwise the stream keeps it.
int take_slot(int device, cudaStream_t stream);

}  // namespace fastgan::cuda

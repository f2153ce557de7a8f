// Counters for the blocks of a launch (is_last_of in reduce.cuh), in the module's own memory. Memory that PyTorch
// allocates during a capture belongs to the graph, and torch.compile allows no tensor there that outlives the call.
// A slot belongs to one stream, or to one stream of one captured graph; fastgan/kernels/counters.py assigns them.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

constexpr int kSlots = 256, kCountersOfSlot = 1024;

// The current device's counters [kSlots, kCountersOfSlot], zero between launches; null if they do not exist.
unsigned* counter_bank();

// A unique number of a stream's current capture; 0 if there is none.
uint64_t capture_id(cudaStream_t stream);

// Takes a free slot of a device; returns its index, or -1 if none is free. During a capture, the slot is released once
// the graph, everything instantiated from it and their launches are gone. Otherwise the stream keeps it.
int take_slot(int device, cudaStream_t stream);

}  // namespace fastgan::cuda

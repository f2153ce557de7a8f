#include "counters.h"

#include <atomic>

namespace fastgan::cuda {
namespace {

constexpr int kMostDevices = 128;

__device__ unsigned bank[kSlots * kCountersOfSlot];

// Of each device; never destroyed, as graphs may give their slots back until the process ends.
std::atomic<bool> is_taken[kMostDevices][kSlots];

void CUDART_CB give_back(void* slot) { static_cast<std::atomic<bool>*>(slot)->store(false); }

// Ties a slot to a graph that is being captured, as a user object: the graph refers to it, and so does whatever is
// instantiated from the graph. CUDA calls give_back when the last of them is gone; it may not call CUDA, nor wait.
bool give_back_with(cudaGraph_t graph, std::atomic<bool>* slot) {
  cudaUserObject_t object = nullptr;
  if (cudaUserObjectCreate(&object, slot, give_back, 1, cudaUserObjectNoDestructorSync) != cudaSuccess) {
    give_back(slot);
    return false;
  }
  if (cudaGraphRetainUserObject(graph, object, 1, cudaGraphUserObjectMove) == cudaSuccess) return true;
  cudaUserObjectRelease(object, 1);  // which gives the slot back
  return false;
}

// The capture that a stream takes part in, and its graph; 0 and null for none.
struct Capture {
  unsigned long long id = 0;
  cudaGraph_t graph = nullptr;
};

Capture capture_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  Capture capture;
  const cudaError_t error = cudaStreamGetCaptureInfo(stream, &status, &capture.id, &capture.graph);
  if (error == cudaSuccess && status == cudaStreamCaptureStatusActive) return capture;
  if (error != cudaSuccess) cudaGetLastError();  // leave none behind for the next launch to find
  return {};
}

}  // namespace

unsigned* counter_bank() {
  // The address may take loading the module, which a capture in progress would otherwise forbid.
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  cudaThreadExchangeStreamCaptureMode(&mode);
  void* address = nullptr;
  if (cudaGetSymbolAddress(&address, bank) != cudaSuccess) {
    address = nullptr;
    cudaGetLastError();
  }
  cudaThreadExchangeStreamCaptureMode(&mode);
  return static_cast<unsigned*>(address);
}

uint64_t capture_id(cudaStream_t stream) { return capture_of(stream).id; }

int take_slot(int device, cudaStream_t stream) {
  if (device < 0 || device >= kMostDevices) return -1;
  for (int slot = 0; slot < kSlots; ++slot) {
    std::atomic<bool>& here = is_taken[device][slot];
    if (here.exchange(true)) continue;
    const cudaGraph_t graph = capture_of(stream).graph;
    if (graph == nullptr || give_back_with(graph, &here)) return slot;
    cudaGetLastError();
    return -1;
  }
  return -1;
}

}  // namespace fastgan::cuda

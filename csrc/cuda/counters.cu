#include "counters.h"

#include <atomic>

namespace fastgan::cuda {
namespace {

constexpr int kMostDevices = 128;

__device__ unsigned bank[kSlots * kCountersOfSlot];

// Never destroyed, as graphs may release their slots until the process ends.
std::atomic<bool> is_taken[kMostDevices][kSlots];

void CUDART_CB give_back(void* slot) { static_cast<std::atomic<bool>*>(slot)->store(false); }

// Attaches a slot to a graph under capture, as a CUDA user object. CUDA calls give_back once the graph and everything
// instantiated from it are destroyed. give_back must neither call CUDA nor block.
bool give_back_with(cudaGraph_t graph, std::atomic<bool>* slot) {
  cudaUserObject_t object = nullptr;
  if (cudaUserObjectCreate(&object, slot, give_back, 1, cudaUserObjectNoDestructorSync) != cudaSuccess) {
    give_back(slot);
    return false;
  }
  if (cudaGraphRetainUserObject(graph, object, 1, cudaGraphUserObjectMove) == cudaSuccess) return true;
  cudaUserObjectRelease(object, 1);  // calls give_back
  return false;
}

// A stream's current capture and its graph; 0 and null if there is none.
struct Capture {
  unsigned long long id = 0;
  cudaGraph_t graph = nullptr;
};

Capture capture_of(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  Capture capture;
  const cudaError_t error = cudaStreamGetCaptureInfo(stream, &status, &capture.id, &capture.graph);
  if (error == cudaSuccess && status == cudaStreamCaptureStatusActive) return capture;
  if (error != cudaSuccess) cudaGetLastError();  // clear the error, or the next launch would report it
  return {};
}

}  // namespace

unsigned* counter_bank() {
  // cudaGetSymbolAddress may load the module, which a strict capture mode forbids during a capture.
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

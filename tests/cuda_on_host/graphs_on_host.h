// CUDA's streams, captures and graphs on the host, as far as the life of what belongs to a graph goes. Launches are
// never recorded.
#pragma once

#include <vector>

#define CUDART_CB
constexpr unsigned cudaUserObjectNoDestructorSync = 1, cudaGraphUserObjectMove = 1;
struct OnHostUserObject {
  void* what;
  void (*destroy)(void*);
  unsigned references;
};
using cudaUserObject_t = OnHostUserObject*;
struct OnHostGraph {
  std::vector<cudaUserObject_t> held;
};
using cudaGraph_t = OnHostGraph*;
struct OnHostGraphExec : OnHostGraph {};
using cudaGraphExec_t = OnHostGraphExec*;
struct OnHostStream {
  unsigned long long capture = 0;
  cudaGraph_t graph = nullptr;
};
using cudaStream_t = OnHostStream*;
enum cudaStreamCaptureStatus { cudaStreamCaptureStatusNone, cudaStreamCaptureStatusActive };
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeRelaxed };
inline cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }
inline cudaError_t cudaUserObjectCreate(cudaUserObject_t* object, void* what, void (*destroy)(void*),
                                        unsigned references, unsigned) {
  *object = new OnHostUserObject{what, destroy, references};
  return cudaSuccess;
}
inline cudaError_t cudaUserObjectRelease(cudaUserObject_t object, unsigned references) {
  if ((object->references -= references) == 0) {
    object->destroy(object->what);
    delete object;
  }
  return cudaSuccess;
}
inline cudaError_t cudaGraphRetainUserObject(cudaGraph_t graph, cudaUserObject_t object, unsigned, unsigned flags) {
  if (flags != cudaGraphUserObjectMove) return cudaErrorInvalidValue;
  graph->held.push_back(object);
  return cudaSuccess;
}
inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new OnHostStream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  static unsigned long long captures = 0;
  *stream = {++captures, new OnHostGraph};
  return cudaSuccess;
}
inline cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = stream->graph;
  *stream = {};
  return cudaSuccess;
}
inline cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status,
                                            unsigned long long* capture, cudaGraph_t* graph) {
  if (stream == nullptr || stream->graph == nullptr) return cudaSuccess;
  *status = cudaStreamCaptureStatusActive;
  *capture = stream->capture;
  *graph = stream->graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  *exec = new OnHostGraphExec{*graph};
  for (const cudaUserObject_t object : graph->held) ++object->references;
  return cudaSuccess;
}
inline cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  for (const cudaUserObject_t object : graph->held) cudaUserObjectRelease(object, 1);
  delete graph;
  return cudaSuccess;
}
inline cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  for (const cudaUserObject_t object : exec->held) cudaUserObjectRelease(object, 1);
  delete exec;
  return cudaSuccess;
}

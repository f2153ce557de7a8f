// A chain of linear layers with leaky ReLU between them, in float: any pass of it is one call.
#pragma once

#include "../calls.h"

namespace fastgan {

struct MLP {
  int64_t rows;
  int64_t layers;
  const int64_t* features;  // [layers + 1]
  float negative_slope;
  const float* const* weights;  // of layer i: [features[i + 1], features[i]]
  Where threads;
};

// outputs[i]: [rows, features[i + 1]]; a bias may be null.
void mlp_forward(const MLP& mlp, const float* x, const float* const* biases, float* const* outputs);

// What a backward pass reads and writes.
struct MLPGradients {
  const float* grad;             // [rows, features[layers]]
  const float* x;                // [rows, features[0]]
  const float* const* outputs;   // as of mlp_forward; the last is not read
  const float* scale;            // [rows], or null: of each row's share in dw and db, not in dx
  int64_t first_row;             // dx has the rows from here on
  float* dx;                     // this and each of the following may be null
  float* const* dw;
  float* const* db;
  float* scratch;  // [2, rows, the widest of features[1], ... features[layers - 1]]
};

void mlp_backward(const MLP& mlp, const MLPGradients& gradients);

}  // namespace fastgan

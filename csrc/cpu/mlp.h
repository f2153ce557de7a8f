// Linear layers with leaky ReLU between them, in float: one call for the forward pass and one for the backward pass.
#pragma once

#include "../calls.h"

namespace fastgan {

struct MLP {
  int64_t rows;
  int64_t layers;
  const int64_t* features;  // [layers + 1]
  float negative_slope;
  const float* const* weights;  // weights[i]: [features[i + 1], features[i]]
  Where threads;
};

// x: [rows, features[0]]; biases[i]: [features[i + 1]], or null; outputs[i]: [rows, features[i + 1]].
void mlp_forward(const MLP& mlp, const float* x, const float* const* biases, float* const* outputs);

// Inputs and outputs of the backward pass. dx, dw, db and their elements may be null.
struct MLPGradients {
  const float* grad;             // [rows, features[layers]]
  const float* x;                // [rows, features[0]]
  const float* const* outputs;   // outputs of mlp_forward; the last is not read
  const float* scale;            // [rows] factors of each row's part of dw and db (not of dx), or null
  int64_t first_row;             // dx is computed from this row on
  float* dx;                     // [rows - first_row, features[0]]
  float* const* dw;              // dw[i]: as weights[i]
  float* const* db;              // db[i]: [features[i + 1]]
  float* scratch;                // [2, rows, largest of features[1] to features[layers - 1]]
};

void mlp_backward(const MLP& mlp, const MLPGradients& gradients);

}  // namespace fastgan

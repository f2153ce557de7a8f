// Linear layers with activations between them, in float: one call for the forward pass and one for the backward pass.
#pragma once

#include "../calls.h"

namespace fastgan {

struct MLP {
  int64_t rows;
  int64_t layers;
  const int64_t* features;         // [layers + 1], after a maxout
  const Activation* activations;   // [layers - 1]; the last layer is linear
  const float* const* weights;     // weights[i]: [product_width(i), features[i]]
  Where threads;

  // The width of a layer's product: before a maxout, features[i + 1] for each piece.
  int64_t product_width(int64_t layer) const {
    return features[layer + 1] * (layer + 1 < layers ? activations[layer].pieces : 1);
  }
};

// x: [rows, features[0]]; biases[i]: [product_width(i)], or null; outputs[i]: [rows, features[i + 1]].
// products[i]: [rows, product_width(i)] before a maxout, for i < layers - 1; unused for other activations.
void mlp_forward(const MLP& mlp, const float* x, const float* const* biases, float* const* products,
                 float* const* outputs);

// Inputs and outputs of the backward pass. dx, dw, db and their elements may be null.
struct MLPGradients {
  const float* grad;             // [rows, features[layers]]
  const float* x;                // [rows, features[0]]
  const float* const* products;  // as in mlp_forward
  const float* const* outputs;   // outputs of mlp_forward; the last is not read
  const float* scale;            // [rows] factors of each row's part of dw and db (not of dx), or null
  int64_t first_row;             // dx is computed from this row on
  float* dx;                     // [rows - first_row, features[0]]
  float* const* dw;              // dw[i]: as weights[i]
  float* const* db;              // db[i]: [product_width(i)]
  float* const* dz;              // dz[i]: [rows, product_width(i)] for i < layers - 1, to be kept; or null
  float* scratch;                // [2, rows, largest product_width of all layers but the last]
};

void mlp_backward(const MLP& mlp, const MLPGradients& gradients);

// Gradients of the weights, given that of dx, if all activations are piecewise linear.
struct MLPSlopeGradients {
  const float* grad;             // [rows, features[0]]
  const float* const* dz;        // dz[i]: [rows, product_width(i)] for all layers, from which dx was computed
  const float* const* products;  // as in mlp_forward
  const float* const* outputs;   // as in mlp_forward
  float* const* dw;              // dw[i]: as weights[i]; not null
  float* scratch;                // as in MLPGradients
};

void mlp_slope_backward(const MLP& mlp, const MLPSlopeGradients& gradients);

// y = activation(z), with the number of threads. y may be z, except for a maxout.
struct ActivationCall {
  Activation activation;
  int64_t rows, width;  // of y
  Where threads;
};

void activation_forward(const ActivationCall& call, const float* z, float* y);
// dz may be dy, except for a maxout. Only a maxout reads z.
void activation_backward(const ActivationCall& call, const float* dy, const float* z, const float* y, float* dz);
// The change of a maxout's y with a change of z.
void maxout_tangent(const ActivationCall& call, const float* change, const float* z, const float* y,
                    float* change_of_y);

}  // namespace fastgan

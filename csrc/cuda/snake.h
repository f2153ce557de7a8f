// Snake, plain and anti-aliased, as in csrc/cpu/snake.h, on a stream. No tensor is empty. A backward pass with a
// gradient of alpha or beta takes memory for partial sums in the compute type, as many as ..._partials() returns.
#pragma once

#include "platform.h"

namespace fastgan::cuda {

int64_t snake_partials(const SnakeCall& call);
cudaError_t snake(const SnakeCall& call, void* output);
cudaError_t snake_backward(const SnakeCall& call, const SnakeGrad& grad, void* partials);

int64_t anti_aliased_snake_partials(const SnakeCall& call, const SnakeFilters& filters);
cudaError_t anti_aliased_snake(const SnakeCall& call, const SnakeFilters& filters, void* output);
cudaError_t anti_aliased_snake_backward(const SnakeCall& call, const SnakeFilters& filters, const SnakeGrad& grad,
                                        void* partials);

}  // namespace fastgan::cuda

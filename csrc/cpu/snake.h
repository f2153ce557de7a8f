#pragma once

#include "../calls.h"

namespace fastgan {

// Filters have 2 to 24 taps. Gradients of alpha and beta do not depend on the number of threads or on the layout.
void snake(const SnakeCall& call, void* output);
void snake_backward(const SnakeCall& call, const SnakeGrad& grad);
void anti_aliased_snake(const SnakeCall& call, const SnakeFilters& filters, void* output);
void anti_aliased_snake_backward(const SnakeCall& call, const SnakeFilters& filters, const SnakeGrad& grad);

}  // namespace fastgan

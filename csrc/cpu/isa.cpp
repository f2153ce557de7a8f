// Compiled once for each instruction set, with its compiler flags and its name as FASTGAN_ISA.
#include "activation_loops.h"
#include "batch_norm_loops.h"
#include "bias_act_loops.h"
#include "draw_loops.h"
#include "head_loops.h"
#include "kernels.h"
#include "l1_loops.h"
#include "loss_loops.h"
#include "optimizer_loops.h"
#include "product_loops.h"
#include "snake_loops.h"
#include "span_loops.h"
#include "spectral_norm_loops.h"
#include "upfirdn_loops.h"
#include "vector_norm_loops.h"

#define FASTGAN_NAME_(isa) kernels_##isa
#define FASTGAN_NAME(isa) FASTGAN_NAME_(isa)
#define FASTGAN_STRING_(isa) #isa
#define FASTGAN_STRING(isa) FASTGAN_STRING_(isa)
#define FASTGAN_EACH_DTYPE(function) {function<double>, function<float>, function<Half>, function<BFloat16>}
#define FASTGAN_EACH_DTYPE_AND(function, number) \
  {function<double, number>, function<float, number>, function<Half, number>, function<BFloat16, number>}

namespace fastgan {

extern const KernelTable FASTGAN_NAME(FASTGAN_ISA);

const KernelTable FASTGAN_NAME(FASTGAN_ISA) = {
    FASTGAN_STRING(FASTGAN_ISA),
    FASTGAN_EACH_DTYPE(loss_sum),
    FASTGAN_EACH_DTYPE(loss_sum_with_stats),
    FASTGAN_EACH_DTYPE(loss_terms),
    FASTGAN_EACH_DTYPE(loss_grad),
    FASTGAN_EACH_DTYPE(loss_sum_and_grad),
    FASTGAN_EACH_DTYPE(loss_sum_and_grad_with_stats),
    FASTGAN_EACH_DTYPE(l1_sum),
    FASTGAN_EACH_DTYPE(l1_terms),
    FASTGAN_EACH_DTYPE(l1_grad),
    FASTGAN_EACH_DTYPE(l1_sum_and_grad),
    FASTGAN_EACH_DTYPE(head_rows),
    FASTGAN_EACH_DTYPE(head_grad_rows),
    FASTGAN_EACH_DTYPE_AND(bias_leaky, true),
    FASTGAN_EACH_DTYPE_AND(bias_leaky, false),
    FASTGAN_EACH_DTYPE(leaky_grad_rows),
    FASTGAN_EACH_DTYPE(leaky_grad_plane),
    FASTGAN_EACH_DTYPE_AND(bias_act, true),
    FASTGAN_EACH_DTYPE_AND(bias_act, false),
    FASTGAN_EACH_DTYPE_AND(act_grad, true),
    FASTGAN_EACH_DTYPE_AND(act_grad, false),
    activate,
    activation_grad,
    maxout,
    maxout_grad,
    maxout_tangent,
    FASTGAN_EACH_DTYPE(inner_product),
    FASTGAN_EACH_DTYPE(add_weighted_rows),
    FASTGAN_EACH_DTYPE(divide_vector),
    FASTGAN_EACH_DTYPE(divide),
    FASTGAN_EACH_DTYPE(spectral_grad_rows),
    FASTGAN_EACH_DTYPE(norm_statistics_rows),
    FASTGAN_EACH_DTYPE(norm_statistics_plane),
    FASTGAN_EACH_DTYPE_AND(norm_leaky_relu, 1),
    FASTGAN_EACH_DTYPE_AND(norm_leaky_relu, 0),
    FASTGAN_EACH_DTYPE(norm_grad_sums_rows),
    FASTGAN_EACH_DTYPE(norm_grad_sums_plane),
    FASTGAN_EACH_DTYPE_AND(norm_grad, 1),
    FASTGAN_EACH_DTYPE_AND(norm_grad, 0),
    FASTGAN_EACH_DTYPE_AND(snake, 1),
    FASTGAN_EACH_DTYPE_AND(snake, 0),
    FASTGAN_EACH_DTYPE_AND(snake_grad, 1),
    FASTGAN_EACH_DTYPE_AND(snake_grad, 0),
    FASTGAN_EACH_DTYPE(anti_aliased_snake),
    FASTGAN_EACH_DTYPE(anti_aliased_snake_grad),
    FASTGAN_EACH_DTYPE(upfirdn_tile),
    FASTGAN_EACH_DTYPE(span_activations),
    FASTGAN_EACH_DTYPE(span_grads),
    draw_integers,
    draw_normal,
    draw_uniform,
    FASTGAN_EACH_DTYPE(adam),
    FASTGAN_EACH_DTYPE(sgd),
    FASTGAN_EACH_DTYPE(move_average),
    FASTGAN_EACH_DTYPE(halve),
    FASTGAN_EACH_DTYPE_AND(sum_of_magnitudes, false),
    FASTGAN_EACH_DTYPE_AND(sum_of_magnitudes, true),
    multiply,
    pack,
};

}  // namespace fastgan

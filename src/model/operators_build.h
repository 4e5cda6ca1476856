/* The list of operators under construction, and what every kind of layer adds to it. Private to model. */
#ifndef KM_MODEL_OPERATORS_BUILD_H
#define KM_MODEL_OPERATORS_BUILD_H

#include "model/operators.h"

struct km_builder {
    const struct km_model *model;
    const struct km_precision *precision;
    const struct km_layout *layout;
    struct km_arena *arena;
    struct km_op *ops;
    uint32_t count, capacity;
    double ranks, hidden;
    double activation_bytes;
    struct km_format formats[KM_MODULE_COUNT]; /* of the layer at work */
};

/* Append, or count one more of an equal operator. */
void km_build_op(struct km_builder *b, struct km_op op);
/* The format of what is not quantised: attention scores, the LM head's input. */
enum km_dtype km_build_wide_type(const struct km_builder *b);
void km_build_gemm_of(struct km_builder *b, const char *name, double n, double k, struct km_format format);
/* A projection of a mixer. */
void km_build_gemm(struct km_builder *b, const char *name, double n, double k);
/* Element-wise kernel: `values` activations read and written per row. */
void km_build_stream(struct km_builder *b, const char *name, double values);
/* Nothing for a group of one. */
void km_build_collective(struct km_builder *b, const char *name, enum km_collective collective,
                         struct km_group group, enum km_op_rows rows, double message_bytes_per_row);
struct km_group km_build_tensor_group(const struct km_builder *b);

/* The mixers. */
void km_build_attention(struct km_builder *b, const struct km_layer *layer);
void km_build_mla(struct km_builder *b, const struct km_layer *layer);
void km_build_state_space(struct km_builder *b, const struct km_layer *layer);
void km_build_conv(struct km_builder *b, const struct km_layer *layer);
void km_build_delta(struct km_builder *b, const struct km_layer *layer);

#endif

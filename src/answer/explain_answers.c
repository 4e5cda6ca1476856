#include "answer/explain_answers.h"

#include "scenario/remedy.h"

#include <math.h>
#include <string.h>

#define MOST_SWEEP_ROWS       34 /* powers of two in 32 bits, and both ends */
#define MOST_CONCURRENCY_ROWS 5

static void account(const struct km_setup *setup, const struct km_step_source *source, const char *name,
                    uint32_t prefill, uint32_t past, uint32_t decodes, uint32_t context,
                    struct km_arena *arena, struct km_explain_step *out)
{
    uint32_t window = km_setup_window(&setup->scenario->model);
    struct km_chunk *chunk = km_arena_alloc(arena, sizeof *chunk);
    *chunk = (struct km_chunk){.tokens = prefill, .past = past};
    const struct km_step_shape shape = {
        .chunks = chunk,
        .chunk_count = prefill > 0,
        .prefill_tokens = prefill,
        .sampled = decodes + (prefill > 0), /* the chunk is its prompt's last */
        .decode =
            {
                .count = decodes,
                .sum_context = (uint64_t)decodes * context,
                .sum_windowed = (uint64_t)decodes * (window && window < context ? window : context),
                .below_window = !window || context < window ? decodes : 0,
                .max_context = decodes ? context : 0,
            },
    };
    *out = (struct km_explain_step){.name = name,
                                    .prefill_tokens = prefill,
                                    .past_tokens = past,
                                    .decode_sequences = decodes,
                                    .context_tokens = decodes ? context : 0};
    km_step_account(source, &shape, arena, &out->account);
}

/* By what most of the time of the operators of a group is bound; KM_BOUND_NONE when there are none. */
static enum km_bound group_bound(const struct km_step_account *a, bool attention)
{
    double bound_s[KM_BOUND_COUNT] = {0}, whole_s = 0.0;
    for (uint32_t i = 0; i < a->op_count; i++) {
        enum km_op_kind kind = a->ops[i].op->kind;
        bool product = kind == KM_OP_GEMM || kind == KM_OP_EXPERTS;
        if (attention ? kind != KM_OP_ATTENTION : !product)
            continue;
        bound_s[a->ops[i].bound_by] += a->ops[i].time_s;
        whole_s += a->ops[i].time_s;
    }
    int most = 0;
    for (int i = 1; i < KM_BOUND_COUNT; i++)
        if (bound_s[i] > bound_s[most])
            most = i;
    return whole_s > 0.0 ? (enum km_bound)most : KM_BOUND_NONE;
}

static void sweep_row(const struct km_setup *setup, const struct km_step_source *source, uint32_t sequences,
                      uint32_t context, struct km_explain_sweep_row *out)
{
    struct km_arena arena = {0};
    struct km_explain_step step;
    uint64_t data = setup->scenario->cluster.data_parallel_size;
    account(setup, source, "decode", 0, 0, sequences, context, &arena, &step);
    const struct km_step_account *a = &step.account;
    *out = (struct km_explain_sweep_row){
        .sequences = sequences,
        .fits = sequences <= data * km_kv_concurrency(&setup->memory.groups, setup->blocks / data,
                                                      setup->scenario->engine.block_size, context),
        .step_s = a->step_s,
        .device_s = a->device_s,
        .host_s = a->host_s,
        .tokens_per_s = a->step_s > 0.0 ? (double)sequences * a->batches_in_flight / a->step_s : (double)NAN,
        .paced_by = km_paced_by_name(a->paced_by),
        .products_bound_by = group_bound(a, false),
        .attention_bound_by = group_bound(a, true),
    };
    for (int i = 0; i < KM_BOUND_COUNT; i++)
        out->share[i] = a->op_count ? a->bound_s[i] / a->device_s : (double)NAN;
    km_arena_release(&arena);
}

static bool products_turned(const struct km_explain_sweep_row *row)
{
    return row->products_bound_by == KM_BOUND_COMPUTE;
}

static bool attention_turned(const struct km_explain_sweep_row *row)
{
    return row->attention_bound_by == KM_BOUND_COMPUTE;
}

static bool step_turned(const struct km_explain_sweep_row *row)
{
    return row->share[KM_BOUND_COMPUTE] > 0.5;
}

/* The first batch size of the sweep where `turned` holds, found between two rows by halving. */
static uint32_t find_turn(const struct km_setup *setup, const struct km_step_source *source, uint32_t context,
                          const struct km_explain_sweep_row *rows, size_t count,
                          bool (*turned)(const struct km_explain_sweep_row *row))
{
    size_t first = 0;
    while (first < count && !turned(&rows[first]))
        first++;
    if (first == count)
        return 0;
    uint32_t high = rows[first].sequences, low = first ? rows[first - 1].sequences : high - 1;
    while (high - low > 1) {
        struct km_explain_sweep_row row;
        uint32_t middle = low + (high - low) / 2;
        sweep_row(setup, source, middle, context, &row);
        if (turned(&row))
            high = middle;
        else
            low = middle;
    }
    return high;
}

static void sweep(const struct km_setup *setup, const struct km_step_source *source,
                  const struct km_explain_request *request, struct km_arena *arena,
                  struct km_explanation *out)
{
    struct km_explain_sweep_row *rows = km_arena_alloc(arena, MOST_SWEEP_ROWS * sizeof *rows);
    size_t count = 0;
    uint64_t sequences = request->sweep_from;
    for (;;) {
        sweep_row(setup, source, (uint32_t)sequences, request->context, &rows[count++]);
        if (sequences == request->sweep_to)
            break;
        uint64_t power = 1;
        while (power <= sequences)
            power *= 2;
        sequences = power < request->sweep_to ? power : request->sweep_to;
    }
    out->sweep = rows;
    out->sweep_count = count;
    out->sweep_context_tokens = request->context;
    out->products_turn = find_turn(setup, source, request->context, rows, count, products_turned);
    out->attention_turn = find_turn(setup, source, request->context, rows, count, attention_turned);
    out->step_turn = find_turn(setup, source, request->context, rows, count, step_turned);
}

enum km_status km_explain_steps(const struct km_setup *setup, const struct km_explain_request *request,
                                struct km_arena *arena, struct km_explanation *out, struct km_error *error)
{
    void *cost_state = NULL;
    enum km_status status = setup->cost->create(&setup->cost_config, &cost_state, error);
    if (status != KM_OK)
        return status;
    const struct km_step_source source = {.config = &setup->cost_config,
                                          .cost = setup->cost,
                                          .cost_state = cost_state,
                                          .executor = setup->priced,
                                          .executor_state = setup->priced_state};
    struct km_explain_step *steps = km_arena_alloc(arena, 2 * sizeof *steps);
    const struct km_explain_request *r = request;
    if (r->given) {
        account(setup, &source,
                r->prefill && r->decode ? "mixed"
                : r->prefill            ? "prefill"
                                        : "decode",
                r->prefill, r->past, r->decode, r->context, arena, &steps[0]);
    } else {
        account(setup, &source, "decode", 0, 0, r->decode, r->context, arena, &steps[0]);
        account(setup, &source, "prefill", r->prefill, r->past, 0, 0, arena, &steps[1]);
    }
    out->steps = steps;
    out->step_count = r->given ? 1 : 2;
    /* Operators live in the cost model's memory: what the report needs of them must outlive it. */
    for (size_t i = 0; i < out->step_count; i++)
        for (uint32_t j = 0; j < steps[i].account.op_count; j++) {
            struct km_op *op = km_arena_alloc(arena, sizeof *op);
            *op = *steps[i].account.ops[j].op;
            steps[i].account.ops[j].op = op;
        }
    sweep(setup, &source, request, arena, out);
    setup->cost->destroy(cost_state);
    return KM_OK;
}

void km_explain_memory(const struct km_scenario *scenario, const struct km_memory_map *map, uint64_t context,
                       struct km_arena *arena, struct km_explanation *out)
{
    const struct km_engine *engine = &scenario->engine;
    const uint64_t usual[] = {1024, 4096, 16384, engine->max_model_len};
    out->memory = map;
    out->blocks_overridden = engine->num_gpu_blocks_override > 0;
    uint64_t data = scenario->cluster.data_parallel_size; /* sequences and blocks stay with one such rank */
    out->blocks = out->blocks_overridden ? engine->num_gpu_blocks_override * data : map->blocks;
    out->data_parallel_size = (uint32_t)data;
    out->block_size = engine->block_size;
    out->max_model_len = engine->max_model_len;
    out->most_model_len = km_setup_most_model_len(scenario, &out->memory->groups, out->blocks / data);
    out->max_num_seqs = engine->max_num_seqs;
    out->max_num_batched_tokens = engine->max_num_batched_tokens;
    struct km_explain_concurrency *rows = km_arena_alloc(arena, MOST_CONCURRENCY_ROWS * sizeof *rows);
    for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
        if (usual[i] <= engine->max_model_len && (i == 0 || usual[i] > usual[i - 1]))
            rows[out->concurrency_count++].context_tokens = usual[i];
    size_t at = 0;
    while (at < out->concurrency_count && rows[at].context_tokens < context)
        at++;
    if (at == out->concurrency_count || rows[at].context_tokens != context) {
        memmove(&rows[at + 1], &rows[at], (out->concurrency_count - at) * sizeof *rows);
        rows[at].context_tokens = context;
        out->concurrency_count++;
    }
    for (size_t i = 0; i < out->concurrency_count; i++) {
        uint64_t most = engine->max_num_seqs * data;
        rows[i].sequences = data * km_kv_concurrency(&out->memory->groups, out->blocks / data,
                                                     engine->block_size, rows[i].context_tokens);
        rows[i].running = rows[i].sequences < most ? rows[i].sequences : most;
    }
    out->concurrency = rows;
    if (out->blocks > 0)
        return;
    struct km_remedy fit;
    km_remedy_find(scenario, &fit);
    out->fit_tensor_parallel_size = fit.tensor_parallel_size;
    out->fit_tensor_parallel_blocks = fit.tensor_parallel_size ? fit.ranks_map.blocks : 0;
    out->fit_weights = fit.has_weights ? km_dtype_name(fit.weights) : NULL;
    out->fit_weights_blocks = fit.has_weights ? fit.weights_map.blocks : 0;
}

/* The scripted executor: takes the times that it is told, stalls, and fails.
 *
 *     executor:
 *       name: scripted
 *       step_s: [0.02, 0.01]     # device time of step 1, 2, ... of a replica, the last from then on; absent: the
 *                                # cost model's, and the host's part as the engine describes it
 *       stall_at_step: 500       # this one takes longer,
 *       stall_s: 5               # by so much, on the device
 *       fail_at_step: 1000       # this one fails, and with it the run
 *       fail_message: device lost
 *       replica: 2               # stalls and failures are this one's; absent: every one's
 *
 * For what a hang or a lost device does to a load, for schedules worked out by hand, and for tests of what
 * becomes of a run whose executor fails. It believes nobody: rows that do not continue where those of their
 * slot ended, rows of a slot that was not placed, a slot placed twice or dropped twice fail the run, too, as
 * they would corrupt the KV cache of a real one. */
#include "executor/executor.h"

#include "base/memory.h"
#include "base/simtime.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MOST_STEPS 1000000
#define LONGEST_S  4.6e6 /* KM_PS_LIMIT rounded down */
#define EVERY      UINT64_MAX
#define NOT_PLACED UINT32_MAX

struct script {
    const double *step_s; /* [step_count]; none: the cost model's */
    size_t step_count;
    uint64_t stall_at_step, fail_at_step; /* from 1; 0 = never */
    double stall_s;
    const char *fail_message;
    uint64_t replica; /* EVERY, or the one that stalls and fails */
};

/* --- its section --------------------------------------------------------------------------------------- */

static enum km_status read_steps(const struct km_yaml *value, void *field,
                                 const struct km_settings_context *context, struct km_error *error)
{
    static const struct km_range range = {
        .min = 0, .max = LONGEST_S, .has_min = true, .has_max = true, .scales = km_scales_micro};
    struct script *script = field;
    bool list = value->kind == KM_YAML_SEQUENCE;
    if (km_yaml_is_null(value)) /* as a resolved scenario says it */
        return KM_OK;
    script->step_count = list ? value->count : 1;
    if (script->step_count == 0 || script->step_count > MOST_STEPS)
        return km_yaml_fail(value, error, "expected from 1 to %d times", MOST_STEPS);
    double *step_s = km_arena_alloc(context->arena, script->step_count * sizeof *step_s);
    enum km_status status = KM_OK;
    for (size_t i = 0; status == KM_OK && i < script->step_count; i++)
        status = km_settings_number(list ? value->items[i] : value, &range, &step_s[i], error);
    script->step_s = step_s;
    return status;
}

static void write_steps(const void *field, struct km_text *out)
{
    const struct script *script = field;
    km_text_puts(out, script->step_count ? "[" : "null");
    for (size_t i = 0; i < script->step_count; i++) {
        km_text_puts(out, i ? ", " : "");
        km_settings_write_number(script->step_s[i], out);
    }
    km_text_puts(out, script->step_count ? "]" : "");
}

static enum km_status read_replica(const struct km_yaml *value, void *field,
                                   const struct km_settings_context *context, struct km_error *error)
{
    static const struct km_range range = {0};
    (void)context;
    if (km_yaml_is_null(value)) {
        *(uint64_t *)field = EVERY;
        return KM_OK;
    }
    return km_settings_u64(value, &range, UINT32_MAX, field, error);
}

static void write_replica(const void *field, struct km_text *out)
{
    uint64_t replica = *(const uint64_t *)field;
    if (replica == EVERY)
        km_text_puts(out, "null");
    else
        km_text_printf(out, "%" PRIu64, replica);
}

#define AT(member) offsetof(struct script, member)
static const struct km_setting settings[] = {
    {"step_s", KM_SETTING_CUSTOM, 0, .optional = true, .read = read_steps, .write = write_steps,
     .doc = "device time of a replica's steps, the last from then on; null = the cost model's"},
    {"stall_at_step", KM_SETTING_U64, AT(stall_at_step), KM_AT_LEAST(1), .optional = true, .nullable = true,
     .doc = "a step, from 1, that takes longer; null = none"},
    {"stall_s", KM_SETTING_NUMBER, AT(stall_s), KM_BETWEEN(0, LONGEST_S), .optional = true,
     .doc = "by so much"},
    {"fail_at_step", KM_SETTING_U64, AT(fail_at_step), KM_AT_LEAST(1), .optional = true, .nullable = true,
     .doc = "a step, from 1, that fails, and with it the run; null = none"},
    {"fail_message", KM_SETTING_STRING, AT(fail_message), .optional = true, .doc = "what it says then"},
    {"replica", KM_SETTING_CUSTOM, AT(replica), .optional = true, .read = read_replica,
     .write = write_replica, .doc = "the one, from 0, that stalls and fails; null = every one"},
    {0},
};

static const struct script defaults = {.fail_message = "fails as scripted", .replica = EVERY};

/* --- running ------------------------------------------------------------------------------------------- */

struct shared {
    const struct script *script;
    uint32_t stages;
    const struct km_executor *asked; /* for the times that the script does not state */
    void *asked_state;
};

struct scripted {
    const struct shared *shared;
    uint32_t replica;
    uint64_t steps;
    uint32_t *stands; /* [slot_capacity] tokens whose KV is there; NOT_PLACED */
    size_t slot_capacity;
    const char *misplaced; /* what placed() and dropped() could not say */
};

static enum km_status scripted_create(const struct km_executor_config *config, void **state,
                                      struct km_error *error)
{
    struct shared *shared = km_alloc(sizeof *shared);
    shared->script = config->settings ? config->settings : &defaults;
    shared->stages = config->layout.pipeline_parallel;
    shared->asked = km_executor_find("simulated");
    enum km_status status = shared->asked->create(config, &shared->asked_state, error);
    *state = shared;
    if (status != KM_OK) {
        free(shared);
        *state = NULL;
    }
    return status;
}

static void scripted_destroy(void *state)
{
    struct shared *shared = state;
    if (!shared)
        return;
    shared->asked->destroy(shared->asked_state);
    free(shared);
}

static enum km_status scripted_open(void *state, uint32_t replica, void **out, struct km_error *error)
{
    (void)error;
    struct scripted *scripted = km_alloc(sizeof *scripted);
    scripted->shared = state;
    scripted->replica = replica;
    *out = scripted;
    return KM_OK;
}

static void scripted_close(void *state)
{
    struct scripted *scripted = state;
    free(scripted->stands);
    free(scripted);
}

static void scripted_placed(void *state, uint32_t slot, uint32_t cached_tokens)
{
    struct scripted *scripted = state;
    size_t before = scripted->slot_capacity;
    scripted->stands =
        km_grow(scripted->stands, &scripted->slot_capacity, (size_t)slot + 1, sizeof *scripted->stands);
    for (size_t i = before; i < scripted->slot_capacity; i++)
        scripted->stands[i] = NOT_PLACED;
    if (scripted->stands[slot] != NOT_PLACED)
        scripted->misplaced = "a slot that was placed before it was dropped";
    scripted->stands[slot] = cached_tokens;
}

static void scripted_dropped(void *state, uint32_t slot)
{
    struct scripted *scripted = state;
    if (slot >= scripted->slot_capacity || scripted->stands[slot] == NOT_PLACED)
        scripted->misplaced = "a slot that was dropped and had not been placed";
    else
        scripted->stands[slot] = NOT_PLACED;
}

static enum km_status fail(const struct scripted *scripted, struct km_error *error, const char *why)
{
    return km_fail(error, KM_FAILED, NULL, 0, 0, "executor scripted: replica %u, step %" PRIu64 ": %s",
                   scripted->replica, scripted->steps, why);
}

static enum km_status follow(struct scripted *scripted, const struct km_step *step, struct km_error *error)
{
    if (step->row_count != step->shape.chunk_count + step->shape.decode.count)
        return fail(scripted, error, "another number of rows than of chunks and decodes");
    if (scripted->misplaced)
        return fail(scripted, error, scripted->misplaced);
    for (uint32_t i = 0; i < step->row_count; i++) {
        const struct km_row *row = &step->rows[i];
        if (row->slot >= scripted->slot_capacity || scripted->stands[row->slot] == NOT_PLACED)
            return fail(scripted, error, "a row of a slot that has no KV");
        if (scripted->stands[row->slot] != row->first)
            return fail(scripted, error, "a row that does not continue where its slot stands");
        scripted->stands[row->slot] += row->tokens;
    }
    return KM_OK;
}

/* Decodes alone are asked for as the first step of a line, as replicas on the simulated executor do. */
static void ask(const struct shared *shared, const struct km_step *step, struct km_step_time *out)
{
    struct km_step_line line;
    if (step->shape.chunk_count) {
        shared->asked->run(shared->asked_state, step, out, NULL);
        return;
    }
    shared->asked->line(shared->asked_state, &step->shape, &line);
    *out = line.time;
}

static void take_stated(const struct shared *shared, uint64_t number, struct km_step_time *out)
{
    const struct script *script = shared->script;
    size_t i = number <= script->step_count ? (size_t)number - 1 : script->step_count - 1;
    *out = (struct km_step_time){.host.captured = true};
    for (uint32_t s = 0; s < shared->stages; s++)
        out->stage_ps[s] = km_ps_from_s(script->step_s[i] / shared->stages);
}

static enum km_status scripted_run(void *state, const struct km_step *step, struct km_step_time *out,
                                   struct km_error *error)
{
    struct scripted *scripted = state;
    const struct script *script = scripted->shared->script;
    bool mine = script->replica == EVERY || script->replica == scripted->replica;
    scripted->steps++;
    if (mine && scripted->steps == script->fail_at_step)
        return fail(scripted, error, script->fail_message);
    enum km_status status = follow(scripted, step, error);
    if (status != KM_OK)
        return status;
    if (script->step_count)
        take_stated(scripted->shared, scripted->steps, out);
    else
        ask(scripted->shared, step, out);
    if (mine && scripted->steps == script->stall_at_step)
        out->stage_ps[0] = km_ps_after(out->stage_ps[0], km_ps_from_s(script->stall_s));
    return KM_OK;
}

static void scripted_coverage(const void *state, struct km_coverage *out)
{
    const struct shared *shared = state;
    shared->asked->coverage(shared->asked_state, out);
}

const struct km_executor km_executor_scripted = {
    .entry = {"scripted", "takes the times that it is told, stalls, fails: executor: {name: scripted, ...}"},
    .settings = settings,
    .defaults = &defaults,
    .settings_bytes = sizeof defaults,
    .wants_rows = true,
    .create = scripted_create,
    .destroy = scripted_destroy,
    .open = scripted_open,
    .close = scripted_close,
    .run = scripted_run,
    .placed = scripted_placed,
    .dropped = scripted_dropped,
    .coverage = scripted_coverage,
};

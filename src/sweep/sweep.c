#include "sweep/sweep.h"

#include "base/fingerprint.h"
#include "base/json.h"
#include "base/pool.h"
#include "base/settings.h"
#include "cost/profile/store.h"
#include "scenario/lookup.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LIMIT_REPLICATIONS 100000

/* --- points --------------------------------------------------------------------------------------------- */

static void describe_point(const struct km_sweep *sweep, const struct km_override *overrides,
                           struct km_text *out)
{
    for (uint32_t i = 0; i < sweep->axes.count; i++)
        km_text_printf(out, "%s%s=%s", i ? ", " : "", overrides[i].key, overrides[i].value);
}

/* Is the scenario with only `count` of a point's overrides wrong in the same way? */
static bool fails_alike(const struct km_sweep *sweep, const struct km_override *overrides, size_t count,
                        const struct km_error *fault)
{
    struct km_scenario scenario;
    struct km_error error = {0};
    size_t base = sweep->base_count;
    struct km_override *all = km_alloc((base + count) * sizeof *all);
    for (size_t i = 0; i < base + count; i++)
        all[i] = i < base ? sweep->base[i] : overrides[i - base];
    enum km_status status = km_scenario_read(sweep->path, all, base + count, &scenario, &error);
    if (status == KM_OK)
        km_scenario_release(&scenario);
    free(all);
    return status != KM_OK && error.line == fault->line && strcmp(error.message, fault->message) == 0;
}

/* A fault in an axis' value stands in the section, one of several together in the point. */
static enum km_status blame(const struct km_sweep *sweep, const struct km_override *overrides,
                            const struct km_error *fault, struct km_error *error)
{
    struct km_error at = *fault;
    struct km_text message = {0}, point = {0};
    if (fails_alike(sweep, NULL, 0, fault)) {
        *error = *fault;
        return fault->status;
    }
    bool alone = false;
    for (uint32_t i = 0; i < sweep->axes.count; i++) {
        const struct km_yaml *axis = sweep->axes.axes[i].at;
        char label[sizeof at.file];
        snprintf(label, sizeof label, "--set %s=%s", overrides[i].key, overrides[i].value);
        if (strcmp(label, fault->file) != 0)
            continue;
        snprintf(at.file, sizeof at.file, "%s", axis->key_file);
        at.line = axis->key_line;
        at.column = axis->key_column;
        km_text_puts(&message, "sweep: ");
        alone = fails_alike(sweep, &overrides[i], 1, fault);
    }
    km_text_puts(&message, fault->message);
    if (!alone) {
        describe_point(sweep, overrides, &point);
        km_text_printf(&message, " (at the point %s)", km_text_c(&point));
    }
    km_fail(error, fault->status, at.file, at.line, at.column, "%s", km_text_c(&message));
    km_text_release(&message);
    km_text_release(&point);
    return fault->status;
}

static enum km_status read_point(const struct km_sweep *sweep, uint64_t point, struct km_scenario *out,
                                 struct km_error *error)
{
    size_t base = sweep->base_count, count = base + sweep->axes.count;
    struct km_override *overrides = km_alloc(count * sizeof *overrides);
    struct km_error fault = {0};
    for (size_t i = 0; i < base; i++)
        overrides[i] = sweep->base[i];
    km_axes_point(&sweep->axes, point, overrides + base);
    enum km_status status = km_scenario_read(sweep->path, overrides, count, out, &fault);
    if (status != KM_OK)
        blame(sweep, overrides + base, &fault, error);
    free(overrides);
    if (status == KM_OK)
        km_scenario_share_profiles(out, sweep->profiles);
    return status;
}

/* --- the fingerprint ------------------------------------------------------------------------------------ */

struct inputs {
    struct km_arena *arena;
    const char *folder;
    const char **paths; /* [count] owned */
    size_t count, capacity;
};

static void add_input(struct inputs *inputs, const char *path)
{
    struct stat info;
    if (!path || stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return;
    for (size_t i = 0; i < inputs->count; i++)
        if (strcmp(inputs->paths[i], path) == 0)
            return;
    inputs->paths = km_grow(inputs->paths, &inputs->capacity, inputs->count + 1, sizeof *inputs->paths);
    inputs->paths[inputs->count++] = path;
}

/* A profile may name another one, in its own folder, and that one a third. */
static void add_profile(struct inputs *inputs, const char *path)
{
    while (path) {
        struct km_json json;
        const size_t known = inputs->count;
        add_input(inputs, path);
        if (inputs->count == known || km_json_read(path, &json, NULL) != KM_OK)
            return; /* none, or seen before */
        const cJSON *supplement = km_json_get(json.root, "supplement");
        const char *slash = strrchr(path, '/');
        path = cJSON_IsString(supplement)
                   ? km_arena_printf(inputs->arena, "%.*s%s.json", slash ? (int)(slash - path) + 1 : 0, path,
                                     supplement->valuestring)
                   : NULL;
        km_json_release(&json);
    }
}

/* Everything that `text` may name. Too much does no harm: a file that no run reads only makes the sweep
 * refuse to go on after it has changed. */
static void add_named(struct inputs *inputs, const char *text)
{
    static const enum km_lookup_kind kinds[] = {KM_LOOKUP_MODEL, KM_LOOKUP_DEVICE, KM_LOOKUP_ENGINE};
    if (!*text)
        return;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        add_input(inputs, km_lookup_find(kinds[i], text, inputs->folder, inputs->arena));
    add_profile(inputs, km_lookup_find(KM_LOOKUP_PROFILE, text, inputs->folder, inputs->arena));
    add_input(inputs, km_lookup_path(text, inputs->folder, inputs->arena));
}

static void add_tree(struct inputs *inputs, const struct km_yaml *node)
{
    if (node->kind == KM_YAML_SCALAR)
        add_named(inputs, node->text);
    for (size_t i = 0; node->kind != KM_YAML_SCALAR && i < node->count; i++)
        add_tree(inputs, node->items[i]);
}

/* Keys and values of a mapping, all but one. */
static uint64_t print_members(const struct km_yaml *mapping, const char *but, uint64_t print)
{
    struct km_text text = {0};
    for (size_t i = 0; i < mapping->count; i++) {
        if (strcmp(mapping->items[i]->key, but) == 0)
            continue;
        print = km_fingerprint_add_text(print, mapping->items[i]->key);
        if (strcmp(mapping->items[i]->key, "sweep") == 0) {
            print = print_members(mapping->items[i], "show", print); /* a table's, not a run's */
            continue;
        }
        km_text_reset(&text);
        km_yaml_write(mapping->items[i], &text);
        print = km_fingerprint_add_text(print, km_text_c(&text));
    }
    km_text_release(&text);
    return print;
}

static enum km_status take_fingerprint(struct km_sweep *sweep, const struct km_yaml *root,
                                       const char *version, struct km_error *error)
{
    struct km_scenario first;
    enum km_status status = read_point(sweep, 0, &first, error);
    if (status != KM_OK)
        return status;
    struct inputs inputs = {.arena = &sweep->arena, .folder = km_lookup_folder(sweep->path, &sweep->arena)};
    add_tree(&inputs, root);
    add_named(&inputs, first.engine.name); /* the default one is nowhere in the tree */
    /* `search:` is another command's. */
    uint64_t print = print_members(root, "search", km_fingerprint_add_text(KM_FINGERPRINT_START, version));
    print = km_fingerprint_add(print, &sweep->replications, sizeof sweep->replications);
    for (size_t i = 0; status == KM_OK && i < inputs.count; i++)
        status = km_fingerprint_add_file(&print, inputs.paths[i], error);
    snprintf(sweep->fingerprint, sizeof sweep->fingerprint, "%016" PRIx64, print);
    free(inputs.paths);
    km_scenario_release(&first);
    return status;
}

/* --- reading -------------------------------------------------------------------------------------------- */

static enum km_status read_replications(const struct km_yaml *section, uint32_t *out, struct km_error *error)
{
    static const struct km_range range = {
        .min = 1, .max = LIMIT_REPLICATIONS, .has_min = true, .has_max = true};
    const struct km_yaml *value = km_yaml_get(section, "replications");
    uint64_t number = 1;
    enum km_status status = value ? km_settings_u64(value, &range, UINT32_MAX, &number, error) : KM_OK;
    *out = (uint32_t)number;
    return status;
}

static enum km_status read_section(struct km_sweep *sweep, const struct km_yaml *root, uint32_t replications,
                                   struct km_error *error)
{
    static const char *const reserved[] = {"replications", "show", NULL};
    const struct km_yaml *section = km_yaml_get(root, "sweep");
    if (!section)
        return km_fail(error, KM_BAD_INPUT, sweep->path, 0, 0,
                       "nothing to sweep: there is no section such as sweep: {workload.rate_scale: [1, 2]}");
    enum km_status status = km_axes_read(section, reserved, &sweep->arena, &sweep->axes, error);
    sweep->show = km_yaml_get(section, "show");
    if (status == KM_OK)
        status = read_replications(section, &sweep->replications, error);
    if (status != KM_OK)
        return status;
    if (replications)
        sweep->replications = replications;
    sweep->runs = sweep->axes.points * sweep->replications;
    if (sweep->replications > LIMIT_REPLICATIONS || sweep->runs > KM_SWEEP_LIMIT_RUNS)
        return km_yaml_fail(section, error,
                            "%" PRIu64 " points of %" PRIu32 " replications are more than %u runs",
                            sweep->axes.points, sweep->replications, KM_SWEEP_LIMIT_RUNS);
    return KM_OK;
}

enum km_status km_sweep_read(const char *path, const struct km_override *overrides, size_t override_count,
                             uint32_t replications, const char *version, struct km_sweep *out,
                             struct km_error *error)
{
    *out = (struct km_sweep){.base = overrides, .base_count = override_count};
    out->profiles = km_profile_store_create();
    out->path = km_arena_strdup(&out->arena, path);
    struct km_yaml *root;
    enum km_status status = km_yaml_read(path, &out->arena, &root, error);
    for (size_t i = 0; status == KM_OK && i < override_count; i++)
        status = km_scenario_override(root, &overrides[i], &out->arena, error);
    if (status == KM_OK)
        status = read_section(out, root, replications, error);
    if (status == KM_OK)
        status = take_fingerprint(out, root, version, error);
    if (status != KM_OK)
        km_sweep_release(out);
    return status;
}

void km_sweep_release(struct km_sweep *sweep)
{
    if (sweep->profiles)
        km_profile_store_destroy(sweep->profiles);
    km_arena_release(&sweep->arena);
    *sweep = (struct km_sweep){0};
}

/* --- the check ------------------------------------------------------------------------------------------ */

struct check {
    const struct km_sweep *sweep;
    const uint64_t *points;  /* NULL: all of them */
    struct km_error *errors; /* [jobs of a round] */
    uint64_t first;          /* job of the round's first */
};

static void check_point(void *context, uint64_t index)
{
    struct check *check = context;
    uint64_t job = check->first + index;
    struct km_scenario scenario;
    uint64_t point = check->points ? check->points[job] : job;
    if (read_point(check->sweep, point, &scenario, &check->errors[index]) == KM_OK)
        km_scenario_release(&scenario);
}

/* The first point, and for each further value of each axis the point that differs from it in that alone. */
static uint64_t *star(const struct km_axes *axes, uint64_t *count)
{
    uint64_t size = 1, stride = 1;
    for (uint32_t i = 0; i < axes->count; i++)
        size += axes->axes[i].count - 1;
    uint64_t *points = km_alloc(size * sizeof *points);
    *count = 1;
    for (uint32_t i = axes->count; i-- > 0;) {
        for (uint32_t value = 1; value < axes->axes[i].count; value++)
            points[(*count)++] = value * stride;
        stride *= axes->axes[i].count;
    }
    return points;
}

enum km_status km_sweep_check(const struct km_sweep *sweep, uint32_t workers, struct km_error *error)
{
    enum { ROUND = 256 }; /* a bad value is found early, and the errors of a round are few */
    uint64_t jobs = sweep->axes.points, *points = NULL;
    if (jobs > KM_SWEEP_CHECK_POINTS)
        points = star(&sweep->axes, &jobs);
    struct check check = {.sweep = sweep, .points = points, .errors = km_alloc(ROUND * sizeof *check.errors)};
    enum km_status status = KM_OK;
    for (; status == KM_OK && check.first < jobs; check.first += ROUND) {
        uint64_t count = jobs - check.first < ROUND ? jobs - check.first : ROUND;
        km_pool_run(workers, count, check_point, &check);
        for (uint64_t i = 0; status == KM_OK && i < count; i++) {
            if (check.errors[i].status == KM_OK)
                continue;
            *error = check.errors[i];
            status = error->status;
        }
    }
    free(check.errors);
    free(points);
    return status;
}

/* --- a run ---------------------------------------------------------------------------------------------- */

const char *km_sweep_state_name(enum km_sweep_state state)
{
    return state == KM_SWEEP_RAN ? "ok" : state == KM_SWEEP_INFEASIBLE ? "infeasible" : "error";
}

static enum km_status simulate(const struct km_scenario *scenario,
                               const struct km_workload_settings *workload, struct km_sweep_answer *answer,
                               const km_stop *stop,
                               void (*tell)(void *context, const struct km_sweep_answer *answer),
                               void *context, struct km_error *fault)
{
    const struct km_run_options options = {.fast_forward = true, .stop = stop};
    struct km_fleet fleet;
    struct km_run_result result;
    /* A fleet for this run alone: what an earlier one left in it (shares of a profile that were measured)
     * would depend on who ran what before. */
    enum km_status status = km_fleet_create(scenario, &fleet, fault);
    if (status != KM_OK)
        return status;
    status = km_fleet_run(&fleet, workload, answer->seed, &options, &result, fault);
    if (status == KM_OK && result.simulation.stopped) {
        status = KM_INTERRUPTED;
    } else if (status == KM_OK && result.summary.submitted == 0) {
        status = km_fail(fault, KM_BAD_INPUT, NULL, 0, 0, "the workload has no requests");
    } else if (status == KM_OK) {
        answer->fleet = &fleet;
        answer->result = &result;
        tell(context, answer);
    }
    km_fleet_release(&fleet);
    return status;
}

enum km_status km_sweep_run(const struct km_sweep *sweep, uint64_t run, const km_stop *stop,
                            void (*tell)(void *context, const struct km_sweep_answer *answer), void *context,
                            struct km_error *error)
{
    struct km_scenario scenario;
    struct km_error fault = {0};
    enum km_status status = read_point(sweep, run / sweep->replications, &scenario, error);
    if (status != KM_OK)
        return status;
    uint32_t replication = (uint32_t)(run % sweep->replications);
    struct km_sweep_answer answer = {.state = KM_SWEEP_RAN, .seed = scenario.seed + replication};
    struct km_workload_settings workload = scenario.workload;
    struct km_recording *recording;
    status = km_sweep_sample(&workload, replication, &answer.sample, &recording, &fault);
    if (status == KM_OK)
        status = simulate(&scenario, &workload, &answer, stop, tell, context, &fault);
    km_recording_destroy(recording);
    if (status == KM_NO || status == KM_BAD_INPUT || status == KM_FAILED) {
        answer.state = status == KM_NO ? KM_SWEEP_INFEASIBLE : KM_SWEEP_REFUSED;
        answer.reason = fault.message;
        tell(context, &answer);
        status = KM_OK;
    } else if (status == KM_IO) {
        *error = fault;
    }
    km_scenario_release(&scenario);
    return status;
}

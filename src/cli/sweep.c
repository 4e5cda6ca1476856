/* `kingman sweep`: a grid of runs, on the threads of one machine or the ranks of several, into one file. */
#include "sweep/sweep.h"
#include "answer/describe.h"
#include "answer/sweep_table.h"
#include "base/pool.h"
#include "base/progress.h"
#include "base/settings.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/options.h"
#include "cli/overrides.h"
#include "report/flat.h"
#include "sweep/file.h"
#include "sweep/work.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGUMENTS "SCENARIO.yaml [options]"

struct flags {
    struct km_option_list sets;
    const char *output, *seed;
    uint32_t jobs;
    uint64_t replications;
    const char *path;
};

struct task {
    struct km_sweep sweep;
    struct km_arena arena; /* the columns */
    struct km_flat flat;   /* names of a report's figures */
    struct km_rows rows;
    struct km_sweep_file *file;   /* rank 0 */
    struct km_sweep_table *table; /* rank 0; NULL for a large grid */
    struct km_progress progress;
    uint64_t states[KM_SWEEP_REFUSED + 1];
};

/* --- rows ----------------------------------------------------------------------------------------------- */

/* run, the axes, seed, status, reason, sample, the report's figures, sweep */
enum { LEADING = 1, MIDDLE = 4, TRAILING = 1 };
static const char *const leading[LEADING] = {"run"};
static const char *const middle[MIDDLE] = {"seed", "status", "reason", "sample"};

static bool is_taken(const struct task *task, const char *key)
{
    for (uint32_t i = 0; i < task->flat.count; i++)
        if (strcmp(task->flat.names[i], key) == 0)
            return true;
    for (int i = 0; i < MIDDLE; i++)
        if (strcmp(middle[i], key) == 0)
            return true;
    return false;
}

static void name_columns(struct task *task, enum km_rows_format format)
{
    const struct km_axes *axes = &task->sweep.axes;
    km_report_flat_names(&task->arena, &task->flat);
    uint32_t count = LEADING + axes->count + MIDDLE + task->flat.count + TRAILING, at = 0;
    const char **names = km_arena_alloc(&task->arena, count * sizeof *names);
    names[at++] = leading[0];
    for (uint32_t i = 0; i < axes->count; i++) {
        const char *key = axes->axes[i].key;
        names[at++] = is_taken(task, key) ? km_arena_printf(&task->arena, "sweep.%s", key) : key;
    }
    for (int i = 0; i < MIDDLE; i++)
        names[at++] = middle[i];
    for (uint32_t i = 0; i < task->flat.count; i++)
        names[at++] = task->flat.names[i];
    names[at++] = "sweep";
    task->rows = (struct km_rows){
        .format = format, .names = names, .count = count, .fingerprint = task->sweep.fingerprint};
}

struct row {
    const struct task *task;
    uint64_t run;
    struct km_text *out;
};

static const char *quoted(struct km_arena *arena, const char *text)
{
    struct km_text out = {0};
    km_settings_write_string(text, &out);
    const char *copy = km_arena_strdup(arena, km_text_c(&out));
    km_text_release(&out);
    return copy;
}

static void write_row(void *context, const struct km_sweep_answer *answer)
{
    const struct row *row = context;
    const struct task *task = row->task;
    const struct km_axes *axes = &task->sweep.axes;
    struct km_arena arena = {0};
    struct km_flat flat = {0};
    const char **cells = km_arena_alloc(&arena, task->rows.count * sizeof *cells);
    struct km_override *point = km_arena_alloc(&arena, (axes->count + 1) * sizeof *point);
    if (answer->state == KM_SWEEP_RAN) {
        struct km_report report;
        km_describe_run(answer->fleet, answer->result, NULL, answer->seed, 0.0, &arena, &report);
        km_report_flatten(&report, &arena, &flat);
    }
    uint32_t at = 0;
    cells[at++] = km_arena_printf(&arena, "%" PRIu64, row->run);
    km_axes_point(axes, row->run / task->sweep.replications, point);
    for (uint32_t i = 0; i < axes->count; i++)
        cells[at++] = km_rows_value(point[i].value, &arena);
    cells[at++] = km_arena_printf(&arena, "%" PRIu64, answer->seed);
    cells[at++] = quoted(&arena, km_sweep_state_name(answer->state));
    cells[at++] = quoted(&arena, answer->reason);
    cells[at++] = quoted(&arena, km_sweep_sample_name(answer->sample));
    for (uint32_t i = 0; i < task->flat.count; i++)
        cells[at++] = km_flat_value(&flat, task->flat.names[i]);
    cells[at] = quoted(&arena, task->sweep.fingerprint);
    km_rows_write(&task->rows, cells, row->out);
    km_arena_release(&arena);
}

/* --- the work ------------------------------------------------------------------------------------------- */

static enum km_status compute(void *context, uint64_t run, struct km_text *out, struct km_error *error)
{
    struct task *task = context;
    struct row row = {task, run, out};
    return km_sweep_run(&task->sweep, run, &km_interrupted, write_row, &row, error);
}

static bool has(void *context, uint64_t run)
{
    return km_sweep_file_has(((struct task *)context)->file, run);
}

static enum km_status take(void *context, uint64_t run, const struct km_text *row, struct km_error *error)
{
    struct task *task = context;
    enum km_status status = km_sweep_file_add(task->file, run, km_text_c(row), row->length, error);
    km_progress_tell(&task->progress, (double)km_sweep_file_count(task->file) / (double)task->sweep.runs);
    return status;
}

/* Every row once, in order, whoever computed it and when. */
static void gather(void *context, const char *line, size_t length)
{
    struct task *task = context;
    struct km_arena arena = {0};
    const char **cells = km_arena_alloc(&arena, task->rows.count * sizeof *cells);
    km_rows_read(&task->rows, line, length, &arena, cells);
    const char *status = cells[LEADING + task->sweep.axes.count + 1];
    for (int state = 0; state <= KM_SWEEP_REFUSED; state++)
        task->states[state] += strcmp(status, km_sweep_state_name((enum km_sweep_state)state)) == 0;
    if (task->table)
        km_sweep_table_row(task->table, cells);
    km_arena_release(&arena);
}

/* --- the command ---------------------------------------------------------------------------------------- */

static bool ends_in(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);
    return length > tail && strcmp(text + length - tail, end) == 0;
}

static enum km_status choose_format(const char *output, enum km_rows_format *out, struct km_error *error)
{
    *out = output && ends_in(output, ".jsonl") ? KM_ROWS_JSONL : KM_ROWS_CSV;
    if (output && *out == KM_ROWS_CSV && !ends_in(output, ".csv"))
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "--output: expected FILE.csv or FILE.jsonl, got \"%s\"", output);
    return KM_OK;
}

static enum km_status read_question(const struct flags *flags, uint32_t threads, bool check,
                                    struct task *task, struct km_error *error)
{
    struct km_cli_overrides *overrides = km_arena_alloc(&task->arena, sizeof *overrides);
    enum km_rows_format format;
    enum km_status status = choose_format(flags->output, &format, error);
    if (status == KM_OK)
        status = km_cli_overrides_read(&flags->sets, overrides, error);
    if (status == KM_OK && flags->seed)
        km_cli_overrides_add(overrides, "seed", flags->seed);
    if (status == KM_OK)
        status = km_sweep_read(flags->path, overrides->items, overrides->count, (uint32_t)flags->replications,
                               KM_VERSION, &task->sweep, error);
    if (status == KM_OK)
        status = km_sweep_table_check(task->sweep.show, error);
    if (status != KM_OK)
        return status;
    name_columns(task, format);
    if (!flags->output && task->sweep.axes.points > KM_SWEEP_TABLE_POINTS)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "a grid of %" PRIu64 " points is too large for a table: name a file with --output",
                       task->sweep.axes.points);
    return check ? km_sweep_check(&task->sweep, threads, error) : KM_OK;
}

static enum km_status open_output(const struct flags *flags, struct task *task, struct km_error *error)
{
    if (task->sweep.axes.points <= KM_SWEEP_TABLE_POINTS)
        task->table = km_sweep_table_create(&task->sweep, &task->rows);
    return km_sweep_file_open(flags->output, &task->rows, task->sweep.runs, gather, task, &task->file, error);
}

/* What rank 0 says at the end; the rows are in the file by now. */
static enum km_status conclude(const struct flags *flags, const struct task *task, enum km_status status,
                               uint64_t count, int *code, struct km_error *error)
{
    uint64_t runs = task->sweep.runs, failed = task->states[KM_SWEEP_REFUSED];
    if (status == KM_INTERRUPTED && count < runs)
        return flags->output
                   ? km_fail(error, KM_INTERRUPTED, NULL, 0, 0,
                             "interrupted with %" PRIu64 " of %" PRIu64
                             " runs in %s; the same command goes on from there",
                             count, runs, flags->output)
                   : km_fail(error, KM_INTERRUPTED, NULL, 0, 0,
                             "interrupted after %" PRIu64 " of %" PRIu64 " runs, not kept without --output",
                             count, runs);
    if (status != KM_OK && status != KM_INTERRUPTED)
        return status;
    struct km_text text = {0};
    if (task->table)
        km_sweep_table_print(task->table, &text);
    if (flags->output)
        km_text_printf(&text, "%" PRIu64 " runs in %s\n", runs, flags->output);
    fputs(km_text_c(&text), stdout);
    km_text_release(&text);
    if (failed)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                       "%" PRIu64 " of %" PRIu64 " runs could not be made; column `reason` says why", failed,
                       runs);
    *code = task->states[KM_SWEEP_RAN] ? 0 : km_exit_code(KM_NO);
    return KM_OK;
}

static enum km_status sweep(const struct flags *flags, const struct km_ranks *ranks, int *code,
                            struct km_error *error)
{
    struct task task = {0};
    uint32_t threads = flags->jobs ? flags->jobs : km_pool_share((uint32_t)ranks->local_size);
    enum km_status status = read_question(flags, threads, ranks->rank == 0, &task, error);
    if (status == KM_OK && ranks->rank == 0)
        status = open_output(flags, &task, error);

    const struct km_sweep_work work = {.runs = task.sweep.runs,
                                       .threads = threads,
                                       .fingerprint = task.sweep.fingerprint,
                                       .stop = &km_interrupted,
                                       .context = &task,
                                       .compute = compute,
                                       .has = has,
                                       .take = take};
    km_interrupt_catch();
    km_progress_begin(&task.progress, stderr, "sweep");
    if (task.file)
        km_progress_resume(&task.progress, (double)km_sweep_file_count(task.file) / (double)task.sweep.runs);
    status = km_sweep_work(&work, ranks, status, error);
    km_progress_end(&task.progress);
    km_interrupt_release();

    if (task.file) {
        struct km_error closing = {0};
        uint64_t count = km_sweep_file_count(task.file);
        enum km_status closed = km_sweep_file_close(task.file, &closing);
        if (status == KM_OK && closed != KM_OK) {
            *error = closing;
            status = closed;
        }
        status = conclude(flags, &task, status, count, code, error);
    }
    km_sweep_table_destroy(task.table);
    if (task.sweep.path)
        km_sweep_release(&task.sweep);
    km_arena_release(&task.arena);
    return status;
}

static enum km_status ask(int argc, char **argv, const struct km_ranks *ranks, int *code,
                          struct km_error *error)
{
    struct flags flags = {0};
    const struct km_option options[] = {
        {"--output", KM_OPTION_TEXT, &flags.output, "FILE.csv|.jsonl",
         "append a row a run; an interrupted sweep goes on from there"},
        KM_JOBS_OPTION(&flags.jobs), /* of each rank */
        {"--replications", KM_OPTION_COUNT, &flags.replications, "N",
         "runs of each point, with seeds seed, seed + 1, ...; of a trace all but the first are resampled"},
        {"--seed", KM_OPTION_TEXT, &flags.seed, "N", "instead of the scenario's seed"},
        {"--set", KM_OPTION_LIST, &flags.sets, "KEY=VALUE",
         "override a key of the scenario; may be given again"},
        {0},
    };
    bool helped;
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, &flags.path, 1, &helped, error);
    if (status == KM_OK && flags.replications > UINT32_MAX)
        status = km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--replications: too many");
    /* All ranks read the same words, so all stop here or none. */
    return status == KM_OK && !helped ? sweep(&flags, ranks, code, error) : status;
}

static int run(int argc, char **argv, struct km_error *error)
{
    struct km_ranks ranks;
    int code = 0;
    enum km_status status = km_ranks_begin(&ranks, error);
    if (status == KM_OK)
        status = ask(argc, argv, &ranks, &code, error);
    km_ranks_end(&ranks);
    if (ranks.rank > 0) { /* rank 0 has been told, and tells */
        *error = (struct km_error){0};
        return 0;
    }
    return status == KM_OK ? code : km_exit_code(status);
}

const struct km_command km_command_sweep = {"sweep", ARGUMENTS,
                                            "a grid of runs, on all cores or under mpirun, resumable", run};

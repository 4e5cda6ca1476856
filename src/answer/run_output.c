#include "answer/run_output.h"

#include "base/file.h"
#include "base/outfile.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define LONGEST_FOLDER 400

static const char *path_of(char *out, const struct km_run_output *output, const char *name)
{
    snprintf(out, LONGEST_FOLDER + 20, "%s/%s", output->folder, name);
    return out;
}

/* Those that are open. */
static void abort_files(struct km_run_output *output)
{
    km_requests_csv_abort(&output->requests);
    km_replicas_csv_abort(&output->replicas);
    km_fleet_csv_abort(&output->fleet);
    km_steps_csv_abort(&output->steps);
}

enum km_status km_run_output_open(struct km_run_output *output, const char *folder, struct km_error *error)
{
    char path[LONGEST_FOLDER + 20];
    *output = (struct km_run_output){.folder = folder};
    if (!folder)
        return KM_OK;
    if (strlen(folder) > LONGEST_FOLDER)
        return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, "--output: path longer than %d bytes",
                       LONGEST_FOLDER);
    enum km_status status = km_make_directory(folder, error);
    if (status == KM_OK)
        status = km_requests_csv_open(&output->requests, path_of(path, output, "requests.csv"), error);
    if (status == KM_OK)
        status = km_replicas_csv_open(&output->replicas, path_of(path, output, "replicas.csv"), error);
    if (status == KM_OK)
        status = km_fleet_csv_open(&output->fleet, path_of(path, output, "fleet.csv"), error);
    if (status == KM_OK)
        status = km_steps_csv_open(&output->steps, path_of(path, output, "steps.csv"), error);
    if (status != KM_OK)
        abort_files(output);
    output->writes = status == KM_OK;
    return status;
}

void km_run_output_step(struct km_run_output *output, const struct km_step_record *record)
{
    const struct km_report_step step = {
        .now_ps = record->now_ps,
        .waited_ps = record->waited_ps,
        .replica = record->replica,
        .rank = record->rank,
        .prefill_requests = record->prefill_requests,
        .prefill_tokens = record->prefill_tokens,
        .decode_requests = record->decode_requests,
        .preempted = record->preempted,
        .running = record->running,
        .waiting = record->waiting,
        .kv_usage = (double)record->used_blocks / (double)record->capacity_blocks,
    };
    km_steps_csv_row(&output->steps, &step);
}

void km_run_output_request(struct km_run_output *output, enum km_outcome outcome,
                           const struct km_record *record)
{
    if (output->writes)
        km_requests_csv_row(&output->requests, outcome, record);
}

void km_run_output_replica(struct km_run_output *output, const struct km_replica_result *result)
{
    const struct km_report_replica replica = {
        .replica = result->replica,
        .group = result->group,
        .start_ps = result->start_ps,
        .end_ps = result->end_ps,
        .requests = result->completed,
        .prompt_tokens = result->prompt_tokens,
        .output_tokens = result->output_tokens,
        .preemptions = result->preemptions,
        .steps = result->steps,
        .ttft_mean_s = result->ttft_mean_s,
        .e2e_mean_s = result->e2e_mean_s,
        .busy = result->busy,
        .kv_capacity_blocks = result->capacity_blocks,
        .kv_peak_blocks = result->peak_blocks,
    };
    if (output->replica_count < KM_LISTED_REPLICAS)
        output->listed[output->replica_count] = replica;
    output->replica_count++;
    if (output->writes)
        km_replicas_csv_row(&output->replicas, &replica);
}

void km_run_output_resized(struct km_run_output *output, const struct km_group_size *size)
{
    if (output->writes)
        km_fleet_csv_row(&output->fleet, size->now_ps, size->group, size->starting, size->serving,
                         size->draining);
}

void km_run_output_list(const struct km_run_output *output, struct km_report *report)
{
    report->replica_count = output->replica_count;
    report->replicas = output->replica_count <= KM_LISTED_REPLICAS ? output->listed : NULL;
}

/* --json DIR/result.json beside --output DIR is one file, however it is spelled. */
static bool is_same(const struct km_outfile *a, const struct km_outfile *b)
{
    struct stat first, second;
    return fstat(fileno(a->stream), &first) == 0 && fstat(fileno(b->stream), &second) == 0 &&
           S_ISREG(first.st_mode) && first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

enum km_status km_run_output_commit(struct km_run_output *output, const struct km_text *result_json,
                                    const char *json_path, struct km_error *error)
{
    char path[LONGEST_FOLDER + 20];
    struct km_outfile json = {0}, result = {0}, *files[6];
    size_t count = 0;
    enum km_status status = json_path ? km_outfile_open(&json, json_path, error) : KM_OK;
    if (status == KM_OK && output->writes)
        status = km_outfile_open(&result, path_of(path, output, "result.json"), error);
    if (status != KM_OK) {
        km_outfile_abort(&json);
        return status;
    }
    if (json.stream && result.stream && is_same(&json, &result)) {
        fclose(json.stream);
        json.stream = NULL;
    }
    if (json.stream)
        files[count++] = &json;
    if (result.stream) {
        files[count++] = &output->requests.file;
        files[count++] = &output->replicas.file;
        files[count++] = &output->fleet.file;
        files[count++] = &output->steps.file;
        files[count++] = &result;
    }
    if (json.stream)
        fwrite(km_text_c(result_json), 1, result_json->length, json.stream);
    if (result.stream)
        fwrite(km_text_c(result_json), 1, result_json->length, result.stream);
    return count ? km_outfiles_commit(files, count, error) : KM_OK;
}

void km_run_output_abort(struct km_run_output *output)
{
    if (output->writes)
        abort_files(output);
}

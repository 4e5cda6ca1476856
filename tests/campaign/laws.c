/* The laws of rows, of text and of refusals, and what the other laws share. */
#include "campaign/laws.h"

#include "support/finite.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool complain(struct complaint *complaint, const char *law, const char *format, ...)
{
    if (complaint->text[0])
        return false;
    int length = snprintf(complaint->text, sizeof complaint->text, "%s: ", law);
    va_list args;
    va_start(args, format);
    vsnprintf(complaint->text + length, sizeof complaint->text - (size_t)length, format, args);
    va_end(args);
    return false;
}

double json_number(const cJSON *json, const char *path, struct complaint *out)
{
    char part[64];
    const cJSON *at = json;
    for (const char *rest = path; at && *rest;) {
        size_t length = strcspn(rest, ".");
        snprintf(part, sizeof part, "%.*s", (int)length, rest);
        at = cJSON_IsArray(at) ? cJSON_GetArrayItem(at, atoi(part))
                               : cJSON_GetObjectItemCaseSensitive(at, part);
        rest += length + (rest[length] == '.');
    }
    if (!at || (!cJSON_IsNumber(at) && !cJSON_IsNull(at)))
        complain(out, "json", "there is no number %s", path);
    return at && cJSON_IsNumber(at) ? at->valuedouble : (double)NAN;
}

bool agree(double is, double should, double relative)
{
    if (isnan(is) || isnan(should))
        return isnan(is) && isnan(should);
    return fabs(is - should) <= relative * (fabs(is) > fabs(should) ? fabs(is) : fabs(should)) + 1e-300;
}

bool expect(const cJSON *json, const char *path, double should, const char *law, struct complaint *out)
{
    double is = json_number(json, path, out);
    return agree(is, should, 1e-9) || complain(out, law, "%s is %.17g, not %.17g", path, is, should);
}

/* --- rows ---------------------------------------------------------------------------------------------- */

static bool row_in_order(const struct run *run, const struct ended *row, struct complaint *out)
{
    const struct km_record *r = &row->record;
    if (row->outcome != KM_COMPLETED)
        return true;
    if (r->arrival_ps > r->scheduled_ps || r->scheduled_ps > r->started_ps ||
        r->started_ps >= r->first_token_ps || r->first_token_ps > r->last_token_ps)
        return complain(out, "order of time",
                        "request %" PRIu64 ": %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
                        r->id, r->arrival_ps, r->scheduled_ps, r->started_ps, r->first_token_ps,
                        r->last_token_ps);
    double patience_s = run->scenario.workload.patience_s;
    if (patience_s > 0 && (double)(r->scheduled_ps - r->arrival_ps) > patience_s * 1e12 * (1 + 1e-12) + 1)
        return complain(out, "patience", "request %" PRIu64 " was scheduled after %g s", r->id,
                        (double)(r->scheduled_ps - r->arrival_ps) * 1e-12);
    return true;
}

void laws_of_rows(const struct run *run, struct complaint *out)
{
    uint64_t outcomes[KM_CANCELLED + 1] = {0}, prompt = 0, output = 0, preemptions = 0, last_end_ps = 0;
    bool *seen = km_alloc(run->count + 1);
    const struct km_summary *s = &run->result.summary;
    for (size_t i = 0; i < run->count; i++) {
        const struct km_record *r = &run->rows[i].record;
        outcomes[run->rows[i].outcome]++;
        if (r->id >= run->count || seen[r->id])
            complain(out, "conservation", "request %" PRIu64 " of %zu ended twice or never came", r->id,
                     run->count);
        else
            seen[r->id] = true;
        if (r->prompt_tokens == 0 || (r->output_tokens == 0 && run->rows[i].outcome != KM_CANCELLED))
            complain(out, "conservation", "request %" PRIu64 " has no tokens", r->id);
        row_in_order(run, &run->rows[i], out);
        preemptions += r->preemptions;
        if (run->rows[i].outcome != KM_COMPLETED)
            continue;
        if (r->last_token_ps < last_end_ps)
            complain(out, "order of time", "request %" PRIu64 " is told after one that ended later", r->id);
        last_end_ps = r->last_token_ps;
        prompt += r->prompt_tokens;
        output += r->output_tokens;
    }
    free(seen);
    if (s->submitted != run->count || s->completed != outcomes[KM_COMPLETED] ||
        s->rejected != outcomes[KM_REJECTED] || s->abandoned != outcomes[KM_ABANDONED] ||
        s->cancelled != outcomes[KM_CANCELLED] || run->result.simulation.unserved)
        complain(out, "conservation", "%" PRIu64 " submitted, %zu rows; %" PRIu64 " + %" PRIu64 " + %" PRIu64,
                 s->submitted, run->count, s->completed, s->rejected, s->abandoned);
    if (s->prompt_tokens != prompt || s->output_tokens != output)
        complain(out, "conservation", "tokens %" PRIu64 " and %" PRIu64 ", rows %" PRIu64 " and %" PRIu64,
                 s->prompt_tokens, s->output_tokens, prompt, output);
    if (run->result.simulation.work.sampled < output)
        complain(out, "conservation", "fewer tokens sampled than there are outputs");
    if (s->preemptions != preemptions)
        complain(out, "conservation", "%" PRIu64 " preemptions, rows %" PRIu64, s->preemptions, preemptions);
    if (run->result.simulation.used_blocks)
        complain(out, "conservation", "%" PRIu64 " KV blocks held when all is over",
                 run->result.simulation.used_blocks);
}

/* --- text ---------------------------------------------------------------------------------------------- */

void laws_of_text(const struct run *run, struct complaint *out)
{
    const struct km_text *const texts[] = {&run->json, &run->table, &run->csv};
    static const char *const names[] = {"JSON", "table", "requests.csv"};
    for (size_t i = 0; i < 3; i++) {
        const char *text = km_text_c(texts[i]), *at = find_not_finite(text);
        size_t before = at ? (size_t)(at - text < 40 ? at - text : 40) : 0;
        if (at)
            complain(out, "undefined number", "%s: %.60s", names[i], at - before);
    }
}

void laws_of_refusal(const struct run *run, struct complaint *out)
{
    char line[1200];
    km_error_format(&run->error, line, sizeof line);
    if (!run->error.message[0] || strchr(line, '\n') || find_not_finite(line))
        complain(out, "refusal", "status %d: \"%s\"", run->status, line);
    if (run->status != KM_BAD_INPUT && run->status != KM_NO)
        complain(out, "refusal", "status %d: %s", run->status, line);
}

/* --- all ----------------------------------------------------------------------------------------------- */

bool same_runs(const struct run *a, const struct run *b, const char *what, struct complaint *out)
{
    const struct km_text *const texts[][2] = {
        {&a->csv, &b->csv}, {&a->json, &b->json}, {&a->table, &b->table}};
    if (a->status != b->status || strcmp(a->error.message, b->error.message) != 0)
        return complain(out, what, "status %d %s; status %d %s", a->status, a->error.message, b->status,
                        b->error.message);
    for (size_t i = 0; i < 3; i++) {
        const char *left = km_text_c(texts[i][0]), *right = km_text_c(texts[i][1]);
        size_t at = 0;
        while (left[at] && left[at] == right[at])
            at++;
        if (left[at] == right[at])
            continue;
        size_t from = at > 40 ? at - 40 : 0;
        return complain(out, what, "%.70s | %.70s", left + from, right + from);
    }
    return true;
}

void laws_hold(const struct run *run, struct complaint *out)
{
    cJSON *json = cJSON_Parse(km_text_c(&run->json));
    if (!json)
        complain(out, "json", "it cannot be parsed");
    else {
        laws_of_rows(run, out);
        laws_of_text(run, out);
        laws_of_latency(run, json, out);
        laws_of_system(run, json, out);
        laws_of_bill(run, json, out);
        laws_of_slo(run, json, out);
    }
    cJSON_Delete(json);
}

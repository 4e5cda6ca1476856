#include "campaign/check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The same scenario again: from the file, with every step taken singly, and from what the result says it was.
 */
static void same_again(const struct run *first, const char *folder, struct complaint *out)
{
    static const struct run_options singly = {.no_fast_forward = true};
    struct run again;
    char path[512];
    snprintf(path, sizeof path, "%s/case.yaml", folder);
    run_file(path, NULL, &again);
    same_runs(first, &again, "same seed", out);
    run_release(&again);
    run_file(path, &singly, &again);
    same_runs(first, &again, "fast-forward", out);
    run_release(&again);

    snprintf(path, sizeof path, "%s/resolved.yaml", folder);
    FILE *file = fopen(path, "w");
    if (!file || fputs(km_text_c(&first->resolved), file) < 0 || fclose(file) != 0)
        abort();
    run_file(path, NULL, &again);
    same_runs(first, &again, "resolved scenario", out);
    run_release(&again);
}

const char *const feature_names[FEATURES] = {"preempted", "rejected",        "abandoned",
                                             "scaled",    "shared prefixes", "several groups",
                                             "saturated", "missed its SLO"};

static void note_features(const struct run *run, bool *features)
{
    const struct km_summary *s = &run->result.summary;
    const struct km_group_result *first = &run->result.simulation.groups[0];
    features[PREEMPTED] = s->preemptions > 0;
    features[REJECTED] = s->rejected > 0;
    features[ABANDONED] = s->abandoned > 0;
    features[SCALED] = first->scale_ups + first->scale_downs > 0;
    features[SHARED_PREFIX] = s->prefix_hit_rate > 0;
    features[SEVERAL_GROUPS] = run->fleet.group_count > 1;
    features[SATURATED] = s->verdict == KM_SATURATED;
    features[MISSED_SLO] = s->slo_stated && !s->slo_attained;
}

static void check_run(const struct random_scenario *c, const char *folder, struct checked *out)
{
    struct run run;
    run_case(c, folder, NULL, &run);
    out->status = run.status;
    if (run.status == KM_OK) {
        note_features(&run, out->features);
        laws_hold(&run, &out->complaint);
        same_again(&run, folder, &out->complaint);
    } else {
        laws_of_refusal(&run, &out->complaint);
    }
    run_release(&run);
}

void check_case(const struct random_scenario *c, const char *folder, struct checked *out)
{
    static struct random_scenario conditioned;
    const struct relation *relation = &relations[c->relation];
    *out = (struct checked){.relation_verdict = NOT_ASKED};
    check_run(c, folder, out);
    if (out->complaint.text[0])
        return;
    conditioned = *c;
    relation->condition(&conditioned);
    out->relation_verdict = relation->check(&conditioned, folder, &out->complaint);
}

/* --- apart --------------------------------------------------------------------------------------------- */

static void read_all(int from, void *to, size_t size)
{
    size_t have = 0;
    for (ssize_t got; have < size && (got = read(from, (char *)to + have, size - have)) > 0;)
        have += (size_t)got;
    if (have < size)
        memset(to, 0, size);
}

void check_apart(const struct random_scenario *c, const char *folder, struct checked *out)
{
    int ends[2], status;
    if (pipe(ends) != 0)
        abort();
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        static struct checked checked;
        alarm(LONGEST_CASE_S);
        check_case(c, folder, &checked);
        _exit(write(ends[1], &checked, sizeof checked) == sizeof checked ? 0 : 1);
    }
    close(ends[1]);
    read_all(ends[0], out, sizeof *out);
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        abort();
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        complain(&out->complaint, "hang", "it does not end within %d s", LONGEST_CASE_S);
    else if (WIFSIGNALED(status))
        complain(&out->complaint, "crash", "signal %d", WTERMSIG(status));
    else if (WEXITSTATUS(status))
        complain(&out->complaint, "crash", "exit code %d", WEXITSTATUS(status));
}

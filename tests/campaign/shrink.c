#include "campaign/shrink.h"

#include <string.h>

struct shrinking {
    struct random_scenario *c;
    struct complaint *complaint;
    void (*check)(const struct random_scenario *c, void *context, struct complaint *out);
    void *context;
    struct random_scenario tried;
};

/* Is what was tried smaller, and does it still break the law that the complaint names? Then it is the case
 * now. */
static bool take(struct shrinking *s)
{
    struct complaint complaint = {""};
    size_t law = strcspn(s->complaint->text, ":");
    s->check(&s->tried, s->context, &complaint);
    if (strncmp(complaint.text, s->complaint->text, law + 1) != 0)
        return false;
    *s->complaint = complaint;
    *s->c = s->tried;
    return true;
}

/* Without `count` rows from the i-th on. */
static void drop_rows(struct random_scenario *c, size_t i, size_t count)
{
    c->row_count -= count;
    memmove(&c->rows[i], &c->rows[i + count], (c->row_count - i) * sizeof *c->rows);
}

static bool fewer_rows(struct shrinking *s)
{
    bool shorter = false;
    for (size_t count = s->c->row_count / 2; count > 0; count /= 2)
        for (size_t i = 0; i + count <= s->c->row_count && count < s->c->row_count;) {
            s->tried = *s->c;
            drop_rows(&s->tried, i, count);
            if (take(s))
                shorter = true;
            else
                i += count;
        }
    return shorter;
}

static bool fewer_settings(struct shrinking *s)
{
    bool shorter = false;
    for (size_t i = s->c->count; i-- > 0;) {
        s->tried = *s->c;
        case_drop_at(&s->tried, i);
        shorter = take(s) || shorter;
    }
    return shorter;
}

/* Sections whose keys need each other. */
static bool fewer_sections(struct shrinking *s)
{
    static const char *const sections[] = {"autoscaling",
                                           "slo",
                                           "cost",
                                           "engine.collectives.all_reduce",
                                           "engine.composition",
                                           "engine.batching",
                                           "engine.kv",
                                           "engine.host",
                                           "engine.kernels",
                                           "economics",
                                           "cluster.groups.2",
                                           "cluster.groups.1",
                                           "cluster.groups",
                                           "cluster.node",
                                           "precision",
                                           "workload.arrivals.think_s",
                                           "workload.prompt_tokens",
                                           "workload.output_tokens"};
    bool shorter = false;
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        s->tried = *s->c;
        case_drop(&s->tried, sections[i]);
        shorter = (s->tried.count < s->c->count && take(s)) || shorter;
    }
    return shorter;
}

/* Rows without what they need not have, and with small numbers. */
static bool plainer_rows(struct shrinking *s)
{
    bool plainer = false;
    for (size_t i = 0; i < s->c->row_count; i++)
        for (int what = 0; what < 5; what++) {
            s->tried = *s->c;
            struct row *row = &s->tried.rows[i];
            if (what == 0)
                row->prefix = row->shared_blocks = 0;
            else if (what == 1)
                row->session = row->class_index = 0;
            else if (what == 2)
                row->output_tokens = 1 + row->output_tokens / 2;
            else if (what == 3)
                row->prompt_tokens = 1 + row->prompt_tokens / 2;
            else
                row->arrival_us = i ? s->tried.rows[i - 1].arrival_us : 0;
            plainer = (memcmp(row, &s->c->rows[i], sizeof *row) != 0 && take(s)) || plainer;
        }
    return plainer;
}

void shrink_case(struct random_scenario *c,
                 void (*check)(const struct random_scenario *c, void *context, struct complaint *out),
                 void *context, struct complaint *complaint)
{
    static struct shrinking s;
    s = (struct shrinking){.c = c, .complaint = complaint, .check = check, .context = context};
    for (int round = 0; round < 4; round++) {
        bool smaller = fewer_sections(&s);
        smaller = fewer_rows(&s) || smaller;
        smaller = fewer_settings(&s) || smaller;
        smaller = plainer_rows(&s) || smaller;
        if (!smaller)
            return;
    }
}

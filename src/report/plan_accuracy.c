#include "accuracy/accuracy.h"
#include "report/cells.h"
#include "report/plan_report.h"

#define RANKS_WIDTH 12

static bool same_row(const struct km_plan_entry *a, const struct km_plan_entry *b)
{
    return km_accuracy_same_row(a->candidate->accuracy, b->candidate->accuracy);
}

/* "1, 3, 5" of the entries that share this one's row; false when one before it does. */
static bool put_ranks(const struct km_plan *plan, uint64_t index, uint64_t count, struct km_text *out)
{
    for (uint64_t i = 0; i < index; i++)
        if (same_row(&plan->entries[i], &plan->entries[index]))
            return false;
    for (uint64_t i = index; i < count; i++)
        if (same_row(&plan->entries[i], &plan->entries[index]))
            km_text_printf(out, "%s%llu", i == index ? "" : ", ", (unsigned long long)i + 1);
    return true;
}

static void put_row(const struct km_plan_entry *entry, const char *ranks, unsigned width, struct km_text *out)
{
    struct km_text words = {0};
    if (entry->candidate->no_profile)
        km_text_printf(&words, "no profile of %s: roofline; ", entry->candidate->device);
    if (entry->candidate->weight_only)
        km_text_printf(&words, "%s widens the weights on the way (weight-only); ", entry->candidate->device);
    km_accuracy_describe(entry->candidate->accuracy, &words);
    if (entry->candidate->time_error.measured && entry->candidate->accuracy->row.points)
        km_text_printf(&words, "; steps take %.2f to %.2f times as long", entry->candidate->time_error.fast,
                       entry->candidate->time_error.slow);
    else if (!entry->candidate->time_error.measured)
        km_text_printf(&words, "; %s", entry->candidate->time_error.source);
    km_text_printf(out, "     %-*s ", RANKS_WIDTH, ranks);
    km_put_wrapped(km_text_c(&words), 5 + RANKS_WIDTH + 1, width, out);
    km_text_release(&words);
}

static bool is_doubtful(const struct km_plan_entry *entry)
{
    const struct km_probe *probe = entry->candidate->probe;
    return probe && (probe->doubt.guessed_op || probe->doubt.extrapolated_op);
}

/* One warning, of the best plan that needs it, and which others do. */
static void put_warning(const struct km_plan *plan, uint64_t count, unsigned width, struct km_text *out)
{
    struct km_text words = {0};
    uint64_t first = 0, others = 0;
    while (first < count && !is_doubtful(&plan->entries[first]))
        first++;
    if (first == count)
        return;
    const struct km_candidate *candidate = plan->entries[first].candidate;
    km_text_printf(&words, "rank %llu: ", (unsigned long long)first + 1);
    km_doubt_describe(&candidate->probe->doubt, candidate->device, &words);
    for (uint64_t i = first + 1; i < count; i++)
        if (is_doubtful(&plan->entries[i]))
            km_text_printf(&words, "%s%llu", others++ ? ", " : "; so it is, more or less, with rank ",
                           (unsigned long long)i + 1);
    km_text_puts(out, "   Warning: ");
    km_put_wrapped(km_text_c(&words), 12, width, out);
    km_text_release(&words);
}

void km_plan_accuracy_text(const struct km_plan *plan, uint64_t shown, unsigned width, struct km_text *out)
{
    uint64_t count = 0;
    bool uncertain = false;
    while (count < shown && plan->entries[count].candidate->accuracy)
        uncertain |= plan->entries[count++].uncertain;
    if (uncertain)
        km_text_puts(out,
                     "   ~ may cost no more than a plan above it, as far as the cost model was measured\n");
    if (count > 0)
        km_text_puts(out, "   What they stand on, by rank:\n");
    for (uint64_t i = 0; i < count; i++) {
        struct km_text ranks = {0};
        if (put_ranks(plan, i, count, &ranks))
            put_row(&plan->entries[i], km_text_c(&ranks), width, out);
        km_text_release(&ranks);
    }
    put_warning(plan, shown, width, out);
}

/* Bytes as the dice of tests/campaign: a scenario of at most 50 requests is drawn by them and run, with and
 * without fast-forward and from its resolved form, and all laws of the campaign and one of its relations are
 * checked. The first byte chooses the relation. */
#include "campaign/check.h"
#include "campaign/draw.h"
#include "fuzz/dice.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST 50

static void few_requests(struct random_scenario *c)
{
    const char *requests = case_get(c, "workload.requests");
    if (c->row_count > MOST)
        c->row_count = MOST;
    if (requests && atol(requests) > MOST)
        case_set(c, "workload.requests", "%d", MOST);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct keys *keys;
    static struct random_scenario c;
    static struct checked checked;
    struct km_arena arena = {0};
    if (size == 0)
        return 0;
    if (!keys)
        keys = keys_create();
    gsl_rng *dice = fuzz_dice(data + 1, size - 1);
    draw_case_by(keys, dice, &arena, &c);
    gsl_rng_free(dice);
    few_requests(&c);
    c.relation = data[0] % relation_count;
    c.number = data[0];
    check_case(&c, fuzz_folder(), &checked);
    if (checked.complaint.text[0]) {
        struct km_text text = {0};
        case_yaml(&c, &text);
        if (c.row_count)
            case_trace(&c, &text);
        km_text_printf(&text, "%s: %s", relations[c.relation].name, checked.complaint.text);
        fuzz_found(km_text_c(&text));
    }
    km_arena_release(&arena);
    return 0;
}

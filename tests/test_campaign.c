/* The campaign of random scenarios itself: it draws every key that there is, its laws see faults, and what
 * breaks one is shrunk. The campaign is a test of its own, `campaign`. */
#include "campaign/check.h"
#include "campaign/draw.h"
#include "campaign/shrink.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SEED  1
#define CASES 2000

static char folder[] = "/tmp/kingman-test-campaign-XXXXXX";

static int open_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int close_folder(void **state)
{
    char command[sizeof folder + 8];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

/* --- keys ---------------------------------------------------------------------------------------------- */

static void every_key_has_a_generator(void **state)
{
    struct keys *keys = keys_create();
    struct km_text missing = {0};
    (void)state;
    keys_without_generator(keys, &missing);
    if (missing.length)
        fail_msg("keys without a generator in tests/campaign/keys.c:\n%s", km_text_c(&missing));
    keys_without_scenario(keys, &missing);
    if (missing.length)
        fail_msg("rows of tests/campaign/keys.c that no scenario has any more:\n%s", km_text_c(&missing));
    keys_destroy(keys);
}

/* "cluster.groups.1.device" is a "cluster.groups.device". */
static void without_numbers(const char *key, char *out)
{
    for (; *key; key++) {
        if (*key == '.' && key[1] >= '0' && key[1] <= '9')
            key += 1 + strspn(key + 1, "0123456789");
        if (!*key)
            break;
        *out++ = *key;
    }
    *out = '\0';
}

static bool is_taken(const struct random_scenario *c)
{
    struct km_scenario scenario;
    struct km_error error;
    char path[128];
    case_write(c, folder);
    snprintf(path, sizeof path, "%s/case.yaml", folder);
    if (km_scenario_read(path, NULL, 0, &scenario, &error) != KM_OK)
        return false;
    km_scenario_release(&scenario);
    return true;
}

/* A key that only refused scenarios have is as good as not drawn. */
static void every_key_is_taken_somewhere(void **state)
{
    static struct random_scenario c;
    static bool seen[512];
    static char listed[512][96];
    struct km_text list = {0};
    struct keys *keys = keys_create();
    size_t count = 0;
    uint64_t taken = 0;
    (void)state;
    km_scenario_list_settings(&list);
    for (char *line = strtok(list.bytes, "\n"); line; line = strtok(NULL, "\n"), count++)
        snprintf(listed[count], sizeof listed[count], "%.*s", (int)(strstr(line, "  ") - line), line);
    for (uint64_t number = 0; number < CASES; number++) {
        struct km_arena arena = {0};
        draw_case(keys, SEED, number, &arena, &c);
        bool is = is_taken(&c);
        taken += is;
        for (size_t i = 0; is && i < c.count; i++) {
            char key[256];
            without_numbers(c.settings[i].key, key);
            for (size_t k = 0; k < count; k++)
                seen[k] = seen[k] || case_is_under(key, listed[k]);
        }
        km_arena_release(&arena);
    }
    for (size_t k = 0; k < count; k++)
        if (!seen[k])
            fail_msg("%s is in none of %d scenarios", listed[k], CASES);
    assert_true(taken > CASES * 3 / 4);
    km_text_release(&list);
    keys_destroy(keys);
}

static void the_same_number_draws_the_same_case(void **state)
{
    static struct random_scenario a, b;
    struct keys *keys = keys_create();
    struct km_arena arena = {0};
    struct km_text first = {0}, second = {0}, third = {0};
    (void)state;
    draw_case(keys, SEED, 5, &arena, &a);
    case_yaml(&a, &first);
    draw_case(keys, SEED, 5, &arena, &b);
    case_yaml(&b, &second);
    assert_string_equal(km_text_c(&first), km_text_c(&second));
    draw_case(keys, SEED, 6, &arena, &b);
    case_yaml(&b, &third);
    assert_string_not_equal(km_text_c(&first), km_text_c(&third));
    km_text_release(&first);
    km_text_release(&second);
    km_text_release(&third);
    km_arena_release(&arena);
    keys_destroy(keys);
}

/* --- laws ---------------------------------------------------------------------------------------------- */

/* Two requests of which one is preempted by the other's growth, and what comes of it. */
static void plain_case(struct km_arena *arena, struct random_scenario *c)
{
    memset(c, 0, sizeof *c);
    c->arena = arena;
    case_set(c, "model", "llama-3.2-1b");
    case_set(c, "cluster.device", "h200-sxm");
    case_set(c, "cluster.replicas", "2");
    case_set(c, "workload.trace", "trace");
    case_set(c, "slo.ttft_p50_s", "0.1");
    for (uint32_t i = 0; i < 12; i++)
        c->rows[i] = (struct row){.arrival_us = 1000 * i, .prompt_tokens = 5 + i, .output_tokens = 3 + i};
    c->row_count = 12;
}

/* The run's JSON with the first number after `key` changed: the law that it breaks, or "". */
static void broken_by(const struct run *run, const char *key, const char *value, struct complaint *out)
{
    struct km_text whole = run->json;
    struct run forged = *run;
    const char *text = km_text_c(&whole), *at = strstr(text, key);
    assert_non_null(at);
    at += strlen(key);
    size_t skip = strcspn(at, ",}\n");
    forged.json = (struct km_text){0};
    km_text_append(&forged.json, text, (size_t)(at - text));
    km_text_puts(&forged.json, value);
    km_text_puts(&forged.json, at + skip);
    *out = (struct complaint){""};
    laws_hold(&forged, out);
    km_text_release(&forged.json);
}

static void laws_see_a_wrong_number(void **state)
{
    static struct random_scenario c;
    static const struct {
        const char *key, *value, *law;
    } forgeries[] = {
        {"\"ttft_s\": {\"mean\": ", "0.5", "mean"},
        {"\"submitted\": ", "11", "count"},
        {"\"duration_s\": ", "1", "duration"},
        {"\"output_tokens_per_s\": ", "1", "throughput"},
        {"\"p99\": ", "0.0001", "quantile"},
        {"\"max\": ", "9", "maximum"},
        {"\"mean_in_system\": ", "2.5", "Little's law"},
        {"\"peak_in_system\": ", "13", "peak in system"},
        {"\"peak_blocks\": ", "1e9", "limit"},
        {"\"busy\": ", "1.01", "limit"},
        {"\"gpu_seconds\": ", "1", "bill"},
        {"\"usd\": ", "1", "bill"},
        {"\"gco2\": ", "1", "energy"},
        {"\"within\": ", "3", "SLO"},
        {"\"goodput_per_s\": ", "3", "goodput"},
        {"\"mean_batch_sequences\": ", "nan", "json"},
    };
    struct km_arena arena = {0};
    struct complaint complaint = {""};
    struct run run;
    (void)state;
    plain_case(&arena, &c);
    run_case(&c, folder, NULL, &run);
    assert_int_equal(run.status, KM_OK);
    laws_hold(&run, &complaint);
    assert_string_equal(complaint.text, "");
    for (size_t i = 0; i < sizeof forgeries / sizeof *forgeries; i++) {
        broken_by(&run, forgeries[i].key, forgeries[i].value, &complaint);
        if (strncmp(complaint.text, forgeries[i].law, strlen(forgeries[i].law)) != 0)
            fail_msg("%s%s: \"%s\"", forgeries[i].key, forgeries[i].value, complaint.text);
    }
    run_release(&run);
    km_arena_release(&arena);
}

static void laws_see_wrong_rows(void **state)
{
    static struct random_scenario c;
    struct km_arena arena = {0};
    struct run run;
    (void)state;
    plain_case(&arena, &c);
    run_case(&c, folder, NULL, &run);
    for (int what = 0; what < 4; what++) {
        struct ended kept = run.rows[3];
        struct complaint complaint = {""};
        if (what == 0)
            run.rows[3].record.id = run.rows[4].record.id;
        else if (what == 1)
            run.rows[3].record.first_token_ps = run.rows[3].record.arrival_ps;
        else if (what == 2)
            run.rows[3].outcome = KM_ABANDONED;
        else
            run.rows[3].record.output_tokens++;
        laws_of_rows(&run, &complaint);
        assert_string_not_equal(complaint.text, "");
        run.rows[3] = kept;
    }
    run_release(&run);
    km_arena_release(&arena);
}

static void words_that_are_no_numbers(void **state)
{
    static const struct {
        const char *text;
        bool undefined;
    } cases[] = {{"nan x h200", true},    {"-inf", true},       {"mean inf s", true},   {"INFINITY", true},
                 {"infiniband 4", false}, {"finance", false},   {"information", false}, {"nano", false},
                 {"a_nan_b", false},      {"ttft_s nan", true}, {"0,nan,1", true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct run run = {0};
        struct complaint complaint = {""};
        km_text_puts(&run.table, cases[i].text);
        laws_of_text(&run, &complaint);
        if ((complaint.text[0] != '\0') != cases[i].undefined)
            fail_msg("%s", cases[i].text);
        km_text_release(&run.table);
    }
}

/* --- shrinking ----------------------------------------------------------------------------------------- */

/* As if a fault showed wherever a request has a long output and max_num_seqs is set. */
static void planted(const struct random_scenario *c, void *context, struct complaint *out)
{
    (void)context;
    for (size_t i = 0; i < c->row_count; i++)
        if (c->rows[i].output_tokens > 20 && case_get(c, "engine.batching.max_num_seqs"))
            complain(out, "planted", "row %zu", i);
}

static void what_breaks_is_shrunk(void **state)
{
    static struct random_scenario c;
    struct keys *keys = keys_create();
    struct km_arena arena = {0};
    struct complaint complaint = {""};
    (void)state;
    uint64_t number = 0;
    do {
        draw_case(keys, SEED, number++, &arena, &c);
        complaint.text[0] = '\0';
        planted(&c, NULL, &complaint);
    } while (!complaint.text[0] || c.row_count < 10);
    shrink_case(&c, planted, NULL, &complaint);
    assert_int_equal(c.row_count, 1);
    assert_int_equal(c.count, 1);
    assert_non_null(case_get(&c, "engine.batching.max_num_seqs"));
    km_arena_release(&arena);
    keys_destroy(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_a_generator),
        cmocka_unit_test(every_key_is_taken_somewhere),
        cmocka_unit_test(the_same_number_draws_the_same_case),
        cmocka_unit_test(laws_see_a_wrong_number),
        cmocka_unit_test(laws_see_wrong_rows),
        cmocka_unit_test(words_that_are_no_numbers),
        cmocka_unit_test(what_breaks_is_shrunk),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}

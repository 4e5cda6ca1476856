/* `kingman queue` with options that the bytes choose, or with the bytes as its file: answers in 0, 1 or 2, in
 * numbers, and as JSON that is JSON. */
#include "campaign/keys.h"
#include "cli/command.h"
#include "fuzz/dice.h"
#include "support/finite.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const struct km_command km_command_queue;

#define MOST_WORDS 40

struct words {
    char *argv[MOST_WORDS + 1];
    int argc;
    struct km_arena arena;
};

static void word(struct words *words, const char *text)
{
    if (words->argc < MOST_WORDS)
        words->argv[words->argc++] = km_arena_strdup(&words->arena, text);
}

static const char *number(gsl_rng *dice, struct words *words)
{
    static const char *const special[] = {"0",     "1",   "2",        "64",  "-1", "1e-300",
                                          "1e300", "nan", "0.999999", "1e9", "",   "x"};
    if (chance(dice, 20))
        return special[pick(dice, 0, sizeof special / sizeof *special - 1)];
    if (chance(dice, 40))
        return km_arena_printf(&words->arena, "%u", pick(dice, 1, 40));
    return km_arena_printf(&words->arena, "%.3g", spread(dice, 1e-6, 1e3));
}

/* The pattern with a number for every %s. */
static const char *filled(gsl_rng *dice, struct words *words, const char *pattern)
{
    struct km_text text = {0};
    const char *at = pattern;
    for (const char *hole; (hole = strstr(at, "%s")); at = hole + 2) {
        km_text_append(&text, at, (size_t)(hole - at));
        km_text_puts(&text, number(dice, words));
    }
    km_text_puts(&text, at);
    const char *out = km_arena_strdup(&words->arena, km_text_c(&text));
    km_text_release(&text);
    return out;
}

static const char *distribution(gsl_rng *dice, struct words *words)
{
    static const char *const shapes[] = {"distribution=geometric,mean=%s",
                                         "distribution=uniform,min=%s,max=%s",
                                         "distribution=lognormal,mean=%s,sd=%s",
                                         "distribution=gamma,mean=%s,cv=%s",
                                         "distribution=zipf,exponent=%s,max=%s",
                                         "distribution=constant,value=%s",
                                         "%s"};
    const char *shape = filled(dice, words, shapes[pick(dice, 0, sizeof shapes / sizeof *shapes - 1)]);
    /* Laws with long tails take seconds by themselves: the files of a queue may have them. */
    return shape[0] == 'd' ? km_arena_printf(&words->arena, "%s,max=%u", shape, pick(dice, 1, 300)) : shape;
}

static void option(gsl_rng *dice, struct words *words, const char *name, const char *pattern)
{
    word(words, name);
    word(words, filled(dice, words, pattern));
}

static void options(gsl_rng *dice, struct words *words)
{
    static const char *const disciplines[] = {"mg1",           "dynamic", "fixed", "elastic_dynamic",
                                              "elastic_fixed", "ggc"};
    static const char *const laws[] = {"a=%s,c=%s", "k1=%s,k2=%s,k3=%s,k4=%s", "mean_s=%s,cv=%s"};
    static const char *const others[] = {"--batch-cap",   "--batch-size", "--patience-s",
                                         "--wait-tail-s", "--epsilon",    "--kappa",
                                         "--seed",        "--servers",    "--arrival-cv"};
    static const char *const sweeps[] = {"rate=%s:%s:2", "rate=%s:%s:3", "max_tokens=%s:%s:3",
                                         "servers=%s:%s:3"};
    uint32_t discipline = pick(dice, 0, 5);
    word(words, "--discipline");
    word(words, disciplines[discipline]);
    option(dice, words, "--arrival-rate-per-s", "%s");
    option(dice, words, "--service", laws[discipline == 0 ? 0 : discipline == 5 ? 2 : 1]);
    if (discipline != 5 || chance(dice, 10)) {
        word(words, "--output-tokens");
        word(words, distribution(dice, words));
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (chance(dice, i < 2 && discipline > 0 ? 60 : 20))
            option(dice, words, others[i], "%s");
    if (chance(dice, 15))
        option(dice, words, "--optimize", "max_tokens");
    if (chance(dice, 15))
        option(dice, words, "--sweep", sweeps[pick(dice, 0, 3)]);
}

static void check(const char *text, bool json, int code, const struct km_error *error)
{
    if (code < 0 || code > 2 || (code == 2 && !error->message[0]))
        fuzz_found("exit code");
    if (find_not_finite(text))
        fuzz_found(text);
    cJSON *parsed = json && text[0] ? cJSON_Parse(text) : NULL;
    if (json && text[0] && !parsed)
        fuzz_found(text);
    cJSON_Delete(parsed);
}

static void ask(struct words *words, bool json)
{
    struct km_error error = {0};
    char *text = NULL;
    size_t length = 0;
    FILE *console = stdout, *kept = open_memstream(&text, &length);
    if (!kept)
        abort();
    stdout = kept; /* what the command prints */
    words->argv[words->argc] = NULL;
    int code = km_command_queue.run(words->argc, words->argv, &error);
    stdout = console;
    fclose(kept);
    check(text, json, code, &error);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct words words = {0};
    if (size == 0 || ((data[0] & 1) && memchr(data, '/', size))) /* no file is to be opened but its own */
        return 0;
    bool as_file = data[0] & 1, json = data[0] & 2, theory_only = data[0] & 4;
    word(&words, "queue");
    word(&words, "--requests");
    word(&words, "200");
    if (json) {
        word(&words, "--json");
        word(&words, "-");
    }
    if (theory_only)
        word(&words, "--theory-only");
    if (as_file) {
        char *text = km_arena_alloc(&words.arena, size);
        memcpy(text, data + 1, size - 1);
        word(&words, fuzz_file("queue.yaml", text));
    } else {
        gsl_rng *dice = fuzz_dice(data + 1, size - 1);
        options(dice, &words);
        gsl_rng_free(dice);
    }
    ask(&words, json);
    km_arena_release(&words.arena);
    return 0;
}

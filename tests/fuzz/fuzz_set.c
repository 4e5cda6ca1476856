/* Any bytes as --set arguments, one a line, laid over a scenario that is well. What is taken is a scenario:
 * written out and read again it is the same. What is refused is refused in one line. */
#include "cli/overrides.h"
#include "fuzz/dice.h"
#include "scenario/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST_SETS 8

static void refused(const struct km_error *error)
{
    char line[1200];
    km_error_format(error, line, sizeof line);
    if (!error->message[0] || strchr(error->message, '\n'))
        fuzz_found(line);
}

/* The scenario as it was resolved is read as the same. */
static void same_again(const struct km_scenario *scenario)
{
    struct km_text first = {0}, second = {0};
    struct km_scenario again;
    struct km_error error = {0};
    km_scenario_write_json(scenario, &first);
    if (km_scenario_read(fuzz_file("resolved.yaml", km_text_c(&first)), NULL, 0, &again, &error) != KM_OK)
        fuzz_found(error.message);
    km_scenario_write_json(&again, &second);
    if (strcmp(km_text_c(&first), km_text_c(&second)) != 0)
        fuzz_found("the resolved scenario is read as another");
    km_scenario_release(&again);
    km_text_release(&first);
    km_text_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char base[] = "model: gpt2\ncluster: {device: h200-sxm}\n"
                               "workload: {arrivals: {process: poisson, rate_per_s: 1}, prompt_tokens: 9, "
                               "output_tokens: 5, requests: 10}\n";
    static struct km_cli_overrides overrides;
    struct km_option_list sets = {0};
    struct km_scenario scenario;
    struct km_error error = {0};
    if (memchr(data, '/', size)) /* no file but the scenario is to be opened */
        return 0;
    char *text = calloc(size + 1, 1);
    if (!text)
        abort();
    memcpy(text, data, size);
    for (char *line = text, *next; line && sets.count < MOST_SETS; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        sets.items[sets.count++] = line;
    }
    const char *path = fuzz_file("base.yaml", base);
    if (km_cli_overrides_read(&sets, &overrides, &error) != KM_OK ||
        km_scenario_read(path, overrides.items, overrides.count, &scenario, &error) != KM_OK) {
        refused(&error);
    } else {
        same_again(&scenario);
        km_scenario_release(&scenario);
    }
    free(text);
    return 0;
}

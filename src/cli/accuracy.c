/* `kingman accuracy`: how far the cost models were from measurements. */
#include "accuracy/accuracy.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/publish.h"
#include "report/accuracy_report.h"
#include "scenario/accuracy_key.h"

#include <stdio.h>
#include <string.h>

#define ARGUMENTS "[options]"

/* "device,cost,metric" */
static enum km_status read_dims(const char *list, bool by[KM_ACCURACY_DIMS], struct km_error *error)
{
    for (const char *at = list; at;) {
        char name[32];
        enum km_accuracy_dim dim;
        const char *comma = strchr(at, ',');
        snprintf(name, sizeof name, "%.*s", comma ? (int)(comma - at) : (int)strlen(at), at);
        if (!km_accuracy_dim_find(name, &dim))
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0,
                           "--by: expected some of device,engine,format,kind,cost,metric, got \"%s\"", name);
        by[dim] = true;
        at = comma ? comma + 1 : NULL;
    }
    return KM_OK;
}

static int run(int argc, char **argv, struct km_error *error)
{
    const char *list = "device,engine,format,kind,cost,metric", *json_path = NULL, *points = NULL;
    const struct km_option options[] = {
        {"--by", KM_OPTION_TEXT, &list, "DIMS",
         "one row for each combination of these (device,engine,format,kind,cost,metric)"},
        {"--points", KM_OPTION_TEXT, &points, "FILE", "instead of configs/accuracy/points.csv"},
        {"--json", KM_OPTION_TEXT, &json_path, "FILE|-",
         "write the rows as JSON; - prints it instead of the table"},
        {0},
    };
    bool helped, by[KM_ACCURACY_DIMS] = {false};
    enum km_status status = km_options_read(argc, argv, ARGUMENTS, options, NULL, 0, &helped, error);
    if (status != KM_OK || helped)
        return km_exit_code(status);
    status = read_dims(list, by, error);
    struct km_accuracy accuracy = {0};
    if (status == KM_OK)
        status =
            points ? km_accuracy_read(points, &accuracy, error) : km_scenario_read_accuracy(&accuracy, error);
    if (status != KM_OK)
        return km_exit_code(status);
    struct km_arena arena = {0};
    struct km_accuracy_row *rows;
    struct km_text text = {0}, json = {0};
    const size_t count = km_accuracy_rows(&accuracy, by, &arena, &rows);
    km_accuracy_report_text(&accuracy, rows, count, &text);
    if (json_path)
        km_accuracy_report_json(&accuracy, rows, count, &json);
    status = km_publish(json_path, &json, &text, error);
    km_text_release(&text);
    km_text_release(&json);
    km_arena_release(&arena);
    km_accuracy_release(&accuracy);
    return km_exit_code(status);
}

const struct km_command km_command_accuracy = {"accuracy", ARGUMENTS,
                                               "how far the cost models were from measurements", run};

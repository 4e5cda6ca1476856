/* What kingman calibrate --from-steps found, as text, as JSON and as an engine description. */
#ifndef KM_ANSWER_STEPS_REPORT_H
#define KM_ANSWER_STEPS_REPORT_H

#include "calibration/steplog/fit.h"
#include "scenario/scenario.h"

#include <stdbool.h>

struct km_steps_source {
    const char *log, *requests; /* requests: NULL = none */
    size_t steps, windows;
    double bunched; /* share of the clock's ends that were left out */
    bool used;
};

struct km_steps_report {
    const struct km_scenario *scenario;
    const struct km_steps_source *sources;
    size_t source_count;
    const struct km_step_fit *fit;
    char date[16];
};

void km_steps_report_text(const struct km_steps_report *report, struct km_text *out);
void km_steps_report_json(const struct km_steps_report *report, struct km_text *out);
/* The engine description at `base` with what was estimated, called `name`. Appends. */
enum km_status km_steps_report_engine(const struct km_steps_report *report, const char *base,
                                      const char *name, struct km_text *out, struct km_error *error);

#endif

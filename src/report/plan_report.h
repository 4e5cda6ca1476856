/* What `kingman plan` says: the answer in one sentence, the ranked plans, why the others fell, how the search
 * went. A table for a person, at most 120 columns wide; JSON for a program, with every candidate. */
#ifndef KM_REPORT_PLAN_REPORT_H
#define KM_REPORT_PLAN_REPORT_H

#include "base/text.h"
#include "planner/plan.h"

struct km_plan_report { /* everything is borrowed */
    const struct km_plan *plan;
    const char *scenario_json; /* the resolved scenario; NULL = null */
    const char *version;
    bool all; /* text: every candidate that fell, not the first few of each kind */
};

void km_plan_report_text(const struct km_plan_report *report, struct km_text *out);
/* Part of the text: which ranks are uncertain, and what the first `shown` plans stand on, a line for each row
 * of measurements. plan_accuracy.c */
void km_plan_accuracy_text(const struct km_plan *plan, uint64_t shown, unsigned width, struct km_text *out);
void km_plan_report_json(const struct km_plan_report *report, struct km_text *out);

#endif

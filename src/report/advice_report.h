/* What `kingman advise` says: the curve of throughput and latency over batch sizes, the advised batch, the
 * memory that it frees, replicas that could share the GPU, and the scenario's own traffic before and after.
 */
#ifndef KM_REPORT_ADVICE_REPORT_H
#define KM_REPORT_ADVICE_REPORT_H

#include "advisor/advisor.h"
#include "base/text.h"

struct km_advice_report { /* everything is borrowed */
    const struct km_advice *advice;
    const char *model, *device;
    const char *scenario_json; /* NULL = null */
    const char *version;
};

void km_advice_report_text(const struct km_advice_report *report, struct km_text *out);
void km_advice_report_json(const struct km_advice_report *report, struct km_text *out);

#endif

/* What `kingman accuracy` says: rows of predicted over measured. */
#ifndef KM_REPORT_ACCURACY_REPORT_H
#define KM_REPORT_ACCURACY_REPORT_H

#include "accuracy/accuracy.h"
#include "base/text.h"

/* Rows by some dims; columns of the others are left out. Both append. */
void km_accuracy_report_text(const struct km_accuracy *accuracy, const struct km_accuracy_row *rows,
                             size_t count, struct km_text *out);
void km_accuracy_report_json(const struct km_accuracy *accuracy, const struct km_accuracy_row *rows,
                             size_t count, struct km_text *out);

#endif

/* A golden answer: what a command printed, without what differs from run to run, written so that a change is
 * a line of a diff. */
#ifndef KM_TESTS_GOLDEN_ANSWER_H
#define KM_TESTS_GOLDEN_ANSWER_H

#include "base/text.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* Take out of a JSON answer, at every depth, what is no result: members whose names end in `wall_s`, and
 * `version`. */
void answer_strip(cJSON *answer);
/* ... and out of a printed one: the lines that tell how long it took, those that begin with `simulator ` or
 * say ` candidates; `. */
void answer_strip_text(char *text);

/* A value on one line where it fits in 120 columns, else a member or element a line. Numbers are read back
 * exactly. */
void answer_print(const cJSON *answer, struct km_text *out);

/* Differences between an answer and the golden one are appended to `out`, a line each, "path: golden -> now";
 * returns how many. Numbers may differ by `tolerance`, relative; 0: not at all. */
size_t answer_compare(const cJSON *golden, const cJSON *now, double tolerance, struct km_text *out);
/* The same for text: line by line, and in each word by word, so that numbers may differ as above. */
size_t answer_compare_text(const char *golden, const char *now, double tolerance, struct km_text *out);

#endif

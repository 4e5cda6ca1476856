/* One run of a case, and all that it says: the rows, the result as JSON and as the program's table. */
#ifndef KM_TESTS_CAMPAIGN_RUN_H
#define KM_TESTS_CAMPAIGN_RUN_H

#include "base/text.h"
#include "campaign/case.h"
#include "scenario/fleet.h"

#include <cjson/cJSON.h>

struct ended {
    enum km_outcome outcome;
    struct km_record record; /* label NULL: not kept */
};

struct run {
    enum km_status status;
    struct km_error error; /* unless KM_OK */
    struct km_scenario scenario;
    struct km_fleet fleet;
    struct km_run_result result;
    struct ended *rows; /* [count] in the order in which requests ended; owned */
    size_t count, capacity;
    struct km_text json, table, resolved; /* of the result: wall time 0, and no counted events */
    struct km_text csv;                   /* requests.csv */
};

struct run_options {
    bool no_fast_forward;
    bool without_scenario; /* the JSON says null for the scenario: to compare runs of different ones */
};

/* The scenario in the file. Every field is set, whatever the status; release it in any case. */
void run_file(const char *path, const struct run_options *options, struct run *out);
/* Write the case into the folder, and run it. */
void run_case(const struct random_scenario *c, const char *folder, const struct run_options *options,
              struct run *out);
void run_release(struct run *run);

/* By id; NULL when there is none. */
const struct ended *run_row(const struct run *run, uint64_t id);

#endif

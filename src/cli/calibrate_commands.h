/* What `kingman calibrate` does beside importing: one file each. */
#ifndef KM_CLI_CALIBRATE_COMMANDS_H
#define KM_CLI_CALIBRATE_COMMANDS_H

#include "base/error.h"

/* --check RESULTS.csv: how far a profile is from shapes measured apart from it. Exit code 1 when a class
 * misses the targets. */
int km_calibrate_check(int argc, char **argv, struct km_error *error);
/* --compare PROFILE: two profiles of one device beside each other, at the operators of a model. */
int km_calibrate_compare(int argc, char **argv, struct km_error *error);

#endif

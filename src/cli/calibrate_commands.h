/* What `kingman calibrate` does: a flag says which, one file each. Private to calibrate*.c. */
#ifndef KM_CLI_CALIBRATE_COMMANDS_H
#define KM_CLI_CALIBRATE_COMMANDS_H

#include "base/error.h"

/* --import KIND SOURCE --out FILE: a profile of a device from tables that others measured. */
int km_calibrate_import(int argc, char **argv, struct km_error *error);
/* --from-steps STEPS.csv --scenario FILE: an engine's parameters from its step log. */
int km_calibrate_steps(int argc, char **argv, struct km_error *error);
/* --check RESULTS.csv: how far a profile is from shapes measured apart from it. Exit code 1 when a class
 * misses the targets. */
int km_calibrate_check(int argc, char **argv, struct km_error *error);
/* --compare PROFILE: two profiles of one device beside each other, at the operators of a model. */
int km_calibrate_compare(int argc, char **argv, struct km_error *error);

#endif

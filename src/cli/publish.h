/* A command's answer: JSON into the file of --json, or alone on stdout (`-`), else its table on stdout. */
#ifndef KM_CLI_PUBLISH_H
#define KM_CLI_PUBLISH_H

#include "base/error.h"
#include "base/text.h"

/* `json_path`: the value of --json, or NULL. The table is printed only once the file is safe. */
enum km_status km_publish(const char *json_path, const struct km_text *json, const struct km_text *table,
                          struct km_error *error);

#endif

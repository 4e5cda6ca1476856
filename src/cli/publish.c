#include "cli/publish.h"

#include "base/outfile.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum km_status km_publish(const char *json_path, const struct km_text *json, const struct km_text *table,
                          struct km_error *error)
{
    bool json_only = json_path && strcmp(json_path, "-") == 0;
    enum km_status status = KM_OK;
    if (json_path && !json_only)
        status = km_file_write(json_path, json, error);
    if (status == KM_OK)
        fputs(km_text_c(json_only ? json : table), stdout);
    return status;
}

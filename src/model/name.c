#include "model/model.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool begins_word(const char *name, const char *at)
{
    return at == name || at[-1] == '-' || at[-1] == '_' || at[-1] == '/';
}

/* "30b", "8x7b", "0.6B" at `at`, as a whole word: 10^9 parameters, else 0. */
static double billions_at(const char *at)
{
    char *end;
    double times = 1.0, value = isdigit((unsigned char)*at) ? strtod(at, &end) : 0.0;
    if (value > 0.0 && tolower((unsigned char)*end) == 'x' && isdigit((unsigned char)end[1])) {
        times = value;
        value = strtod(end + 1, &end);
    }
    if (!(value > 0.0) || tolower((unsigned char)*end) != 'b' || isalnum((unsigned char)end[1]))
        return 0.0;
    return times * value;
}

void km_model_name_parameters(const char *name, double *total, double *active)
{
    *total = *active = 0.0;
    for (const char *c = name; *c; c++) {
        if (!begins_word(name, c))
            continue;
        const bool is_active = tolower((unsigned char)*c) == 'a';
        double *out = is_active ? active : total;
        if (*out <= 0.0)
            *out = 1e9 * billions_at(c + is_active);
    }
}

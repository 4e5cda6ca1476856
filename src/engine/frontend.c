#include "engine/frontend.h"

#include <stddef.h>

struct km_frontend_times km_frontend_times(const struct km_frontend *f)
{
    struct km_frontend_times times = {0};
    if (f->kind != KM_FRONTEND_NONE)
        times.fixed_s = f->fixed_s;
    if (f->kind == KM_FRONTEND_HTTP) {
        times.request_s = f->capacity_per_s > 0.0 ? 1.0 / f->capacity_per_s : 0.0;
        times.token_s = f->prompt_token_s;
        times.chunk_s = f->chunk_s;
    }
    return times;
}

double km_frontend_alone_s(const struct km_frontend *frontend, double prompt_tokens)
{
    const struct km_frontend_times times = km_frontend_times(frontend);
    return times.request_s + times.token_s * prompt_tokens + times.fixed_s;
}

#define AT(member) offsetof(struct km_frontend, member)

static const struct km_range ingest_range = {
    .min = 0, .max = 10, .has_min = true, .has_max = true, .scales = km_scales_micro};
static const char *const kind_names[] = {"none", "fixed", "http", NULL};

const struct km_setting km_frontend_settings[] = {
    {"kind", KM_SETTING_ENUM, AT(kind), .names = kind_names,
     .doc =
         "none: requests arrive in the engine's queue; fixed: fixed_s later; http: all that follows counts"},
    {"fixed_s", KM_SETTING_NUMBER, AT(fixed_s), KM_LIMITS(0, 10, km_scales_micro), .optional = true,
     .doc = "from arrival, or from the server in front of it, to the engine's queue"},
    {"prompt_token_s", KM_SETTING_NUMBER, AT(prompt_token_s), KM_LIMITS(0, 1e-2, km_scales_micro),
     .optional = true, .doc = "http: the server's time for a token of a prompt"},
    {"chunk_s", KM_SETTING_NUMBER, AT(chunk_s), KM_LIMITS(0, 10, km_scales_micro), .optional = true,
     .doc = "http: from the engine to the client, each token"},
    {"capacity_per_s", KM_SETTING_NUMBER, AT(capacity_per_s), KM_ZERO_OR(1e-3, 1e9, NULL), .optional = true,
     .nullable = true, .doc = "http: requests that the server takes in; null = any number"},
    {0},
};

enum km_status km_frontend_read_ingest(const struct km_yaml *value, void *field,
                                       const struct km_settings_context *context, struct km_error *error)
{
    (void)context;
    struct km_frontend *frontend = field;
    double ingest_s;
    enum km_status status = km_settings_number(value, &ingest_range, &ingest_s, error);
    if (status == KM_OK)
        *frontend = (struct km_frontend){.kind = KM_FRONTEND_FIXED, .fixed_s = ingest_s};
    return status;
}

/* What stands between client and engine: an API server that reads a request, tokenises its prompt, and hands the engine's tokens on.
 *
 *     none    nothing: a request is in the engine's queue when it arrives
 *     fixed   fixed_s later (the engine's own way in: its client calls it in process)
 *     http    a server in front of the engine takes requests in the order in which they arrive, one at a time, each for
 *                 1 / capacity_per_s + prompt_token_s * prompt tokens
 *             and they are in the queue fixed_s after that; a chunk of output (one token) is at the client chunk_s after the engine
 *             had it, whatever else is sent
 *
 * All four figures may be stated whatever the kind: the kind says which count. Chunks do not wait for each other, since their times are
 * far below a step's; who wants them to count in the engine's pace states host.process_sequence_s. */
#ifndef KM_ENGINE_FRONTEND_H
#define KM_ENGINE_FRONTEND_H

#include "base/settings.h"

enum km_frontend_kind { KM_FRONTEND_NONE, KM_FRONTEND_FIXED, KM_FRONTEND_HTTP };

struct km_frontend {
    enum km_frontend_kind kind;
    double fixed_s, prompt_token_s, chunk_s;
    double capacity_per_s; /* requests; 0 = any number */
};

/* What counts, by kind; a frontend of kind none is all zeros. */
struct km_frontend_times {
    double request_s, token_s; /* the server is busy: with each request, with each prompt token */
    double fixed_s;            /* to the queue, once served */
    double chunk_s;            /* from the engine to the client */
};
struct km_frontend_times km_frontend_times(const struct km_frontend *frontend);

/* From the client to the engine's queue, with nobody before it. */
double km_frontend_alone_s(const struct km_frontend *frontend, double prompt_tokens);

/* Keys of the section `frontend`. */
extern const struct km_setting km_frontend_settings[];

/* The old way to say it: host.ingest_s is kind fixed. A reader of a custom setting (base/settings.h) whose field is the struct. */
enum km_status km_frontend_read_ingest(const struct km_yaml *value, void *field,
                                       const struct km_settings_context *context, struct km_error *error);

#endif

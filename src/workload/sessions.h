/* Synthetic conversations: sessions of several turns, each turn's prompt being everything said before plus a
 * new message, behind a system prompt that all sessions share. Gives traces with prefix hashes.
 *
 * Sessions start by a renewal process. A session has `turns` turns; the next arrives `gap_s` after the last
 * one arrived (the stream is open loop: answering slowly does not delay it). With `delays` that pause is also
 * written as the turn's delay, for sessions that wait for their answers (turns.h). A session ends early when a
 * prompt would exceed max_prompt_tokens. Block j of a session has one hash for the whole session, so that a block
 * begun in one turn and filled in the next is shared as far as it goes; hashes are numbered in order of
 * appearance, from 0, the system prompt's blocks first. */
#ifndef KM_WORKLOAD_SESSIONS_H
#define KM_WORKLOAD_SESSIONS_H

#include "workload/workload.h"

struct km_sessions_settings {
    enum km_arrival_process process; /* of sessions: poisson, gamma, weibull or constant */
    double rate_per_s, cv;           /* of sessions */
    struct km_distribution turns, prompt_tokens, output_tokens; /* token grammar: integers >= 1 */
    struct km_distribution gap_s;
    bool delays;
    uint32_t system_prompt_tokens; /* a multiple of KM_PREFIX_BLOCK_TOKENS */
    uint32_t max_prompt_tokens;    /* > system_prompt_tokens */
    uint64_t requests;             /* >= 1 */
};

struct km_sessions; /* opaque */

/* Distributions are borrowed. The caller has checked them (km_distribution_problem); the rest is checked
 * here. */
enum km_status km_sessions_create(const struct km_sessions_settings *settings, uint64_t seed,
                                  struct km_sessions **out, struct km_error *error);
void km_sessions_destroy(struct km_sessions *sessions);
/* The next request in order of arrival, owned by the caller; *found is false after the last. The first
 * arrives at 0. */
enum km_status km_sessions_next(struct km_sessions *sessions, struct km_request *out, bool *found,
                                struct km_error *error);

#endif

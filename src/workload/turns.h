/* Sessions that wait: a session's next turn arrives its think time after the last answer.
 *
 * The turns of a session (the requests of a recording with one session number) stand in the recording's order.
 * Its first turn arrives at its own time; each later one `delay` after the one before has been answered. A
 * turn that is not answered (rejected, abandoned, cancelled) ends its session: what would have followed is
 * never sent. Requests without a session arrive at their own times. A window takes whole sessions, those that
 * begin in it.
 *
 * The prefix cache sees the history. Where the trace has prefix hashes, a turn's answer gets those that the
 * next turn has for it, when that turn begins with this one's prompt. Where it has none, block j of a session
 * gets one hash of its own for the whole session, so that a turn finds all that was said before.
 *
 * Everything is prepared at the beginning, and think times are drawn in the recording's order, so that they do
 * not depend on who is answered when. All turns are held in memory. */
#ifndef KM_WORKLOAD_TURNS_H
#define KM_WORKLOAD_TURNS_H

#include "workload/distribution.h"
#include "workload/recording.h"

#include <stdbool.h>

/* What a later turn's prompt tokens are. */
enum km_turn_prompts {
    KM_PROMPTS_UNSTATED, /* all that was said and the new message; one too short for that is refused */
    KM_PROMPTS_WHOLE,    /* what is sent; one shorter than what was said begins a history of its own */
    KM_PROMPTS_ADDED,    /* the new message alone, which what was said before is put in front of */
};

struct km_turns_settings {
    const struct km_recording *recording; /* read at the beginning alone */
    uint64_t start_ps, end_ps;            /* window, in the recording's time */
    /* of all later turns, instead of the recording's delays; NULL = those */
    const struct km_distribution *think_s;
    enum km_turn_prompts prompts;
    uint64_t seed;
};

struct km_turns; /* opaque */

/* KM_BAD_INPUT: a later turn without a delay, or with a prompt that cannot be. */
enum km_status km_turns_create(const struct km_turns_settings *settings, struct km_turns **out,
                               struct km_error *error);
void km_turns_destroy(struct km_turns *turns);

/* The next request that waits for nobody, at its own time, owned by the caller; false: there is none. */
bool km_turns_first(struct km_turns *turns, struct km_request *out);
/* When the next later turn arrives, as far as is known now; KM_PS_NEVER: none does. */
uint64_t km_turns_ready_ps(const struct km_turns *turns);
/* That turn, at that time; owned by the caller. */
void km_turns_take(struct km_turns *turns, struct km_request *out);
/* A turn of `session` ended at now_ps. */
void km_turns_ended(struct km_turns *turns, int64_t session, bool answered, uint64_t now_ps);
/* Turns that will not be sent, because one before them was not answered. */
uint64_t km_turns_unsent(const struct km_turns *turns);
double km_turns_progress(const struct km_turns *turns); /* share given out or never sent */

#endif

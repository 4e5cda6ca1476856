/* Somebody who wants to know how far a long answer is: a progress bar (base/progress.h), usually.
 *
 * Told on the thread of who asked, never on another. The answer does not depend on it. */
#ifndef KM_BASE_WATCH_H
#define KM_BASE_WATCH_H

#include <stddef.h>

struct km_watch { /* all zero: nobody */
    /* `phase`: what is being done ("bounds", "search"), each once and one after another; `note`: a word on
     * it, NULL = none; `share` of the phase that is done, 0..1, negative when unknown. Texts live during the
     * call. */
    void (*tell)(void *context, const char *phase, const char *note, double share);
    void *context;
};

static inline void km_watch_tell(const struct km_watch *watch, const char *phase, const char *note,
                                 double share)
{
    if (watch && watch->tell)
        watch->tell(watch->context, phase, note, share);
}

#endif

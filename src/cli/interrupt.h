/* Signals: where a command can keep what it has done (run, sweep), Ctrl-C and SIGTERM while it works are a flag
 * that it looks at, instead of sudden death.
 * Whatever else ends the process - a second Ctrl-C among it - takes the temporaries of its output along
 * (base/outfile.h). */
#ifndef KM_CLI_INTERRUPT_H
#define KM_CLI_INTERRUPT_H

#include "base/stop.h"

/* Called once, at the start. */
void km_interrupt_guard(void);

/* Turns non-zero at the first such signal between catch and release. */
extern km_stop km_interrupted;

void km_interrupt_catch(void);
void km_interrupt_release(void);

#endif

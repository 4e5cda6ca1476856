/* Ctrl-C and SIGTERM while a command works: a flag that it looks at, instead of sudden death. */
#ifndef KM_CLI_INTERRUPT_H
#define KM_CLI_INTERRUPT_H

#include "base/stop.h"

/* Turns non-zero at the first such signal between catch and release. */
extern km_stop km_interrupted;

void km_interrupt_catch(void);
void km_interrupt_release(void);

#endif

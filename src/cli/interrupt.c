#include "cli/interrupt.h"

#include "base/leftovers.h"

#include <signal.h>
#include <stddef.h>

km_stop km_interrupted;

static atomic_int working;

static const int ends[] = {SIGHUP,  SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGXCPU,
                           SIGABRT, SIGBUS, SIGFPE,  SIGILL,  SIGSEGV};
#define ENDS (sizeof ends / sizeof *ends)
static struct sigaction previous[ENDS];

static void on_signal(int number)
{
    if ((number == SIGINT || number == SIGTERM) && working && !km_interrupted) {
        km_interrupted = 1;
        return;
    }
    km_leftovers_remove();
    for (size_t i = 0; i < ENDS; i++)
        if (ends[i] == number)
            sigaction(number, &previous[i], NULL);
    raise(number); /* taken as it would have been, once this returns */
}

void km_interrupt_guard(void)
{
    const struct sigaction action = {.sa_handler = on_signal}, ignore = {.sa_handler = SIG_IGN};
    for (size_t i = 0; i < ENDS; i++) {
        sigaction(ends[i], &action, &previous[i]);
        if (previous[i].sa_handler == SIG_IGN) /* as nohup wants it */
            sigaction(ends[i], &previous[i], NULL);
    }
    sigaction(SIGXFSZ, &ignore, NULL); /* the write that went too far fails, and says so */
}

void km_interrupt_catch(void)
{
    working = 1;
}

void km_interrupt_release(void)
{
    working = 0;
}

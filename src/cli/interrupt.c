#include "cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

km_stop km_interrupted;

static struct sigaction previous_int, previous_term;

static void on_signal(int number)
{
    (void)number;
    km_interrupted = 1;
}

void km_interrupt_catch(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, &previous_int);
    sigaction(SIGTERM, &action, &previous_term);
}

void km_interrupt_release(void)
{
    sigaction(SIGINT, &previous_int, NULL);
    sigaction(SIGTERM, &previous_term, NULL);
}

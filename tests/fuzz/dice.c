#define _XOPEN_SOURCE 700 /* mkdtemp() */

#include "fuzz/dice.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct bytes {
    const uint8_t *at, *end;
};

/* 256 values over the whole range. The last of them is never in the last part of a range divided by at most a
 * million, so that gsl_rng_uniform_int() does not ask for ever. */
static unsigned long draw(void *state)
{
    struct bytes *bytes = state;
    unsigned long byte = bytes->at < bytes->end ? *bytes->at++ : 0xfe;
    return byte << 24 | (byte < 0xff ? byte << 16 : 0);
}

static double draw_double(void *state)
{
    return (double)draw(state) / 4294967296.0;
}

static void set(void *state, unsigned long seed)
{
    (void)seed;
    *(struct bytes *)state = (struct bytes){NULL, NULL};
}

gsl_rng *fuzz_dice(const uint8_t *data, size_t size)
{
    static const gsl_rng_type type = {"bytes", 0xffffffff, 0, sizeof(struct bytes), set, draw, draw_double};
    gsl_rng *rng = gsl_rng_alloc(&type);
    *(struct bytes *)gsl_rng_state(rng) = (struct bytes){data, data + size};
    return rng;
}

static char folder[] = "/dev/shm/kingman-fuzz-XXXXXX";

static void remove_folder(void)
{
    char command[sizeof folder + 8];
    snprintf(command, sizeof command, "rm -r %s", folder);
    if (system(command) != 0)
        perror(folder);
}

const char *fuzz_folder(void)
{
    static const char *made;
    if (made)
        return made;
    if (access("/dev/shm", W_OK) != 0)
        snprintf(folder, sizeof folder, "/tmp/kingman-fuzz-XXXXXX");
    made = mkdtemp(folder);
    if (!made)
        abort();
    atexit(remove_folder);
    return made;
}

const char *fuzz_file(const char *name, const char *text)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        abort();
    return path;
}

void fuzz_found(const char *what)
{
    fprintf(stderr, "found: %s\n", what);
    abort();
}

/* A fuzzer's bytes as dice: a random generator whose draws are the bytes of the input, one a draw, so that
 * whoever draws a case at random is steered by the fuzzer. When the bytes are used up nothing optional is
 * drawn any more. */
#ifndef KM_TESTS_FUZZ_DICE_H
#define KM_TESTS_FUZZ_DICE_H

#include <gsl/gsl_rng.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes are borrowed until gsl_rng_free(). */
gsl_rng *fuzz_dice(const uint8_t *data, size_t size);

/* A folder of this process, in memory where that is possible; removed at exit. */
const char *fuzz_folder(void);

/* Write a file of that folder; its path, until the next call. */
const char *fuzz_file(const char *name, const char *text);

/* End with the message, as a fuzzer's find. */
_Noreturn void fuzz_found(const char *what);

#endif

/* Every key that a scenario may have (km_scenario_list_settings()) and how a value for it is drawn. Yes-or-no
 * keys and those that name one of a list need no word here: the list is read from the settings tables. Any
 * other new key needs a row in keys.c, and is named by keys_without_generator() until it has one. */
#ifndef KM_TESTS_CAMPAIGN_KEYS_H
#define KM_TESTS_CAMPAIGN_KEYS_H

#include "campaign/case.h"

#include <gsl/gsl_rng.h>

struct keys; /* opaque */

struct keys *keys_create(void);
void keys_destroy(struct keys *keys);
/* Appends one a line. */
void keys_without_generator(const struct keys *keys, struct km_text *out);
/* Rows of keys.c that no scenario has any more; appends one a line. */
void keys_without_scenario(const struct keys *keys, struct km_text *out);

/* Draw a value for `key`, which may stand at another place `at` in the scenario (an entry of a list). */
void keys_draw_at(const struct keys *keys, gsl_rng *rng, const char *key, const char *at,
                  struct random_scenario *c);
void keys_draw(const struct keys *keys, gsl_rng *rng, const char *key, struct random_scenario *c);
/* Every key below `prefix` that stands by itself, each with its own chance, at `at` in the scenario; those
 * already set stay. */
void keys_draw_some(const struct keys *keys, gsl_rng *rng, const char *prefix, const char *at,
                    struct random_scenario *c);

/* With so many chances in a hundred. */
bool chance(gsl_rng *rng, unsigned percent);
uint32_t pick(gsl_rng *rng, uint32_t low, uint32_t high); /* both inclusive */
double spread(gsl_rng *rng, double low, double high);     /* uniform in the logarithm; low > 0 */

#endif

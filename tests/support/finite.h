/* Numbers that are none: no output of the program holds "nan" or "inf". */
#ifndef KM_TESTS_FINITE_H
#define KM_TESTS_FINITE_H

/* The first word nan, inf or infinity of a text, in any case and with any sign; NULL when there is none. A
 * word stands alone: letters, digits and underscores around it make it part of another ("information",
 * "inf_rate"). */
const char *find_not_finite(const char *text);

/* Fails the test with the place when there is one. `what` names the output. */
void assert_finite_text(const char *what, const char *text);

#endif

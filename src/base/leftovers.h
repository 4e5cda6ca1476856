/* Temporary files that must not outlive the process, whatever ends it. */
#ifndef KM_BASE_LEFTOVERS_H
#define KM_BASE_LEFTOVERS_H

#define KM_LEFTOVER_PATH 560 /* bytes of a path, with its end */

void km_leftover_note(const char *path);   /* it is there */
void km_leftover_forget(const char *path); /* it is no more, or is kept */

/* Remove all that are noted: for a process that ends now. Safe in a signal handler. */
void km_leftovers_remove(void);

#endif

/* A roofline drawn in letters: attainable FLOP/s over arithmetic intensity, both logarithmic (Williams,
 * Waterman, Patterson 2009, doi:10.1145/1498765.1498785). The roof is the datasheet's: bandwidth times
 * intensity, at most the peak. Each operator stands where it runs; its distance below the roof is what it
 * loses to efficiency and fixed times. */
#ifndef KM_REPORT_ROOFLINE_PICTURE_H
#define KM_REPORT_ROOFLINE_PICTURE_H

#include "base/text.h"

#include <stddef.h>

struct km_roofline_mark {
    char letter;
    double intensity;   /* FLOP a byte, above 0 */
    double flops_per_s; /* above 0 */
};

struct km_roofline {
    double peak_flops_per_s, bandwidth_bytes_per_s; /* above 0 */
    const struct km_roofline_mark *marks;           /* [count] */
    size_t count;
};

#define KM_ROOFLINE_COLUMNS 64
#define KM_ROOFLINE_ROWS    16

/* The picture, KM_ROOFLINE_COLUMNS by KM_ROOFLINE_ROWS with axes outside. Marks that fall together stand side
 * by side, the earlier first, three columns off at most; beyond that a later one is left out. Appends. */
void km_roofline_picture(const struct km_roofline *roofline, struct km_text *out);

#endif

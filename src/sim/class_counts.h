/* How many of some sequences are of each request class. */
#ifndef KM_SIM_CLASS_COUNTS_H
#define KM_SIM_CLASS_COUNTS_H

#include <stddef.h>
#include <stdint.h>

struct km_class_counts {
    uint32_t *counts; /* [used] by class; beyond, none */
    size_t capacity;
    uint32_t used;
};

void km_class_counts_add(struct km_class_counts *counts, uint32_t class_index);
/* One that was added before. */
void km_class_counts_remove(struct km_class_counts *counts, uint32_t class_index);
void km_class_counts_copy(struct km_class_counts *into, const struct km_class_counts *from);
void km_class_counts_release(struct km_class_counts *counts);

#endif

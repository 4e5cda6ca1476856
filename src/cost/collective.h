/* Collectives by the alpha-beta model (Hockney 1994; Thakur, Rabenseifner, Gropp 2005,
 * doi:10.1177/1094342005051521): an algorithm of s rounds that moves b bytes per rank takes s * alpha + b /
 * beta. */
#ifndef KM_COST_COLLECTIVE_H
#define KM_COST_COLLECTIVE_H

#include "hardware/device.h"
#include "model/operators.h"

/* Seconds for `ranks` GPUs, `gpus_per_node` of them to a node, with a message of `bytes` on each rank
 * (all-gather: its share). */
double km_collective_s(const struct km_node *node, enum km_collective collective, uint32_t ranks,
                       double bytes);

#endif

/* Collectives by the alpha-beta model (Hockney 1994; Thakur, Rabenseifner, Gropp 2005,
 * doi:10.1177/1094342005051521): a round that moves b bytes per rank takes alpha + b / beta, with alpha the
 * link's latency and beta its bandwidth times its efficiency.
 *
 * P ranks on one link class, b bytes on each (all-gather: the share of each; all-to-all: all that a rank has,
 * its own part included):
 *
 *     all-reduce one-shot   alpha + (P-1) b/beta                        every rank reads all others' messages
 *                two-shot   2 alpha + 2 (P-1)/P b/beta                  reduce a share each, read the others'
 *                ring       2 (P-1) alpha + 2 (P-1)/P b/beta
 *                tree       2 ceil(log2 P) alpha + 2 b/beta             two trees (Sanders, Speck, Traff 2009,
 *                                                                       doi:10.1016/j.parco.2009.09.001)
 *     all-gather ring       (P-1) alpha + (P-1) b/beta
 *     reduce-scatter ring   (P-1) alpha + (P-1)/P b/beta
 *     all-to-all            alpha + (P-1)/P b/beta                      all P-1 messages at once
 *     send/receive          alpha + b/beta
 *
 * Over N nodes with L = P/N ranks in each, every rank with its own way into the network, in two levels:
 *
 *     all-reduce      reduce-scatter(L, b), all-reduce(N, b/L) over the network, all-gather(L, b/L)
 *     all-gather      all-gather(N, b) over the network, all-gather(L, N b)
 *     reduce-scatter  reduce-scatter(L, b), reduce-scatter(N, b/L) over the network
 *     all-to-all      all-to-all(N, b) over the network to the rank of the same place, all-to-all(L, b)
 *
 * One rank takes no time. To each time comes the engine's fixed time of a collective: launch and barriers. */
#ifndef KM_COST_COLLECTIVE_H
#define KM_COST_COLLECTIVE_H

#include "engine/engine.h"
#include "hardware/device.h"
#include "model/operators.h"

/* Seconds of one collective of a group, by the algorithms that the engine takes. `bytes` >= 0. */
double km_collective_s(const struct km_node *node, const struct km_engine *engine,
                       enum km_collective collective, struct km_group group, double bytes);

/* All-reduce of `ranks` >= 2 ranks on one link class by one algorithm, without fixed time. */
double km_all_reduce_s(const struct km_link *link, enum km_all_reduce algorithm, uint32_t ranks,
                       double bytes);

/* Does the engine leave this all-reduce inside a node to a library (a ring or trees), rather than to kernels
 * that read their peers' memory? */
bool km_all_reduce_by_library(const struct km_link *link, const struct km_engine *engine, uint32_t ranks,
                              double bytes);

/* Ring attention's way around: ranks - 1 rounds, each of `bytes` to the next rank. */
double km_ring_pass_s(const struct km_node *node, const struct km_engine *engine, struct km_group group,
                      double bytes);

#endif

#include "cost/collective.h"

#include <math.h>

static double transfer_s(const struct km_link *link, double bytes)
{
    return bytes / (link->bandwidth_bytes_per_s * link->efficiency);
}

/* All-reduce inside one link class. One-shot: every rank reads all others' whole messages at once. Ring:
 * 2(P-1) rounds of b/P. Libraries choose by size; the least is what a well-tuned one reaches. */
static double all_reduce_s(const struct km_link *link, double ranks, double bytes)
{
    double one_shot = link->latency_s + transfer_s(link, (ranks - 1.0) * bytes);
    double two_shot = 2.0 * link->latency_s + transfer_s(link, 2.0 * (ranks - 1.0) / ranks * bytes);
    double ring =
        2.0 * (ranks - 1.0) * link->latency_s + transfer_s(link, 2.0 * (ranks - 1.0) / ranks * bytes);
    return fmin(one_shot, fmin(two_shot, ring));
}

static double flat_s(const struct km_link *link, enum km_collective collective, double ranks, double bytes)
{
    switch (collective) {
    case KM_ALL_REDUCE:
        return all_reduce_s(link, ranks, bytes);
    case KM_ALL_GATHER: /* every rank receives the P-1 other shares */
        return link->latency_s + transfer_s(link, (ranks - 1.0) * bytes);
    case KM_REDUCE_SCATTER:
    case KM_ALL_TO_ALL: /* every rank sends all but its own share */
        return link->latency_s + transfer_s(link, (ranks - 1.0) / ranks * bytes);
    case KM_SEND_RECV:
        return link->latency_s + transfer_s(link, bytes);
    }
    return 0.0;
}

double km_collective_s(const struct km_node *node, enum km_collective collective, uint32_t ranks,
                       double bytes)
{
    if (ranks < 2)
        return 0.0;
    if (ranks <= node->gpus_per_node)
        return flat_s(&node->link, collective, ranks, bytes);
    double local = node->gpus_per_node, nodes = ceil(ranks / local);
    if (collective != KM_ALL_REDUCE) /* the network is the narrowest part of the way */
        return flat_s(&node->network, collective, ranks, bytes);
    /* Hierarchical: reduce-scatter in the node, all-reduce of the shares across nodes, all-gather in the
     * node. */
    return flat_s(&node->link, KM_REDUCE_SCATTER, local, bytes) +
           all_reduce_s(&node->network, nodes, bytes / local) +
           flat_s(&node->link, KM_ALL_GATHER, local, bytes / local);
}

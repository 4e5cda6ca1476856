#include "cost/collective.h"

#include <math.h>

static double transfer_s(const struct km_link *link, double bytes)
{
    return bytes / (link->bandwidth_bytes_per_s * link->efficiency);
}

static double one_shot_s(const struct km_link *link, double ranks, double bytes)
{
    return link->latency_s + transfer_s(link, (ranks - 1.0) * bytes);
}

static double two_shot_s(const struct km_link *link, double ranks, double bytes)
{
    return 2.0 * link->latency_s + transfer_s(link, 2.0 * (ranks - 1.0) / ranks * bytes);
}

static double ring_s(const struct km_link *link, double ranks, double bytes)
{
    return 2.0 * (ranks - 1.0) * link->latency_s + transfer_s(link, 2.0 * (ranks - 1.0) / ranks * bytes);
}

static double tree_s(const struct km_link *link, double ranks, double bytes)
{
    return 2.0 * ceil(log2(ranks)) * link->latency_s + transfer_s(link, 2.0 * bytes);
}

double km_all_reduce_s(const struct km_link *link, enum km_all_reduce algorithm, uint32_t ranks, double bytes)
{
    double p = ranks;
    switch (algorithm) {
    case KM_ALL_REDUCE_ONE_SHOT:
        return one_shot_s(link, p, bytes);
    case KM_ALL_REDUCE_TWO_SHOT:
        return two_shot_s(link, p, bytes);
    case KM_ALL_REDUCE_RING:
        return ring_s(link, p, bytes);
    case KM_ALL_REDUCE_TREE:
        return tree_s(link, p, bytes);
    case KM_ALL_REDUCE_RING_OR_TREE:
        return fmin(ring_s(link, p, bytes), tree_s(link, p, bytes));
    case KM_ALL_REDUCE_FASTEST:
        break;
    }
    return fmin(fmin(one_shot_s(link, p, bytes), two_shot_s(link, p, bytes)),
                fmin(ring_s(link, p, bytes), tree_s(link, p, bytes)));
}

/* The engine's first rule that holds; the last one always does. */
static const struct km_all_reduce_rule *rule_for(const struct km_link *link, const struct km_engine *engine,
                                                 uint32_t ranks, double bytes)
{
    const struct km_all_reduce_rule *rule = engine->all_reduce;
    for (uint32_t left = engine->all_reduce_count; left > 1; left--, rule++)
        if ((!rule->max_ranks || ranks <= rule->max_ranks) &&
            (!(rule->below_bytes > 0.0) || bytes < rule->below_bytes) && (!rule->direct || link->direct))
            break;
    return rule;
}

bool km_all_reduce_by_library(const struct km_link *link, const struct km_engine *engine, uint32_t ranks,
                              double bytes)
{
    enum km_all_reduce algorithm = rule_for(link, engine, ranks, bytes)->algorithm;
    return algorithm == KM_ALL_REDUCE_RING || algorithm == KM_ALL_REDUCE_TREE ||
           algorithm == KM_ALL_REDUCE_RING_OR_TREE;
}

static double ruled_all_reduce_s(const struct km_link *link, const struct km_engine *engine, uint32_t ranks,
                                 double bytes)
{
    const struct km_all_reduce_rule *rule = rule_for(link, engine, ranks, bytes);
    struct km_link reached = *link;
    if (rule->bandwidth_share > 0.0)
        reached.efficiency *= rule->bandwidth_share;
    return rule->fixed_s + km_all_reduce_s(&reached, rule->algorithm, ranks, bytes);
}

/* All but all-reduce, on one link class. */
static double flat_s(const struct km_link *link, enum km_collective collective, double ranks, double bytes)
{
    if (ranks < 2.0)
        return 0.0;
    switch (collective) {
    case KM_ALL_GATHER:
        return (ranks - 1.0) * link->latency_s + transfer_s(link, (ranks - 1.0) * bytes);
    case KM_REDUCE_SCATTER:
        return (ranks - 1.0) * link->latency_s + transfer_s(link, (ranks - 1.0) / ranks * bytes);
    case KM_ALL_TO_ALL:
        return link->latency_s + transfer_s(link, (ranks - 1.0) / ranks * bytes);
    case KM_SEND_RECV:
        return link->latency_s + transfer_s(link, bytes);
    case KM_ALL_REDUCE:
        break;
    }
    return 0.0;
}

static double across_nodes_s(const struct km_node *node, enum km_collective collective, uint32_t local,
                             uint32_t nodes, double bytes)
{
    const struct km_link *link = &node->link, *network = &node->network;
    double l = local, n = nodes;
    switch (collective) {
    case KM_ALL_REDUCE:
        return flat_s(link, KM_REDUCE_SCATTER, l, bytes) +
               km_all_reduce_s(network, KM_ALL_REDUCE_RING_OR_TREE, nodes, bytes / l) +
               flat_s(link, KM_ALL_GATHER, l, bytes / l);
    case KM_ALL_GATHER:
        return flat_s(network, KM_ALL_GATHER, n, bytes) + flat_s(link, KM_ALL_GATHER, l, n * bytes);
    case KM_REDUCE_SCATTER:
        return flat_s(link, KM_REDUCE_SCATTER, l, bytes) + flat_s(network, KM_REDUCE_SCATTER, n, bytes / l);
    case KM_ALL_TO_ALL:
        return flat_s(network, KM_ALL_TO_ALL, n, bytes) + flat_s(link, KM_ALL_TO_ALL, l, bytes);
    case KM_SEND_RECV:
        break;
    }
    return flat_s(network, KM_SEND_RECV, 2.0, bytes);
}

/* Ranks of the group in one node, when it starts where a node does. */
static uint32_t local_ranks(const struct km_node *node, struct km_group group)
{
    uint32_t apart = group.stride ? group.stride : 1, fit = node->gpus_per_node / apart;
    fit = fit ? fit : 1;
    return fit < group.ranks ? fit : group.ranks;
}

/* Do the runs of `stride` ranks from `first` on and the next such run all lie in one node? */
static bool neighbours(const struct km_node *node, struct km_group group)
{
    uint32_t apart = group.stride ? group.stride : 1;
    return group.first / node->gpus_per_node == (group.first + 2 * apart - 1) / node->gpus_per_node;
}

double km_collective_s(const struct km_node *node, const struct km_engine *engine,
                       enum km_collective collective, struct km_group group, double bytes)
{
    if (group.ranks < 2)
        return 0.0;
    if (collective == KM_SEND_RECV)
        return engine->collective_fixed_s +
               flat_s(neighbours(node, group) ? &node->link : &node->network, KM_SEND_RECV, 2.0, bytes);
    uint32_t local = local_ranks(node, group);
    if (local < group.ranks)
        return engine->collective_fixed_s +
               across_nodes_s(node, collective, local, (group.ranks + local - 1) / local, bytes);
    if (collective == KM_ALL_REDUCE)
        return ruled_all_reduce_s(&node->link, engine, group.ranks, bytes);
    return engine->collective_fixed_s + flat_s(&node->link, collective, group.ranks, bytes);
}

double km_ring_pass_s(const struct km_node *node, const struct km_engine *engine, struct km_group group,
                      double bytes)
{
    bool inside = local_ranks(node, group) == group.ranks;
    return (group.ranks - 1.0) * (engine->collective_fixed_s +
                                  flat_s(inside ? &node->link : &node->network, KM_SEND_RECV, 2.0, bytes));
}

#include "sim/simulation.h"

#include "base/simtime.h"
#include "sim/elastic.h"

#include <string.h>

/* How many events pass between looks at the stop flag and calls of progress. */
#define EVENTS_BETWEEN_LOOKS 4096u

struct simulation {
    const struct km_simulation_config *config;
    struct km_simulation_result *result;
    struct km_workload *workload;
    struct km_replica_set set;
    struct km_elastic elastic;
    struct km_predictor *predictor;
    uint64_t in_system, arrived;
    uint32_t classes; /* told to the metrics; 0 is "" */
};

static void request_ended(void *context, enum km_outcome outcome, const struct km_record *record,
                          uint64_t now_ps)
{
    struct simulation *sim = context;
    sim->in_system--;
    if (outcome == KM_COMPLETED)
        km_predictor_learn(sim->predictor, record->class_index, record->output_tokens);
    km_replica_set_ended(&sim->set, outcome, record, now_ps);
    km_metrics_request(sim->config->metrics, outcome, record, now_ps);
    km_metrics_in_system(sim->config->metrics, now_ps, sim->in_system);
    if (sim->config->ended)
        sim->config->ended(sim->config->context, outcome, record);
    km_workload_ended(sim->workload, record->session, outcome == KM_COMPLETED,
                      km_ps_after(now_ps, record->delivery_ps));
}

static void count_rejection(struct km_simulation_result *result, const char *reason)
{
    uint32_t i = 0;
    while (i < result->rejection_count && strcmp(result->rejections[i].reason, reason) != 0)
        i++;
    if (i == sizeof result->rejections / sizeof result->rejections[0])
        return;
    result->rejections[i].reason = reason;
    result->rejections[i].count++;
    if (i == result->rejection_count)
        result->rejection_count++;
}

/* Classes are numbered in the order in which the workload names them. */
static void name_classes(struct simulation *sim, uint32_t latest)
{
    for (; sim->classes <= latest; sim->classes++)
        km_metrics_class(sim->config->metrics, sim->classes,
                         km_workload_class_name(sim->workload, sim->classes));
}

static void arrive(struct simulation *sim)
{
    struct km_request request;
    km_workload_take(sim->workload, &request);
    uint64_t now_ps = request.arrival_ps;
    request.predicted_output_tokens = km_predictor_ask(sim->predictor, &request);
    uint32_t number = km_replica_set_route(&sim->set, &request);
    struct km_lockstep *replica = sim->set.slots[number].replica;
    sim->arrived++;
    km_elastic_arrived(&sim->elastic, &request);
    if (request.class_index >= sim->classes)
        name_classes(sim, request.class_index);
    km_metrics_arrival(sim->config->metrics, now_ps);
    const char *reason = km_lockstep_refuses(replica, &request);
    if (reason) {
        const struct km_record record = {.id = request.id,
                                         .label = request.label,
                                         .session = request.session,
                                         .arrival_ps = now_ps,
                                         .prompt_tokens = request.prompt_tokens,
                                         .output_tokens = request.output_tokens,
                                         .replica = number,
                                         .class_index = request.class_index};
        count_rejection(sim->result, reason);
        km_metrics_request(sim->config->metrics, KM_REJECTED, &record, now_ps);
        if (sim->config->ended)
            sim->config->ended(sim->config->context, KM_REJECTED, &record);
        km_workload_ended(sim->workload, request.session, false, now_ps);
        km_request_release(&request);
        return;
    }
    sim->in_system++;
    km_replica_set_sent(&sim->set, number);
    km_metrics_in_system(sim->config->metrics, now_ps, sim->in_system);
    km_lockstep_arrive(replica, &request, now_ps);
    km_replica_set_reschedule(&sim->set, number, now_ps);
}

/* Nothing will arrive any more and nobody has anything to do, yet somebody waits: a policy waits for company.
 */
static void drain(struct simulation *sim, uint64_t now_ps)
{
    for (uint32_t i = 0; i < sim->set.count; i++)
        if (sim->set.slots[i].replica) {
            km_lockstep_drain(sim->set.slots[i].replica, now_ps);
            km_replica_set_reschedule(&sim->set, i, now_ps);
        }
}

/* Has nobody anything to do but to give up? The next to act tells at once when it is otherwise. */
static bool all_idle(const struct simulation *sim)
{
    const struct km_heap *turns = &sim->set.turns;
    for (size_t i = 0; i < turns->count; i++)
        if (!km_lockstep_idle(sim->set.slots[turns->entries[i].item].replica))
            return false;
    return true;
}

/* When another replica acts next. Where arrivals wait for answers, that may end a request and so cause an arrival. */
static uint64_t second_turn_ps(const struct km_heap *turns)
{
    uint64_t second_ps = KM_PS_NEVER;
    for (size_t i = 1; i < turns->count && i < 3; i++)
        if (turns->entries[i].key < second_ps)
            second_ps = turns->entries[i].key;
    return second_ps;
}

static enum km_status loop(struct simulation *sim, struct km_error *error)
{
    const struct km_simulation_config *config = sim->config;
    bool waits = km_workload_waits(config->workload);
    bool drained = false;
    uint64_t now_ps = 0;
    for (uint64_t event = 0;; event++) {
        if (event % EVENTS_BETWEEN_LOOKS == 0) {
            if (config->stop && *config->stop) {
                sim->result->stopped = true;
                return KM_OK;
            }
            if (config->progress)
                config->progress(config->context, km_workload_progress(sim->workload), sim->arrived);
        }
        if (config->enough && *config->enough) {
            sim->result->stopped = true;
            return KM_OK;
        }
        uint64_t arrival_ps;
        enum km_status status = km_workload_peek(sim->workload, &arrival_ps, error);
        if (status != KM_OK)
            return status;
        uint64_t turn_ps = km_heap_key(&sim->set.turns),
                 resize_ps = km_elastic_next(&sim->elastic, &sim->set);
        if (arrival_ps == KM_PS_NEVER && all_idle(sim)) {
            if (turn_ps == KM_PS_NEVER && (sim->in_system == 0 || drained))
                return KM_OK;
            if (!drained) {
                drained = true;
                drain(sim, now_ps);
                continue;
            }
        }
        drained = false;
        if (arrival_ps >= KM_PS_END && turn_ps >= KM_PS_END)
            return km_fail(error, KM_BAD_INPUT, NULL, 0, 0, KM_CLOCK_END_MESSAGE);
        if (resize_ps <= arrival_ps && resize_ps <= turn_ps) {
            now_ps = resize_ps;
            km_elastic_act(&sim->elastic, &sim->set);
            continue;
        }
        now_ps = arrival_ps <= turn_ps ? arrival_ps : turn_ps;
        km_pools_observe(&sim->set.pools, now_ps);
        if (arrival_ps <= turn_ps) {
            arrive(sim);
            continue;
        }
        uint32_t number = sim->set.turns.entries[0].item;
        uint64_t horizon_ps = arrival_ps < resize_ps ? arrival_ps : resize_ps;
        if (waits && second_turn_ps(&sim->set.turns) < horizon_ps)
            horizon_ps = second_turn_ps(&sim->set.turns);
        status = km_lockstep_act(sim->set.slots[number].replica, horizon_ps, error);
        if (status != KM_OK) {
            sim->result->stopped = true;
            return status;
        }
        km_replica_set_reschedule(&sim->set, number, now_ps);
    }
}

enum km_status km_simulation_run(const struct km_simulation_config *config, struct km_simulation_result *out,
                                 struct km_error *error)
{
    *out = (struct km_simulation_result){0};
    struct simulation sim = {.config = config, .result = out, .classes = 1};
    enum km_status status = km_workload_create(config->workload, config->seed, &sim.workload, error);
    if (status != KM_OK)
        return status;
    static const struct km_prediction none = {0};
    sim.predictor = km_predictor_create(config->prediction ? config->prediction : &none, config->seed);
    km_replica_set_init(&sim.set, config, request_ended, &sim);
    km_elastic_init(&sim.elastic, config->scaling);
    status = loop(&sim, error);
    out->unserved = sim.in_system;
    out->unsent_turns = km_workload_unsent(sim.workload);
    if (status == KM_OK && !out->stopped && sim.in_system > 0)
        status = km_fail(error, KM_NO, NULL, 0, 0, "batching policy %s left %llu requests waiting for ever",
                         config->groups[0].replica.policy->entry.name, (unsigned long long)sim.in_system);
    km_replica_set_finish(&sim.set, out);
    km_replica_set_release(&sim.set);
    km_elastic_release(&sim.elastic);
    km_predictor_destroy(sim.predictor);
    km_workload_destroy(sim.workload);
    return status;
}

#include "support/play.h"

#include "base/simtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

/* More than any script here needs; a replica that acts oftener is caught in a loop. */
#define MOST_EVENTS 20000000u

struct player {
    struct played *out;
    struct km_metrics *metrics;
    size_t count, in_system;
};

static void ended(void *context, enum km_outcome outcome, const struct km_record *record, uint64_t now_ps)
{
    struct player *player = context;
    assert_true(record->id < player->count);
    struct played *played = &player->out[record->id];
    played->record = *record;
    played->outcome = outcome;
    played->ended_ps = now_ps;
    played->times_ended++;
    player->in_system--;
    km_metrics_request(player->metrics, outcome, record, now_ps);
    km_metrics_in_system(player->metrics, now_ps, player->in_system);
}

static void arrive(struct player *player, struct km_replica *replica, const struct scripted *scripted,
                   uint64_t id)
{
    struct km_request request = {.id = id,
                                 .arrival_ps = scripted->arrival_ps,
                                 .prompt_tokens = scripted->prompt_tokens,
                                 .output_tokens = scripted->output_tokens,
                                 .session = -1};
    km_metrics_arrival(player->metrics, request.arrival_ps);
    player->in_system++;
    if (!km_replica_refuses(replica, &request)) {
        km_metrics_in_system(player->metrics, request.arrival_ps, player->in_system);
        km_replica_arrive(replica, &request, request.arrival_ps);
        return;
    }
    const struct km_record record = {.id = id,
                                     .arrival_ps = request.arrival_ps,
                                     .prompt_tokens = request.prompt_tokens,
                                     .output_tokens = request.output_tokens};
    ended(player, KM_REJECTED, &record, request.arrival_ps);
}

void play(const struct km_replica_config *config, const struct scripted *script, size_t count,
          struct played *out, struct ending *ending, struct km_summary *summary)
{
    const struct km_metrics_settings settings = {0};
    struct player player = {.out = out, .metrics = km_metrics_create(&settings), .count = count};
    struct km_replica_config mine = *config;
    mine.metrics = player.metrics;
    mine.ended = ended;
    mine.context = &player;
    memset(out, 0, count * sizeof *out);
    struct km_replica *replica = km_replica_create(&mine);
    const struct km_kv *kv = km_replica_kv(replica);
    uint64_t now_ps = 0;
    size_t arrived = 0;
    bool drained = false;
    for (uint64_t event = 0;; event++) {
        assert_true(event < MOST_EVENTS);
        uint64_t arrival_ps = arrived < count ? script[arrived].arrival_ps : KM_PS_NEVER;
        uint64_t turn_ps = km_replica_next(replica);
        if (arrival_ps == KM_PS_NEVER && turn_ps == KM_PS_NEVER) {
            if (player.in_system == 0 || drained)
                break;
            km_replica_drain(replica);
            drained = true;
            continue;
        }
        uint64_t next_ps = arrival_ps <= turn_ps ? arrival_ps : turn_ps;
        assert_true(next_ps >= now_ps);
        now_ps = next_ps;
        if (arrival_ps <= turn_ps) {
            arrive(&player, replica, &script[arrived], arrived);
            arrived++;
        } else {
            km_replica_act(replica, arrival_ps);
            drained = false;
        }
        assert_true(kv->used_blocks <= kv->config.capacity_blocks);
        assert_int_equal(kv->promised_blocks, 0);
    }
    struct ending end = {.used_blocks = kv->used_blocks, .capacity_blocks = kv->config.capacity_blocks};
    km_replica_work(replica, &end.work);
    if (ending)
        *ending = end;
    if (summary) {
        km_metrics_kv(player.metrics, end.work.block_seconds, end.work.peak_blocks);
        km_metrics_work(player.metrics, 0.0, 0.0, end.work.busy_s);
        km_metrics_summarize(player.metrics, summary);
    }
    km_replica_destroy(replica);
    km_metrics_destroy(player.metrics);
}

#include "metrics/record.h"

bool km_record_latency(const struct km_record *r, enum km_latency metric, uint64_t *out_ps)
{
    const uint64_t tokens = r->output_tokens, gaps = tokens - 1,
                   e2e_ps = r->last_token_ps + r->delivery_ps - r->arrival_ps;
    switch (metric) {
    case KM_TTFT:
        *out_ps = r->first_token_ps + r->delivery_ps - r->arrival_ps;
        return true;
    case KM_TPOT:
        *out_ps = gaps ? (r->last_token_ps - r->first_token_ps + gaps / 2) / gaps : 0;
        return gaps > 0;
    case KM_E2E:
        *out_ps = e2e_ps;
        return true;
    case KM_QUEUEING_DELAY:
        *out_ps = r->scheduled_ps - r->arrival_ps;
        return true;
    case KM_NORMALIZED:
        *out_ps = (e2e_ps + tokens / 2) / tokens;
        return true;
    case KM_TTFT_ENGINE:
        *out_ps = r->first_token_ps - r->queued_ps;
        return true;
    case KM_E2E_ENGINE:
        *out_ps = r->last_token_ps - r->queued_ps;
        return true;
    case KM_ITL:
    case KM_LATENCY_COUNT:
        break;
    }
    return false;
}

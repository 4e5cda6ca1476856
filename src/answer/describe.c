#include "answer/describe.h"

#include "scenario/bill.h"

#include <string.h>

/* With a measured profile: what share of the device's time was measured, and what was guessed; NULL without.
 */
static const char *describe_coverage(const struct km_setup *setup, const char *prefix, struct km_arena *arena)
{
    struct km_coverage coverage = {0};
    double whole_s = 0.0;
    if (!setup->executor->coverage || strcmp(setup->scenario->cost_model, "profile") != 0)
        return NULL;
    setup->executor->coverage(setup->executor_state, &coverage);
    for (int origin = 0; origin < KM_ORIGIN_COUNT; origin++)
        whole_s += coverage.time_s[origin];
    if (whole_s <= 0.0)
        return NULL;
    double share = 100.0 / whole_s;
    return km_arena_printf(
        arena, "%stime: measured %.3g %%, interpolated %.3g %%, extrapolated %.3g %%, unmeasured %.3g %%%s",
        prefix, share * coverage.time_s[KM_ORIGIN_MEASURED], share * coverage.time_s[KM_ORIGIN_INTERPOLATED],
        share * coverage.time_s[KM_ORIGIN_EXTRAPOLATED], share * coverage.time_s[KM_ORIGIN_MODEL],
        coverage.supplement_s > 0.0
            ? km_arena_printf(arena, "; %.3g %% by the profile's supplement", share * coverage.supplement_s)
            : "");
}

const char *km_describe_doubt(const struct km_coverage *coverage, const char *device, struct km_arena *arena)
{
    struct km_text words = {0};
    const struct km_doubt doubt = km_coverage_doubt(coverage);
    const char *warning =
        km_doubt_describe(&doubt, device, &words) ? km_arena_strdup(arena, km_text_c(&words)) : NULL;
    km_text_release(&words);
    return warning;
}

static void describe_coverages(const struct km_fleet *fleet, struct km_arena *arena, struct km_report *report)
{
    const char **notes = km_arena_alloc(arena, 3 * fleet->group_count * sizeof *notes);
    const char **warnings = km_arena_alloc(arena, fleet->group_count * sizeof *warnings);
    report->notes = notes;
    report->warnings = warnings;
    for (uint32_t i = 0; i < fleet->group_count; i++) {
        const struct km_setup *setup = &fleet->groups[i];
        const char *weight_only = km_scenario_weight_only(setup->scenario, arena);
        if (weight_only)
            notes[report->note_count++] = weight_only;
        if (setup->scenario->no_profile)
            notes[report->note_count++] =
                km_arena_printf(arena, "no profile of %s: roofline", setup->scenario->device.name);
        const char *prefix =
            fleet->group_count > 1 ? km_arena_printf(arena, "%s: ", setup->scenario->device.name) : "";
        const char *note = describe_coverage(setup, prefix, arena);
        if (!note)
            continue;
        struct km_coverage coverage;
        notes[report->note_count++] = note;
        setup->executor->coverage(setup->executor_state, &coverage);
        warnings[report->warning_count] = km_describe_doubt(&coverage, setup->scenario->device.name, arena);
        report->warning_count += warnings[report->warning_count] != NULL;
    }
}

void km_describe_run(const struct km_fleet *fleet, const struct km_run_result *result,
                     const char *scenario_json, uint64_t seed, double wall_s, struct km_arena *arena,
                     struct km_report *report)
{
    const struct km_setup *setup = fleet->groups;
    const struct km_scenario *scenario = fleet->scenario;
    struct km_bill *bill = km_arena_alloc(arena, sizeof *bill);
    km_run_bill(fleet, result, bill);
    *report = (struct km_report){
        .summary = &result->summary,
        .model = scenario->model.name,
        .policy = km_arena_printf(arena, "%s, kv %s, engine %s, cost %s", scenario->engine.policy,
                                  setup->kv_manager->entry.name, scenario->engine.name,
                                  km_scenario_cost_name(scenario, arena)),
        .workload = scenario->workload.trace ? scenario->workload.trace : "synthetic",
        .scenario_json = scenario_json,
        .seed = seed,
        .kv_capacity_blocks = result->simulation.capacity_blocks,
        .mfu = result->mfu,
        .mbu = result->mbu,
        .busy = result->busy,
        .bill = bill,
        .partial = result->simulation.stopped,
        .wall_s = wall_s,
        .events = result->simulation.work.events,
        .version = KM_VERSION,
    };
    for (uint32_t i = 0; i < fleet->group_count; i++)
        report->behind_frontend |= fleet->groups[i].scenario->engine.frontend.kind == KM_FRONTEND_HTTP;
    km_describe_fleet(fleet, result, arena, report);
    struct km_reject_reason *reasons =
        km_arena_alloc(arena, (result->simulation.rejection_count + 1) * sizeof *reasons);
    for (uint32_t i = 0; i < result->simulation.rejection_count; i++)
        reasons[i] = (struct km_reject_reason){result->simulation.rejections[i].reason,
                                               result->simulation.rejections[i].count};
    report->reasons = reasons;
    report->reason_count = result->simulation.rejection_count;
    report->unsent_turns = result->simulation.unsent_turns;
    describe_coverages(fleet, arena, report);
}

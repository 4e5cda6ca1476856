/* The physical parameters of an engine description, estimated from recorded runs.
 *
 * Robust least squares by Gauss-Newton: the windows' lengths (calibration/steplog/time.h) as predicted by the
 * cost model are linearised in the parameters by differences, each linear problem is solved with Huber's
 * weights (k = 1.345; Huber and Ronchetti, Robust Statistics, 2nd ed., section 7.8), and so on until nothing
 * moves. A window counts with 1 / ((0.3 ms)^2 + the sum of (2.5 % of a step)^2), which weighs short against
 * long ones only; the noise itself is estimated from the residuals. Huber's weights, and not ones that forget
 * an outlier altogether: a host that is late now and then makes requests wait, so its time belongs to the
 * answer.
 *
 * Standard errors are the larger of two: of least squares, and of the jackknife over ten stretches of the
 * recording (Efron and Tibshirani, An Introduction to the Bootstrap, chapter 11), which holds where
 * neighbouring windows err alike. The same ten fits, each judged by the stretch it has not seen, are the
 * cross-validation.
 *
 * A parameter is not reported, and keeps the engine description's value, when
 *     - it acts on the longest context of a batch, and some log came without its requests;
 *     - no window's length depends on it;
 *     - others together do what it does: variance inflation above 1000 (Belsley, Kuh, Welsch 1980);
 *     - its standard error is above a third of the estimate;
 *     - the estimate lies at the end of what the parameter may be.
 * Such parameters are dropped one at a time, the worst first, and the rest estimated anew. */
#ifndef KM_CALIBRATION_STEPLOG_FIT_H
#define KM_CALIBRATION_STEPLOG_FIT_H

#include "base/watch.h"
#include "calibration/steplog/time.h"

#define KM_STEP_PARAMETERS_MOST 24
#define KM_STEP_FOLDS           10

struct km_step_parameter {
    const char *key;  /* of an engine description, dotted */
    const char *what; /* for the table */
    size_t offset;    /* in struct km_engine */
    bool integer;     /* uint32_t instead of double */
    double scale;     /* a typical size: where to start from 0, and what differences are taken over */
    double min, max;
    bool prices;  /* the device's time depends on it, not the host's alone */
    bool longest; /* the longest context of a batch matters, which only requests tell */
};

extern const struct km_step_parameter km_step_parameters[]; /* ends with key NULL */

double km_step_parameter_get(const struct km_step_parameter *parameter, const struct km_engine *engine);
void km_step_parameter_set(const struct km_step_parameter *parameter, struct km_engine *engine, double value);

enum km_step_verdict {
    KM_STEP_ESTIMATED,
    KM_STEP_NOT_RECORDED,
    KM_STEP_NO_EFFECT,
    KM_STEP_COLLINEAR,
    KM_STEP_UNCERTAIN,
    KM_STEP_AT_BOUND,
};

struct km_step_estimate {
    const struct km_step_parameter *parameter;
    double described; /* the engine description's */
    double value, se; /* when dropped: as last estimated; NAN = never */
    double inflation; /* of its variance by the other parameters */
    const char *twin; /* COLLINEAR: key of the one most like it */
    enum km_step_verdict verdict;
};

/* Errors of predicted window lengths over seen ones: of all time together, and the median of the windows'
 * absolute errors. */
struct km_step_errors {
    double whole, median;
};

struct km_step_fit {
    struct km_step_estimate estimates[KM_STEP_PARAMETERS_MOST];
    size_t count;
    struct km_engine engine;                         /* as estimated; the rest as described */
    size_t windows, steps, outliers;                 /* outliers: windows that count less than half */
    struct km_step_errors described, fitted, unseen; /* unseen: by cross-validation */
    double noise;                                    /* of a window, over its weight's unit */
};

/* `config`: of the scenario, for the cost model `cost`; its engine is where the fit begins. Windows are as
 * km_step_windows_add() found them. `watch` (NULL: nobody) is told the rounds, whose number is not known
 * before. KM_NO: too few windows. */
enum km_status km_steps_fit(const struct km_cost_model *cost, const struct km_cost_config *config,
                            const struct km_recorded_run *runs, size_t run_count,
                            const struct km_step_windows *windows, const struct km_launch_layers *layers,
                            const struct km_watch *watch, struct km_step_fit *out, struct km_error *error);

#endif

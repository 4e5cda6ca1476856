/* Wall time, for progress and speed alone: seconds on a clock that only goes forward, whatever happens to the
 * time of day. Simulated time is base/simtime.h. */
#ifndef KM_BASE_WALL_CLOCK_H
#define KM_BASE_WALL_CLOCK_H

double km_wall_now_s(void);

#endif

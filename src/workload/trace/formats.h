/* The trace formats, one file each; only the registry (trace.c) names them. */
#ifndef KM_WORKLOAD_TRACE_FORMATS_H
#define KM_WORKLOAD_TRACE_FORMATS_H

#include "workload/trace/trace.h"

extern const struct km_trace_format km_trace_azure, km_trace_kingman, km_trace_mooncake;

#endif

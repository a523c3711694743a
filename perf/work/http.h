/* perf/work/http.h — the request that the work with HTTP is done on: what a browser sends, twelve fields.
 *
 * Owner: static.   Thread: any.   Units: bytes.   Errors: none.   Limits: none.   Source: none. */
#ifndef PERF_WORK_HTTP_H
#define PERF_WORK_HTTP_H

#include <stddef.h>

extern const char WORK_REQUEST[];
extern const size_t WORK_REQUEST_BYTES;

#endif

/* gateway/verdict.h — one table from reasons to what is done about them.
 *
 * Every reason that can reach a client, a peer or a log stands here once; nothing else in the program knows a status for a
 * reason. No refusal is silent: each has a status (where an answer is still possible), a close code, a metric and a level.
 *
 * Owner: const tables.   Thread: any.   Units: HTTP status (RFC 9110 §15), WebSocket close code (RFC 6455 §7.4).
 * Errors: a reason that is not in the table is our own mistake and becomes 500.   Limits: none. */
#ifndef GATEWAY_VERDICT_H
#define GATEWAY_VERDICT_H

#include "gateway/config.h"
#include "ring/reason.h"

struct verdict {
	const struct reason *reason;
	uint16_t status;                 /* 0: nobody is left to be answered */
	uint16_t close_code;             /* for a WebSocket that ends with it */
	uint8_t level;                   /* enum config_log_level: at which it is logged beside the access line */
};

/* Reasons of the gateway itself. */
extern const struct reason ROUTE_NONE;               /* no route matches the request */
extern const struct reason CLIENT_CERTIFICATE_MISSING; /* 403: a route for certain clients alone, and no certificate was shown */
extern const struct reason CLIENT_CERTIFICATE_REFUSED; /* 403: a verified one was shown, and the routes there do not name it */
extern const struct reason METHOD_NOT_ALLOWED;       /* the target does not know this method */
extern const struct reason HOST_MISDIRECTED;         /* another host's name than that of the TLS handshake, and it asks for certificates */
extern const struct reason TARGET_NOT_BUILT;         /* the route's target comes in a later version */
extern const struct reason CLIENT_GONE;              /* the client left before its answer was ready */
extern const struct reason CLIENT_IDLE;              /* nothing was asked in the keep-alive time; an orderly end */
extern const struct reason CLIENT_HEAD_LATE;         /* the head was not whole in time */
extern const struct reason CLIENT_BODY_LATE;         /* the body stood still for too long */
extern const struct reason CLIENT_HANDSHAKE_LATE;    /* the TLS handshake was not done in time */
extern const struct reason CLIENT_CLOSE_LATE;        /* after our goodbye the client did not close in time */
extern const struct reason WEBSOCKET_IDLE;           /* nothing came on a WebSocket in its idle time */
extern const struct reason WEBSOCKET_NO_PONG;        /* our ping was not answered by the next */
extern const struct reason WEBSOCKET_BODY;           /* 400: an opening handshake with a body */
extern const struct reason WEBSOCKET_EXPECTED;       /* a WebSocket target asked without an upgrade */
extern const struct reason GATEWAY_DRAINING;         /* the program is ending */
extern const struct reason CONNECTIONS_MAX;          /* limits.connections_max is reached */
extern const struct reason UPSTREAM_REFUSED;         /* 502: no connection could be made */
extern const struct reason UPSTREAM_RESET;           /* 502: the connection broke before an answer */
extern const struct reason UPSTREAM_SEND_LATE;       /* 504: it took nothing of what we sent, for timeouts.send */
extern const struct reason UPSTREAM_CLOSED;          /* 502: it closed before an answer */
extern const struct reason UPSTREAM_ANSWER_BAD;      /* 502: what came is not an answer we can pass on safely */
extern const struct reason UPSTREAM_CUT;             /* the answer ended in the middle */
extern const struct reason UPSTREAM_CONNECT_LATE;    /* 504 */
extern const struct reason UPSTREAM_RESPONSE_LATE;   /* 504: no whole head in time */
extern const struct reason UPSTREAM_BODY_LATE;       /* the answer stood still for too long */
extern const struct reason UPSTREAM_BUSY;            /* 503: the limit of connections leaves no room for one */
extern const struct reason UPSTREAM_DOWN;            /* 503: health checks have taken every server out */
extern const struct reason HEALTH_LATE;              /* a health check had no whole answer in time */
extern const struct reason HEALTH_STATUS;            /* a health check was answered, and not with 2xx or 3xx */
extern const struct reason SITE_MISSING;       /* 400: no siteId in the query or form */
extern const struct reason SITE_NAME_BAD;           /* 400: siteId is empty, too long, not UTF-8 or has a control character */
extern const struct reason SITES_FULL;          /* 507: the directory of sites is full */
extern const struct reason SITE_COUNT_FULL;               /* 409: the number would leave its range */
extern const struct reason FORM_EXPECTED;      /* 415: the body is no form */
extern const struct reason FORM_TOO_LARGE;     /* 413 */
extern const struct reason PATIENT_MISSING;          /* 400: no patient in the query of /live, or behind /push/ */
extern const struct reason PATIENT_NAME_BAD;         /* 400: too long, not UTF-8, or with a control character */
extern const struct reason PUSH_ORIGIN;              /* 403: a browser's page of another origin */
extern const struct reason PUSH_TOO_LARGE;           /* 413: above limits.push_bytes_max */
extern const struct reason PUSH_NOT_JSON;            /* 400: the request's body is no JSON object */
extern const struct reason PUSH_BODY_MISSING;        /* 400: it has no member "body" */
extern const struct reason PUSH_MEMBER_UNKNOWN;      /* 400: it has a member that means nothing here */
extern const struct reason PUSH_TTL_BAD;             /* 400: "ttl" is no duration, or longer than 30 days */
extern const struct reason LIVE_SLOW_READER;         /* its queue was full: closed with 1013, come again */
extern const struct reason LIVE_MESSAGE_BAD;         /* told to the client in a message; its socket stays */
extern const struct reason TLS_ALERT_RECEIVED;       /* in metrics, for all that tls_alert_reason() gives */
extern const struct reason INTERNAL_ERROR;           /* 500: a reason that is not in the table */
extern const struct reason ADMIN_BUSY;               /* 503: another listing of this kind is under way */

/* Never NULL. */
const struct verdict *verdict_of(const struct reason *);

/* For metrics: verdicts are numbered 0 … verdict_count() - 1; the last is the one for unknown reasons. */
unsigned verdict_count(void);
unsigned verdict_index(const struct reason *);
const struct verdict *verdict_at(unsigned index);

#endif

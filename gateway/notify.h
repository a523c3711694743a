/* gateway/notify.h — tells a service manager how we are: systemd's notification protocol.
 *
 * Owner: none.   Thread: any.   Units: none.   Errors: none; without a manager (NOTIFY_SOCKET unset) it does nothing.
 * Limits: a state of one datagram.   Source: sd_notify(3). */
#ifndef GATEWAY_NOTIFY_H
#define GATEWAY_NOTIFY_H

/* "READY=1", "STOPPING=1" */
void notify_say(const char *state);

#endif

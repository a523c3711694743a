/* io_uring behind ring/kernel.h: the only file that includes liburing.
 *
 * The ring: SINGLE_ISSUER | DEFER_TASKRUN (completions are made only when the loop asks), SUBMIT_ALL, CQ = 4 × SQ, its own
 * descriptor registered, no iowait accounting. No SQPOLL, no minimum wait: both were measured and lost.
 * The submission side keeps one time specification for each entry, because a LINK_TIMEOUT's is read at submission. */
#include "ring/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_GROUP 0
#define NS_PER_MS 1000000u
#define NS_PER_S 1000000000u
#define KIND_UNSEEN (0xffull << 56)       /* cancels and link timeouts: their completions tell nothing */

#define RING_FLAGS (IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL | \
                    IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)

struct kernel {
	struct io_uring ring;
	struct io_uring_buf_ring *buffers;
	unsigned buffer_count;
	unsigned buffers_pending;         /* lent since the last advance */
	struct __kernel_timespec *times;  /* by running number of the entry */
	unsigned time_next;
};

/* ---- opening, and why not ------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void fault_say(struct kernel_fault *fault, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(fault->sentence, sizeof fault->sentence, format, arguments);
	va_end(arguments);
}

static long number_in_file(const char *path, const char *before)
{
	char line[256];
	long number = -1;
	FILE *file = fopen(path, "re");

	if (!file)
		return -1;
	while (number < 0 && fgets(line, sizeof line, file))
		if (strncmp(line, before, strlen(before)) == 0)
			number = strtol(line + strlen(before), NULL, 10);
	fclose(file);
	return number;
}

/* Memory that RLIMIT_MEMLOCK is charged for, a ring: 64 B an SQE, 16 B a CQE, 16 B a buffer entry, and a page each. */
static size_t ring_locked_bytes(unsigned buffers)
{
	return KERNEL_ENTRIES * 64ul + 4ul * KERNEL_ENTRIES * 16ul + buffers * 16ul + 3ul * 4096ul;
}

static void fault_of_setup(struct kernel_fault *fault, int error, unsigned buffers)
{
	struct rlimit memlock = { 0 };

	switch (error) {
	case EPERM:
		if (number_in_file("/proc/sys/kernel/io_uring_disabled", "") > 0)
			fault_say(fault, "io_uring is disabled on this machine (kernel.io_uring_disabled = %ld); enable it with: "
			          "sysctl kernel.io_uring_disabled=0", number_in_file("/proc/sys/kernel/io_uring_disabled", ""));
		else if (number_in_file("/proc/self/status", "Seccomp:") > 0)
			fault_say(fault, "a seccomp filter forbids io_uring to this process, as the default profile of containers does; "
			          "allow io_uring_setup, io_uring_enter and io_uring_register in its profile");
		else
			fault_say(fault, "the system does not permit io_uring to this process (EPERM)");
		return;
	case ENOSYS:
		fault_say(fault, "this kernel has no io_uring, or a filter answers as if it had none; Linux 6.1 or newer is needed, "
		          "with io_uring_setup, io_uring_enter and io_uring_register allowed");
		return;
	case ENOMEM:
		getrlimit(RLIMIT_MEMLOCK, &memlock);
		fault_say(fault, "not enough locked memory for the rings: each core needs %zu KiB, the limit is %llu KiB; raise it with "
		          "ulimit -l, LimitMEMLOCK= (systemd) or ulimits.memlock (containers)",
		          ring_locked_bytes(buffers) / 1024, (unsigned long long)memlock.rlim_cur / 1024);
		return;
	case EMFILE:
	case ENFILE:
		fault_say(fault, "no file descriptor is left for a ring; raise the limit with ulimit -n or LimitNOFILE=");
		return;
	case EINVAL:
		fault_say(fault, "this kernel is too old: it lacks SINGLE_ISSUER or DEFER_TASKRUN rings; Linux 6.1 or newer is needed");
		return;
	default:
		fault_say(fault, "io_uring cannot be set up: %s", strerror(error));
	}
}

struct kernel *kernel_open(unsigned buffers, struct kernel_fault *fault)
{
	struct io_uring_params parameters = { .flags = RING_FLAGS, .cq_entries = 4 * KERNEL_ENTRIES };
	struct kernel *kernel = calloc(1, sizeof *kernel);
	int error;

	check(kernel && buffers > 0 && (buffers & (buffers - 1)) == 0 && buffers <= 32768);
	kernel->times = calloc(KERNEL_ENTRIES, sizeof *kernel->times);
	check(kernel->times);
	error = -io_uring_queue_init_params(KERNEL_ENTRIES, &kernel->ring, &parameters);
	if (error) {
		fault_of_setup(fault, error, buffers);
		goto no_ring;
	}
	io_uring_ring_dontfork(&kernel->ring);
	io_uring_register_ring_fd(&kernel->ring);   /* saves a lookup a call; nothing is lost without it */
	io_uring_set_iowait(&kernel->ring, false);  /* since 6.15; before, an idle core merely shows as waiting */
	kernel->buffer_count = buffers;
	kernel->buffers = io_uring_setup_buf_ring(&kernel->ring, buffers, BUFFER_GROUP, 0, &error);
	if (!kernel->buffers) {
		if (error == -ENOMEM)
			fault_of_setup(fault, ENOMEM, buffers);
		else
			fault_say(fault, "this kernel is too old: it lacks rings of provided buffers (%s); Linux 6.1 or newer is needed",
			          strerror(-error));
		io_uring_queue_exit(&kernel->ring);
		goto no_ring;
	}
	return kernel;
no_ring:
	free(kernel->times);
	free(kernel);
	return NULL;
}

void kernel_close(struct kernel *kernel)
{
	io_uring_free_buf_ring(&kernel->ring, kernel->buffers, kernel->buffer_count, BUFFER_GROUP);
	io_uring_queue_exit(&kernel->ring);
	free(kernel->times);
	free(kernel);
}

int kernel_descriptor(const struct kernel *kernel)
{
	return kernel->ring.ring_fd;
}

uint64_t kernel_now_ns(const struct kernel *kernel)
{
	struct timespec now;

	(void)kernel;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t kernel_wall_ns(const struct kernel *kernel)
{
	struct timespec now;

	(void)kernel;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- requests -------------------------------------------------------------------------------------------------------- */

unsigned kernel_room(const struct kernel *kernel)
{
	return io_uring_sq_space_left(&kernel->ring);
}

static void prepare_send(struct io_uring_sqe *sqe, const struct kernel_request *request, int flags)
{
	const struct msghdr *message = request->message;

	if (request->more_follows)
		flags |= MSG_MORE;
	/* One piece needs no message header copied in; that is a fifth of the cost of a small send. */
	if (message->msg_iovlen == 1)
		io_uring_prep_send(sqe, request->fd, message->msg_iov->iov_base, message->msg_iov->iov_len, flags);
	else
		io_uring_prep_sendmsg(sqe, request->fd, message, (unsigned)flags);
}

static void prepare(struct io_uring_sqe *sqe, const struct kernel_request *request)
{
	switch ((enum kernel_code)request->code) {
	case KERNEL_RECEIVE:
		io_uring_prep_recv_multishot(sqe, request->fd, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = BUFFER_GROUP;
		return;
	case KERNEL_RECEIVE_ONCE:
		io_uring_prep_recv(sqe, request->fd, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = BUFFER_GROUP;
		return;
	case KERNEL_SEND:
		prepare_send(sqe, request, MSG_WAITALL | MSG_NOSIGNAL);
		return;
	case KERNEL_SEND_NOW:
		prepare_send(sqe, request, MSG_DONTWAIT | MSG_NOSIGNAL);
		return;
	case KERNEL_ACCEPT:
		io_uring_prep_multishot_accept(sqe, request->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		return;
	case KERNEL_CONNECT:
		io_uring_prep_connect(sqe, request->fd, request->address, request->size);
		return;
	case KERNEL_READ:
		io_uring_prep_read(sqe, request->fd, request->bytes, request->size, (uint64_t)request->offset);
		return;
	case KERNEL_WRITE:
		io_uring_prep_write(sqe, request->fd, request->bytes, request->size, (uint64_t)request->offset);
		return;
	case KERNEL_WRITE_DSYNC:
		io_uring_prep_write(sqe, request->fd, request->bytes, request->size, (uint64_t)request->offset);
		sqe->rw_flags = RWF_DSYNC;
		return;
	case KERNEL_SYNC:
		io_uring_prep_fsync(sqe, request->fd, IORING_FSYNC_DATASYNC);
		return;
	}
	check(!"a request code");
}

void kernel_start(struct kernel *kernel, const struct kernel_request *request, uint64_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kernel->ring);

	check(sqe);
	prepare(sqe, request);
	io_uring_sqe_set_data64(sqe, user_data);
	if (request->within_ms > 0) {
		struct __kernel_timespec *time = &kernel->times[kernel->time_next++ % KERNEL_ENTRIES];
		struct io_uring_sqe *timeout = io_uring_get_sqe(&kernel->ring);

		check(timeout);
		time->tv_sec = request->within_ms / 1000;
		time->tv_nsec = (long long)(request->within_ms % 1000) * NS_PER_MS;
		sqe->flags |= IOSQE_IO_LINK;
		io_uring_prep_link_timeout(timeout, time, 0);
		timeout->flags |= IOSQE_CQE_SKIP_SUCCESS; /* it tells nothing that the request's own completion does not */
		io_uring_sqe_set_data64(timeout, KIND_UNSEEN);
	}
}

void kernel_cancel(struct kernel *kernel, uint64_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kernel->ring);

	check(sqe);
	io_uring_prep_cancel64(sqe, user_data, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, KIND_UNSEEN);
}

void kernel_announce(struct kernel *kernel, int other_descriptor, uint64_t user_data)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&kernel->ring);

	check(sqe);
	io_uring_prep_msg_ring(sqe, other_descriptor, 0, user_data, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
	io_uring_sqe_set_data64(sqe, KIND_UNSEEN);
}

/* An error here needs no answer: an interrupted wait ends the turn early; with -EBUSY (completions overflowed) and -EAGAIN
 * the entries stay in the queue and go with the next call, after the loop has reaped. */
void kernel_enter(struct kernel *kernel, uint64_t wait_ns)
{
	struct __kernel_timespec time = { .tv_sec = (long long)(wait_ns / NS_PER_S), .tv_nsec = (long long)(wait_ns % NS_PER_S) };
	struct io_uring_cqe *cqe;

	if (kernel->buffers_pending > 0) {
		io_uring_buf_ring_advance(kernel->buffers, (int)kernel->buffers_pending);
		kernel->buffers_pending = 0;
	}
	if (wait_ns == 0)
		io_uring_submit_and_get_events(&kernel->ring);
	else
		io_uring_submit_and_wait_timeout(&kernel->ring, &cqe, 1, wait_ns == UINT64_MAX ? NULL : &time, NULL);
}

unsigned kernel_reap(struct kernel *kernel, struct kernel_completion *completions, unsigned count)
{
	struct io_uring_cqe *cqe;
	unsigned head, n = 0, seen = 0;

	io_uring_for_each_cqe(&kernel->ring, head, cqe) {
		if (n == count)
			break;
		seen++;
		if (cqe->user_data >= KIND_UNSEEN)
			continue;
		completions[n++] = (struct kernel_completion){
			.user_data = cqe->user_data,
			.result = cqe->res,
			.more = cqe->flags & IORING_CQE_F_MORE,
			.has_buffer = cqe->flags & IORING_CQE_F_BUFFER,
			.buffer = (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT),
		};
	}
	io_uring_cq_advance(&kernel->ring, seen);
	return n;
}

void kernel_buffer_lend(struct kernel *kernel, uint16_t id, void *bytes, uint32_t size)
{
	io_uring_buf_ring_add(kernel->buffers, bytes, size, id, io_uring_buf_ring_mask(kernel->buffer_count),
	                      (int)kernel->buffers_pending++);
}

/* ---- sockets --------------------------------------------------------------------------------------------------------- */

/* A socket file that nobody listens on any more, left by a process that was killed, is taken away. */
static bool socket_file_is_stale(const struct sockaddr *address, socklen_t size)
{
	struct stat file;
	int fd;
	bool stale;

	/* Connecting to anything else is refused as well, and a file that happens to be there is nobody's to delete. */
	if (lstat(((const struct sockaddr_un *)address)->sun_path, &file) < 0 || !S_ISSOCK(file.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, address, size) < 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int bind_unix(int fd, const struct sockaddr *address, socklen_t size)
{
	const char *path = ((const struct sockaddr_un *)address)->sun_path;
	int result = bind(fd, address, size);

	if (result < 0 && errno == EADDRINUSE) {
		if (socket_file_is_stale(address, size)) {
			unlink(path);
			result = bind(fd, address, size);
		} else {
			errno = EADDRINUSE;
		}
	}
	return result;
}

int kernel_listen(struct kernel *kernel, const struct sockaddr *address, socklen_t size, int backlog)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int on = 1;
	int result;

	(void)kernel;
	if (fd < 0)
		return -errno;
	if (address->sa_family == AF_UNIX) {
		result = bind_unix(fd, address, size);
	} else {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
		if (address->sa_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
		result = bind(fd, address, size);
	}
	if (result < 0 || listen(fd, backlog) < 0) {
		result = -errno;
		close(fd);
		return result;
	}
	return fd;
}

int kernel_accept_now(struct kernel *kernel, int fd)
{
	int accepted = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)kernel;
	return accepted < 0 ? -errno : accepted;
}

int kernel_socket(struct kernel *kernel, const struct sockaddr *peer)
{
	int fd = socket(peer->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)kernel;
	return fd < 0 ? -errno : fd;
}

void kernel_shutdown(struct kernel *kernel, int fd, int how)
{
	(void)kernel;
	shutdown(fd, how);
}

bool kernel_peer_user(struct kernel *kernel, int fd, uint32_t *uid, int32_t *pid)
{
	struct ucred peer;
	socklen_t size = sizeof peer;

	(void)kernel;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || size != sizeof peer)
		return false;
	*uid = peer.uid;
	*pid = peer.pid;
	return true;
}

void kernel_abort(struct kernel *kernel, int fd)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 0 };

	(void)kernel;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

void kernel_no_delay(struct kernel *kernel, int fd)
{
	const int on = 1;

	(void)kernel;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void kernel_socket_close(struct kernel *kernel, int fd)
{
	(void)kernel;
	close(fd);
}

socklen_t kernel_peer(struct kernel *kernel, int fd, struct sockaddr_storage *peer)
{
	socklen_t size = sizeof *peer;

	(void)kernel;
	return getpeername(fd, (struct sockaddr *)peer, &size) < 0 ? 0 : size;
}

/* ---- the self-test ----------------------------------------------------------------------------------------------------- */

#define PROBE_PATIENCE_NS (5 * NS_PER_S) /* a machine may be busy without being too old */

/* Turns the ring until `count` completions have come, or patience is at its end. */
static unsigned probe_wait(struct kernel *kernel, struct kernel_completion *completions, unsigned count)
{
	const uint64_t until_ns = kernel_now_ns(kernel) + PROBE_PATIENCE_NS;
	unsigned n = 0;

	while (n < count && kernel_now_ns(kernel) < until_ns) {
		kernel_enter(kernel, 20 * NS_PER_MS);
		n += kernel_reap(kernel, completions + n, count - n);
	}
	return n;
}

/* A multishot receive under a linked timeout: bytes come with a buffer and `more`, then the timeout ends it with exactly one
 * -ECANCELED. This is the form every connection waits in. */
static bool probe_receive(struct kernel *kernel, int fds[2], struct kernel_fault *fault)
{
	const struct kernel_request request = { .code = KERNEL_RECEIVE, .fd = fds[0], .within_ms = 30 };
	struct kernel_completion got[2] = { 0 };

	/* The byte lies there before the receive begins: were we stopped in between, the timeout would be first. */
	if (write(fds[1], "?", 1) == 1)
		kernel_start(kernel, &request, 1);
	if (probe_wait(kernel, got, 1) != 1 || got[0].result != 1 || !got[0].has_buffer ||
	    !got[0].more) {
		fault_say(fault, "this kernel's io_uring does not receive many times with one request into provided buffers "
		          "(result %d); Linux 6.1 or newer is needed", got[0].result);
		return false;
	}
	if (probe_wait(kernel, got, 1) != 1 || got[0].result != -ECANCELED || got[0].more) {
		fault_say(fault, "this kernel's io_uring does not end a receive by its linked timeout (result %d); the fixed 6.1, 6.6 or "
		          "6.12 series or newer is needed", got[0].result);
		return false;
	}
	return true;
}

static bool probe_announce(struct kernel *kernel, struct kernel_fault *fault)
{
	struct kernel_completion got = { 0 };

	kernel_announce(kernel, kernel_descriptor(kernel), 7);
	if (probe_wait(kernel, &got, 1) != 1 || got.user_data != 7) {
		fault_say(fault, "this kernel's io_uring does not pass messages between rings (MSG_RING); Linux 6.1 or newer is needed");
		return false;
	}
	return true;
}

/* From 6.14 on a ring's memory counts against RLIMIT_MEMLOCK; before, nothing of it does. */
static bool rings_are_charged(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 && (major > 6 || (major == 6 && minor >= 14));
}

/* A send that takes what the socket takes, one that waits under a linked timeout, and a cancel by user_data. */
static bool probe_send_and_cancel(struct kernel *kernel, int fds[2], struct kernel_fault *fault)
{
	char bytes[] = "!";
	struct iovec piece = { .iov_base = bytes, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };
	struct kernel_request send = { .code = KERNEL_SEND_NOW, .fd = fds[1], .message = &message };
	const struct kernel_request receive = { .code = KERNEL_RECEIVE, .fd = fds[1] };
	struct kernel_completion got[2] = { 0 };

	kernel_start(kernel, &send, 2);
	send.code = KERNEL_SEND;
	send.within_ms = 1000;
	kernel_start(kernel, &send, 3);
	if (probe_wait(kernel, got, 2) != 2 || got[0].result != 1 || got[1].result != 1) {
		fault_say(fault, "this kernel's io_uring does not send as we need it (results %d, %d); Linux 6.1 or newer is needed",
		          got[0].result, got[1].result);
		return false;
	}
	kernel_start(kernel, &receive, 4);
	kernel_enter(kernel, 0);
	kernel_cancel(kernel, 4);
	if (probe_wait(kernel, got, 1) != 1 || got[0].result != -ECANCELED) {
		fault_say(fault, "this kernel's io_uring does not cancel a receive by its name (result %d); Linux 6.1 or newer is needed",
		          got[0].result);
		return false;
	}
	return true;
}

bool kernel_probe(unsigned cores, unsigned buffers, struct kernel_fault *fault)
{
	struct kernel *kernel = kernel_open(buffers, fault);
	struct rlimit memlock = { 0 };
	uint8_t bytes[2][64];
	int fds[2];
	bool good;

	if (!kernel)
		return false;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) {
		fault_say(fault, "no socket can be made: %s", strerror(errno));
		kernel_close(kernel);
		return false;
	}
	kernel_buffer_lend(kernel, 0, bytes[0], sizeof bytes[0]);
	kernel_buffer_lend(kernel, 1, bytes[1], sizeof bytes[1]);
	good = probe_receive(kernel, fds, fault) && probe_send_and_cancel(kernel, fds, fault) && probe_announce(kernel, fault);
	close(fds[0]);
	close(fds[1]);
	kernel_close(kernel);
	/* One ring could be had; whether all can is known by sum, because the memory of a closed ring is given back late. */
	if (good && rings_are_charged() && geteuid() != 0 && getrlimit(RLIMIT_MEMLOCK, &memlock) == 0 && memlock.rlim_cur != RLIM_INFINITY &&
	    memlock.rlim_cur < (cores + 1) * ring_locked_bytes(buffers)) {
		fault_say(fault, "not enough locked memory: %u cores need %zu KiB, the limit is %llu KiB; raise it with ulimit -l, "
		          "LimitMEMLOCK= (systemd) or ulimits.memlock (containers)", cores,
		          (cores + 1) * ring_locked_bytes(buffers) / 1024, (unsigned long long)memlock.rlim_cur / 1024);
		return false;
	}
	return good;
}

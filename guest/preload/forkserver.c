// SPDX-License-Identifier: MIT OR Apache-2.0
/*
 * A fork server, preloaded (LD_PRELOAD) into an adapter that runs from the host's files. Where the adapter would
 * wait for its first input, it stops, and each scenario gets a copy of it that goes on from there: an interpreter
 * loads its modules once, not once per scenario.
 *
 * The other side is conformance/src/lines/forkserver.rs. NLCONFORM_FORKSERVER has the descriptor of a
 * SOCK_SEQPACKET socket and the process ID of the parent. Each datagram to it, with a network namespace, asks for
 * a copy; what comes from it are struct news. An adapter that has threads, or sockets of a network namespace, cannot
 * be copied: it goes on as if this file were not there, as does one that waits by other means than those below.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY, STARTED, ENDED };
struct news { int what, pid, status; };

static int control = -1;

__attribute__((constructor)) static void find_control(void)
{
	const char *words = getenv("NLCONFORM_FORKSERVER");
	int fd, parent;

	/* A program that the adapter starts inherits the variable, and is not the one that is meant. */
	if (words && sscanf(words, "%d:%d", &fd, &parent) == 2 && getppid() == parent)
		control = fd;
}

static void tell(int what, int pid, int status)
{
	struct news news = { what, pid, status };

	if (send(control, &news, sizeof(news), MSG_NOSIGNAL) < 0)
		_exit(0);
}

/* Whether a copy would be as good as the original: no other threads, no socket but of AF_UNIX. */
static int can_be_copied(void)
{
	struct stat tasks;
	struct rlimit files;

	if (stat("/proc/self/task", &tasks) < 0 || tasks.st_nlink != 3)
		return 0;
	getrlimit(RLIMIT_NOFILE, &files);
	for (int fd = 3, end = files.rlim_cur < 1024 ? (int)files.rlim_cur : 1024; fd < end; fd++) {
		int domain;
		socklen_t len = sizeof(domain);

		if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain != AF_UNIX)
			return 0;
	}
	return 1;
}

/* Waits until a copy is asked for: the network namespace that it has to enter. */
static int asked(void)
{
	char byte, room[CMSG_SPACE(sizeof(int))];
	struct iovec part = { &byte, 1 };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room),
	};
	struct cmsghdr *header;
	int netns;

	if (recvmsg(control, &message, MSG_CMSG_CLOEXEC) != 1)
		_exit(0);
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		_exit(0);
	memcpy(&netns, CMSG_DATA(header), sizeof(netns));
	return netns;
}

/* Enters a network namespace, unless that is where it is. */
static int enter(int netns)
{
	struct stat there, here;

	if (fstat(netns, &there) == 0 && stat("/proc/self/ns/net", &here) == 0 && there.st_ino == here.st_ino)
		return 0;
	return setns(netns, CLONE_NEWNET);
}

/* Returns in each copy, and in a program that is not to be copied. */
static void before_waiting(void)
{
	int flags[3];

	if (control < 0)
		return;
	unsetenv("LD_PRELOAD");
	unsetenv("NLCONFORM_FORKSERVER");
	if (!can_be_copied()) {
		close(control);
		control = -1;
		return;
	}
	for (int fd = 0; fd < 3; fd++)
		flags[fd] = fcntl(fd, F_GETFL);
	for (tell(READY, getpid(), 0);;) {
		int netns = asked(), status;
		pid_t copy;

		/* The flags are shared with the copies. */
		for (int fd = 0; fd < 3; fd++)
			fcntl(fd, F_SETFL, flags[fd]);
		copy = fork();
		if (copy == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (enter(netns) < 0)
				_exit(127);
			close(netns);
			close(control);
			control = -1;
			return;
		}
		close(netns);
		tell(STARTED, copy, 0);
		if (copy < 0)
			continue;
		while (waitpid(copy, &status, 0) < 0)
			;
		tell(ENDED, copy, status);
	}
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int fd, void *data, size_t len)
{
	static __typeof__(&read) next;

	if (fd == 0)
		before_waiting();
	if (!next)
		next = NEXT(read);
	return next(fd, data, len);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	if (timeout != 0)
		before_waiting();
	return NEXT(poll)(fds, count, timeout);
}

int select(int count, fd_set *readable, fd_set *writable, fd_set *failed, struct timeval *timeout)
{
	if (!timeout || timeout->tv_sec || timeout->tv_usec)
		before_waiting();
	return NEXT(select)(count, readable, writable, failed, timeout);
}

int epoll_wait(int fd, struct epoll_event *events, int room, int timeout)
{
	if (timeout != 0)
		before_waiting();
	return NEXT(epoll_wait)(fd, events, room, timeout);
}

int epoll_pwait(int fd, struct epoll_event *events, int room, int timeout, const sigset_t *signals)
{
	if (timeout != 0)
		before_waiting();
	return NEXT(epoll_pwait)(fd, events, room, timeout, signals);
}
